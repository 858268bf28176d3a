"""A lean client: blocking reads on file descriptors, typed decoding, one stamp a read.

It must cost little beside what it measures, and must not share code with the clients that are shipped. Knows
the frame and the envelope; what a method means is its caller's business.
"""

import os
import select
import time
from typing import Any

import msgspec

from parley_protocol.framing import FrameDecoder, encode_frame

READ_AT_ONCE = 256 * 1024
PATIENCE_SECONDS = 120.0


class Part(msgspec.Struct, gc=False):
    """A streamed piece; only text is measured."""

    text: str = ""


class Value(msgspec.Struct, gc=False, rename="camel"):
    """An event."""

    type: str = ""
    part: Part | None = None
    outcome: str = ""


class Progress(msgspec.Struct, gc=False):
    """The params of a notification."""

    token: int | str | None = None
    value: Value | None = None


class Incoming(msgspec.Struct):
    """Whatever the daemon sends."""

    id: int | None = None
    params: Progress | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class RefusedError(Exception):
    """A request was answered with an error."""


class Driver:
    """One connection. `read_ns` is when the last bytes were read, in nanoseconds of CLOCK_MONOTONIC."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_ns = 0
        self.written_ns = 0
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._poll = select.poll()
        self._poll.register(read_fd, select.POLLIN)
        self._frames = FrameDecoder()
        self._decode = msgspec.json.Decoder(Incoming).decode
        self._last_id = 0

    def send(self, method: str, params: object) -> int:
        """Send a request and return its id; `written_ns` is when."""
        self._last_id += 1
        self._write({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        return self._last_id

    def notify(self, method: str, params: object) -> None:
        """Send a notification."""
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    def read(self) -> list[Incoming]:
        """Return the messages that one read completes.

        Raises:
            TimeoutError: nothing came for PATIENCE_SECONDS.
            ConnectionError: the daemon has closed the connection.
        """
        if not self._poll.poll(PATIENCE_SECONDS * 1000):
            raise TimeoutError(f"nothing came for {PATIENCE_SECONDS:g} s")
        data = os.read(self._read_fd, READ_AT_ONCE)
        self.read_ns = time.monotonic_ns()
        if not data:
            raise ConnectionError("the connection was closed")
        return [self._decode(body) for body in self._frames.feed(data)]

    @property
    def has_more(self) -> bool:
        """Whether something can be read at once."""
        return bool(self._poll.poll(0))

    def answer(self, id: int) -> Any:
        """Wait for the answer to a request, pass over everything else, return the result.

        Raises:
            RefusedError: it was answered with an error.
        """
        while True:
            for message in self.read():
                if message.id == id:
                    if message.error:
                        raise RefusedError(bytes(message.error).decode())
                    return msgspec.json.decode(message.result)

    def call(self, method: str, params: object) -> Any:
        """Send a request and return its result."""
        return self.answer(self.send(method, params))

    def initialize(self) -> None:
        """Greet."""
        self.call("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        self.notify("initialized", {})

    def _write(self, message: object) -> None:
        view = memoryview(encode_frame(msgspec.json.encode(message)))
        self.written_ns = time.monotonic_ns()
        while view:
            view = view[os.write(self._write_fd, view) :]
