"""Cuts a text into chunks of about 20 to 80 lines, where definitions begin."""

import re
from bisect import bisect_left
from itertools import pairwise

import msgspec

from parley_daemon.adapters.context.worker.sources.definitions import Definition, family_of, find_definitions

MIN_LINES = 20
MAX_LINES = 80
_SMALL_REST = 8  # lines at the end of a file that are no chunk of their own
MAX_LINE = 2_000
"""Characters of a line that are indexed."""

_END = re.compile(r"\r\n|\r|\n")
_ATTACHED = ("@", "#", "//", "/*", "*", "--", ";;", '"""', "'''", "%")


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Lines of a file, from `first` to before `last`, counted from 0.

    `definitions` are in it. `around` are the names of what it lies in.
    """

    first: int
    last: int
    definitions: tuple[Definition, ...]
    around: tuple[str, ...]


class Cut(msgspec.Struct, frozen=True, gc=False):
    """A text in lines without their ends, and in chunks."""

    lines: list[str]
    chunks: list[Chunk]


def split_lines(text: str) -> list[str]:
    """Return the lines of a text without their ends, as editors count them."""
    lines = text.split("\n") if "\r" not in text else _END.split(text)
    if lines and not lines[-1]:
        lines.pop()
    return lines


def cut_text(path: str, text: str) -> Cut:
    """Cut the text of a file."""
    lines = split_lines(text)
    plain = "\n".join([line[:MAX_LINE] for line in lines])
    starts = [0]
    for line in lines[:-1]:
        starts.append(starts[-1] + min(len(line), MAX_LINE) + 1)
    definitions = find_definitions(plain, family_of(path), starts)
    borders = _borders(lines, definitions)
    cuts, at = [0], 0
    while len(lines) - at > MAX_LINES or (borders and len(lines) - at > MIN_LINES + _SMALL_REST):
        at = _next_cut(lines, borders, at)
        if at >= len(lines):
            break
        cuts.append(at)
    if len(cuts) > 1 and len(lines) - cuts[-1] < _SMALL_REST:
        cuts.pop()
    cuts.append(len(lines))
    numbers = [one.line for one in definitions]
    chunks: list[Chunk] = []
    open_ones: list[Definition] = []  # those that the current place lies in
    seen = 0
    for first, last in pairwise(cuts):
        if first == last:
            continue
        end = bisect_left(numbers, last)
        inner = definitions[seen:end]
        indent = _indent(lines, first)
        around = [one.name for one in open_ones if one.indent < indent]
        chunks.append(Chunk(first, last, tuple(inner), tuple(around[-3:])))
        for one in inner:
            while open_ones and open_ones[-1].indent >= one.indent:
                open_ones.pop()
            open_ones.append(one)
        seen = end
    return Cut(lines, chunks)


def _indent(lines: list[str], first: int) -> int:
    for line in lines[first : first + MAX_LINES]:
        if text := line.lstrip():
            return len(line) - len(text)
    return 0


def _borders(lines: list[str], definitions: list[Definition]) -> dict[int, int]:
    """Return where chunks may begin: line and indentation. Comments and decorators belong to what follows."""
    found: dict[int, int] = {}
    for one in definitions:
        at = one.line
        while at > 0 and one.line - at < MIN_LINES:
            before = lines[at - 1][:200].lstrip()
            if not before.startswith(_ATTACHED):
                break
            at -= 1
        found.setdefault(at, one.indent)
    return found


def _next_cut(lines: list[str], borders: dict[int, int], start: int) -> int:
    """Return where the chunk that begins at `start` ends."""
    best: tuple[int, int] | None = None
    for at in range(start + MIN_LINES, min(start + MAX_LINES, len(lines) - 1) + 1):
        indent = borders.get(at)
        if indent is not None and (best is None or indent < best[0]):
            best = (indent, at)
            if indent == 0:
                break
    if best is not None:
        return best[1]
    if len(lines) - start <= MAX_LINES:
        return len(lines)
    for at in range(start + MAX_LINES - 20, start + MAX_LINES):
        if not lines[at - 1].strip():
            return at
    return start + MAX_LINES - 20
