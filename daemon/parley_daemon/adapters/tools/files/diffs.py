"""Unified diffs for people, bounded in time and size."""

from collections.abc import Sequence

from parley_daemon.adapters.tools.files.texts import count_lines, lines_of, printable
from parley_daemon.core.agents.files.hunks import CONTEXT, NO_NEWLINE, write_hunks
from parley_daemon.core.comparing import common_size

MAX_DIFF = 64 * 1024
"""Bytes of a diff that is shown, in UTF-8."""

CUT = "\n[…]\n"


def unified_diff(before: str | None, after: str | None, name: str, new_name: str | None = None) -> str:
    """Return the diff of a file. None: it does not exist before, or after."""
    base, old, new = _window(before or "", after or "")
    first = "/dev/null" if before is None else f"a/{name}"
    second = "/dev/null" if after is None else f"b/{new_name or name}"
    return f"--- {first}\n+++ {second}\n{''.join(write_hunks(old, new, base))}"


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
        found[-1] += NO_NEWLINE
    return found
