"""A socket between a client and a daemon whose connections a test can cut at any moment."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio


class Relay:
    """Passes bytes on in both directions. `address` is where clients connect, `path` the same as a path.

    `most` cuts each later connection by itself, once so many bytes of the daemon have come over it.
    """

    def __init__(self, path: str, target: str) -> None:
        self.path = path
        self.address = f"unix:{path}"
        self.most: int | None = None
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """End all connections as they are; new ones are welcome."""
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection."""
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._open |= both
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_pass_on, reader, far_writer)
            await _pass_on(far_reader, writer, self.most)
            far_writer.transport.abort()  # the daemon has no more to say, or may not
        self._open -= both
        writer.close()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None = None
) -> None:
    try:
        while (most is None or most > 0) and (data := await reader.read(65536)):
            writer.write(data[:most])
            await writer.drain()
            most = None if most is None else most - len(data)
        writer.write_eof()
    except (OSError, RuntimeError):
        return  # the other side is gone, and the client or the daemon will say so


@asynccontextmanager
async def relay_to(socket: str) -> AsyncGenerator[Relay]:
    """Run a relay to the daemon on this socket."""
    directory = Path(tempfile.mkdtemp(prefix="pr-", dir="/tmp"))
    path = str(directory / "s")
    relay = Relay(path, socket)
    server = await asyncio.start_unix_server(relay.serve, path)
    try:
        yield relay
    finally:
        server.close()
        relay.cut()
        shutil.rmtree(directory, ignore_errors=True)
