"""Shortens the strings of JSON while it is read, so that a message of any length fits into memory.

Theory of operation. A server may answer with 50 MB of text in one message. Only head and tail of it are of
use, but the message has to stay valid, or the call would have no result. So the bytes are scanned for the
beginnings and ends of strings; of a string that is longer than HEAD and TAIL together, the middle is replaced
by a mark. A cut may fall into an escape sequence or a character: then up to CUT_TRIES more bytes go.
"""

import json
import re

HEAD = TAIL = 64 * 1024
"""Bytes of a long string that are kept of its beginning and of its end."""

CUT_TRIES = 16

_QUOTE = 0x22
_REST = re.compile(rb'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+')
"""The rest of a string. A line feed ends it, too."""
_WHOLE = re.compile(rb'(?:[^"]*+"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+")*+')
"""Strings with what is around them. In a piece of at most _PIECE bytes, none of them is too long."""
_PIECE = HEAD


class StringShortener:
    """Shortens the strings of one JSON text that comes in pieces. A line feed begins a new text."""

    def __init__(self) -> None:
        self._is_inside = False
        self._is_escaped = False
        self._size = 0
        self._head = bytearray()
        self._tail = bytearray()
        self.has_cut = False

    def feed(self, data: bytes) -> bytes:
        """Return what can be passed on after these bytes. A string is passed on at its end."""
        return b"".join([self._feed(data[start : start + _PIECE]) for start in range(0, len(data), _PIECE)])

    def _feed(self, data: bytes) -> bytes:
        out = bytearray()
        position = 0
        while position < len(data):
            if not self._is_inside:
                match = _WHOLE.match(data, position)
                if match is not None:
                    out += match[0]
                    position = match.end()
                quote = data.find(b'"', position)
                if quote < 0:
                    out += data[position:]
                    break
                out += data[position : quote + 1]
                position = quote + 1
                self._is_inside = True
                self._size = 0
                continue
            end = self._find_end(data, position)
            self._keep(data[position:end])
            position = end
            if end < len(data):
                out += self._finish()
                if data[end] == _QUOTE:
                    out += b'"'
                    position = end + 1
                self._is_inside = False
        return bytes(out)

    def _find_end(self, data: bytes, start: int) -> int:
        """Return where the string ends: at its quote, or at a line feed, which it cannot have."""
        if self._is_escaped:
            self._is_escaped = False
            start += 1
        match = _REST.match(data, start)
        end = start if match is None else match.end()
        if data[end : end + 1] == b"\\":  # the last byte: what it escapes comes with the next ones
            self._is_escaped = True
            return end + 1
        return end

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        space = HEAD - len(self._head)
        if space > 0:
            self._head += piece[:space]
            piece = piece[space:]
        self._tail += piece
        if len(self._tail) > 4 * TAIL:
            del self._tail[:-TAIL]

    def _finish(self) -> bytes:
        """Return the string that has ended, without its quotes."""
        head, tail = bytes(self._head), bytes(self._tail)
        self._head.clear()
        self._tail.clear()
        if self._size <= HEAD + TAIL:
            return head + tail
        self.has_cut = True
        head, tail = _end_validly(head), _begin_validly(tail[-TAIL:])
        return head + mark(self._size - len(head) - len(tail)).encode("ascii") + tail


def mark(omitted: int) -> str:
    """Return what stands for bytes that are left out, as it is written in JSON."""
    return f"\\n[{omitted} bytes are not shown here]\\n"


def _end_validly(head: bytes) -> bytes:
    for size in range(len(head), len(head) - CUT_TRIES, -1):
        if _is_valid(head[:size]):
            return head[:size]
    return b""


def _begin_validly(tail: bytes) -> bytes:
    for start in range(CUT_TRIES):
        if _is_valid(tail[start:]):
            return tail[start:]
    return b""


def _is_valid(text: bytes) -> bool:
    try:
        json.loads(b'"' + text + b'"', strict=False).encode("utf-8")
    except ValueError:  # an escape sequence, a character or a pair of surrogates is cut
        return False
    return True
