"""The MCP servers of all chats: which there are, what they offer, and their use.

Theory of operation. A server is configured in the configuration file, by a call, or by a project (`listing`).
Nothing is started, and no file or secret is read, before a chat with tools, or a person, needs it. What a
server offered in an earlier run is kept in the store under a key that names its definition without secrets;
so its tools can be declared before it is started.

A server is started by the first call of one of its tools, or, if it is not known what it offers, by
`discover`. All chats share one run of it (`runs`).

The order for those who use servers: `for_chat` before each model call, then `ChatServer.manifest` for what
it offers, and `ChatServer.use` for each call. Nothing that a server says changes a `ChatServer.manifest`
that was read before.
"""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from functools import partial

import anyio
from msgspec.structs import replace

from parley_daemon.core.agents.globs import uri_of_path
from parley_daemon.core.agents.mcp import McpDefinition, McpState, UntrustedServer, describe_start
from parley_daemon.core.agents.rules import RuleScope
from parley_daemon.core.records import Chat
from parley_daemon.engine.errors import NotAllowedError
from parley_daemon.engine.mcp.access import takes_token
from parley_daemon.engine.mcp.authorization import Asked
from parley_daemon.engine.mcp.listing import ServerEntry, ServerStatus, merge
from parley_daemon.engine.mcp.manifests import KeptManifests
from parley_daemon.engine.mcp.projects import ProjectFileReader, ProjectServers
from parley_daemon.engine.mcp.runs import RunParts, ServerRuns
from parley_daemon.ports.mcp import McpConnectError, McpConnection, McpManifest
from parley_daemon.ports.tools import Workspace

log = logging.getLogger(__name__)


class ChatServer:
    """A server as one chat may use it.

    Attributes:
        name: unique in the chat.
        manifest: what it offers as of now; None: it is not known, or may not be used.
        state: what has become of it.
        problem: why it cannot be used now, as a sentence; None: it can, or was not tried.
        untrusted: what a person has to decide on before it is started; None: nothing.
        trusts_hints: whether it is believed what it says of its tools. Never that of a project.
    """

    def __init__(self, servers: "McpServers", entry: ServerEntry, status: ServerStatus) -> None:
        self.name = entry.name
        self.entry = entry
        self.state: McpState = status.state
        self.problem = status.error or servers.problem
        self.manifest = servers.find_manifest(entry)
        self.untrusted: UntrustedServer | None = None
        if status.state == "untrusted" and entry.root is not None:
            shown = describe_start(entry.definition)
            self.untrusted = UntrustedServer(entry.name, entry.root, entry.hash, shown)
        self.trusts_hints = entry.definition.trusts_hints and entry.source != "project"
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

    def __init__(
        self,
        parts: RunParts,
        projects: ProjectFileReader,
        manifests: KeptManifests,
        configured: Sequence[McpDefinition] = (),
    ) -> None:
        self._connector = parts.connector
        self._stored = parts.stored
        self._start = parts.start
        self._authorizations = parts.authorizations
        self._configured = tuple(configured)
        self._projects = projects
        self._manifests = manifests
        self._runs = ServerRuns(parts, manifests.keep)
        self._learning: dict[str, anyio.Event] = {}  # by the keys of definitions

    @property
    def problem(self) -> str | None:
        """Why no server can be used, such as a package that is not installed; None: they can."""
        return self._connector.problem

    # ------------------------------------------------------------------------ which there are

    async def for_chat(self, chat: Chat, workspace: Workspace) -> tuple[ChatServer, ...]:
        """Return the servers that a chat may use, by name, untrusted and failed ones, too.

        Cheap enough for each model call: files of projects are looked at once a second.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        wanted = chat.settings.agent.mcp_servers
        # A child chat has the servers of the chat that it works for.
        entries = await self._entries(chat.owner, chat.scope_ids, workspace.roots)
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
        entry = server.entry
        if entry.problem is not None or server.manifest is not None or server.state in ("untrusted", "known"):
            return None
        if not self._runs.may_start(entry):
            return None
        done = self._learning.get(entry.key)
        if done is None:
            done = self._learning[entry.key] = anyio.Event()
            self._start(partial(self._learn, entry, done))
        return done

    async def _learn(self, entry: ServerEntry, done: anyio.Event) -> None:
        try:
            async with self.use(entry, is_call=False):
                pass
        except McpConnectError as error:
            log.info("it is not known what the MCP server %s offers: %s", entry.name, error)
        finally:
            self._learning.pop(entry.key, None)
            done.set()

    async def statuses(
        self, owner: str, chat: Chat | None = None, workspace: Workspace | None = None
    ) -> tuple[tuple[ServerStatus, ...], tuple[ProjectServers, ...]]:
        """Return the servers of a chat, or in a workspace, and the files of projects that cannot be used.

        Without both: all servers that are no project's.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        chat_ids = frozenset[str]() if chat is None else chat.scope_ids
        roots = None if workspace is None else workspace.roots
        entries = await self._entries(owner, chat_ids, roots)
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
        chat_ids = frozenset[str]() if chat is None else chat.scope_ids
        roots = None if workspace is None else workspace.roots
        named = [one for one in await self._entries(owner, chat_ids, roots) if one.name == name]
        return min(named, key=lambda one: one.problem is not None, default=None)

    async def _entries(
        self, owner: str, chat_ids: frozenset[str], roots: Sequence[str] | None
    ) -> list[ServerEntry]:
        """Return the servers that count for a chat in folders. `roots` None: all but those of projects."""
        stored = await self._stored.of(owner)
        projects = [await self._projects.read(owner, root) for root in roots or ()]
        uris = [uri_of_path(root) for root in roots or ()]
        if roots is not None:
            stored = {name: one for name, one in stored.items() if _counts(one.scope, chat_ids, uris)}
        entries = merge(owner, self._configured, stored, [one for one in projects if one is not None])
        await self._manifests.load(entries)
        return list(entries)

    # ------------------------------------------------------------------------ what they offer

    def find_manifest(self, entry: ServerEntry) -> McpManifest | None:
        """Return what a server offers, or offered when it ran last; None: it may not be used, or unknown."""
        if not entry.trusted or entry.problem is not None:
            return None
        run = self._runs.find(entry)
        known = None if run is None else run.manifest
        return known or self._manifests.find(entry)

    def _status(self, entry: ServerEntry) -> ServerStatus:
        if entry.problem is not None:
            return ServerStatus(entry, "failed", entry.problem)
        if not entry.trusted:
            return ServerStatus(entry, "untrusted")
        run, manifest = self._runs.find(entry), self.find_manifest(entry)
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
        fault = self._runs.find_fault(entry)
        if fault is not None:
            return replace(status, state="failed", error=fault)
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
        run = await self._runs.of(entry)
        async with run.use(is_call=is_call) as connection:
            yield connection

    async def restart(self, entry: ServerEntry) -> None:
        """Start a server, again if it runs. Returns when it runs or has failed.

        Raises:
            McpConnectError: it is not trusted, or its definition cannot be used.
        """
        run = await self._runs.of(entry)
        await run.restart()

    async def stop(self, entry: ServerEntry) -> None:
        """Stop a server for good, because it is defined otherwise now, or not any more."""
        run = self._runs.take_out(entry)
        if run is not None:
            await run.stop()

    def count(self) -> tuple[int, int]:
        """Return how many servers run or are being started, and how many have failed."""
        states = self._runs.states
        return sum(one in ("running", "starting") for one in states), sum(
            one in ("failed", "needs_auth") for one in states
        )

    async def authorize(self, entry: ServerEntry) -> Asked:
        """Begin to ask a person to authorize a server. Once that is done, it may be used.

        Raises:
            NotAllowedError: it takes no authorization, or cannot get one now; the message says why.
            ConflictError: too many persons are asked already.
        """
        if self._authorizations is None:
            raise NotAllowedError(self.problem or "This daemon asks for no authorizations.")
        try:
            target = await self._runs.target(entry)
        except McpConnectError as error:
            raise NotAllowedError(str(error)) from None
        if target.url is None or not takes_token(target):
            why = (
                "is started by a command, so nobody can authorize it: give it what it needs in env."
                if target.url is None
                else "has a header Authorization already: remove that to authorize it here."
            )
            raise NotAllowedError(f"The MCP server {entry.name} {why}")
        return await self._authorizations.ask(entry.owner, target.url, partial(self._granted, entry))

    def _granted(self, entry: ServerEntry) -> None:
        run = self._runs.find(entry)
        if run is not None:
            run.forgive()

    async def forget_authorization(self, entry: ServerEntry) -> None:
        """Delete the authorization of a server that was removed."""
        if self._authorizations is None or entry.definition.url is None:
            return
        try:
            target = await self._runs.target(entry)
        except McpConnectError:
            return  # it never had one
        if target.url is not None:
            await self._authorizations.forget(entry.owner, target.url)

    async def stop_untrusted(self, owner: str, hash: str) -> None:
        """Stop the servers of a project's file that the owner does not trust any more."""
        for entry in self._runs.of_project(owner, hash):
            await self.stop(entry)

    def configure(self, configured: Sequence[McpDefinition]) -> None:
        """Replace the servers of the configuration file. Those that have changed end with their calls."""
        gone = [one for one in self._configured if one not in configured]
        self._configured = tuple(configured)
        for one in gone:
            self._runs.take_out(ServerEntry("", "config", one))


def _counts(scope: RuleScope, chat_ids: frozenset[str], roots: Sequence[str]) -> bool:
    """Return whether a scope holds a chat with these `scope_ids` that works in these folders, as URIs."""
    if scope.chat_id is not None:
        return scope.chat_id in chat_ids
    if scope.root is None:
        return True
    above = scope.root.rstrip("/")
    return any(one == scope.root or one.startswith(f"{above}/") for one in roots)
