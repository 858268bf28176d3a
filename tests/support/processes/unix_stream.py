"""A Unix socket as a stream of bytes, over asyncio's own transport.

anyio's wakes a future that may be cancelled in the same turn of the loop: closing a connection on which
something is just coming then fails, and with it the test.
"""

import asyncio

import anyio
from anyio.abc import ByteStream


class UnixStream(ByteStream):
    """One connection. What was sent has left this process when `send` returns."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=0)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            data = await self._reader.read(max_bytes)
        except OSError as error:
            raise anyio.BrokenResourceError from error
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        if self._writer.is_closing():
            raise anyio.ClosedResourceError
        self._writer.write(item)
        try:
            await self._writer.drain()
        except OSError as error:
            raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        self._writer.write_eof()

    async def aclose(self) -> None:
        self._writer.transport.abort()


async def connect_unix(path: str) -> UnixStream:
    """Connect to a Unix socket."""
    return UnixStream(*await asyncio.open_unix_connection(path))
