"""The byte streams to and from clients: accepted sockets, and the standard streams of a parent process.

Theory of operation. A transport passes the bytes that arrive to its `Receiver` (a connection) on the event
loop, and writes without blocking. Flow control goes both ways: asyncio calls `pause_writing`
when more than WRITE_BUFFER bytes are buffered, and the writer then waits in `wait_until_writable`; a
connection whose client does not read calls `pause_reading`. A transport whose peer is gone ignores writes and
is always writable, so that no writer waits forever.
"""

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from typing import Any, Protocol

import anyio

WRITE_BUFFER = 256 * 1024
"""Bytes that a transport buffers before its writer has to wait."""

_CLOSE_SECONDS = 2.0


class Receiver(Protocol):
    """Receives the bytes of a client."""

    def feed(self, data: bytes) -> None:
        """Handle bytes of the client."""
        ...

    def eof(self) -> None:
        """Handle the end of the input."""
        ...


class _WritingProtocol(asyncio.Protocol):
    """The writing side of a transport, with asyncio's flow control."""

    def __init__(self) -> None:
        self._writable = anyio.Event()
        self._writable.set()
        self._writer: Any = None

    def pause_writing(self) -> None:
        self._writable = anyio.Event()

    def resume_writing(self) -> None:
        self._writable.set()

    def write(self, data: bytes) -> None:
        """Send or buffer the bytes."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    @property
    def is_writable(self) -> bool:
        """Whether the buffer has room now."""
        return self._writable.is_set()

    async def wait_until_writable(self) -> None:
        """Wait until the buffer has room."""
        await self._writable.wait()

    def close(self) -> None:
        """Send what is buffered, for at most two seconds, and close."""
        if self._writer is not None:
            self._writer.close()
            asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._writer.abort)

    def abort(self) -> None:
        """Close at once and drop the buffer."""
        if self._writer is not None:
            self._writer.abort()


class SocketTransport(_WritingProtocol):
    """One accepted socket. `on_open` is called with it once it is open and returns its receiver."""

    def __init__(self, on_open: Callable[["SocketTransport"], Receiver]) -> None:
        super().__init__()
        self._on_open = on_open
        self._receiver: Receiver | None = None

    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._writer = transport
        self._receiver = self._on_open(self)

    def data_received(self, data: bytes) -> None:
        assert self._receiver is not None
        self._receiver.feed(data)

    def eof_received(self) -> bool:
        assert self._receiver is not None
        self._receiver.eof()
        return True  # keep the writing side open until the responses are written

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self._receiver is not None:
            self._receiver.eof()

    def pause_reading(self) -> None:
        """Stop reading."""
        if not self._writer.is_closing():
            self._writer.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._writer.is_closing():
            self._writer.resume_reading()


class _ReadingProtocol(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def data_received(self, data: bytes) -> None:
        self._receiver.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.eof()


class PipeTransport(_WritingProtocol):
    """A pair of file descriptors: the standard input and output that a parent process provides.

    The loop polls pipes and sockets. It cannot poll anything else (a file, a terminal), so each of those is
    read or written by a thread of its own. A shared pool could be blocked by reads that never return.
    """

    def __init__(self, input_fd: int, output_fd: int) -> None:
        super().__init__()
        self._input_fd = input_fd
        self._output_fd = output_fd
        self._source: Any = None

    async def open(self, receiver: Receiver) -> None:
        """Begin to read and write."""
        loop = asyncio.get_running_loop()
        if _is_pollable(self._output_fd):
            output = os.fdopen(self._output_fd, "wb", buffering=0)
            self._writer, _ = await loop.connect_write_pipe(lambda: self, output)
            self._writer.set_write_buffer_limits(high=WRITE_BUFFER)
        else:
            self._writer = _ThreadWriter(self._output_fd, self)
        if _is_pollable(self._input_fd):
            source = os.fdopen(self._input_fd, "rb", buffering=0)
            self._source, _ = await loop.connect_read_pipe(lambda: _ReadingProtocol(receiver), source)
        else:
            self._source = _ThreadReader(self._input_fd, receiver)

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()

    def pause_reading(self) -> None:
        """Stop reading."""
        if not self._source.is_closing():
            self._source.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._source.is_closing():
            self._source.resume_reading()

    def close(self) -> None:
        """Stop reading, send what is buffered, and close."""
        if self._source is not None:
            self._source.close()
        super().close()


def _is_pollable(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class _ThreadReader:
    """Reads a file or terminal in a daemon thread: a read that hangs does not keep the process alive."""

    def __init__(self, fd: int, receiver: Receiver) -> None:
        self._may_read = threading.Event()
        self._may_read.set()
        self._closing = False
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(fd, receiver, loop), name="stdin", daemon=True).start()

    def _run(self, fd: int, receiver: Receiver, loop: asyncio.AbstractEventLoop) -> None:
        data = b" "
        while data and not self._closing:
            self._may_read.wait()
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            try:
                if data:
                    loop.call_soon_threadsafe(receiver.feed, data)
                else:
                    loop.call_soon_threadsafe(receiver.eof)
            except RuntimeError:  # the loop has ended, and the process is about to
                return

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._may_read.clear()

    def resume_reading(self) -> None:
        self._may_read.set()

    def close(self) -> None:
        self._closing = True


class _ThreadWriter:
    """Writes a file or terminal in a thread. Its buffer is limited as that of an asyncio transport is."""

    def __init__(self, fd: int, protocol: _WritingProtocol) -> None:
        self._fd = fd
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._buffer: list[bytes] = []
        self._size = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="stdout", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        with self._changed:
            self._buffer.append(data)
            self._size += len(data)
            if self._size > WRITE_BUFFER:
                self._protocol.pause_writing()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._buffer and not self._closing:
                    self._changed.wait()
                if not self._buffer:
                    return
                data = b"".join(self._buffer)
                self._buffer.clear()
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                self._closing = True
            with self._changed:
                self._size -= len(data)
            try:
                self._loop.call_soon_threadsafe(self._protocol.resume_writing)
            except RuntimeError:
                return

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_CLOSE_SECONDS)

    def abort(self) -> None:
        with self._changed:
            self._buffer.clear()
            self._closing = True
            self._changed.notify()
