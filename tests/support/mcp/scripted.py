"""A connector whose servers do what a test says, in this process: for the rules of when servers run."""

from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from parley_daemon.ports.mcp import (
    McpCallMonitor,
    McpConnectError,
    McpConnection,
    McpConnectionEvents,
    McpContent,
    McpLimits,
    McpManifest,
    McpResult,
    McpTarget,
    McpToolInfo,
)


def offer(*names: str) -> McpManifest:
    """Return what a server offers that has tools of these names."""
    tools = tuple([McpToolInfo(name, None, f"Does {name}.", {"type": "object"}) for name in names])
    return McpManifest("2026-07-28", "scripted", "1", None, tools)


class ScriptedConnection:
    """Implements McpConnection."""

    def __init__(
        self, connector: "ScriptedConnector", target: McpTarget, events: McpConnectionEvents
    ) -> None:
        self.target = target
        self.events = events
        self.asked = 0
        self.is_closed = False
        self._connector = connector
        self.pid: int | None = 1000 + len(connector.connections)

    async def manifest(self) -> McpManifest:
        self.asked += 1
        return self._connector.manifest

    async def call(
        self, tool: str, arguments: Mapping[str, Any], limits: McpLimits, monitor: McpCallMonitor
    ) -> McpResult:
        return McpResult([{"type": "text", "text": tool}], is_error=False)

    async def read_resource(self, uri: str) -> McpContent:
        return [{"type": "text", "text": uri}]

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> Sequence[tuple[str, McpContent]]:
        return [("user", [{"type": "text", "text": name}])]

    async def close(self) -> None:
        self.is_closed = True


class ScriptedConnector:
    """Implements McpConnector.

    Attributes:
        manifest: what all servers offer.
        failures: how the next connections fail, in their order.
        accepted: the tokens with which servers are reached; None: no token is needed.
        gate: connections wait for it, if it is set.
        connections: all that there were.
        attempts: the targets that somebody has tried to reach.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self.manifest = offer("echo")
        self.failures: list[McpConnectError] = []
        self.accepted: set[str] | None = None
        self.gate: anyio.Event | None = None
        self.connections: list[ScriptedConnection] = []
        self.attempts: list[McpTarget] = []

    async def connect(self, target: McpTarget, events: McpConnectionEvents) -> McpConnection:
        self.attempts.append(target)
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        token = target.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.accepted is not None and token not in self.accepted:
            raise McpConnectError("The server wants an authorization.", needs_auth=True)
        connection = ScriptedConnection(self, target, events)
        self.connections.append(connection)
        return connection

    @property
    def open(self) -> list[ScriptedConnection]:
        return [one for one in self.connections if not one.is_closed]
