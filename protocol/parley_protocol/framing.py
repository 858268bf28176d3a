"""The framing of LSP's base protocol: cuts a byte stream into message bodies. Does no I/O.

Theory of operation. A frame is a header, a blank line, and a body of `Content-Length` bytes (LSP 3.17, "Base
Protocol"). `FrameDecoder.feed` takes whatever bytes have come and returns the bodies that are complete; the
rest waits for the next call. The time is linear in the number of bytes, however small the pieces are. Nearly
all frames have the header `Content-Length: N` and come in one piece, so this case has a shortcut.

The decoder accepts what real peers send: header names in any case, no space after the colon, a bare LF as the
line end, and a `Content-Type`. It refuses everything that would make the place of the next frame uncertain: a
line that is no header, a missing or repeated length, and sizes above the limits. After such an error the
stream cannot be read any further.
"""

import re
from typing import Final

MAX_HEADER: Final = 8 * 1024
"""The maximum size of one header in bytes, its blank line included."""

MAX_BODY: Final = 64 * 1024 * 1024
"""The maximum size of one body in bytes."""

_PLAIN = b"Content-Length: "
_END = b"\r\n\r\n"
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_QUOTED = 40
_SHORT = 48


class FrameError(Exception):
    """The stream has bytes that are no frame, or a frame above a limit; it cannot be read any further.

    `bodies` are those that the same call of `feed` had completed before. They have yet to be processed.
    """

    def __init__(self, message: str, bodies: list[bytes] | None = None) -> None:
        super().__init__(message)
        self.bodies: list[bytes] = bodies or []


def encode_frame(body: bytes) -> bytes:
    """Return the frame of a body."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class FrameDecoder:
    """Cuts a byte stream into bodies. `max_header` and `max_body` are limits in bytes."""

    __slots__ = (
        "_body",
        "_error",
        "_header_size",
        "_length",
        "_line",
        "_max_body",
        "_max_header",
        "_missing",
    )

    def __init__(self, *, max_header: int = MAX_HEADER, max_body: int = MAX_BODY) -> None:
        self._max_header = max_header
        self._max_body = max_body
        self._header_size = 0
        self._line = bytearray()
        self._length: int | None = None
        self._missing = 0
        self._body = bytearray()
        self._error: str | None = None

    def allow(self, max_body: int) -> None:
        """Change the maximum size of a body, from the next frame on."""
        self._max_body = max_body

    @property
    def is_mid_frame(self) -> bool:
        """Whether a frame has begun and is not complete."""
        return self._header_size > 0 or self._missing > 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the bodies that they complete.

        Raises:
            FrameError: the stream is broken. Every later call raises it too.
        """
        if self._error is not None:
            raise FrameError(self._error)
        bodies: list[bytes] = []
        try:
            self._cut(data, bodies)
        except FrameError as error:
            self._error = str(error)
            self._line.clear()
            self._body.clear()
            raise FrameError(self._error, bodies) from None
        return bodies

    def _cut(self, data: bytes, bodies: list[bytes]) -> None:
        at, end = 0, len(data)
        while at < end:
            if self._missing:
                at = self._take_body(data, at, bodies)
                continue
            if self._header_size == 0 and self._max_header >= _SHORT and data.startswith(_PLAIN, at):
                # The shortcut: the usual header, spelled as usual, complete in these bytes.
                stop = data.find(b"\n", at + len(_PLAIN), at + _SHORT) - 1
                if stop > 0 and data.startswith(_END, stop):
                    self._length = self._parse_length(data[at + len(_PLAIN) : stop])
                    self._begin_body(bodies)
                    at = stop + len(_END)
                    continue
            at = self._take_line(data, at, bodies)

    def _take_line(self, data: bytes, at: int, bodies: list[bytes]) -> int:
        """Take header bytes up to the end of the line or of the data. Return the position after them."""
        room = self._max_header - self._header_size
        newline = data.find(b"\n", at, at + room + 1)
        stop = newline + 1 if newline >= 0 else len(data)
        if stop - at > room:
            raise FrameError(f"The header is longer than {self._max_header} bytes.")
        self._header_size += stop - at
        self._line += data[at:stop]
        if newline >= 0:
            line = bytes(self._line).rstrip(b"\r\n")
            self._line.clear()
            if line:
                self._read_header(line)
            else:
                self._begin_body(bodies)
        return stop

    def _read_header(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            shown = line[:_QUOTED].decode("ascii", "backslashreplace")
            raise FrameError(f"Not a header line: {shown!r}.")
        if name.lower() == b"content-length":
            length = self._parse_length(value)
            if self._length is not None and self._length != length:
                raise FrameError(f"Two different values of Content-Length: {self._length} and {length}.")
            self._length = length

    def _parse_length(self, value: bytes) -> int:
        digits = value.strip(b" \t")
        if not digits.isdigit():
            shown = value[:_QUOTED].decode("ascii", "backslashreplace").strip()
            raise FrameError(f"Content-Length is not a number of bytes: {shown!r}.")
        digits = digits.lstrip(b"0")
        # The number of digits is checked first: int() raises an error of its own for thousands of them.
        if len(digits) > len(str(self._max_body)) or int(digits or b"0") > self._max_body:
            raise FrameError(f"The body is longer than {self._max_body} bytes.")
        return int(digits or b"0")

    def _begin_body(self, bodies: list[bytes]) -> None:
        if self._length is None:
            raise FrameError("The header has no Content-Length.")
        self._missing = self._length
        self._length = None
        self._header_size = 0
        if self._missing == 0:
            bodies.append(b"")

    def _take_body(self, data: bytes, at: int, bodies: list[bytes]) -> int:
        """Take body bytes up to the end of the body or of the data. Return the position after them."""
        stop = min(at + self._missing, len(data))
        taken = stop - at
        if taken == self._missing and not self._body:
            bodies.append(data[at:stop])
        else:
            with memoryview(data) as view:
                self._body += view[at:stop]
            if taken == self._missing:
                bodies.append(bytes(self._body))
                self._body = bytearray()
        self._missing -= taken
        return stop
