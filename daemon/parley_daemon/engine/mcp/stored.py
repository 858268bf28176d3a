"""The servers that were added by calls: their records, and the secrets that belong to them.

The values of variables and headers are kept where the keys of providers are (`Secrets`), under the id of the
record. They are read when a server is first started, and never returned. A change is committed before it
counts; the secrets are written first, so that a server never starts with those of another definition.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.mcp import McpDefinition, McpServerRecord, find_problem
from parley_daemon.engine.errors import (
    ConflictError,
    InvalidConfigurationError,
    LimitReachedError,
    ToolNotFoundError,
)
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.mcp import McpConnectError
from parley_daemon.ports.secrets import Secrets, SecretsUnavailableError
from parley_daemon.ports.store import Store
from parley_daemon.ports.store_writes import DropMcpServer, PutMcpServer

log = logging.getLogger(__name__)

MAX_SERVERS = 200
"""Servers that an owner can add."""


class SecretValues(msgspec.Struct, frozen=True, gc=False):
    """The values of variables and headers, by name. The repr does not contain them."""

    env: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return "SecretValues(…)"


class StoredServers:
    """The servers that owners have added. `open_store` opens the store."""

    def __init__(
        self, store: Store, open_store: Callable[[], Awaitable[None]], secrets: Secrets, clock: Clock
    ) -> None:
        self._store = store
        self._open_store = open_store
        self._secrets = secrets
        self._clock = clock
        self._lock = anyio.Lock()
        self._owned: dict[str, dict[str, McpServerRecord]] = {}
        self._values: dict[str, SecretValues] = {}

    async def of(self, owner: str) -> Mapping[str, McpServerRecord]:
        """Return the records of an owner by name.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        owned = self._owned.get(owner)
        if owned is None:
            async with self._lock:
                owned = await self._read(owner)
        return owned

    async def _read(self, owner: str) -> dict[str, McpServerRecord]:
        owned = self._owned.get(owner)
        if owned is None:
            await self._open_store()
            found = await self._store.mcp_servers(owner)
            owned = self._owned[owner] = {one.name: one for one in found}
        return owned

    async def values(self, record: McpServerRecord) -> SecretValues:
        """Return the secrets of a server. May take seconds.

        Raises:
            McpConnectError: they cannot be read.
        """
        if not record.env_names and not record.header_names:
            return SecretValues()
        known = self._values.get(record.id)
        if known is not None:
            return known
        keys = await self._secrets.read([_key(record)])
        text = keys.found.get(_key(record))
        if text is None:
            why = keys.unreadable.get(_key(record), "They are gone. Remove the server and add it again.")
            raise McpConnectError(f"The secrets of the MCP server {record.name} cannot be read. {why}")
        try:
            values = msgspec.json.decode(text, type=SecretValues)
        except msgspec.MsgspecError:
            why = "are damaged. Remove the server and add it again."
            raise McpConnectError(f"The secrets of the MCP server {record.name} {why}") from None
        return self._values.setdefault(record.id, values)

    async def add(self, owner: str, record: McpServerRecord, values: SecretValues) -> McpServerRecord:
        """Store a server. Its id and times are filled in.

        Raises:
            ConflictError: there is one of this name.
            InvalidConfigurationError: it makes no sense.
            LimitReachedError: there are too many.
            SecretsUnavailableError, StoreUnavailableError: nothing has changed.
        """
        now = self._clock.now()
        record = replace(record, id=self._clock.new_id(), created_at=now, updated_at=now)
        record = _with_names(record, values)
        check(record, values)
        async with self._lock:
            owned = await self._read(owner)
            if record.name in owned:
                raise ConflictError(f"There is an MCP server {record.name} already. Use mcp/update.")
            if len(owned) >= MAX_SERVERS:
                raise LimitReachedError(f"There are {MAX_SERVERS} MCP servers already.", MAX_SERVERS)
            with anyio.CancelScope(shield=True):
                await self._put(owner, record, values)
        return record

    async def update(
        self,
        owner: str,
        name: str,
        change: Callable[[McpServerRecord, SecretValues], tuple[McpServerRecord, SecretValues]],
    ) -> McpServerRecord:
        """Change a server; return the record as it is now.

        Raises:
            ToolNotFoundError: there is none of this name.
            InvalidConfigurationError: it would make no sense.
            McpConnectError: its present secrets cannot be read.
            SecretsUnavailableError, StoreUnavailableError: nothing has changed.
        """
        async with self._lock:
            before = (await self._read(owner)).get(name)
            if before is None:
                raise unknown_server_error(name)
            record, values = change(before, await self.values(before))
            record = _with_names(replace(record, updated_at=self._clock.now()), values)
            check(record, values)
            with anyio.CancelScope(shield=True):
                await self._put(owner, record, values)
        return record

    async def remove(self, owner: str, name: str) -> McpServerRecord:
        """Delete a server and its secrets; return the record.

        Raises:
            ToolNotFoundError: there is none of this name.
            StoreUnavailableError: nothing has changed.
        """
        async with self._lock:
            record = (await self._read(owner)).get(name)
            if record is None:
                raise unknown_server_error(name)
            with anyio.CancelScope(shield=True):
                await self._store.commit(DropMcpServer(record.id))
                del self._owned[owner][name]
                await self._forget(record)
        return record

    async def _put(self, owner: str, record: McpServerRecord, values: SecretValues) -> None:
        has_secrets = bool(values.env or values.headers)
        if has_secrets:
            await self._secrets.write(_key(record), msgspec.json.encode(values).decode())
        await self._store.commit(PutMcpServer(owner, record))
        self._owned[owner][record.name] = record
        self._values[record.id] = values
        if not has_secrets:
            await self._forget(record)

    async def _forget(self, record: McpServerRecord) -> None:
        self._values.pop(record.id, None)
        try:
            await self._secrets.write(_key(record), None)
        except SecretsUnavailableError as error:
            log.warning("the secrets of the MCP server %s could not be deleted: %s", record.name, error)


def definition_of(record: McpServerRecord, values: SecretValues) -> McpDefinition:
    """Return the definition of a record with its secrets."""
    return McpDefinition(
        name=record.name,
        command=record.command,
        args=record.args,
        env=values.env,
        cwd=record.cwd,
        url=record.url,
        headers=values.headers,
    )


def check(record: McpServerRecord, values: SecretValues) -> None:
    """Check that a server makes sense.

    Raises:
        InvalidConfigurationError: it does not.
    """
    problem = find_problem(definition_of(record, values))
    if problem is not None:
        raise InvalidConfigurationError(problem.text, problem.field)


def unknown_server_error(name: str) -> ToolNotFoundError:
    """Return the error for a name that no server has."""
    return ToolNotFoundError(f"There is no MCP server {name[:100]!r}. mcp/list (parley mcp) names all.")


def _with_names(record: McpServerRecord, values: SecretValues) -> McpServerRecord:
    return replace(record, env_names=tuple(values.env), header_names=tuple(values.headers))


def _key(record: McpServerRecord) -> str:
    return f"mcp:{record.id}"
