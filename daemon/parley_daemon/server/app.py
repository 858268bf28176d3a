"""What all connections of a daemon share: the engine, the token, and the list of connections."""

import asyncio
import logging
import time
from typing import Protocol

import anyio
import msgspec

from parley_daemon.engine.engine import Engine
from parley_daemon.server.editors import OpenEditors

OWNER = "local"
"""The owner of all chats: a daemon serves only the user who runs it."""


class Client(Protocol):
    """A connection, as far as the daemon as a whole uses it."""

    def eof(self) -> None:
        """Stop reading, send the output that waits, then close."""
        ...

    def send_log(self, level: int, line: str) -> None:
        """Send a log line to the client if it asked for lines of this level (of `logging`)."""
        ...


class App(msgspec.Struct):
    """The shared state of one daemon. `started_at` is RFC 3339; `last_used_at` is of the monotonic clock."""

    engine: Engine
    token: str
    started_at: str
    editors: OpenEditors
    clients: set[Client] = msgspec.field(default_factory=lambda: set())
    last_used_at: float = msgspec.field(default_factory=time.monotonic)
    _client_left: anyio.Event = msgspec.field(default_factory=anyio.Event)

    def add(self, client: Client) -> None:
        """Register a connection."""
        self.clients.add(client)

    def remove(self, client: Client) -> None:
        """Remove a connection that has ended."""
        self.clients.discard(client)
        self.last_used_at = time.monotonic()
        self._client_left.set()

    async def wait_for_no_clients(self) -> None:
        """Return as soon as no client is connected."""
        while self.clients:
            self._client_left = anyio.Event()
            await self._client_left.wait()

    async def close_connections(self) -> None:
        """End every connection after its waiting output is written, and wait for that."""
        for client in list(self.clients):
            client.eof()
        await self.wait_for_no_clients()

    def idle_seconds(self) -> float:
        """Return for how many seconds there has been neither a client, nor a running turn, nor a job."""
        if self.clients or self.engine.is_working:
            self.last_used_at = time.monotonic()
        return time.monotonic() - self.last_used_at


class ClientLogs(logging.Handler):
    """Sends the daemon's log lines to its clients. Each client has its own minimum level."""

    def __init__(self, app: App) -> None:
        super().__init__(logging.INFO)
        self._app = app
        self._loop = asyncio.get_running_loop()
        self.addFilter(lambda record: record.name.startswith("parley"))

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on a log record. May be called in any thread."""
        line, level = record.getMessage(), record.levelno
        try:
            self._loop.call_soon_threadsafe(self._send, line, level)
        except RuntimeError:
            return  # the loop has ended, and every connection with it

    def _send(self, line: str, level: int) -> None:
        for client in list(self._app.clients):
            client.send_log(level, line)
