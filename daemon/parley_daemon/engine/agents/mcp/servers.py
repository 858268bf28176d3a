"""What chats need of MCP servers, whoever starts and keeps them (see `engine/mcp`)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from parley_daemon.ports.mcp import McpCallMonitor, McpContent, McpLimits, McpManifest, McpResult

McpState = Literal["configured", "known", "starting", "running", "failed", "untrusted", "needs_auth"]
"""configured: nothing is known of it yet. known: it does not run, but what it offers is known. untrusted: a
person has to look at it before it is started. needs_auth: it wants an authorization that it does not have."""


class McpServer(Protocol):
    """One server as the chats see it that have it. The properties are what they are now."""

    @property
    def name(self) -> str:
        """Its name, unique among the servers of a chat."""
        ...

    @property
    def state(self) -> McpState:
        """See McpState."""
        ...

    @property
    def problem(self) -> str | None:
        """Why it cannot be used now, a sentence without secrets; None: it can, or was not tried."""
        ...

    @property
    def manifest(self) -> McpManifest | None:
        """What it offers, as it said last, whether it runs or not; None: not known.

        The same object as long as nothing has changed. Never that of a server that is not trusted.
        """
        ...

    @property
    def trusts_hints(self) -> bool:
        """Whether the person who configured it believes what it says of its tools, such as `read_only`."""
        ...

    async def learn(self) -> None:
        """Start it if its manifest is not known; return when it is known, or cannot be known now.

        It goes on when the caller stops waiting. It never raises for a fault of the server.
        """
        ...

    async def call(
        self, tool: str, arguments: Mapping[str, Any], limits: McpLimits, monitor: McpCallMonitor
    ) -> McpResult:
        """Call a tool; start the server if it does not run. See McpConnection.

        Raises:
            McpCallError: there is no result. "refused" if the server cannot be started.
        """
        ...

    async def read_resource(self, uri: str) -> McpContent:
        """Return a resource; start the server if it does not run. See McpConnection.

        Raises:
            McpCallError: there is none.
        """
        ...

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> Sequence[tuple[str, McpContent]]:
        """Return the messages of a prompt; start the server if it does not run. See McpConnection.

        Raises:
            McpCallError: there is none.
        """
        ...


class McpServers(Protocol):
    """All servers."""

    async def of_chat(self, owner: str, roots: Sequence[str]) -> Sequence[McpServer]:
        """Return the servers for an owner's chats that work in these folders, sorted by name. Starts none.

        `roots`: absolute paths; the servers of their projects are among them, trusted or not.

        Raises:
            StoreUnavailableError: what the owner has added or trusts cannot be read.
        """
        ...


class NoServers:
    """Implements McpServers: there are none."""

    async def of_chat(self, owner: str, roots: Sequence[str]) -> Sequence[McpServer]:
        """See McpServers."""
        return ()
