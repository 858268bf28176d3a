"""What all connections of a daemon share. Knows no transport."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from parley_daemon.engine.engine import Engine

if TYPE_CHECKING:
    from parley_daemon.server.connection.call import Handler
    from parley_daemon.server.connection.connection import Connection

OWNER = "local"
"""Whose chats these are: a daemon serves the one user who runs it."""


@dataclass(slots=True)
class App:
    """One daemon: its engine, what answers a method, its token, when it started (RFC 3339), its clients."""

    engine: Engine
    handler_for: "Callable[[str], Handler]"
    token: str
    started_at: str
    connections: "set[Connection]" = field(default_factory=lambda: set())
    used_at: float = field(default_factory=time.monotonic)
    _left: anyio.Event = field(default_factory=anyio.Event)

    def joined(self, connection: "Connection") -> None:
        """A client is here."""
        self.connections.add(connection)

    def left(self, connection: "Connection") -> None:
        """A client is gone."""
        self.connections.discard(connection)
        self.used_at = time.monotonic()
        self._left.set()

    async def alone(self) -> None:
        """Wait until no client is here."""
        while self.connections:
            self._left = anyio.Event()
            await self._left.wait()

    async def say_goodbye(self) -> None:
        """End every connection once what was put for it is written."""
        for connection in list(self.connections):
            connection.eof()
        await self.alone()

    def unused_for(self) -> float:
        """Return for how many seconds there has been neither a client nor a running turn."""
        if self.connections or self.engine.running_turns:
            self.used_at = time.monotonic()
        return time.monotonic() - self.used_at
