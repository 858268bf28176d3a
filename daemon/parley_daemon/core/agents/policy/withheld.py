"""The paths that a tool leaves out when it looks through a folder, because of rules about what lies below it.

A call that lists or searches a folder is decided as a whole, by the path of the folder. Rules that deny some
of the files below it, or ask about them, hold all the same: these files are left out.
"""

from collections.abc import Iterator

from parley_daemon.core.agents.globs import (
    fold,
    has_wildcard,
    is_below,
    matches_name,
    parse_path,
    path_of_uri,
)
from parley_daemon.core.agents.policy.matching import select
from parley_daemon.core.agents.rules import ChatFacts, DeniedGlob, Rule

_CHANGING = ("edit_file", "write_file", "apply_patch", "delete_file", "move_file")
_OTHERS = ("read_file", "list_files", "search_text", "run")


RETRIEVAL_NAMES = ("search_context", "read_file", "search_text")
"""The tools whose rules count for the search in the context of a chat."""


def withheld_globs(rules: tuple[Rule, ...], chat: ChatFacts, *tools: str) -> tuple[str, ...]:
    """Return absolute globs, in small letters, of what tools of these names must not come across."""
    about_paths = tuple([one for one in rules if one.paths is not None and one.command is None])
    if not about_paths:
        return ()
    found = [
        glob
        for tool in tools
        for rule, effect in select(about_paths, chat, tool)
        if effect != "allow"
        for glob in _absolute(rule, chat)
    ]
    return tuple(dict.fromkeys(found))


def denied_globs(rules: tuple[Rule, ...], chat: ChatFacts) -> tuple[DeniedGlob, ...]:
    """Return what rules keep from commands that a chat runs: the paths that they deny, whatever the tool."""
    found: dict[DeniedGlob, None] = {}
    roots = {fold(one).rstrip("/") for one in chat.roots}
    for rule in rules:
        if rule.effect != "deny" or rule.paths is None or rule.command is not None:
            continue
        if not select((rule,), chat, rule.tool):
            continue
        is_readable = any(matches_name(rule.tool, one) for one in _CHANGING) and not any(
            matches_name(rule.tool, one) for one in _OTHERS
        )
        for glob in _absolute(rule, chat):
            if glob.startswith("/**/"):
                continue  # it is for what lies elsewhere
            place, _, name = glob.rpartition("/**/")
            is_name = place in roots and "/" not in name and name != "**"
            found[DeniedGlob(glob, name if is_name else None, is_readable)] = None
    return tuple(found)


def _absolute(rule: Rule, chat: ChatFacts) -> Iterator[str]:
    root = None if rule.scope.root is None else path_of_uri(rule.scope.root)
    tops = chat.roots if root is None else (root,)
    for pattern in [fold(one) for one in rule.paths or ()]:
        parsed = parse_path(pattern)
        if parsed.is_absolute:
            yield from (pattern,) if root is None else _both(pattern, fold(root))
            continue
        for top in tops:
            yield f"{fold(top).rstrip('/')}/{'**/' if parsed.is_name else ''}{pattern}"
        if parsed.is_name and root is None:
            yield f"/**/{pattern}"  # elsewhere, a name counts in the whole path


def _both(pattern: str, root: str) -> Iterator[str]:
    """Yield what is below both; with wildcards that may be more than that."""
    if has_wildcard(pattern) or is_below(pattern, root):
        yield pattern
    elif is_below(root, pattern.rstrip("/")):
        yield root
