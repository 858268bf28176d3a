"""The runs of servers: what is started for a definition, and which definitions share a run.

What starts a server (its command, its environment, its address) is the key of its run. The key is made with a
random salt and is never stored, since it depends on secrets.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.globs import path_of_uri
from parley_daemon.core.agents.mcp import McpDefinition
from parley_daemon.engine.mcp.access import ServerAccess
from parley_daemon.engine.mcp.authorization import Authorizations
from parley_daemon.engine.mcp.listing import ServerEntry
from parley_daemon.engine.mcp.projects import Trust
from parley_daemon.engine.mcp.run import RunState, RunTimes, ServerRun
from parley_daemon.engine.mcp.stored import StoredServers, definition_of
from parley_daemon.engine.mcp.targets import McpEnvironment, make_target
from parley_daemon.engine.tasks import Work
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.mcp import (
    McpConnectError,
    McpConnector,
    McpManifest,
    McpTarget,
)
from parley_daemon.ports.store import StoreUnavailableError

MAX_RUNS = 256
"""Servers that are remembered; then those that do not run are forgotten."""

FAULT_SECONDS = 30.0
"""For how long a definition that could not be used is not tried unasked: to read secrets may take seconds."""


class RunParts(msgspec.Struct, frozen=True, gc=False):
    """What runs are made of. `start` runs work in the background."""

    connector: McpConnector
    stored: StoredServers
    trust: Trust
    environment: McpEnvironment
    clock: Clock
    start: Callable[[Work], None]
    times: RunTimes = RunTimes()
    authorizations: Authorizations | None = None


class ServerRuns:
    """The runs of all servers. `keep` is called with what a server offers, when that is another."""

    def __init__(self, parts: RunParts, keep: Callable[[ServerEntry, McpManifest], Awaitable[None]]) -> None:
        self._parts = parts
        self._keep = keep
        self._runs: dict[str, ServerRun] = {}
        self._keys: dict[str, str] = {}  # of runs, by the keys of definitions
        self._of_projects: dict[str, ServerEntry] = {}  # by the keys of definitions
        self._faults: dict[str, tuple[float, str]] = {}  # when and why, by the keys of definitions
        self._salt = secrets.token_bytes(16)

    def find(self, entry: ServerEntry) -> ServerRun | None:
        """Return the run of a server, if it was tried."""
        return self._runs.get(self._keys.get(entry.key, ""))

    @property
    def states(self) -> list[RunState]:
        """The states of all runs."""
        return [run.state for run in self._runs.values()]

    def find_fault(self, entry: ServerEntry) -> str | None:
        """Return why the definition of a server could not be used; None: it could, or was not tried."""
        fault = self._faults.get(entry.key)
        return None if fault is None else fault[1]

    def may_start(self, entry: ServerEntry) -> bool:
        """Return whether it makes sense to try the server unasked."""
        fault, run = self._faults.get(entry.key), self.find(entry)
        if fault is not None and self._parts.clock.monotonic() < fault[0] + FAULT_SECONDS:
            return False
        return run is None or run.may_start

    async def of(self, entry: ServerEntry) -> ServerRun:
        """Return the run of a server. May take seconds, since secrets are read.

        Raises:
            McpConnectError: it may not be started, or its definition cannot be used.
        """
        problem = self._parts.connector.problem or entry.problem
        if problem is not None:
            raise McpConnectError(problem)
        target = await self.target(entry)
        key = self._key(entry, target)
        run = self._runs.get(key)
        if run is None:
            self._forget_some()
            parts = self._parts
            access = ServerAccess(parts.connector, parts.authorizations, parts.clock, entry.owner, target)
            run = self._runs[key] = ServerRun(
                entry.name,
                access.connect,
                partial(self._keep, entry),
                parts.start,
                parts.clock,
                parts.times,
            )
        self._keys[entry.key] = key
        if entry.root is not None:
            self._of_projects[entry.key] = entry
        return run

    async def target(self, entry: ServerEntry) -> McpTarget:
        """Return how a server is started.

        Raises:
            McpConnectError: it may not be started, or its definition cannot be used.
        """
        await self._check_trust(entry)
        try:
            definition = await self._definition_of(entry)
            target = make_target(definition, entry.source, self._parts.environment)
        except McpConnectError as error:
            self._faults[entry.key] = self._parts.clock.monotonic(), str(error)
            raise
        self._faults.pop(entry.key, None)
        return target

    def _forget_some(self) -> None:
        if len(self._runs) >= MAX_RUNS:
            self._runs = {key: run for key, run in self._runs.items() if not run.is_unused}
            self._keys = {entry: key for entry, key in self._keys.items() if key in self._runs}
            self._of_projects = {key: one for key, one in self._of_projects.items() if key in self._keys}

    def of_project(self, owner: str, hash: str) -> list[ServerEntry]:
        """Return the servers of a project's file with this hash that were started."""
        started = [one for one in self._of_projects.values() if one.key in self._keys]
        return [one for one in started if (one.owner, one.hash) == (owner, hash)]

    def take_out(self, entry: ServerEntry) -> ServerRun | None:
        """Retire the run of a server that is defined otherwise now, and return it, if it was tried."""
        self._faults.pop(entry.key, None)
        key = self._keys.pop(entry.key, "")
        run = self._runs.pop(key, None)
        if run is not None:
            run.retire()
        return run

    async def _check_trust(self, entry: ServerEntry) -> None:
        if entry.root is None:
            return
        try:
            trusted = await self._parts.trust.is_trusted(entry.owner, entry.root, entry.hash)
        except StoreUnavailableError as error:
            raise McpConnectError(str(error)) from None
        if not trusted:
            raise McpConnectError(f"The MCP server {entry.name} is of a project that is not trusted.")

    async def _definition_of(self, entry: ServerEntry) -> McpDefinition:
        if entry.record is None:
            return entry.definition
        definition = definition_of(entry.record, await self._parts.stored.values(entry.record))
        if definition.cwd is None and definition.command is not None and entry.scope.root is not None:
            definition = replace(definition, cwd=path_of_uri(entry.scope.root))
        return definition

    def _key(self, entry: ServerEntry, target: McpTarget) -> str:
        """Return the key of what starts a server. Owners share servers of the configuration file alone."""
        owner = "" if entry.source == "config" else entry.owner
        return hashlib.sha256(self._salt + msgspec.json.encode((owner, target), order="sorted")).hexdigest()
