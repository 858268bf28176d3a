"""Accepts clients on sockets, and serves a parent process over its standard streams."""

import asyncio
import logging
import socket
from typing import Any

import anyio
from anyio.abc import TaskGroup

from parley_daemon.server.app import App
from parley_daemon.server.connection.connection import Connection
from parley_daemon.server.transport.transports import PipeTransport, SocketTransport

log = logging.getLogger(__name__)


class Server:
    """Runs each connection of a daemon in a task of its own. A fault in one does not end the others."""

    def __init__(self, app: App, tasks: TaskGroup) -> None:
        self._app = app
        self._tasks = tasks

    async def listen(self, listener: socket.socket, *, trusted: bool) -> asyncio.Server:
        """Accept clients on a listening socket until the result is closed. `trusted` ones need no token."""

        def on_open(transport: SocketTransport) -> Connection:
            connection = Connection(self._app, transport, trusted=trusted)
            self._tasks.start_soon(self._serve, connection)
            return connection

        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: SocketTransport(on_open), sock=listener, backlog=1024)

    async def serve_parent(
        self, input_fd: int, output_fd: int, *, read_already: bytes = b"", initialize_params: Any = None
    ) -> int:
        """Serve the parent process until it leaves; return the exit code that LSP requires.

        `read_already` are bytes that were read before. `initialize_params` are those of an `initialize` that
        was answered before.
        """
        transport = PipeTransport(input_fd, output_fd)
        connection = Connection(self._app, transport, trusted=True)
        if initialize_params is not None:
            connection.begin_initialized(initialize_params)
        if read_already:
            connection.feed(read_already)
        await transport.open(connection)
        await self._serve(connection)
        return connection.exit_code or 0

    async def wait_until_idle(self, seconds: float) -> None:
        """Return once there has been neither a client, nor a running turn, nor a job for this long."""
        while (idle := self._app.idle_seconds()) < seconds:  # noqa: ASYNC110 - time itself is waited for
            # Four looks in the period are few enough to cost nothing and enough to be nearly on time.
            await anyio.sleep(max(seconds - idle, seconds / 4))

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception:  # the boundary of a connection: a fault in one must not end the others
            log.exception("a connection ended because of an unexpected fault")
