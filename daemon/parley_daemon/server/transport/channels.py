"""Sockets, pipes and threads as channels: bytes in and out of a connection. Knows no message."""

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from typing import Any, Protocol

import anyio

WRITE_AHEAD = 256 * 1024
"""Bytes that a transport buffers before its writer waits."""

_CLOSE_SECONDS = 2.0


class Reader(Protocol):
    """Who takes the bytes of a channel: a connection."""

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        ...

    def eof(self) -> None:
        """There will be no more."""
        ...


class _Writable(asyncio.Protocol):
    """Flow control of the writing side, as asyncio tells it."""

    def __init__(self) -> None:
        self._room = anyio.Event()
        self._room.set()
        self._writer: Any = None

    def pause_writing(self) -> None:
        self._room = anyio.Event()

    def resume_writing(self) -> None:
        self._room.set()

    def write(self, data: bytes) -> None:
        """Send or buffer the bytes."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    @property
    def writable(self) -> bool:
        """Whether the buffer is below its mark."""
        return self._room.is_set()

    async def drained(self) -> None:
        """Wait until the buffer is below its mark."""
        await self._room.wait()

    def close(self) -> None:
        """Send what is buffered, for a while, and close."""
        if self._writer is not None:
            self._writer.close()
            asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._writer.abort)

    def abort(self) -> None:
        """Close at once."""
        if self._writer is not None:
            self._writer.abort()


class SocketChannel(_Writable):
    """One accepted socket. `made` is called with it once it is open and returns who reads it."""

    def __init__(self, made: Callable[["SocketChannel"], Reader]) -> None:
        super().__init__()
        self._made = made
        self._reader: Reader | None = None

    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(high=WRITE_AHEAD)
        self._writer = transport
        self._reader = self._made(self)

    def data_received(self, data: bytes) -> None:
        assert self._reader is not None
        self._reader.feed(data)

    def eof_received(self) -> bool:
        assert self._reader is not None
        self._reader.eof()
        return True  # the other direction stays open until the answers are out

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.set()
        if self._reader is not None:
            self._reader.eof()

    def pause_reading(self) -> None:
        """Stop reading."""
        if not self._writer.is_closing():
            self._writer.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._writer.is_closing():
            self._writer.resume_reading()


class _PipeReader(asyncio.Protocol):
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._reader.eof()


class PipeChannel(_Writable):
    """A pair of file descriptors: what a parent process gave as standard input and output.

    Pipes and sockets are polled by the loop; anything else (a file, a terminal) cannot be, and is read and
    written by a thread of its own each, never by a shared pool.
    """

    def __init__(self, input_fd: int, output_fd: int) -> None:
        super().__init__()
        self._input_fd = input_fd
        self._output_fd = output_fd
        self._source: Any = None

    async def open(self, reader: Reader) -> None:
        """Begin to read and write."""
        loop = asyncio.get_running_loop()
        if _pollable(self._output_fd):
            output = os.fdopen(self._output_fd, "wb", buffering=0)
            self._writer, _ = await loop.connect_write_pipe(lambda: self, output)
            self._writer.set_write_buffer_limits(high=WRITE_AHEAD)
        else:
            self._writer = _ThreadWriter(self._output_fd, self)
        if _pollable(self._input_fd):
            source = os.fdopen(self._input_fd, "rb", buffering=0)
            self._source, _ = await loop.connect_read_pipe(lambda: _PipeReader(reader), source)
        else:
            self._source = _ThreadReader(self._input_fd, reader)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.set()

    def pause_reading(self) -> None:
        """Stop reading."""
        if not self._source.is_closing():
            self._source.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._source.is_closing():
            self._source.resume_reading()

    def close(self) -> None:
        """Stop reading, send what is buffered, close."""
        if self._source is not None:
            self._source.close()
        super().close()


def _pollable(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class _ThreadReader:
    """Reads a file or terminal in a daemon thread: one that hangs in a read does not keep the process."""

    def __init__(self, fd: int, reader: Reader) -> None:
        self._go = threading.Event()
        self._go.set()
        self._closing = False
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(fd, reader, loop), name="stdin", daemon=True).start()

    def _run(self, fd: int, reader: Reader, loop: asyncio.AbstractEventLoop) -> None:
        data = b" "
        while data and not self._closing:
            self._go.wait()
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            try:
                if data:
                    loop.call_soon_threadsafe(reader.feed, data)
                else:
                    loop.call_soon_threadsafe(reader.eof)
            except RuntimeError:  # the loop is gone, and the process will be
                return

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._go.clear()

    def resume_reading(self) -> None:
        self._go.set()

    def close(self) -> None:
        self._closing = True


class _ThreadWriter:
    """Writes a file or terminal in a thread; the writer waits while WRITE_AHEAD bytes are on their way."""

    def __init__(self, fd: int, flow: _Writable) -> None:
        self._fd = fd
        self._flow = flow
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
            if self._size > WRITE_AHEAD:
                self._flow.pause_writing()
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
                self._loop.call_soon_threadsafe(self._flow.resume_writing)
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
