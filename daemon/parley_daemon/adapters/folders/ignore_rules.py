"""The rules of `.gitignore` files, as far as they can be read without git (see gitignore(5)).

Theory of operation. A rule is a line of a file, and counts below the folder of that file. Of all rules that
match a path, the last one decides, and those of deeper folders come later. A path below an ignored folder is
never looked at, so a later `!` cannot bring it back; that is git's own behaviour.

git's index is not read: a tracked file that a rule matches counts as ignored here.
"""

import re
from collections.abc import Sequence

import msgspec

MAX_RULES = 1_000
"""Rules of one file; later lines are left out."""

MAX_LINE = 1_000
"""Characters of a rule."""

MAX_OPEN_PARTS = 3
"""Times that a rule may contain `**`. A rule with more is left out: the file comes from the repository, and
must not be able to keep the daemon busy."""


class IgnoreRule(msgspec.Struct, frozen=True):
    """One rule. `pattern` matches a path relative to the rule's folder."""

    pattern: re.Pattern[str]
    is_negated: bool
    folders_only: bool


def parse_rules(text: str) -> tuple[IgnoreRule, ...]:
    """Return the rules of a file. Lines that are no valid pattern are left out, as git does."""
    rules = [_rule(line) for line in text.splitlines()[:MAX_RULES]]
    return tuple([rule for rule in rules if rule is not None])


def is_ignored(levels: Sequence[tuple[str, Sequence[IgnoreRule]]], path: str, *, is_folder: bool) -> bool:
    """Return whether a path is ignored, given that no folder above it is.

    `levels` are the rules by the folder of their file, from the root down. `path` and the folders are
    relative to the same root, with `/`; the root itself is "".
    """
    for folder, rules in reversed(levels):
        inner = path[len(folder) + 1 :] if folder else path
        for rule in reversed(rules):
            if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(inner):
                return not rule.is_negated
    return False


def _rule(line: str) -> IgnoreRule | None:
    text = re.sub(r"(?<!\\)\s+$", "", line[:MAX_LINE])
    if not text or text.startswith("#"):
        return None
    is_negated = text.startswith("!")
    text = text[is_negated:]
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    if not text:
        return None
    parts = text.lstrip("/").split("/")
    if "/" not in text:
        parts.insert(0, "**")
    if parts.count("**") > MAX_OPEN_PARTS:
        return None
    try:
        pattern = re.compile(_expression(parts), re.DOTALL)
    except re.error:
        return None
    return IgnoreRule(pattern, is_negated, folders_only)


def _expression(parts: Sequence[str]) -> str:
    """Return a glob, split at its slashes, as a regular expression."""
    found = [
        (".+" if number == len(parts) else "(?:[^/]+/)*")
        if part == "**"
        else _name_expression(part) + ("" if number == len(parts) else "/")
        for number, part in enumerate(parts, 1)
    ]
    return "".join(found)


_TOKENS = re.compile(
    r"(?P<stars>\*+)|(?P<one>\?)|(?P<set>\[[!^]?\]?[^\]]*\])|\\(?P<escaped>.)|(?P<plain>.)", re.DOTALL
)


def _name_expression(glob: str) -> str:
    """Return a glob without slashes as a regular expression that takes no more than quadratic time.

    What follows a `*` up to the next one has a fixed length. So its first match is as good as any other, and
    is never given up again (an atomic group); only what follows the last `*` has to reach the end.
    """
    done, fixed, has_star = "", "", False
    for token in _TOKENS.finditer(glob):
        text = token[token.lastgroup or 0]
        match token.lastgroup:
            case "stars":
                done += f"(?>[^/]*?{fixed})" if has_star else fixed
                fixed, has_star = "", True
            case "one":
                fixed += "[^/]"
            case "set":
                inner = text[1:-1].replace("\\", "\\\\").replace("[", "\\[")
                is_negated = inner[0] in "!^"
                inner = inner[is_negated:]
                inner = f"\\{inner}" if inner.startswith("]") else inner
                fixed += f"[^/{inner}]" if is_negated else f"[{inner}]"
            case _:
                fixed += re.escape(text)
    return done + ("[^/]*" if has_star else "") + fixed
