"""The smallest edits that lead from one text to another one, with LSP's positions."""

import difflib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from parley_daemon.core.comparing import common_size
from parley_daemon.server.lsp.encodings import ENCODINGS

MAX_COMPARED = 2_000
"""Lines between equal ones at both ends up to which lines are compared; more are replaced as a whole."""

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def text_edits(old: str, new: str, encoding: str) -> list[dict[str, Any]]:
    """Return LSP's TextEdits that make `new` out of `old`. They do not overlap. `encoding`: see ENCODINGS."""
    if old == new:
        return []
    starts = [0, *[match.end() for match in _LINE.finditer(old)]]
    if old and old[-1] not in "\r\n":
        starts.pop()  # the last line has no end, so that no line begins behind it
    # From the first line that differs to the last one.
    before = common_size(lambda size: old[:size] == new[:size], min(len(old), len(new)))
    begin = starts[bisect_right(starts, before) - 1]
    limit = min(len(old), len(new)) - begin
    after = common_size(lambda size: old[len(old) - size :] == new[len(new) - size :], limit)
    line = bisect_left(starts, len(old) - after)
    end = starts[line] if line < len(starts) else len(old)
    new_end = len(new) - (len(old) - end)
    units = ENCODINGS[encoding][0]

    def position(at: int) -> dict[str, int]:
        line = bisect_right(starts, at) - 1
        return {"line": line, "character": units(old[starts[line] : at])}

    edits: list[dict[str, Any]] = []
    for i, j, k, m in _changed(_LINE.findall(old[begin:end]), _LINE.findall(new[begin:new_end])):
        first, last, text = _trimmed(old, begin + i, begin + j, new[begin + k : begin + m])
        edits.append({"range": {"start": position(first), "end": position(last)}, "newText": text})
    return edits


def _changed(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, int, int]]:
    """Return what differs between lines, as offsets in both joined texts (from, to)."""
    old_at, new_at = _offsets(old), _offsets(new)
    if max(len(old), len(new)) > MAX_COMPARED:
        return [(0, old_at[-1], 0, new_at[-1])]
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [
        (old_at[i], old_at[j], new_at[k], new_at[m])
        for kind, i, j, k, m in matcher.get_opcodes()
        if kind != "equal"
    ]


def _offsets(lines: Sequence[str]) -> list[int]:
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    return offsets


def _trimmed(old: str, first: int, last: int, text: str) -> tuple[int, int, str]:
    """Return a replacement without what is equal at both ends.

    Neither end lies between the two characters of a "\\r\\n" of the old text: there is no such position.
    """
    limit = min(last - first, len(text))
    before = common_size(lambda size: old[first : first + size] == text[:size], limit)
    if before and old[first + before - 1 : first + before + 1] == "\r\n":
        before -= 1
    limit -= before
    after = common_size(lambda size: old[last - size : last] == text[len(text) - size :], limit)
    if after and old[last - after - 1 : last - after + 1] == "\r\n":
        after -= 1
    return first + before, last - after, text[before : len(text) - after]
