"""How many lines a change adds and deletes, and what of a file is text; bounded in time.

Theory of operation. Equal lines at both ends are cut off. What is left is compared by the greedy algorithm
of Myers (1986), whose time depends on the number of differences. Beyond MAX_DIFFERENCES lines are compared as
bags: that counts a line that only moved as no difference, and costs one pass.
"""

from collections import Counter
from collections.abc import Sequence

from parley_daemon.core.comparing import count_equal_ends

MAX_DIFFERENCES = 400
"""Differences that are counted exactly, which takes some 30 ms."""

MAX_BYTES = 2**20
"""Size of a file up to which its lines are counted."""


def count_changed_lines(before: bytes, after: bytes) -> tuple[int, int] | None:
    """Return the numbers of added and of deleted lines. None: one of the files is binary, or too large."""
    if max(len(before), len(after)) > MAX_BYTES or b"\0" in before or b"\0" in after:
        return None
    return _count(before.splitlines(keepends=True), after.splitlines(keepends=True))


def _count(old: Sequence[bytes], new: Sequence[bytes]) -> tuple[int, int]:
    start, end = count_equal_ends(old, new)
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    differences = _edit_distance(old, new) if old and new else len(old) + len(new)
    if differences is None:
        have, want = Counter(old), Counter(new)
        return (want - have).total(), (have - want).total()
    deleted = (differences + len(old) - len(new)) // 2
    return differences - deleted, deleted


def _edit_distance(old: Sequence[bytes], new: Sequence[bytes]) -> int | None:
    """Return the least number of lines to delete and to add. None: more than MAX_DIFFERENCES."""
    reached = {1: 0}
    for differences in range(min(len(old) + len(new), MAX_DIFFERENCES) + 1):
        for diagonal in range(-differences, differences + 1, 2):
            down = diagonal == -differences or (
                diagonal != differences and reached[diagonal - 1] < reached[diagonal + 1]
            )
            x = reached[diagonal + 1] if down else reached[diagonal - 1] + 1
            y = x - diagonal
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y = x + 1, y + 1
            reached[diagonal] = x
            if x >= len(old) and y >= len(new):
                return differences
    return None


def text_of(data: bytes) -> str | None:
    """Return the text of a file as an editor shows it, None for a binary file. Line ends stay as they are."""
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return data.decode("utf-16")
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return None if "\0" in text else text
