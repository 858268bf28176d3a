"""All chats: finding them, keeping the live ones in memory, running their turns. Knows no wire, no SQL."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from weakref import WeakSet

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from parley_daemon.core.commands import StopCause, WhenBusy
from parley_daemon.core.events import Timings, TurnEnded
from parley_daemon.core.records import (
    Chat,
    Message,
    ModelSettings,
    QueuedMessage,
    Turn,
    Usage,
)
from parley_daemon.engine.background import Secretary, Work
from parley_daemon.engine.chats.acceptance import Accepted, Draft, TurnDone
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.collection import Library
from parley_daemon.engine.chats.event_log import Published
from parley_daemon.engine.chats.live import LiveChat, World
from parley_daemon.engine.chats.new_chat import NewChat
from parley_daemon.engine.chats.registry import Residents
from parley_daemon.engine.chats.snapshot import Attachment, ChatView, Sink, Snapshot
from parley_daemon.engine.chats.watchers import Watchers
from parley_daemon.engine.configuration.model_refresh import looked_up
from parley_daemon.engine.configuration.models import ModelConfigs
from parley_daemon.engine.configuration.providers import Providers
from parley_daemon.engine.configuration.state import ConfiguredState
from parley_daemon.engine.errors import (
    ChatBusyError,
    ConflictError,
    NoDefaultModelError,
    ShuttingDownError,
)
from parley_daemon.engine.recovery import OpenStore, Recovery
from parley_daemon.engine.turns.default_model import asked
from parley_daemon.engine.turns.host import TurnResult
from parley_daemon.engine.turns.model_selection import allowed
from parley_daemon.engine.turns.retry import Retries, RetryPolicy
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.engine.turns.summarize import ScribePolicy
from parley_daemon.ports.catalogue import Catalogue, ProviderInfo, ProviderUnavailableError, UnknownModelError
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.models import Model
from parley_daemon.ports.schemas import Schemas
from parley_daemon.ports.secrets import Secrets
from parley_daemon.ports.store import (
    AddMessage,
    ChatQuery,
    PutChat,
    SearchPage,
    Store,
    StoredChat,
    StoreStatus,
    StoreUnavailableError,
)

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long running turns get to end when the daemon stops."""


class Engine:
    """The chats of one data directory. Use it inside `running()`."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        clock: Clock,
        secrets: Secrets,
        schemas: Schemas,
        *,
        max_running_turns: int = 200,
        retries: RetryPolicy | None = None,
        recovery: Recovery = "interrupt",
        scribe: ScribePolicy | None = None,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._clock = clock
        self._schemas = schemas
        self._slots = anyio.CapacityLimiter(max_running_turns)
        self._chats = Residents(self._load)
        self._open = OpenStore(store, clock, self._answer_again if recovery == "retry" else None)
        self.watchers = Watchers()
        self._tasks: TaskGroup | None = None
        self._stopping = False
        self._warmed: WeakSet[Model] = WeakSet()
        policy = scribe or ScribePolicy()
        self._secretary = Secretary(
            policy, catalogue, lambda chat_id: self._chats.using(chat_id, None), self._behind
        )
        self._world = World(
            store,
            catalogue,
            clock,
            self._slots,
            Retries(retries or RetryPolicy()),
            schemas,
            self._start,
            self.watchers.changed,
            self._ended,
            policy,
        )
        self._configured = ConfiguredState(store, self._open, catalogue, secrets, clock, self._behind)
        self.providers = Providers(self._configured, catalogue, secrets, clock)
        self.model_configs = ModelConfigs(self._configured, catalogue, clock)
        self.library = Library(self._world, self._chats, self._open, self.watchers.tell)

    def retune(self, max_running_turns: int, retries: RetryPolicy, scribe: ScribePolicy) -> None:
        """Go on with other limits and policies than before, also for what is under way."""
        self._slots.total_tokens = max_running_turns
        self._world.retries.policy = retries
        self._world.scribe = self._secretary.policy = scribe

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Engine"]:
        """Run turns until the block ends; then end what still runs and close the store."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                try:
                    yield self
                finally:
                    with anyio.CancelScope(shield=True):
                        await self.stop()
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._catalogue.aclose()
                await self._store.aclose()

    async def stop(self) -> None:
        """End every running turn (interrupted, daemon_lost) and refuse new ones. Takes at most 5 s."""
        self._stopping = True
        with anyio.move_on_after(STOP_SECONDS) as limit:
            # Again, until there are none: a turn that was just ending may have been followed by another one.
            while busy := [actor for actor in self._chats.all() if actor.busy]:
                for run in [await actor.interrupt(StopCause.SHUTDOWN) for actor in busy]:
                    if run is not None:
                        await run.done.wait()
            for actor in self._chats.all():
                try:
                    await actor.settle()
                except StoreUnavailableError as error:
                    log.error("the last answer of chat %s is lost: %s", actor.id, error)
        if limit.cancelled_caught:
            log.warning(
                "some turns did not end within %g s; they are recovered at the next start", STOP_SECONDS
            )

    # --------------------------------------------------------------------------- state

    @property
    def catalogue(self) -> Catalogue:
        """The models."""
        return self._catalogue

    async def models(self) -> Sequence[ProviderInfo]:
        """Return every provider with its known models; without the store what is known without it.

        Providers that were never asked for their models get a moment to answer (see `lookup`).
        """
        await self.providers.list()
        await looked_up(self._catalogue, self._behind)
        return self._catalogue.providers()

    @property
    def schemas(self) -> Schemas:
        """JSON Schema."""
        return self._schemas

    @property
    def running_turns(self) -> int:
        """How many turns are under way, waiting for a slot included."""
        return sum(actor.busy for actor in self._chats.all())

    @property
    def store_status(self) -> StoreStatus:
        """What and where the store is."""
        return self._store.status

    async def count_chats(self) -> int:
        """Return how many chats are stored."""
        await self._open()
        return await self._store.count_chats()

    async def open(self) -> None:
        """Open the store ahead of the first call. A failure is kept for the calls that need the store."""
        try:
            await self._open()
        except StoreUnavailableError as error:
            log.error("%s", error)

    async def _answer_again(self, stored: StoredChat, lost: Turn) -> None:
        """Begin a turn in the place of a lost one. The store is being opened: nobody has the chat yet."""
        try:
            await self._configured.known()
        except StoreUnavailableError as error:
            log.warning("a lost turn begins without what was configured over the protocol: %s", error)
        self._chats.keep(self._chats.get(lost.chat_id) or ChatActor(stored, self._world))
        async with self._chats.using(lost.chat_id, None) as actor:
            await actor.answer_again(lost)

    # --------------------------------------------------------------------------- chats

    async def create(self, new: NewChat) -> ChatView:
        """Create a chat, durable when this returns."""
        await self._configured.ready()
        if new.model is not None:
            allowed(self._catalogue, new.model, new.settings or ModelSettings())
        async with self.library.under(new.parent_chat_id, new.owner) as parent:
            actor = await self._create(new, parent)
        self._chats.keep(actor)
        self._warm(actor.view.chat.model)
        self.watchers.tell(actor.view, "created")
        return actor.view

    async def _create(self, new: NewChat, parent: Chat | None) -> ChatActor:
        model = new.model or self._catalogue.default_model
        chat, messages = new.made(self._clock.new_id(), self._clock.now(), model, parent)
        with anyio.CancelScope(shield=True):  # a caller who gives up now has a chat or has none
            await self._store.commit(PutChat(chat), *[AddMessage(message) for message in messages])
        return ChatActor(StoredChat(chat, ()), self._world, messages)

    async def list(self, query: ChatQuery) -> tuple[Sequence[ChatView], str | None, int]:
        """Return a page of chats, the cursor of the next page, and the count of all that match."""
        await self._open()
        page = await self._store.chats(query)
        return [self._seen(chat) for chat in page.chats], page.next_cursor, page.total

    def _seen(self, chat: Chat) -> ChatView:
        live = self._chats.get(chat.id)
        return live.view if live else ChatView(chat, chat.status, chat.last_seq)

    async def view(self, chat_id: str, owner: str) -> ChatView:
        """Return a chat as it is now."""
        async with self._chats.using(chat_id, owner) as actor:
            return actor.view

    async def snapshot(
        self, chat_id: str, owner: str, *, after: int | None, before: int | None, limit: int | None
    ) -> Snapshot:
        """Return a chat with messages of its active branch (see Store.path)."""
        async with self._chats.using(chat_id, owner) as actor:
            return await actor.snapshot(after=after, before=before, limit=limit)

    async def update(self, chat_id: str, owner: str, change: Callable[[Chat], Chat]) -> ChatView:
        """Change a chat's own record."""
        async with self._chats.using(chat_id, owner) as actor:
            return await actor.update(change)

    async def set_model(self, chat_id: str, owner: str, reference: str) -> ChatView:
        """Give a chat another model from its next turn on."""
        await self._configured.ready()

        def change(chat: Chat) -> Chat:
            return replace(chat, model=allowed(self._catalogue, reference, chat.settings).id)

        return await self.update(chat_id, owner, change)

    async def delete(self, chat_id: str, owner: str) -> None:
        """End a chat's turn and remove the chat."""
        async with self._chats.using(chat_id, owner) as actor:
            await actor.delete()
            self.watchers.tell(actor.view, "deleted")

    async def chat_ids(self, owner: str) -> Sequence[str]:
        """Return the ids of all chats of an owner."""
        await self._open()
        return await self._store.chat_ids(owner)

    async def search(self, owner: str, query: str, *, cursor: str | None, limit: int) -> SearchPage:
        """Return a page of what is found in an owner's chats (see Store.search)."""
        await self._open()
        return await self._store.search(owner, query, cursor=cursor, limit=limit)

    # --------------------------------------------------------------------------- turns

    async def send(
        self,
        chat_id: str,
        owner: str,
        draft: Draft,
        when_busy: WhenBusy,
        accepted: Callable[[Accepted], None],
    ) -> None:
        """Take a message for a chat; see ChatActor.send for when `accepted` is called."""
        async with self._chats.using(chat_id, owner) as actor:
            await self._check_turn(actor, draft.model, draft.settings)
            await actor.send(draft, when_busy, accepted)

    async def sent_before(self, chat_id: str, owner: str, client_message_id: str | None) -> Accepted | None:
        """Return what became of the message that a client sent with this id, None when there is none."""
        async with self._chats.using(chat_id, owner) as actor:
            return await actor.sent_before(client_message_id)

    async def edit(
        self, chat_id: str, owner: str, message_id: int, draft: Draft, accepted: Callable[[Accepted], None]
    ) -> None:
        """Say a user message differently and answer that (see ChatActor.edit)."""
        async with self._chats.using(chat_id, owner) as actor:
            await self._check_turn(actor, draft.model, draft.settings)
            await actor.edit(message_id, draft, accepted)

    async def retry(
        self,
        chat_id: str,
        owner: str,
        message_id: int | None,
        model: str | None,
        settings: ModelSettings,
        accepted: Callable[[Accepted], None],
    ) -> None:
        """Answer a user message again (see ChatActor.retry)."""
        async with self._chats.using(chat_id, owner) as actor:
            await self._check_turn(actor, model, settings)
            await actor.retry(message_id, model, settings, accepted)

    async def _check_turn(self, actor: ChatActor, model: str | None, settings: ModelSettings) -> None:
        await self._configured.ready()
        chat = actor.view.chat
        reference = model or asked(self._catalogue, chat.model)
        if reference is None:
            why = self._catalogue.complaint
            broken = f" The configuration is broken: {why}" if why else ""
            raise NoDefaultModelError(f"The chat has no model and there is no default one.{broken}")
        allowed(self._catalogue, reference, settings.over(chat.settings))
        if self._stopping:
            raise ShuttingDownError("The daemon is stopping. Send the message again to the next one.")

    async def select(self, chat_id: str, owner: str, message_id: int, *, newest_leaf: bool) -> ChatView:
        """Make another branch the active one (see ChatActor.select)."""
        async with self._chats.using(chat_id, owner) as actor:
            return await actor.select(message_id, newest_leaf=newest_leaf)

    async def change_queue(
        self, chat_id: str, owner: str, change: Callable[[ChatActor], Awaitable[tuple[QueuedMessage, ...]]]
    ) -> tuple[QueuedMessage, ...]:
        """Change a chat's queue; return it as it is then."""
        async with self._chats.using(chat_id, owner) as actor:
            return await change(actor)

    async def wait(self, chat_id: str, owner: str, turn_id: str, own_turn_id: str | None = None) -> TurnDone:
        """Return what an accepted turn comes to, or came to when it is over already (see ChatActor.wait)."""
        async with self._chats.using(chat_id, owner) as actor:
            done = await actor.wait(turn_id, own_turn_id)
            return done or await self._past_turn(chat_id, turn_id, own_turn_id)

    async def _past_turn(self, chat_id: str, turn_id: str, own_turn_id: str | None) -> TurnDone:
        turn = None if own_turn_id is None else await self._store.turn(chat_id, own_turn_id)
        turn = turn or await self._store.turn(chat_id, turn_id)
        if turn is None or turn.outcome is None:
            raise ConflictError("That message's turn is not known any more.")
        turn_id = turn.id
        messages = await self._store.turn_messages(chat_id, turn_id)
        ended = TurnEnded(
            turn_id,
            turn.outcome,
            turn.stop_reason,
            turn.usage or Usage(),
            Timings(queued_ms=0, first_part_ms=None, total_ms=0, attempts=0),
            turn.error,
        )
        answers = tuple(message for message in messages if message.role != "user")
        return TurnDone(ended, answers, turn.output)

    async def interrupt(self, chat_id: str, owner: str) -> ChatView:
        """Stop a chat's turn. Idempotent."""
        async with self._chats.using(chat_id, owner) as actor:
            await actor.interrupt()
            return actor.view

    async def take_back(self, chat_id: str, owner: str, turn_id: str, own_turn_id: str | None) -> None:
        """Stop the turn that answers a message, or take the message out of the queue."""
        async with self._chats.using(chat_id, owner) as actor:
            await actor.take_back(turn_id, own_turn_id)

    # ----------------------------------------------------------------------- listening

    async def attach(
        self, chat_id: str, owner: str, sink: Sink, *, after_seq: int | None, tail: int
    ) -> Attachment:
        """Let a sink hear a chat's events from now on."""
        async with self._chats.using(chat_id, owner) as actor:
            self._warm(actor.view.chat.model)
            return await actor.attach(sink, after_seq=after_seq, tail=tail)

    def listen(self, chat_id: str, sink: Sink) -> None:
        """Let a sink hear what comes next of a chat that is in memory."""
        actor = self._chats.get(chat_id)
        assert actor is not None, "whoever listens holds the chat"
        actor.listen(sink)

    def replay(self, chat_id: str, turn_id: str) -> Sequence[Published]:
        """Return what was told of a turn so far, of a chat that is in memory."""
        actor = self._chats.get(chat_id)
        return () if actor is None else actor.replay(turn_id)

    def detach(self, chat_id: str, sink: Sink) -> None:
        """Let a sink hear no more."""
        actor = self._chats.get(chat_id)
        if actor is not None:
            actor.detach(sink)

    # -------------------------------------------------------------------- in memory

    def _warm(self, reference: str | None) -> None:
        """Load what the chat's model needs, in the background: a person still has to write the question."""
        try:
            model = self._catalogue.resolve(reference) if reference else None
        except (UnknownModelError, ProviderUnavailableError):
            return  # whoever sends is told
        if model is not None and model.model not in self._warmed:
            self._warmed.add(model.model)
            self._secretary.warm(model.model)

    def _start(self, run: TurnRun) -> None:
        assert self._tasks is not None, "use the engine inside running()"
        self._tasks.start_soon(run.run, name=f"turn {run.turn.id}")

    def _ended(self, chat: LiveChat, result: TurnResult) -> None:
        if not self._stopping and isinstance(chat, ChatActor):
            self._secretary.turn_ended(chat, result)

    def _behind(self, work: Work) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(work)

    async def compact(self, chat_id: str, owner: str) -> Message:
        """Summarise a chat's branch for later requests; return the summary."""
        async with self._chats.using(chat_id, owner) as actor:
            if actor.busy:
                raise ChatBusyError("The chat has a turn under way. Compact it when that has ended.")
            await self._check_turn(actor, None, ModelSettings())
            return await self._secretary.compact(chat_id, ModelSettings())

    async def _load(self, chat_id: str) -> ChatActor | None:
        await self._open()
        if (live := self._chats.get(chat_id)) is not None:  # a lost turn of it is answered again
            return live
        stored = await self._store.chat(chat_id)
        return None if stored is None else ChatActor(stored, self._world)
