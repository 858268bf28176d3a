"""What chats need of MCP servers, whoever starts and keeps them (see `engine/mcp`)."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from parley_daemon.core.agents.mcp import McpState, UntrustedServer
from parley_daemon.core.records import Chat
from parley_daemon.ports.tools import Workspace

if TYPE_CHECKING:
    from parley_daemon.ports.mcp import McpConnection, McpManifest


class ChatServer(Protocol):
    """A server as one chat may use it, as of one moment."""

    @property
    def name(self) -> str:
        """Its name, unique among the servers of the chat."""
        ...

    @property
    def state(self) -> McpState:
        """What has become of it."""
        ...

    @property
    def problem(self) -> str | None:
        """Why it cannot be used now, a sentence without secrets; None: it can, or was not tried."""
        ...

    @property
    def manifest(self) -> "McpManifest | None":
        """What it offers, whether it runs or not; None: it is not known, or the server is not trusted.

        The same object as long as nothing has changed.
        """
        ...

    @property
    def trusts_hints(self) -> bool:
        """Whether the person who configured it believes what it says of its tools, such as `read_only`."""
        ...

    @property
    def untrusted(self) -> UntrustedServer | None:
        """What a person has to decide on before it is started; None: nothing."""
        ...

    def use(self, *, is_call: bool = True) -> "AbstractAsyncContextManager[McpConnection]":
        """Keep the server running while the block runs, starting it if need be.

        `is_call`: whether this is a call of a tool, for the count.

        Raises:
            McpConnectError: it cannot be started or reached.
        """
        ...


class ChatServers(Protocol):
    """The servers of all chats."""

    async def for_chat(self, chat: Chat, workspace: Workspace) -> Sequence[ChatServer]:
        """Return the servers that a chat and its settings name, by name. Starts none.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        ...

    async def discover(self, servers: Sequence[Any], seconds: float) -> None:
        """Start those servers, which `for_chat` has returned, of which it is not known what they offer.

        Waits at most so long for them. Those that take longer go on.
        """
        ...
