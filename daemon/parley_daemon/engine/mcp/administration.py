"""What people do with MCP servers: list, add, change, remove and restart them."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from parley_daemon.core.agents.mcp import McpServerRecord
from parley_daemon.core.agents.rules import RuleScope
from parley_daemon.core.records import Chat
from parley_daemon.engine.errors import (
    ConflictError,
    NotAllowedError,
    NotTrustedError,
    ReadOnlyConfigurationError,
)
from parley_daemon.engine.mcp.authorization import Asked
from parley_daemon.engine.mcp.listing import ServerEntry, ServerStatus
from parley_daemon.engine.mcp.projects import ProjectServers
from parley_daemon.engine.mcp.servers import McpServers
from parley_daemon.engine.mcp.stored import SecretValues, StoredServers, unknown_server_error
from parley_daemon.ports.mcp import McpConnectError
from parley_daemon.ports.projects import MCP_FILE
from parley_daemon.ports.tools import Workspace

Change = Callable[[McpServerRecord, SecretValues], tuple[McpServerRecord, SecretValues]]
"""Returns a server as it is to be, from what it is."""

FindRoot = Callable[[str, str], Awaitable[str]]
"""Returns the URI of the resolved folder of a URI. Raises InvalidRuleError with the field that has it."""


class McpAdministration:
    """The servers of all owners, as people see and change them."""

    def __init__(self, servers: McpServers, stored: StoredServers, find_root: FindRoot) -> None:
        self._servers = servers
        self._stored = stored
        self._find_root = find_root

    @property
    def problem(self) -> str | None:
        """Why no server can be used; None: they can."""
        return self._servers.problem

    async def list(
        self, owner: str, chat: Chat | None, workspace: Workspace | None
    ) -> tuple[Sequence[ServerStatus], Sequence[ProjectServers]]:
        """Return the servers of a chat, or in a workspace, and the files of projects that cannot be used.

        Without both: all servers that are no project's.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        return await self._servers.statuses(owner, chat, workspace)

    async def add(self, owner: str, record: McpServerRecord, values: SecretValues) -> None:
        """Add a server. Id, times and the names of secrets are filled in.

        Raises:
            ConflictError: the name is taken.
            InvalidConfigurationError, InvalidRuleError: it makes no sense.
            LimitReachedError: there are too many.
            SecretsUnavailableError, StoreUnavailableError: nothing has changed.
        """
        taken = await self._servers.find(owner, record.name)
        if taken is not None and taken.source == "config":
            raise ConflictError(f"The configuration file has a server {record.name} already.")
        scope = await self._resolve(record.scope)
        await self._stored.add(owner, replace(record, scope=scope), values)

    async def update(self, owner: str, name: str, change: Change) -> None:
        """Change a server that was added, and stop it if it runs.

        Raises:
            ToolNotFoundError: there is none of this name.
            ReadOnlyConfigurationError: it was not added by a call.
            InvalidConfigurationError, InvalidRuleError: it would make no sense.
            NotAllowedError: its secrets cannot be read.
            SecretsUnavailableError, StoreUnavailableError: nothing has changed.
        """
        before = await self._find_added(owner, name)
        wanted, _ = change(before, SecretValues())
        scope = await self._resolve(wanted.scope)

        def with_scope(record: McpServerRecord, values: SecretValues) -> tuple[McpServerRecord, SecretValues]:
            record, values = change(record, values)
            return replace(record, scope=scope), values

        entry = await self._servers.find(owner, name)
        try:
            await self._stored.update(owner, name, with_scope)
        except McpConnectError as error:
            raise NotAllowedError(str(error)) from None
        if entry is not None:
            await self._servers.stop(entry)

    async def remove(self, owner: str, name: str) -> None:
        """Remove a server that was added, with its secrets, and stop it if it runs.

        Raises:
            ToolNotFoundError: there is none of this name.
            ReadOnlyConfigurationError: it was not added by a call.
            StoreUnavailableError: nothing has changed.
        """
        await self._find_added(owner, name)
        entry = await self._servers.find(owner, name)
        if entry is not None:
            await self._servers.forget_authorization(entry)
        await self._stored.remove(owner, name)
        if entry is not None:
            await self._servers.stop(entry)

    async def restart(self, owner: str, name: str, chat: Chat | None, workspace: Workspace | None) -> None:
        """Start a server now, again if it runs. Returns when it runs or has failed.

        Raises:
            ToolNotFoundError: there is none of this name.
            NotTrustedError: it is of a project that is not trusted.
            StoreUnavailableError: it cannot be read which there are.
        """
        entry = await self.find(owner, name, chat, workspace)
        try:
            await self._servers.restart(entry)
        except McpConnectError:
            return  # the list says why

    async def authenticate(
        self, owner: str, name: str, chat: Chat | None, workspace: Workspace | None
    ) -> Asked:
        """Begin to ask a person to authorize a server.

        Raises:
            ToolNotFoundError: there is none of this name.
            NotTrustedError: it is of a project that is not trusted.
            NotAllowedError: it takes no authorization, or cannot get one now.
            ConflictError: too many persons are asked already.
            StoreUnavailableError: it cannot be read which there are.
        """
        return await self._servers.authorize(await self.find(owner, name, chat, workspace))

    async def find(
        self, owner: str, name: str, chat: Chat | None, workspace: Workspace | None
    ) -> ServerEntry:
        """Return a server that may be started.

        Raises:
            ToolNotFoundError: there is none of this name.
            NotTrustedError: it is of a project that is not trusted.
            StoreUnavailableError: it cannot be read which there are.
        """
        entry = await self._servers.find(owner, name, chat, workspace)
        if entry is None:
            raise unknown_server_error(name)
        if not entry.trusted:
            raise NotTrustedError(f"{MCP_FILE} of the project is not trusted. Look at it, then trust it.")
        return entry

    async def forget_chat(self, owner: str, chat_id: str) -> None:
        """Remove the servers of a chat that was deleted.

        Raises:
            StoreUnavailableError: they stay, and nobody can use them.
        """
        records = (await self._stored.of(owner)).values()
        for name in [one.name for one in records if one.scope.chat_id == chat_id]:
            await self.remove(owner, name)

    async def _find_added(self, owner: str, name: str) -> McpServerRecord:
        record = (await self._stored.of(owner)).get(name)
        if record is not None:
            return record
        if await self._servers.find(owner, name) is not None:
            raise ReadOnlyConfigurationError(
                f"The MCP server {name} is in the configuration file. Change it there."
            )
        raise unknown_server_error(name)

    async def _resolve(self, scope: RuleScope) -> RuleScope:
        if scope.root is None:
            return scope
        return RuleScope(root=await self._find_root(scope.root, "scope.root"))
