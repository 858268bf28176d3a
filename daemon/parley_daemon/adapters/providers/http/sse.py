"""A parser of server-sent events, from network reads to payloads, as bytes.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

Theory of operation. Sans-io: `feed` takes one network read and returns what it completed; `close` returns
what the end of the stream completes. A read may end anywhere, also inside a character or a line end, so the
parser keeps the unfinished line, the data lines of the unfinished event, and its name. It works on bytes
throughout: only a complete payload is ever decoded, by the dialect.

There are two paths. Most reads hold whole events of one form, `data: ...` and a blank line, or the same with
an `event:` line before it. Those are cut by one `split` (`_split_uniform`), which costs a fraction of the
general rules. The number of line ends in the read proves that nothing else is in it. When there is something
else, the read goes line by line through the general rules (`_feed_lines`, `_take_line`). Both give the same
result.

Some model servers report a failure outside of the format: in a field `error: {...}`, or in a bare line of
JSON with an `error`. Either becomes an event named "error".

Memory is bounded: an event larger than the limit raises EventTooLargeError. Fields `id` and `retry` are
ignored, since a model call is never resumed. Comments are counted: they are signs of life.
"""

import msgspec

MAX_EVENT_BYTES = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_END, _CRLF_END = b"\n\n", b"\r\n\r\n"


class EventTooLargeError(ValueError):
    """One event outgrew the limit. The parser must not be fed again.

    `beginning` is what has come of its payload; empty if the framing does not say.
    """

    def __init__(self, limit: int, beginning: bytes = b"") -> None:
        super().__init__(f"an event of the stream is larger than {limit:,} bytes")
        self.limit = limit
        self.beginning = beginning


class Payloads(msgspec.Struct, gc=False):
    """What one read completed: the payloads in order, event names by position, the number of comments."""

    data: list[bytes]
    names: dict[int, str] = {}
    comments: int = 0


class SseParser:
    """The parser of one event stream. Linear in what it is fed; holds at most one event."""

    __slots__ = ("_bom", "_data", "_data_size", "_max", "_name", "_partial", "_partial_size", "_skip_lf")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._bom: bytes | None = b""  # the start of the stream as long as it may be a byte order mark
        self._skip_lf = False  # the last read ended in CR: an LF now is the same line end
        self._partial: list[bytes] = []  # the unfinished line
        self._partial_size = 0
        self._data: list[bytes] = []  # the data lines of the unfinished event
        self._data_size = 0
        self._name = ""

    def feed(self, chunk: bytes) -> Payloads:
        """Take one read and return what it completed.

        Raises:
            EventTooLargeError: an event is larger than the limit.
        """
        received = Payloads([])
        if self._bom is not None:
            chunk = self._strip_bom(chunk)
        blank = _CRLF_END if b"\r" in chunk else _END
        start = 0
        if self._partial or self._data or self._name or self._skip_lf:
            start = chunk.find(blank) + len(blank)
            if start < len(blank):
                self._feed_lines(chunk, received)
                return received
            self._feed_lines(chunk[:start], received)
        end = chunk.rfind(blank) + len(blank)
        if end > start:
            events = chunk[start:end]
            if len(events) > self._max or not _split_uniform(events, received):
                self._feed_lines(events, received)
            start = end
        if start < len(chunk):
            self._feed_lines(chunk[start:], received)
        return received

    def close(self) -> Payloads:
        """Return the last event of a stream that ended without its blank line or line end."""
        received = Payloads([])
        if self._partial:
            self._take_line(self._complete_line(b""), received)
        self._take_line(b"", received)
        return received

    def _strip_bom(self, chunk: bytes) -> bytes:
        head = (self._bom or b"") + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._bom = head
            return b""
        self._bom = None
        return head.removeprefix(_BOM)

    def _feed_lines(self, chunk: bytes, received: Payloads) -> None:
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return
        lines = chunk.splitlines()  # of bytes: at LF, CR and CRLF only
        if chunk[-1] in b"\r\n":
            self._skip_lf = chunk[-1] == 0x0D
            rest = b""
        else:
            rest = lines.pop()
        if self._partial and lines:
            lines[0] = self._complete_line(lines[0])
        for line in lines:
            self._take_line(line, received)
        if rest:
            self._partial.append(rest)
            self._partial_size += len(rest)
            self._check_size()

    def _complete_line(self, rest: bytes) -> bytes:
        line = b"".join([*self._partial, rest])
        self._partial.clear()
        self._partial_size = 0
        return line

    def _take_line(self, line: bytes, received: Payloads) -> None:
        if not line:
            if self._data:
                if self._name:
                    received.names[len(received.data)] = self._name
                received.data.append(b"\n".join(self._data))
                self._data.clear()
            self._name = ""
            self._data_size = 0
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._data_size += len(value) + 1
            self._check_size()
        elif name == b"event":
            self._name = value.removeprefix(b" ").decode("utf-8", "replace")
        elif not name:
            received.comments += 1
        elif name == b"error" or _is_error(line):
            if self._data:
                self._take_line(b"", received)  # what came before it
            received.names[len(received.data)] = "error"
            received.data.append(value.strip() if name == b"error" else line)

    def _check_size(self) -> None:
        if self._data_size + self._partial_size > self._max:
            line = b"".join(self._partial)
            name, _, value = line.partition(b":")
            data = [*self._data, *([value.removeprefix(b" ")] if name == b"data" else [])]
            raise EventTooLargeError(self._max, b"\n".join(data))


def _is_error(line: bytes) -> bool:
    """Return whether a line is a JSON object with an `error`."""
    if not line.startswith(b"{") or b'"error"' not in line:
        return False
    try:
        return bool(msgspec.json.decode(line, type=dict[str, object]).get("error"))
    except (ValueError, RecursionError):
        return False


def _split_uniform(events: bytes, received: Payloads) -> bool:
    """Split whole events of one data line each; False, and nothing is added, when the form is another."""
    if events.startswith(b"event: "):
        return _split_named(events, received)
    blank = _CRLF_END if events.endswith(_CRLF_END) else _END
    if events.startswith(b"data: "):
        prefix = b"data: "
    elif events.startswith(b"data:") and blank + b"data: " not in events:
        prefix = b"data:"
    else:
        return False
    payloads = events[len(prefix) : -len(blank)].split(blank + prefix)
    # Each line end belongs to a blank line that was split at: no second data line, no comment, no name.
    ends = 2 * len(payloads)
    if events.count(b"\n") != ends or events.count(b"\r") != (ends if blank is _CRLF_END else 0):
        return False
    received.data += payloads
    return True


def _split_named(events: bytes, received: Payloads) -> bool:
    pieces = events[len(b"event: ") : -len(_END)].split(b"\n\nevent: ")
    # Three line ends for each: one behind the name, then the data's and the blank line's.
    if events.count(b"\n") != 3 * len(pieces) or b"\r" in events:
        return False
    names: dict[int, str] = {}
    payloads: list[bytes] = []
    at = len(received.data)
    for piece in pieces:
        name, prefix, payload = piece.partition(b"\ndata: ")
        if not prefix:
            return False
        payloads.append(payload)
        if name:
            names[at] = name.decode("utf-8", "replace")
        at += 1
    received.data += payloads
    received.names |= names
    return True
