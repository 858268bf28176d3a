"""Unified diffs for people, bounded in time and size."""

import difflib
from collections.abc import Sequence

from parley_daemon.adapters.tools.files.texts import count_lines, lines_of, printable
from parley_daemon.core.comparing import common_size, count_equal_ends

MAX_DIFF = 64 * 1024
"""Bytes of a diff that is shown, in UTF-8."""

MAX_COMPARED = 2_000
"""Lines, beside the equal ones at both ends, that are compared; more are shown as replaced."""

CONTEXT = 3

CUT = "\n[…]\n"


def unified_diff(before: str | None, after: str | None, name: str, new_name: str | None = None) -> str:
    """Return the diff of a file. None: it does not exist before, or after."""
    base, old, new = _window(before or "", after or "")
    start, end = count_equal_ends(old, new)
    first = "/dev/null" if before is None else f"a/{name}"
    second = "/dev/null" if after is None else f"b/{new_name or name}"
    if max(len(old), len(new)) - start - end > MAX_COMPARED:
        body = _replaced(base, old, new, start, end)
    else:
        body = _compared(base, old, new, start, end)
    return f"--- {first}\n+++ {second}\n{''.join(body)}"


def joined(diffs: Sequence[str]) -> str:
    """Return diffs as one, cut at its limit."""
    text = printable("".join(diffs))
    data = text.encode()
    if len(data) <= MAX_DIFF:
        return text
    return data[: MAX_DIFF - len(CUT.encode())].decode("utf-8", "ignore") + CUT


def _window(old: str, new: str) -> tuple[int, list[str], list[str]]:
    """Return the lines of two texts from a little before the first difference to a little behind the last.

    The first result is how many lines are before them. Only these lines are cut, since texts can be long.
    """
    limit = min(len(old), len(new))
    begin = common_size(lambda size: old[:size] == new[:size], limit)
    for _ in range(CONTEXT + 1):
        begin = max(old.rfind("\n", 0, max(begin - 1, 0)), old.rfind("\r", 0, max(begin - 2, 0))) + 1
    limit -= begin
    end = len(old) - common_size(lambda size: old[len(old) - size :] == new[len(new) - size :], limit)
    for _ in range(CONTEXT + 1):
        end = old.find("\n", end) + 1 or len(old)
    new_end = len(new) - (len(old) - end)
    is_last = end == len(old)
    return count_lines(old[:begin]), _lines(old[begin:end], is_last), _lines(new[begin:new_end], is_last)


def _lines(text: str, is_last: bool) -> list[str]:
    """Return lines that end with a line feed each. What the last one lacks is said as diffs say it."""
    found = [line.rstrip("\r\n") + "\n" for line in lines_of(text)]
    if is_last and text and text[-1] not in "\r\n":
        found[-1] += "\\ No newline at end of file\n"
    return found


def _compared(base: int, old: list[str], new: list[str], start: int, end: int) -> list[str]:
    """Return the hunks of lines that are compared. `start` and `end` lines are equal at the two ends.

    `base` lines are before them in the file.
    """
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


def _range(start: int, count: int) -> str:
    """Return lines as diffs name them: an empty range is named by the line before it."""
    return f"{start + (count > 0)},{count}"


def _replaced(base: int, old: list[str], new: list[str], start: int, end: int) -> list[str]:
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
