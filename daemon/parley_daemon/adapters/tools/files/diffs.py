"""Unified diffs for people, bounded in time and size."""

import difflib
from collections.abc import Sequence

from parley_daemon.adapters.tools.files.texts import lines_of, printable

MAX_DIFF = 64 * 1024
"""Bytes of a diff that is shown, in UTF-8."""

MAX_COMPARED = 2_000
"""Lines, beside the equal ones at both ends, that are compared; more are shown as replaced."""

CONTEXT = 3

CUT = "\n[…]\n"


def unified_diff(before: str | None, after: str | None, name: str, new_name: str | None = None) -> str:
    """Return the diff of a file. None: it does not exist before, or after."""
    old, new = (_lines(text) for text in (before, after))
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    first = "/dev/null" if before is None else f"a/{name}"
    second = "/dev/null" if after is None else f"b/{new_name or name}"
    if max(len(old), len(new)) - start - end > MAX_COMPARED:
        body = _replaced(old, new, start, end)
    else:
        body = _compared(old, new, start, end)
    return f"--- {first}\n+++ {second}\n{''.join(body)}"


def joined(diffs: Sequence[str]) -> str:
    """Return diffs as one, cut at its limit."""
    text = printable("".join(diffs))
    data = text.encode()
    if len(data) <= MAX_DIFF:
        return text
    return data[: MAX_DIFF - len(CUT.encode())].decode("utf-8", "ignore") + CUT


def _lines(text: str | None) -> list[str]:
    """Return lines that end with a line feed each. What the last one lacks is said as diffs say it."""
    found = [line.rstrip("\r\n") + "\n" for line in lines_of(text or "")]
    if text and text[-1] not in "\r\n":
        found[-1] += "\\ No newline at end of file\n"
    return found


def _compared(old: list[str], new: list[str], start: int, end: int) -> list[str]:
    """Return the hunks of lines that are compared. `start` and `end` lines are equal at the two ends."""
    begin, rest = max(start - CONTEXT, 0), max(end - CONTEXT, 0)
    old, new = old[begin : len(old) - rest], new[begin : len(new) - rest]
    body: list[str] = []
    for group in difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(CONTEXT):
        (_, i, _, k, _), (_, _, j, _, m) = group[0], group[-1]
        body.append(f"@@ -{_range(begin + i, j - i)} +{_range(begin + k, m - k)} @@\n")
        for kind, i, j, k, m in group:
            if kind == "equal":
                body += [f" {line}" for line in old[i:j]]
            else:
                body += [f"-{line}" for line in old[i:j]] + [f"+{line}" for line in new[k:m]]
    return body


def _range(start: int, count: int) -> str:
    """Return lines as diffs name them: an empty range is named by the line before it."""
    return f"{start + (count > 0)},{count}"


def _replaced(old: list[str], new: list[str], start: int, end: int) -> list[str]:
    begin, rest = max(start - CONTEXT, 0), max(end - CONTEXT, 0)
    counts = f"-{_range(begin, len(old) - rest - begin)} +{_range(begin, len(new) - rest - begin)}"
    return [
        f"@@ {counts} @@\n",
        *[f" {line}" for line in old[begin:start]],
        *[f"-{line}" for line in old[start : len(old) - end]],
        *[f"+{line}" for line in new[start : len(new) - end]],
        *[f" {line}" for line in old[len(old) - end : len(old) - rest]],
    ]
