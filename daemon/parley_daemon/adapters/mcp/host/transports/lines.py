"""Cuts the output of a server into lines of limited length."""

import re

from parley_daemon.adapters.mcp.host.transports.shortening import StringShortener

MAX_LINE = 16 * 1024 * 1024
"""Bytes of a line in memory. In a longer one, long strings are shortened; if it still is, it is dropped."""

_ENDS = 4096
_ID_AT_START = re.compile(
    rb'^\{[^{}"]*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15}|"[^"\\]{1,100}")\s*[,}]'
)
_ID_AT_END = re.compile(
    rb'[,{]\s*"id"\s*:\s*(\d{1,15}|"[^"\\]{1,100}")\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$'
)


class LineReader:
    """Cuts bytes into lines. `dropped`: lines that were too long, each with its first and last bytes."""

    def __init__(self) -> None:
        self.dropped: list[tuple[bytes, bytes]] = []
        self._line = bytearray()
        self._shortener: StringShortener | None = None
        self._is_dropping = False
        self._start = b""
        self._end = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete with these bytes, without their line feeds."""
        lines: list[bytes] = []
        position = 0
        while (end := data.find(b"\n", position)) >= 0:
            self._add(data[position:end])
            self._finish(lines)
            position = end + 1
        self._add(data[position:])
        return lines

    def _add(self, piece: bytes) -> None:
        if self._shortener is None:
            self._line += piece
            if len(self._line) <= MAX_LINE:
                return
            self._shortener = StringShortener()
            piece = bytes(self._line)
            self._start = piece[:_ENDS]
            self._line.clear()
        self._end = (self._end + piece[-_ENDS:])[-_ENDS:]
        if not self._is_dropping:
            self._line += self._shortener.feed(piece)
            if len(self._line) > MAX_LINE:
                self._is_dropping = True
                self._line.clear()

    def _finish(self, lines: list[bytes]) -> None:
        if self._shortener is not None:
            self._line += self._shortener.feed(b"\n")
        if self._is_dropping:
            self.dropped.append((self._start, self._end))
        else:
            lines.append(bytes(self._line))
        self._line.clear()
        self._shortener = None
        self._is_dropping = False
        self._end = b""


def find_id(start: bytes, end: bytes) -> int | str | None:
    """Return the id of the response that a dropped line was, None if it cannot be told."""
    found = _ID_AT_START.match(start) or _ID_AT_END.search(end)
    if found is None:
        return None
    value = found[1].decode("utf-8", "replace")
    return value[1:-1] if value.startswith('"') else int(value)
