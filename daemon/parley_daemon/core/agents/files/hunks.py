"""The hunks of a unified diff, bounded in time."""

import difflib
from collections.abc import Sequence

from parley_daemon.core.comparing import count_equal_ends

MAX_COMPARED = 2_000
"""Lines, beside the equal ones at both ends, that are compared; more are written as replaced."""

CONTEXT = 3
"""Equal lines around a change."""

NO_NEWLINE = "\\ No newline at end of file\n"
"""What follows a last line that has no end, in the same string."""


def write_hunks(old: Sequence[str], new: Sequence[str], before: int = 0) -> list[str]:
    """Return the hunks between two lists of lines, each of which ends with a line feed.

    `before`: how many lines of the files come before these.
    """
    start, end = count_equal_ends(old, new)
    if start == len(old) == len(new):
        return []
    if max(len(old), len(new)) - start - end > MAX_COMPARED:
        return _replace(before, old, new, start, end)
    return _compare(before, old, new, start, end)


def _compare(base: int, old: Sequence[str], new: Sequence[str], start: int, end: int) -> list[str]:
    begin, rest = max(start - CONTEXT, 0), max(end - CONTEXT, 0)
    old, new = old[begin : len(old) - rest], new[begin : len(new) - rest]
    body: list[str] = []
    for group in difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(CONTEXT):
        (_, i, _, k, _), (_, _, j, _, m) = group[0], group[-1]
        body.append(f"@@ -{_range(base + begin + i, j - i)} +{_range(base + begin + k, m - k)} @@\n")
        for kind, i, j, k, m in group:
            if kind == "equal":
                body += [f" {line}" for line in old[i:j]]
            else:
                body += [f"-{line}" for line in old[i:j]] + [f"+{line}" for line in new[k:m]]
    return body


def _replace(base: int, old: Sequence[str], new: Sequence[str], start: int, end: int) -> list[str]:
    begin, rest = max(start - CONTEXT, 0), max(end - CONTEXT, 0)
    counts = (
        f"-{_range(base + begin, len(old) - rest - begin)} +{_range(base + begin, len(new) - rest - begin)}"
    )
    return [
        f"@@ {counts} @@\n",
        *[f" {line}" for line in old[begin:start]],
        *[f"-{line}" for line in old[start : len(old) - end]],
        *[f"+{line}" for line in new[start : len(new) - end]],
        *[f" {line}" for line in old[len(old) - end : len(old) - rest]],
    ]


def _range(start: int, count: int) -> str:
    """Return lines as diffs name them: an empty range is named by the line before it."""
    return f"{start + (count > 0)},{count}"
