"""The MCP servers of all chats: which there are, what they offer, and their use.

Theory of operation. A server is configured in the configuration file, by a call, or by a project (`listing`).
Nothing is started, and no file or secret is read, before a chat with tools, or a person, needs it. What a
server offered in an earlier run is kept in the store under a key that names its definition without secrets;
so its tools can be declared before it is started.

A server is started by the first call of one of its tools, or, if it is not known what it offers, by
`discover`. What starts it (its command, its environment, its address) is the key under which all chats share
one run of it (`run`); the key is made with a random salt and never stored.

The order for those who use servers: `for_chat` before each model call, then `ChatServer.manifest` for what
it offers, and `ChatServer.use` for each call. Nothing that a server says changes a `ChatServer.manifest`
that was read before.
"""

import hashlib
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from functools import partial

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.globs import path_of_uri, uri_of_path
from parley_daemon.core.agents.mcp import McpDefinition, McpState
from parley_daemon.core.agents.rules import RuleScope
from parley_daemon.core.records import Chat
from parley_daemon.engine.mcp.listing import ServerEntry, ServerStatus, merge
from parley_daemon.engine.mcp.projects import ProjectFileReader, ProjectServers, Trust
from parley_daemon.engine.mcp.run import RunTimes, ServerRun
from parley_daemon.engine.mcp.stored import SecretValues, StoredServers, definition_of
from parley_daemon.engine.mcp.targets import McpEnvironment, make_target
from parley_daemon.engine.tasks import Work
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.mcp import (
    McpConnectError,
    McpConnection,
    McpConnectionEvents,
    McpConnector,
    McpManifest,
    McpTarget,
)
from parley_daemon.ports.projects import ProjectFiles
from parley_daemon.ports.store import Store, StoreUnavailableError
from parley_daemon.ports.store_writes import PutMcpManifest
from parley_daemon.ports.tools import Workspace

log = logging.getLogger(__name__)

MAX_MANIFEST = 4 * 2**20
"""Bytes of what a server offers, as JSON, up to which it is kept for later runs."""


MAX_RUNS = 256
"""Servers that are remembered; then those that do not run are forgotten."""


class McpParts(msgspec.Struct, frozen=True, gc=False):
    """What servers are made of. `start` runs work in the background, `open_store` opens the store."""

    store: Store
    open_store: Callable[[], Awaitable[None]]
    stored: StoredServers
    connector: McpConnector
    files: ProjectFiles
    trust: Trust
    environment: McpEnvironment
    clock: Clock
    start: Callable[[Work], None]
    times: RunTimes = RunTimes()


class ChatServer:
    """A server as one chat may use it.

    Attributes:
        name: unique in the chat.
        manifest: what it offers as of now; None: it is not known, or may not be used.
        state: what has become of it.
        problem: why it cannot be used now, as a sentence; None: it can, or was not tried.
    """

    def __init__(self, servers: "McpServers", entry: ServerEntry, status: ServerStatus) -> None:
        self.name = entry.name
        self.entry = entry
        self.state = status.state
        self.problem = status.error
        self.manifest = servers.find_manifest(entry)
        self._servers = servers

    @asynccontextmanager
    async def use(self, *, is_call: bool = True) -> AsyncGenerator[McpConnection]:
        """Keep the server running while the block runs, starting it if need be.

        `is_call`: whether this is a call of a tool, for the count.

        Raises:
            McpConnectError: it cannot be started or reached.
        """
        async with self._servers.use(self.entry, is_call=is_call) as connection:
            yield connection


class McpServers:
    """The servers of all owners. `configured`: those of the configuration file."""

    def __init__(self, parts: McpParts, configured: Sequence[McpDefinition] = ()) -> None:
        self._parts = parts
        self._configured = tuple(configured)
        self._projects = ProjectFileReader(parts.files, parts.trust)
        self._runs: dict[str, ServerRun] = {}
        self._keys: dict[str, str] = {}  # of runs, by the keys of entries
        self._manifests: dict[str, McpManifest | None] = {}  # of earlier runs, by the keys of entries
        self._learning: dict[str, anyio.Event] = {}  # by the keys of entries
        self._salt = secrets.token_bytes(16)

    @property
    def problem(self) -> str | None:
        """Why no server can be used, such as a package that is not installed; None: they can."""
        return self._parts.connector.problem

    # ------------------------------------------------------------------------ which there are

    async def for_chat(self, chat: Chat, workspace: Workspace) -> tuple[ChatServer, ...]:
        """Return the servers that a chat may use, by name, untrusted and failed ones, too.

        Cheap enough for each model call: files of projects are looked at once a second.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        wanted = chat.settings.agent.mcp_servers
        entries = await self._entries(chat.owner, chat.id, workspace.roots)
        if wanted is not None:
            entries = [one for one in entries if any(fnmatchcase(one.name, glob) for glob in wanted)]
        return tuple([ChatServer(self, one, self._status(one)) for one in entries])

    async def discover(self, servers: Sequence[ChatServer], seconds: float) -> None:
        """Start the servers of which it is not known what they offer, and wait at most so long for them.

        Those that take longer go on: what they offer is there at a later model call. Those that have failed
        are tried again when their pause is over.
        """
        if self.problem is not None:
            return
        awaited = [self._learning_of(one) for one in servers]
        with anyio.move_on_after(seconds):
            for done in awaited:
                if done is not None:
                    await done.wait()

    def _learning_of(self, server: ChatServer) -> anyio.Event | None:
        """Return when it is known what a server offers, or that this cannot be found out now."""
        entry, run = server.entry, self._find_run(server.entry)
        if entry.problem is not None or server.manifest is not None or server.state in ("untrusted", "known"):
            return None
        if run is not None and not run.may_start:
            return None
        key = _entry_key(entry)
        done = self._learning.get(key)
        if done is None:
            done = self._learning[key] = anyio.Event()
            self._parts.start(partial(self._learn, entry, done))
        return done

    async def _learn(self, entry: ServerEntry, done: anyio.Event) -> None:
        try:
            async with self.use(entry, is_call=False):
                pass
        except McpConnectError as error:
            log.info("it is not known what the MCP server %s offers: %s", entry.name, error)
        finally:
            self._learning.pop(_entry_key(entry), None)
            done.set()

    async def statuses(
        self, owner: str, chat: Chat | None = None, workspace: Workspace | None = None
    ) -> tuple[tuple[ServerStatus, ...], tuple[ProjectServers, ...]]:
        """Return the servers of a chat, or in a workspace, and the files of projects that cannot be used.

        Without both: all servers that are no project's.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        chat_id = None if chat is None else chat.id
        roots = None if workspace is None else workspace.roots
        entries = await self._entries(owner, chat_id, roots)
        projects = [] if roots is None else [await self._projects.read(owner, one) for one in roots]
        broken = [one for one in projects if one is not None and one.complaint is not None]
        return tuple([self._status(one) for one in entries]), tuple(broken)

    async def find(
        self, owner: str, name: str, chat: Chat | None = None, workspace: Workspace | None = None
    ) -> ServerEntry | None:
        """Return the server that has this name for a chat, or in a workspace; None: there is none.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        chat_id = None if chat is None else chat.id
        roots = None if workspace is None else workspace.roots
        named = [one for one in await self._entries(owner, chat_id, roots) if one.name == name]
        return min(named, key=lambda one: one.problem is not None, default=None)

    async def _entries(
        self, owner: str, chat_id: str | None, roots: Sequence[str] | None
    ) -> list[ServerEntry]:
        """Return the servers that count for a chat in folders. `roots` None: all but those of projects."""
        stored = await self._parts.stored.of(owner)
        projects = [await self._projects.read(owner, root) for root in roots or ()]
        uris = [uri_of_path(root) for root in roots or ()]
        if roots is not None:
            stored = {name: one for name, one in stored.items() if _counts(one.scope, chat_id, uris)}
        entries = merge(owner, self._configured, stored, [one for one in projects if one is not None])
        await self._load_manifests(entries)
        return list(entries)

    # ------------------------------------------------------------------------ what they offer

    def find_manifest(self, entry: ServerEntry) -> McpManifest | None:
        """Return what a server offers, or offered when it ran last; None: it may not be used, or unknown."""
        if not entry.trusted or entry.problem is not None:
            return None
        run = self._find_run(entry)
        known = None if run is None else run.manifest
        return known or self._manifests.get(_entry_key(entry))

    async def _load_manifests(self, entries: Sequence[ServerEntry]) -> None:
        keys = [_entry_key(one) for one in entries]
        unknown = [key for key in keys if key not in self._manifests]
        if not unknown:
            return
        await self._parts.open_store()
        found = await self._parts.store.mcp_manifests(unknown)
        for key in unknown:
            self._manifests.setdefault(key, found.get(key))

    async def _keep_manifest(self, entry: ServerEntry, manifest: McpManifest) -> None:
        key = _entry_key(entry)
        self._manifests[key] = manifest
        if len(msgspec.json.encode(manifest)) > MAX_MANIFEST:
            return
        try:
            await self._parts.open_store()
            await self._parts.store.commit(PutMcpManifest(key, self._parts.clock.now(), manifest))
        except StoreUnavailableError as error:
            log.warning("what the MCP server %s offers cannot be kept: %s", entry.name, error)

    def _status(self, entry: ServerEntry) -> ServerStatus:
        if entry.problem is not None:
            return ServerStatus(entry, "failed", entry.problem)
        if not entry.trusted:
            return ServerStatus(entry, "untrusted")
        run, manifest = self._find_run(entry), self.find_manifest(entry)
        state: McpState = "configured" if manifest is None else "known"
        status = ServerStatus(entry, state)
        if manifest is not None:
            program = [one for one in (manifest.server_name, manifest.server_version) if one]
            status = replace(
                status,
                era=manifest.era,
                server_version=" ".join(program) or None,
                tools=len(manifest.tools),
                resources=len(manifest.resources),
                prompts=len(manifest.prompts),
                set_aside=manifest.set_aside,
            )
        if run is None:
            return status
        return replace(
            status,
            state=state if run.state == "stopped" else run.state,
            error=run.error,
            pid=run.pid,
            calls=run.calls,
            restarts=max(0, run.starts - 1),
            next_try_at=run.next_try_at if run.state == "failed" else None,
            noise=run.noise,
        )

    # ---------------------------------------------------------------------------- their use

    @asynccontextmanager
    async def use(self, entry: ServerEntry, *, is_call: bool = True) -> AsyncGenerator[McpConnection]:
        """Keep a server running while the block runs.

        Raises:
            McpConnectError: it cannot be started or reached, or is not trusted (any more).
        """
        run = await self._run_of(entry)
        async with run.use(is_call=is_call) as connection:
            yield connection

    async def restart(self, entry: ServerEntry) -> None:
        """Start a server, again if it runs. Returns when it runs or has failed.

        Raises:
            McpConnectError: it is not trusted, or its definition cannot be used.
        """
        run = await self._run_of(entry)
        await run.restart()

    async def stop(self, entry: ServerEntry) -> None:
        """Stop a server for good, because it is defined otherwise now, or not any more."""
        run = self._find_run(entry)
        if run is not None:
            run.retire()
            await run.stop()
            self._drop(run)

    def configure(self, configured: Sequence[McpDefinition]) -> None:
        """Replace the servers of the configuration file. Those that have changed end with their calls."""
        gone = [one for one in self._configured if one not in configured]
        self._configured = tuple(configured)
        for one in gone:
            key = _entry_key(ServerEntry("", "config", one))
            run = self._runs.get(self._keys.pop(key, ""))
            if run is not None:
                run.retire()
                self._drop(run)

    def _drop(self, run: ServerRun) -> None:
        self._runs = {key: one for key, one in self._runs.items() if one is not run}

    def _find_run(self, entry: ServerEntry) -> ServerRun | None:
        return self._runs.get(self._keys.get(_entry_key(entry), ""))

    async def _run_of(self, entry: ServerEntry) -> ServerRun:
        if self.problem is not None:
            raise McpConnectError(self.problem)
        if entry.problem is not None:
            raise McpConnectError(entry.problem)
        await self._check_trust(entry)
        values = SecretValues()
        definition = entry.definition
        if entry.record is not None:
            values = await self._parts.stored.values(entry.record)
            definition = definition_of(entry.record, values)
            if definition.cwd is None and definition.command is not None and entry.scope.root is not None:
                definition = replace(definition, cwd=path_of_uri(entry.scope.root))
        target = make_target(definition, entry.source, self._parts.environment)
        key = self._run_key(entry, target)
        run = self._runs.get(key)
        if run is None:
            if len(self._runs) >= MAX_RUNS:
                self._runs = {one: run for one, run in self._runs.items() if not run.is_unused}
            run = self._runs[key] = ServerRun(
                entry.name,
                partial(self._connect, target),
                partial(self._keep_manifest, entry),
                self._parts.start,
                self._parts.clock,
                self._parts.times,
            )
        self._keys[_entry_key(entry)] = key
        return run

    async def _connect(self, target: McpTarget, events: McpConnectionEvents) -> McpConnection:
        return await self._parts.connector.connect(target, events)

    async def _check_trust(self, entry: ServerEntry) -> None:
        if entry.root is None:
            return
        try:
            trusted = await self._parts.trust.is_trusted(entry.owner, entry.root, entry.hash)
        except StoreUnavailableError as error:
            raise McpConnectError(str(error)) from None
        if not trusted:
            raise McpConnectError(f"The MCP server {entry.name} is of a project that is not trusted.")

    def _run_key(self, entry: ServerEntry, target: McpTarget) -> str:
        """Return the key of what starts a server. Owners share servers of the configuration file alone."""
        owner = "" if entry.source == "config" else entry.owner
        return hashlib.sha256(self._salt + msgspec.json.encode((owner, target), order="sorted")).hexdigest()


def _entry_key(entry: ServerEntry) -> str:
    """Return the key of a definition without secrets; a project's file counts with its exact content."""
    one = entry.definition
    parts = (
        "" if entry.source == "config" else entry.owner,
        *(entry.source, entry.root, entry.hash, entry.scope.root),
        *(one.name, one.command, one.args, sorted(one.env), one.cwd, one.url, sorted(one.headers)),
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _counts(scope: RuleScope, chat_id: str | None, roots: Sequence[str]) -> bool:
    """Return whether a scope holds a chat that works in these folders, which are URIs."""
    if scope.chat_id is not None:
        return scope.chat_id == chat_id
    if scope.root is None:
        return True
    above = scope.root.rstrip("/")
    return any(one == scope.root or one.startswith(f"{above}/") for one in roots)
