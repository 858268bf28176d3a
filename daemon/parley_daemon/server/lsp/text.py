"""The text of an open document, with LSP's positions and edits.

Theory of operation. The text is cut into chunks of about a thousand characters, wherever that falls, except
between the two characters of a "\\r\\n". Chunks are grouped into blocks of at most 64. Each chunk has the
number of its line ends and its length in units of the client's positions, and each block the sums of both. To
find a position means to pass over blocks, then over chunks, then over the line ends of one chunk; an edit
replaces one chunk, or those between its ends. So the cost of an edit depends on the change and hardly on the
document: no step looks at the whole text, however long the document or one of its lines is.

Lines end at \\n, \\r\\n and \\r alone (LSP 3.17, "Text Documents"), and not at a form feed or at U+2028. A
character beyond the end of its line means the end of the line, before its line end; a line beyond the last
one means the end of the text; a negative number means 0. A position inside a character of several units means
the beginning of that character. The ends of an inverted range are exchanged.
"""

import re
from typing import Final

from parley_daemon.server.lsp.encodings import ENCODINGS

TARGET_CHUNK: Final = 1024
"""Characters of a chunk when a long text is cut."""

MAX_CHUNK: Final = 2 * TARGET_CHUNK
MIN_CHUNK: Final = TARGET_CHUNK // 4
MAX_BLOCK: Final = 64
"""Chunks of a block, at most."""

Position = tuple[int, int]
"""Line and character, both from 0. A character is a unit of the client's position encoding."""

_Place = tuple[int, int, int]  # block, chunk in the block, character in the chunk

_LINE_END = re.compile("\r\n|\r|\n")


class _Block:
    """Chunks, with the number of line ends and of units of each, and the sums of these."""

    __slots__ = ("all_ends", "all_units", "ends", "texts", "units")

    def __init__(self, texts: list[str], ends: list[int], units: list[int]) -> None:
        self.texts, self.ends, self.units = texts, ends, units
        self.all_ends, self.all_units = sum(ends), sum(units)

    def replace(self, start: int, stop: int, new: "_Block") -> None:
        """Replace chunks from `start` to before `stop`."""
        self.texts[start:stop] = new.texts
        self.ends[start:stop] = new.ends
        self.units[start:stop] = new.units
        self.all_ends, self.all_units = sum(self.ends), sum(self.units)

    def split(self) -> "list[_Block]":
        """Return the same chunks in blocks that are not too long, none if there are no chunks."""
        count = len(self.texts)
        size = count if count <= MAX_BLOCK else MAX_BLOCK // 2
        cuts = [slice(at, at + size) for at in range(0, count, size or 1)]
        return [_Block(self.texts[cut], self.ends[cut], self.units[cut]) for cut in cuts]


class DocumentText:
    """A text that changes. `encoding` is one of ENCODINGS. `length` is in characters."""

    __slots__ = ("_blocks", "_index_of", "_units_of", "length")

    def __init__(self, text: str = "", encoding: str = "utf-16") -> None:
        self._units_of, self._index_of = ENCODINGS[encoding]
        self._blocks: list[_Block] = []
        self.length = 0
        self.replace_all(text)

    def __str__(self) -> str:
        return "".join(["".join(block.texts) for block in self._blocks])

    def replace_all(self, text: str) -> None:
        """Replace the whole text."""
        self._blocks = self._cut(text).split()
        self.length = len(text)

    def edit(self, start: Position, end: Position, new: str) -> None:
        """Replace the text between two positions."""
        first = self._place(*start)
        last = first if end == start else self._place_after(start, first, end)
        if last < first:
            first, last = last, first
        at, chunk, begin = first
        if last[1] == chunk and last[0] == at:
            block = self._blocks[at]
            old = block.texts[chunk]
            text = f"{old[:begin]}{new}{old[last[2] :]}"
            size = len(text)
            if MIN_CHUNK <= size <= MAX_CHUNK and text[0] != "\n" and text[-1] != "\r":
                self.length += size - len(old)
                units = size if text.isascii() else self._units_of(text)
                block.texts[chunk] = text
                if units != block.units[chunk]:
                    block.all_units += units - block.units[chunk]
                    block.units[chunk] = units
                ends = text.count("\n") if "\r" not in text else _count_line_ends(text)
                if ends != block.ends[chunk]:
                    block.all_ends += ends - block.ends[chunk]
                    block.ends[chunk] = ends
                return
        self._replace_chunks(first, last, new)

    # ----------------------------------------------------------------------- lines

    @property
    def line_count(self) -> int:
        """The number of lines. What follows the last line end is a line only if it is not empty."""
        ends = sum([block.all_ends for block in self._blocks])
        last = self._blocks[-1].texts[-1]
        return ends + (last != "" and last[-1] not in "\r\n")

    def lines(self, first: int, last: int, max_length: int) -> str | None:
        """Return the lines from `first` to `last`, counted from 0, with their line ends.

        None if they have more than `max_length` characters.
        """
        at, chunk, begin = self._line_start(first)
        last_at, last_chunk, stop = self._line_start(last + 1)
        parts: list[str] = []
        length = -begin
        while (at, chunk) < (last_at, last_chunk):
            text = self._blocks[at].texts[chunk]
            length += len(text)
            if length > max_length:
                return None
            parts.append(text)
            chunk += 1
            if chunk == len(self._blocks[at].texts):
                at, chunk = at + 1, 0
        parts.append(self._blocks[last_at].texts[last_chunk][:stop])
        length += stop
        return None if length > max_length else "".join(parts)[begin:]

    # ------------------------------------------------------------------- positions

    def _line_start(self, line: int) -> _Place:
        """Return the place where a line begins, the end of the text if there is no such line."""
        if line <= 0:
            return 0, 0, 0
        for at, block in enumerate(self._blocks):  # noqa: B007 - used after the loop
            if line <= block.all_ends:
                break
            line -= block.all_ends
        else:
            return self._end()
        chunk = 0
        for count in block.ends:
            if line <= count:
                break
            line -= count
            chunk += 1
        return at, chunk, _nth_line_start(block.texts[chunk], line)

    def _place(self, line: int, character: int) -> _Place:
        """Return the place of a position."""
        if line < 0:
            return 0, 0, 0
        at, chunk, begin = place = self._line_start(line)
        if character <= 0:
            return place
        while True:
            block = self._blocks[at]
            text = block.texts[chunk]
            stop = text.find("\n", begin)
            if "\r" in text:
                carriage_return = text.find("\r", begin)
                if carriage_return >= 0 and (stop < 0 or carriage_return < stop):
                    stop = carriage_return
            is_last = stop >= 0
            if not is_last:
                stop = len(text)
            if block.units[chunk] == len(text):
                units = stop - begin
                if character <= units:
                    return at, chunk, begin + character
            else:
                rest = text[begin:stop]
                units = self._units_of(rest)
                if character <= units:
                    return at, chunk, begin + self._index_of(rest, character)
            if is_last:
                return at, chunk, stop
            character -= units
            next_place = self._skip_line(at, chunk, character)
            if next_place is None:
                return self._end()
            at, chunk, character = next_place
            begin = 0

    def _place_after(self, known: Position, place: _Place, position: Position) -> _Place:
        """Return the place of a position, with less work if it follows a known one closely on its line."""
        at, chunk, begin = place
        distance = position[1] - known[1]
        if position[0] == known[0] >= 0 and distance > 0 and known[1] >= 0:
            text = self._blocks[at].texts[chunk]
            between = text[begin : begin + distance]
            if len(between) == distance and "\n" not in between and between.isascii() and "\r" not in between:
                return at, chunk, begin + distance
        return self._place(*position)

    def _skip_line(self, at: int, chunk: int, character: int) -> tuple[int, int, int] | None:
        """Return the next chunk that has the end of this line or the position, and what is left to it.

        None if the text ends before.
        """
        chunk += 1
        while at < len(self._blocks):
            block = self._blocks[at]
            if chunk == 0 and block.all_ends == 0 and block.all_units < character:
                character -= block.all_units
                at += 1
                continue
            while chunk < len(block.texts):
                if block.ends[chunk] or block.units[chunk] >= character:
                    return at, chunk, character
                character -= block.units[chunk]
                chunk += 1
            at, chunk = at + 1, 0
        return None

    def _end(self) -> _Place:
        block = self._blocks[-1]
        return len(self._blocks) - 1, len(block.texts) - 1, len(block.texts[-1])

    # ---------------------------------------------------------------------- chunks

    def _replace_chunks(self, first: _Place, last: _Place, new: str) -> None:
        """Replace the text between two places, and cut what the chunks of both have then into new chunks."""
        blocks = self._blocks
        (at, chunk, begin), (last_at, last_chunk, stop) = first, last
        removed = self._distance(first, last)
        text = blocks[at].texts[chunk][:begin] + new + blocks[last_at].texts[last_chunk][stop:]
        # A neighbour is cut anew, too, if the text is short, or if it has the other half of a "\r\n".
        before, after = self._before(at, chunk), self._after(last_at, last_chunk)
        if before is not None and (len(text) < MIN_CHUNK or text[:1] == "\n"):
            at, chunk = before
            text = blocks[at].texts[chunk] + text
        if after is not None and (len(text) < MIN_CHUNK or text[-1:] == "\r"):
            last_at, last_chunk = after
            text += blocks[last_at].texts[last_chunk]
        pieces = self._cut(text)
        block = blocks[at]
        if at == last_at:
            block.replace(chunk, last_chunk + 1, pieces)
        else:
            tail = blocks[last_at]
            tail.replace(0, last_chunk + 1, _Block([], [], []))
            block.replace(chunk, len(block.texts), pieces)
            blocks[at + 1 : last_at + 1] = [tail] if tail.texts else []
        if len(block.texts) > MAX_BLOCK:
            blocks[at : at + 1] = block.split()
        self.length += len(new) - removed

    def _before(self, at: int, chunk: int) -> tuple[int, int] | None:
        if chunk:
            return at, chunk - 1
        return (at - 1, len(self._blocks[at - 1].texts) - 1) if at else None

    def _after(self, at: int, chunk: int) -> tuple[int, int] | None:
        if chunk + 1 < len(self._blocks[at].texts):
            return at, chunk + 1
        return (at + 1, 0) if at + 1 < len(self._blocks) else None

    def _distance(self, first: _Place, last: _Place) -> int:
        """Return how many characters are between two places."""
        (at, chunk, begin), (last_at, last_chunk, stop) = first, last
        if at == last_at:
            between = self._blocks[at].texts[chunk:last_chunk]
        else:
            between = self._blocks[at].texts[chunk:] + self._blocks[last_at].texts[:last_chunk]
            for block in self._blocks[at + 1 : last_at]:
                between += block.texts
        return sum(map(len, between)) - begin + stop

    def _cut(self, text: str) -> _Block:
        """Return a text as chunks, at least one."""
        texts: list[str] = []
        if len(text) <= MAX_CHUNK:
            texts.append(text)
        else:
            at = 0
            while at < len(text):
                stop = at + TARGET_CHUNK
                if text[stop - 1 : stop + 1] == "\r\n":
                    stop += 1
                texts.append(text[at:stop])
                at = stop
        return _Block(texts, list(map(_count_line_ends, texts)), list(map(self._units_of, texts)))


def _nth_line_start(text: str, line: int) -> int:
    """Return where a line begins, counted from 0, in a text that has so many line ends."""
    line_end = "\n"
    if "\r" in text and text.count("\r") != text.count("\r\n"):
        if "\n" in text:  # mixed
            ends = _LINE_END.finditer(text)
            return [next(ends).end() for _ in range(line)][-1]
        line_end = "\r"
    begin = -1
    for _ in range(line):
        begin = text.find(line_end, begin + 1)
    return begin + 1


def _count_line_ends(text: str) -> int:
    count = text.count("\n")
    return count + text.count("\r") - text.count("\r\n") if "\r" in text else count
