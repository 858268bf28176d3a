"""Which rules match what a call does.

A rule that allows matches strictly: only what it certainly means. A rule that asks or denies matches loosely:
also what may be meant, such as a file in another case, or a command behind options and wrappers.
"""

from collections.abc import Iterator
from functools import lru_cache

import msgspec

from parley_daemon.core.agents.globs import (
    PathPattern,
    fold,
    has_wildcard,
    is_below,
    matches_below,
    matches_host,
    matches_name,
    normalize,
    parse_path,
    path_of_uri,
    split_path,
)
from parley_daemon.core.agents.policy.commands import SimpleCommand, begins_with, find_programs, may_match
from parley_daemon.core.agents.policy.effort import Effort
from parley_daemon.core.agents.policy.shell import read_script
from parley_daemon.core.agents.rules import UNTRUSTED, ChatFacts, Effect, Rule
from parley_daemon.core.agents.tools import PathUse

_SEPARATORS = str.maketrans("=@,", ":::")
_MAX_PARTS = 8
MAX_PATHS = 400
"""Paths of one script that are compared with rules."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """An absolute path as patterns see it: its names, in small letters too.

    `text` has the names in small letters. `below` has the number of the names of each root above it.
    """

    path: str
    names: tuple[str, ...]
    folded: tuple[str, ...]
    text: str
    below: tuple[int, ...]


def place_of(path: str, roots: tuple[str, ...]) -> Place:
    """Return a path as patterns see it."""
    names = split_path(path)
    folded = tuple([fold(name) for name in names])
    below = tuple([len(split_path(one)) for one in roots if is_below(path, one)])
    return Place(path, names, folded, "/".join(folded), below)


class Thing(msgspec.Struct, frozen=True, gc=False):
    """One thing that a call does. At most one of `path`, `command` and `host` is set.

    Attributes:
        unread: why the shell command cannot be read.
        cwd: the folder of a command, None: it is not known.
        hides: whether it can run commands, or use files, that cannot be seen.
        places: the path, or the paths that the words of a command may mean.
        text: all of them in small letters, one a line; `starts` says where each begins.
        programs: of each level of the command, the programs that it may run (see `find_programs`).
    """

    path: PathUse | None = None
    command: SimpleCommand | None = None
    host: str | None = None
    unread: str | None = None
    cwd: str | None = None
    hides: bool = False
    places: tuple[Place, ...] = ()
    text: str = ""
    starts: tuple[int, ...] = (0,)
    programs: tuple[dict[str, list[int]], ...] = ()


def path_thing(use: PathUse, roots: tuple[str, ...]) -> Thing:
    """Return what a call does to a path."""
    place = place_of(use.path, roots)
    return Thing(path=use, places=(place,), text=place.text)


def command_thing(
    command: SimpleCommand, cwd: str | None, roots: tuple[str, ...], most: int = MAX_PATHS
) -> Thing:
    """Return a simple command that a call runs. Not more than `most` of the paths in it are compared."""
    paths = list(dict.fromkeys([path for word in command.words for path in _paths_in(word, cwd)]))
    hides = len(paths) > most or any(map(_has_more_parts, command.words))
    places = tuple([place_of(path, roots) for path in paths[:most]])
    return Thing(
        command=command,
        cwd=cwd,
        hides=hides or any(one.hides_commands for one in levels(command)),
        places=places,
        text="\n".join([place.text for place in places]),
        starts=_starts_of(places),
        programs=tuple([find_programs(one) for one in levels(command)]),
    )


def levels(command: SimpleCommand | None) -> Iterator[SimpleCommand]:
    """Yield a command, then the one that it runs, and so on."""
    while command is not None:
        yield command
        command = command.inner


def effect_of(rule: Rule) -> Effect | None:
    """Return what a rule says where it matches; None: nothing."""
    if rule.effect == "deny":
        return "deny"
    if rule.human or rule.effect == "ask":
        return "ask"
    return None if rule.source == UNTRUSTED else "allow"


Selected = tuple[Rule, Effect]
"""A rule, and what it says where it matches."""


def select(rules: tuple[Rule, ...], chat: ChatFacts, tool: str) -> list[Selected]:
    """Return the rules that can match calls of a tool in a chat now."""
    return [
        (rule, effect)
        for rule in rules
        if _counts(rule, chat, tool) and (effect := effect_of(rule)) is not None
    ]


def _counts(rule: Rule, chat: ChatFacts, tool: str) -> bool:
    if rule.expires_at is not None and rule.expires_at <= chat.now:
        return False
    scope = rule.scope
    if scope.chat_id == chat.chat_id and chat.above and effect_of(rule) == "allow":
        return False  # what a rule allows in a child alone, its parent may not do
    if scope.chat_id not in (None, chat.chat_id, *chat.above):
        return False
    if scope.root is not None:
        root = path_of_uri(scope.root)
        if root is None or not any(is_below(one, root) or is_below(root, one) for one in chat.roots):
            return False
    return matches_name(rule.tool, tool)


@lru_cache(16_384)
def words_of_rule(command: str) -> tuple[str, ...]:
    """Return the words of a rule's command; none if it is not one simple command."""
    commands = read_script(command).commands
    return commands[0] if len(commands) == 1 else ()


def matches(rule: Rule, chat: ChatFacts, thing: Thing, effort: Effort, *, strictly: bool) -> bool:
    """Return whether a rule that can match a call matches one thing that it does.

    Raises:
        TooMuchToCompareError: see Effort.
    """
    effort.spend(1)
    if rule.command is not None and not _matches_command(rule, thing, effort, strictly=strictly):
        return False
    if rule.paths is not None and not _matches_paths(rule, rule.paths, thing, effort, strictly=strictly):
        return False
    if rule.scope.root is not None and not _is_in_scope(rule.scope.root, thing, chat, strictly=strictly):
        return False
    if rule.hosts is None:
        # A host is allowed by name, or with its tool: not by a rule for tools of all kinds.
        return not (strictly and thing.host is not None and has_wildcard(rule.tool))
    return thing.host is not None and any(
        matches_host(one, thing.host, strictly=strictly) for one in rule.hosts
    )


def _is_in_scope(uri: str, thing: Thing, chat: ChatFacts, *, strictly: bool) -> bool:
    root = path_of_uri(uri)
    if root is None:
        return False
    if thing.path is not None:
        return is_below(thing.path.path, root)
    if not strictly:
        return True
    if thing.command is not None or thing.unread is not None:
        return thing.cwd is not None and is_below(thing.cwd, root)
    return any(is_below(one, root) for one in chat.roots)


def _matches_command(rule: Rule, thing: Thing, effort: Effort, *, strictly: bool) -> bool:
    command = thing.command
    if command is None:
        return False
    words = words_of_rule(rule.command or "")
    if not words:
        return not strictly
    if not strictly:
        found = [
            may_match(one, programs, words, effort)
            for one, programs in zip(levels(command), thing.programs, strict=True)
        ]
        return any(found)
    if rule.exact:
        return any(one.words == words and not one.is_open for one in levels(command))
    return any(begins_with(one, words) for one in levels(command))


def _matches_paths(
    rule: Rule, patterns: tuple[str, ...], thing: Thing, effort: Effort, *, strictly: bool
) -> bool:
    """Return whether a pattern matches the path, or a path that a command may mean.

    A pattern that is not absolute is one below the root of the rule, or below the roots of the chat. If not
    `strictly`, case does not count, and a mere name counts everywhere.

    Raises:
        TooMuchToCompareError: see Effort.
    """
    if strictly and thing.path is None:
        return False
    scope = path_of_uri(rule.scope.root) if rule.scope.root is not None else None
    scoped = () if scope is None else (len(split_path(scope)),)
    found = False
    for pattern in _parse(patterns, is_folded=not strictly):
        for place in _likely_places(pattern, thing, effort):
            names = place.names if strictly else place.folded
            effort.spend((len(pattern.steps) + 1) * (len(names) + 1) + (pattern.signs * len(place.path) >> 2))
            below = place.below if scope is None else scoped if is_below(place.path, scope) else ()
            found = _matches_place(pattern, names, below, strictly=strictly) or found
    return found


def _likely_places(pattern: PathPattern, thing: Thing, effort: Effort) -> Iterator[Place]:
    """Yield the places that have the texts of a pattern, which is found out at once for all of them."""
    text = thing.text
    effort.spend(1 + (len(pattern.pieces) * len(text) >> 9))
    counts = [text.count(piece) for piece in pattern.pieces]
    if 0 in counts:
        return
    if not counts:
        effort.spend(len(thing.places))
        yield from thing.places
        return
    rarest = pattern.pieces[counts.index(min(counts))]
    at, number, last = text.find(rarest), 0, len(thing.places) - 1
    while at >= 0:
        while number < last and thing.starts[number + 1] <= at:
            number += 1
        effort.spend(1)
        place = thing.places[number]
        if all(piece in place.text for piece in pattern.pieces):
            yield place
        at = text.find(rarest, thing.starts[number + 1]) if number < last else -1


def _starts_of(places: tuple[Place, ...]) -> tuple[int, ...]:
    """Return where the text of each place begins, if each is a line."""
    starts: list[int] = []
    at = 0
    for place in places:
        starts.append(at)
        at += len(place.text) + 1
    return tuple(starts)


def _matches_place(
    pattern: PathPattern, names: tuple[str, ...], below: tuple[int, ...], *, strictly: bool
) -> bool:
    if pattern.is_absolute:
        return matches_below(pattern, names, 0)
    if below:
        return any(matches_below(pattern, names, start) for start in below)
    return pattern.is_name and not strictly and matches_below(pattern, names, 0)


@lru_cache(16_384)
def _parse(patterns: tuple[str, ...], *, is_folded: bool) -> tuple[PathPattern, ...]:
    return tuple([parse_path(fold(one) if is_folded else one) for one in patterns])


def _paths_in(word: str, cwd: str | None) -> Iterator[str]:
    """Yield the absolute paths that a word of a command may mean: `x`, `--file=x`, `-fx`, `HEAD:x`, `@x`."""
    parts = dict.fromkeys((word, word.partition("=")[2], word[2:] if word.startswith("-") else ""))
    if ":" in word or "@" in word or "," in word:
        parts.update(dict.fromkeys(word.translate(_SEPARATORS).split(":")[:_MAX_PARTS]))
    for one in parts:
        if one.startswith("/"):
            yield normalize(one)
        elif one and not one.startswith("-"):
            yield normalize(f"{cwd or ''}/{one}")


def _has_more_parts(word: str) -> bool:
    """Return whether a word has more parts than are compared."""
    return sum(map(word.count, "=@,:")) >= _MAX_PARTS
