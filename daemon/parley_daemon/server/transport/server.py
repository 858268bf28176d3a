"""Accepting clients: on sockets, and on the standard streams of a parent process. Knows no method."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup

from parley_daemon.server.app import App
from parley_daemon.server.connection.connection import Connection
from parley_daemon.server.transport.channels import PipeChannel, SocketChannel

log = logging.getLogger(__name__)


class Server:
    """The connections of a daemon, each with a task of its own; a fault in one ends only that one."""

    def __init__(self, app: App, tasks: TaskGroup) -> None:
        self._app = app
        self._tasks = tasks

    @asynccontextmanager
    async def listening(self, listener: socket.socket, *, trusted: bool) -> AsyncGenerator[None]:
        """Accept clients on a listening socket while the block runs."""

        def accept() -> SocketChannel:
            return SocketChannel(made)

        def made(channel: SocketChannel) -> Connection:
            connection = Connection(self._app, channel, trusted=trusted)
            self._tasks.start_soon(self._serve, connection)
            return connection

        loop = asyncio.get_running_loop()
        server = await loop.create_server(accept, sock=listener, backlog=1024)
        try:
            yield
        finally:
            server.close()

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception:  # the boundary of a connection: a fault in one must not end the others
            log.exception("a connection ended by an unexpected fault")

    async def serve_streams(
        self, input_fd: int, output_fd: int, *, read_already: bytes = b"", initialize_params: Any = None
    ) -> int:
        """Serve the parent process until it leaves; return the exit code that LSP asks for.

        `read_already` are bytes that were read before. `initialize_params` are those of an `initialize` that
        was answered before.
        """
        channel = PipeChannel(input_fd, output_fd)
        connection = Connection(self._app, channel, trusted=True)
        if initialize_params is not None:
            connection.begin_initialized(initialize_params)
        if read_already:
            connection.feed(read_already)
        await channel.open(connection)
        await self._serve(connection)
        return connection.exit_code or 0

    async def idle(self, seconds: float) -> None:
        """Return once there has been no client and no turn for this long."""
        while (unused := self._app.idle_seconds()) < seconds:  # noqa: ASYNC110 - time itself is waited for
            # Looked at four times in the span: cheap enough to be quiet, fine enough to be on time.
            await anyio.sleep(max(seconds - unused, seconds / 4))
