"""The engine of one data directory: composes the chats, their turns and the configuration, and runs them."""

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING

import anyio

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.mcp import McpDefinition
from parley_daemon.core.commands import StopCause
from parley_daemon.core.records import Turn
from parley_daemon.engine.agents.budgets import Budgets
from parley_daemon.engine.agents.client_tools import ChatToolbox, ClientTools
from parley_daemon.engine.agents.mcp.offer import McpOffers
from parley_daemon.engine.agents.mcp.servers import ChatServers
from parley_daemon.engine.agents.policy.instructions import Instructions
from parley_daemon.engine.agents.policy.permissions import Permissions, PolicySources
from parley_daemon.engine.agents.policy.policy_state import PolicyState
from parley_daemon.engine.agents.policy_queries import PolicyQueries
from parley_daemon.engine.background import BackgroundWork
from parley_daemon.engine.changes import FileChanges
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.feed.event_feed import Watchers
from parley_daemon.engine.chats.feed.snapshot import Change, ChatView
from parley_daemon.engine.chats.host import ChatServices
from parley_daemon.engine.collection.child_chats import LiveChildChats
from parley_daemon.engine.collection.collection import ChatCollection
from parley_daemon.engine.collection.registry import ChatRegistry
from parley_daemon.engine.collection.tree import ChatTree
from parley_daemon.engine.configuration.models import ModelConfigs
from parley_daemon.engine.configuration.providers import Providers
from parley_daemon.engine.configuration.state import ConfigurationState
from parley_daemon.engine.context.retrieval import Retrieval
from parley_daemon.engine.recovery import Recovery, StoreOpener
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.engine.turns.calls.turn_log import log_end
from parley_daemon.engine.turns.host import ResumedStep, TurnResult
from parley_daemon.engine.turns.retry import Retries, RetryPolicy
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.engine.turns.summarize import SummaryPolicy
from parley_daemon.ports.catalogue import Catalogue, ProviderInfo
from parley_daemon.ports.checkpoints import Checkpoints, CheckpointsUnavailableError
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.context import ContextIndex
from parley_daemon.ports.git import Git
from parley_daemon.ports.models import AnswerLimits
from parley_daemon.ports.projects import ParsedRules
from parley_daemon.ports.pull_requests import PullRequests
from parley_daemon.ports.sandbox import SandboxState
from parley_daemon.ports.schemas import Schemas
from parley_daemon.ports.secrets import Secrets
from parley_daemon.ports.store import Store, StoredChat, StoreStatus, StoreUnavailableError
from parley_daemon.ports.tools import Toolbox

if TYPE_CHECKING:
    from parley_daemon.engine.agents.mcp.content import McpContents
    from parley_daemon.engine.mcp.administration import McpAdministration
    from parley_daemon.engine.mcp.servers import McpServers
    from parley_daemon.engine.mcp.setup import McpSetup
    from parley_daemon.engine.mcp.stored import StoredServers

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long running turns may take to end when the daemon stops."""

STORE_SECONDS = 3.0
"""How long the store may take to say whether it can be written."""

SUMMARIES_AT_ONCE = 4
"""Titles and summaries that are requested at the same time; more of them wait."""


class Engine:
    """The chats of one data directory, whoever owns them. Use it inside `running()`.

    Implements ChatHost for its chats.

    Attributes:
        catalogue: the providers and their models.
        schemas: JSON Schema.
        providers: the providers that are configured over the protocol.
        model_configs: the models that are configured over the protocol.
        watchers: who is told of every chat of an owner.
        permissions: the rules of what models may do.
        client_tools: the tools that clients have registered.
        instructions: what people tell models in AGENTS.md.
        mcp_offers: what MCP servers offer in chats.
        policy: answers questions about both.
        children: the child chats that tools start.
        changes: what has changed in the folders of chats.
        retrieval: searches the contexts of chats.
    """

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        clock: Clock,
        secrets: Secrets,
        schemas: Schemas,
        *,
        toolbox: Toolbox,
        checkpoints: Checkpoints,
        policy_sources: PolicySources,
        git: Git,
        pull_requests: PullRequests | None = None,
        configured_rules: ParsedRules | None = None,
        max_running_turns: int = 200,
        retries: RetryPolicy | None = None,
        recovery: Recovery = "interrupt",
        summaries: SummaryPolicy | None = None,
        answer_limits: AnswerLimits | None = None,
        load_mcp: "Callable[[], McpSetup] | None" = None,
        configured_servers: Sequence[McpDefinition] = (),
        chat_servers: Callable[[], ChatServers] | None = None,
        context_index: ContextIndex | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.schemas = schemas
        self.watchers = Watchers()
        self._store = store
        self._secrets = secrets
        self._clock = clock
        self._load_mcp = load_mcp
        self._configured_servers = configured_servers
        self._project_files = policy_sources.files
        self._tasks = BackgroundTasks()
        self._is_stopping = False
        restart = self._restart_lost_turn if recovery == "retry" else None
        self._open_store = StoreOpener(store, clock, self._resume_paused_turn, restart).open
        self._registry = ChatRegistry(self._load)
        self._tree = ChatTree(self._registry, store, self._tasks, self)
        self.children = LiveChildChats(self._registry, clock, self.chats_of)
        self.client_tools = ClientTools(schemas, toolbox.names, self._tasks.start, self._end_orphaned_calls)
        toolbox = ChatToolbox(toolbox, self.client_tools)
        policy = PolicyState(store, self._open_store, clock)
        self.permissions = Permissions(policy, policy_sources, configured_rules or ParsedRules())
        self.instructions = Instructions(self.permissions, policy_sources)
        self.mcp_offers = McpOffers(chat_servers or (lambda: self.mcp_servers), schemas, self._trust_file)
        self.policy = PolicyQueries(
            self.permissions, self.instructions, toolbox, clock, self.mcp_offers, self._tree
        )
        self.retrieval = Retrieval(context_index, self.policy)
        self._services = ChatServices(
            store=store,
            catalogue=catalogue,
            clock=clock,
            schemas=schemas,
            toolbox=toolbox,
            client_tools=self.client_tools,
            checkpoints=checkpoints,
            turn_slots=anyio.CapacityLimiter(max_running_turns),
            summary_slots=anyio.Semaphore(SUMMARIES_AT_ONCE),
            retries=Retries(retries or RetryPolicy()),
            summary_policy=summaries or SummaryPolicy(),
            answer_limits=answer_limits or AnswerLimits(),
            permissions=self.permissions,
            instructions=self.instructions,
            lineage=self._tree,
            budgets=Budgets(),
            mcp=self.mcp_offers,
            retrieval=self.retrieval,
            host=self,
        )
        self.changes = FileChanges(toolbox, checkpoints, clock, git, pull_requests)
        self._background = BackgroundWork(self._services, self._registry.open, self._tasks, self.changes)
        self._configuration = ConfigurationState(
            store, self._open_store, catalogue, secrets, clock, self._tasks.start
        )
        self.providers = Providers(self._configuration, catalogue, secrets, clock)
        self.model_configs = ModelConfigs(self._configuration, catalogue, clock)

    def chats_of(self, owner: str) -> ChatCollection:
        """Return the chats of one owner."""
        return ChatCollection(owner, self._services, self._registry, self._open_store, self._tree)

    # ---------------------------------------------------------------------------- MCP servers

    @cached_property
    def mcp_servers(self) -> "McpServers":
        """The MCP servers of chats. Few daemons have some, so this is made at the first use."""
        from parley_daemon.engine.mcp.authorization import Authorizations
        from parley_daemon.engine.mcp.manifests import KeptManifests
        from parley_daemon.engine.mcp.projects import ProjectFileReader
        from parley_daemon.engine.mcp.runs import RunParts
        from parley_daemon.engine.mcp.servers import McpServers
        from parley_daemon.engine.mcp.setup import NO_MCP

        setup = NO_MCP if self._load_mcp is None else self._load_mcp()
        authorizations: Authorizations | None = None
        if setup.load_authorizer is not None:
            authorizations = Authorizations(
                setup.load_authorizer, self._secrets, self._clock, self._tasks.start
            )
        parts = RunParts(
            connector=setup.connector,
            stored=self._stored_servers,
            trust=self.permissions,
            environment=setup.environment,
            clock=self._clock,
            start=self._tasks.start,
            times=setup.times,
            authorizations=authorizations,
        )
        projects = ProjectFileReader(self._project_files, self.permissions)
        manifests = KeptManifests(self._store, self._open_store, self._clock)
        return McpServers(parts, projects, manifests, self._configured_servers)

    @cached_property
    def mcp(self) -> "McpAdministration":
        """What people do with MCP servers."""
        from parley_daemon.engine.mcp.administration import McpAdministration

        return McpAdministration(self.mcp_servers, self._stored_servers, self.permissions.find_root)

    @cached_property
    def mcp_contents(self) -> "McpContents":
        """The resources and prompts of MCP servers."""
        from parley_daemon.engine.agents.mcp.content import McpContents

        return McpContents(self.mcp_offers, self._services.toolbox)

    @cached_property
    def _stored_servers(self) -> "StoredServers":
        from parley_daemon.engine.mcp.stored import StoredServers

        return StoredServers(self._store, self._open_store, self._secrets, self._clock)

    def count_servers(self) -> tuple[int, int]:
        """Return how many MCP servers run, and how many have failed."""
        return self.mcp_servers.count() if "mcp_servers" in vars(self) else (0, 0)

    def configure_mcp(self, configured: Sequence[McpDefinition]) -> None:
        """Replace the MCP servers of the configuration file."""
        self._configured_servers = configured
        if "mcp_servers" in vars(self):  # they are in use
            self.mcp_servers.configure(configured)

    async def _trust_file(self, owner: str, root: str, hash: str) -> None:
        await self.permissions.set_trust(owner, root, hash, trusted=True)

    async def set_trust(self, owner: str, root: str, hash: str, *, trusted: bool) -> None:
        """Trust a file of a project as it is now, or withdraw the trust; see Permissions.

        Servers of a file that is not trusted any more are stopped.
        """
        await self.permissions.set_trust(owner, root, hash, trusted=trusted)
        if not trusted and "mcp_servers" in vars(self):  # they are in use
            await self.mcp_servers.stop_untrusted(owner, hash)

    async def _forget_servers(self, owner: str, chat_id: str) -> None:
        try:
            await self.mcp.forget_chat(owner, chat_id)
        except StoreUnavailableError as error:
            log.error("the MCP servers of a deleted chat stay: %s", error)

    async def find_sandbox(self) -> SandboxState:
        """Return what commands of chats run in."""
        return await self._services.toolbox.sandbox()

    # -------------------------------------------------------------------------- life

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Engine"]:
        """Run turns until the block ends; then end those under way and close the store."""
        try:
            async with self._tasks.running():
                try:
                    yield self
                finally:
                    with anyio.CancelScope(shield=True):
                        await self.stop()
        finally:
            with anyio.CancelScope(shield=True):
                await self.retrieval.aclose()
                await self._services.checkpoints.aclose()
                await self.catalogue.aclose()
                await self._store.aclose()

    async def open(self) -> None:
        """Open the store before the first call. A failure is only logged; later calls try again."""
        try:
            await self._open_store()
            await self._tidy_checkpoints()
        except StoreUnavailableError as error:
            log.error("%s", error)

    async def _tidy_checkpoints(self) -> None:
        """Finish the checkpoints that a crash cut off; remove those of chats that are gone."""
        checkpoints = self._services.checkpoints
        try:
            for chat_id in await checkpoints.chats():
                if await self._store.chat(chat_id) is None:
                    await checkpoints.forget(chat_id)
                else:
                    await checkpoints.recover(chat_id)
        except CheckpointsUnavailableError as error:
            log.error("%s", error)

    async def stop(self) -> None:
        """End all running turns as interrupted ("daemon_lost"), within STOP_SECONDS; refuse new ones.

        Turns with an open question do not end: the next start goes on with them.
        """
        self._is_stopping = True
        with anyio.move_on_after(STOP_SECONDS) as limit:
            # Until there are none: a turn that was just ending may have been followed by another one.
            while busy := [chat for chat in self._registry.all() if chat.is_busy and not chat.is_suspended]:
                for run in [await chat.interrupt(StopCause.SHUTDOWN) for chat in busy]:
                    if run is not None:
                        await run.done.wait()
            for chat in self._registry.all():
                try:
                    await chat.save_unsaved()
                except StoreUnavailableError as error:
                    log.error("the last answer of chat %s is lost: %s", chat.id, error)
        if limit.cancelled_caught:
            log.warning(
                "some turns did not end within %g s; they are recovered at the next start", STOP_SECONDS
            )

    def set_policies(
        self,
        max_running_turns: int,
        retries: RetryPolicy,
        summaries: SummaryPolicy,
        answer_limits: AnswerLimits,
    ) -> None:
        """Apply other limits and policies, also to turns under way."""
        self._services.turn_slots.total_tokens = max_running_turns
        self._services.retries.policy = retries
        self._services.summary_policy = summaries
        self._services.answer_limits = answer_limits

    # ------------------------------------------------------------------------- status

    @property
    def running_turns(self) -> int:
        """The number of turns under way, with those that wait for a slot, without those that are paused."""
        return sum(chat.is_running for chat in self._registry.all())

    @property
    def is_working(self) -> bool:
        """Whether a turn is under way that is not paused, or a command runs in the background."""
        return self.running_turns > 0 or self._services.toolbox.running_jobs > 0

    @property
    def store_status(self) -> StoreStatus:
        """What the store is, and where."""
        return self._store.status

    async def find_store_problem(self) -> str | None:
        """Return what is wrong with the store as a sentence; None: it can be read and written."""
        try:
            with anyio.fail_after(STORE_SECONDS):
                await self._open_store()
                return await self._store.find_problem()
        except StoreUnavailableError as error:
            return str(error)
        except TimeoutError:
            return f"The store does not answer within {STORE_SECONDS:g} s: the disk is slow, or it is locked."

    async def count_chats(self) -> int:
        """Return how many chats are stored."""
        await self._open_store()
        return await self._store.count_chats()

    async def models(self) -> Sequence[ProviderInfo]:
        """Return every provider with its known models, also when the store cannot be read.

        Providers that were never asked for their models get a moment to answer (see `refresh_models`).
        """
        await self.providers.list()
        await self.providers.refresh_models(self._tasks.start)
        return self.catalogue.providers()

    # --------------------------------------------------------------- what chats need (ChatHost)

    @property
    def is_stopping(self) -> bool:
        """See ChatHost."""
        return self._is_stopping

    async def load_configuration(self, *references: str | None) -> None:
        """See ChatHost."""
        await self._configuration.load()
        if self.catalogue.needs_lists(references):
            await self.providers.refresh_models(self._tasks.start)

    def start_turn(self, run: TurnRun) -> None:
        """See ChatHost."""
        self._tasks.start(run.run, name=f"turn {run.turn.id}")

    def warm_model(self, reference: str | None) -> None:
        """See ChatHost."""
        self._background.warm_model(reference)

    def chat_changed(self, view: ChatView, change: Change) -> None:
        """See ChatHost."""
        self.watchers.publish(view, change)
        if change == "deleted":
            self._tasks.start(partial(self._forget_servers, view.chat.owner, view.chat.id))
        if view.chat.is_delegated:
            self._tree.child_changed(view.chat)

    def stop_children(self, chat_id: str) -> None:
        """See ChatHost."""
        self._tasks.start(partial(self._tree.stop_children, chat_id), name=f"children of {chat_id}")

    def files_changed(self, chat_id: str) -> None:
        """See ChatHost."""
        if not self._is_stopping:
            self._background.files_changed(chat_id)

    def turn_ended(self, view: ChatView, result: TurnResult, *, wants_title: bool) -> None:
        """See ChatHost."""
        log_end(view.chat.id, result)
        if not self._is_stopping:
            self._background.turn_ended(view, result, wants_title=wants_title)

    # ---------------------------------------------------------------------- loading chats

    async def _load(self, chat_id: str) -> ChatActor | None:
        await self._open_store()
        if (chat := self._registry.get(chat_id)) is not None:  # loaded meanwhile to restart a lost turn
            return chat
        stored = await self._store.chat(chat_id)
        return None if stored is None else await self._make_actor(stored)

    async def _make_actor(self, stored: StoredChat) -> ChatActor:
        return ChatActor(stored, self._services, children=await self._tree.load_children(stored.chat))

    async def _resume_paused_turn(self, stored: StoredChat, resumed: ResumedStep) -> None:
        """Go on with a turn that waits for an answer. The store is being opened: no caller has it yet."""
        chat = self._registry.get(stored.chat.id) or await self._make_actor(stored)
        with self._registry.keep(chat):
            await chat.resume_turn(resumed)
            if stored.chat.is_delegated:
                self._tree.child_changed(stored.chat)  # its parent may have been loaded before
            if any(request.kind == "tool" for request in chat.requests.open):
                self.client_tools.expect_clients()

    async def _end_orphaned_calls(self, answer: Answer) -> None:
        """Answer the calls of clients' tools that no client can answer any more."""
        for chat in self._registry.all():
            for request in chat.requests.open:
                if request.kind == "tool" and not self.client_tools.is_known(
                    chat.view.chat, request.tool_name
                ):
                    try:
                        await chat.requests.resolve(request.id, answer)
                    except StoreUnavailableError as error:
                        log.error("a call of %s stays open: %s", request.tool_name, error)

    async def _restart_lost_turn(self, stored: StoredChat, lost: Turn) -> None:
        """Begin a turn in place of a lost one. The store is being opened: no caller has the chat yet."""
        try:
            await self._configuration.load_from_open_store()
        except StoreUnavailableError as error:
            log.warning("a lost turn is restarted without the configured providers: %s", error)
        chat = self._registry.get(lost.chat_id) or await self._make_actor(stored)
        with self._registry.keep(chat):
            await chat.branches.restart_lost_turn(lost)
