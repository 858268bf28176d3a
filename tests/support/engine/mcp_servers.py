"""MCP servers that do what a test tells them, in the place of the daemon's."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from parley_daemon.core.agents.mcp import McpState, UntrustedServer
from parley_daemon.core.records import Chat
from parley_daemon.ports.mcp import (
    McpCallError,
    McpCallMonitor,
    McpConnectError,
    McpConnection,
    McpContent,
    McpLimits,
    McpManifest,
    McpPromptInfo,
    McpResourceInfo,
    McpResult,
    McpToolInfo,
)
from parley_daemon.ports.tools import Workspace

Behaviour = Callable[[Mapping[str, Any], McpCallMonitor], Awaitable[McpResult]]


def text_result(text: str, *, is_error: bool = False) -> McpResult:
    return McpResult([{"type": "text", "text": text}], is_error)


def info(name: str, **fields: Any) -> McpToolInfo:
    """Return a tool that takes any object, unless its fields say otherwise."""
    return McpToolInfo(
        name, fields.pop("title", None), fields.pop("description", f"Does {name}."),
        fields.pop("input_schema", {"type": "object"}), **fields,
    )  # fmt: skip


class GivenServer:
    """Implements ChatServer.

    Attributes:
        behaviour: what calls of a tool do, by its name; others return their name and arguments.
        calls: the tools that were called, with their arguments.
        offered: what becomes the manifest when it is learnt.
    """

    def __init__(
        self, name: str, *tools: McpToolInfo, known: bool = True, trusts_hints: bool = False
    ) -> None:
        self.name = name
        self.state: McpState = "known" if known else "configured"
        self.problem: str | None = None
        self.trusts_hints = trusts_hints
        self.untrusted: UntrustedServer | None = None
        self.offered = McpManifest("2026-07-28", name, "1", None, tools)
        self.manifest: McpManifest | None = self.offered if known else None
        self.behaviour: dict[str, Behaviour] = {}
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.resources: dict[str, McpContent] = {}
        self.prompts: dict[str, Sequence[tuple[str, McpContent]]] = {}
        self.gate = anyio.Event()
        self.gate.set()
        self.use_gate: anyio.Event | None = None
        self.connect_error: McpConnectError | None = None

    def change(self, *tools: McpToolInfo, **fields: Any) -> None:
        """Offer something else from now on."""
        self.manifest = McpManifest("2026-07-28", self.name, "1", None, tools, **fields)

    def offer(self, resources: Sequence[McpResourceInfo] = (), prompts: Sequence[McpPromptInfo] = ()) -> None:
        """Offer resources and prompts from now on."""
        self.change(*self.offered.tools, resources=tuple(resources), prompts=tuple(prompts))

    async def learn(self) -> None:
        await self.gate.wait()
        self.manifest = self.manifest or self.offered

    @asynccontextmanager
    async def use(self, *, is_call: bool = True) -> AsyncGenerator[McpConnection]:
        if self.use_gate is not None:
            await self.use_gate.wait()
        if self.connect_error is not None:
            raise self.connect_error
        yield _Connection(self)


class _Connection:
    """Implements McpConnection."""

    pid = None

    def __init__(self, server: GivenServer) -> None:
        self._server = server

    async def manifest(self) -> McpManifest:
        return self._server.offered

    async def call(
        self, tool: str, arguments: Mapping[str, Any], limits: McpLimits, monitor: McpCallMonitor
    ) -> McpResult:
        self._server.calls.append((tool, arguments))
        behaviour = self._server.behaviour.get(tool)
        return await behaviour(arguments, monitor) if behaviour else text_result(f"{tool} did {arguments}")

    async def read_resource(self, uri: str) -> McpContent:
        found = self._server.resources.get(uri)
        if found is None:
            raise McpCallError(f"There is no resource {uri}.", "refused")
        return found

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> Sequence[tuple[str, McpContent]]:
        found = self._server.prompts.get(name)
        if found is None:
            raise McpCallError(f"There is no prompt {name}.", "refused")
        return [
            (role, [{"type": "text", "text": str(one["text"]).format(**arguments)} for one in content])
            for role, content in found
        ]

    async def close(self) -> None: ...


class GivenServers:
    """Implements ChatServers: all chats have the same servers, whatever their settings name."""

    def __init__(self, *servers: GivenServer) -> None:
        self.servers = list(servers)

    async def for_chat(self, chat: Chat, workspace: Workspace) -> Sequence[GivenServer]:
        return self.servers

    async def discover(self, servers: Sequence[GivenServer], seconds: float) -> None:
        with anyio.move_on_after(seconds):
            for server in servers:
                await server.learn()
