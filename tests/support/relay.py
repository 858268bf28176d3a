"""A socket between a client and a daemon whose connections a test can cut at any moment."""

import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import SocketStream


class Relay:
    """Passes bytes on in both directions. `address` is where clients connect, `path` the same as a path.

    `most` cuts each later connection by itself, once so many bytes of the daemon have come over it.
    """

    def __init__(self, path: str, target: str) -> None:
        self.path = path
        self.address = f"unix:{path}"
        self.most: int | None = None
        self._target = target
        self._scopes: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        """End all connections as they are; new ones are welcome."""
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, near: SocketStream) -> None:
        """Pass on one connection."""
        scope = anyio.CancelScope()
        self._scopes.add(scope)
        with scope:
            async with (
                near,
                await anyio.connect_unix(self._target) as far,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(_pass_on, near, far)
                tasks.start_soon(_pass_on, far, near, self.most, scope)
        self._scopes.discard(scope)


async def _pass_on(
    source: SocketStream, drain: SocketStream, most: int | None = None, scope: anyio.CancelScope | None = None
) -> None:
    try:
        async for data in source:
            await drain.send(data[:most])
            if most is not None and scope is not None:
                most -= len(data)
                if most <= 0:
                    scope.cancel()
        await drain.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        return  # the other side is gone, and the client or the daemon will say so


@asynccontextmanager
async def relay_to(socket: str) -> AsyncGenerator[Relay]:
    """Run a relay to the daemon on this socket."""
    directory = Path(tempfile.mkdtemp(prefix="pr-", dir="/tmp"))
    path = str(directory / "s")
    relay = Relay(path, socket)
    try:
        async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, relay.serve)
            yield relay
            tasks.cancel_scope.cancel()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
