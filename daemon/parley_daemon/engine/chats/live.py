"""A chat in memory: what it looks like, who listens, and how a plan becomes durable and is told.

Nobody hears of anything that a crash could take back: a plan is committed first, then adopted, then told.
Knows no command and neither the wire nor how chats are found.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from parley_daemon.core.commands import ConversationState
from parley_daemon.core.compaction import Summary
from parley_daemon.core.events import ChatChanged, MessageAdded, MessagePart, StatusChanged
from parley_daemon.core.records import Message
from parley_daemon.engine.chats.acceptance import TurnDone, TurnWaiter
from parley_daemon.engine.chats.changeset import Plan
from parley_daemon.engine.chats.event_feed import Feed
from parley_daemon.engine.chats.event_log import Published
from parley_daemon.engine.chats.snapshot import Attachment, ChatView, Preview, Sink, Snapshot, page_of
from parley_daemon.engine.errors import ChatArchivedError, ChatNotFoundError
from parley_daemon.engine.turns.host import TurnResult
from parley_daemon.engine.turns.retry import Retries
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.engine.turns.summarize import ScribePolicy
from parley_daemon.ports.catalogue import Catalogue
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.schemas import Schemas
from parley_daemon.ports.store import Store, StoredChat, Write

QUESTION = (MessageAdded, StatusChanged)
"""How the events of a turn begin."""


@dataclass(slots=True)
class World:
    """What every chat of an engine shares. `scribe` changes with the configuration, nothing else does."""

    store: Store
    catalogue: Catalogue
    clock: Clock
    slots: anyio.CapacityLimiter
    retries: Retries
    schemas: Schemas
    start: Callable[[TurnRun], None]
    tell: Callable[[ChatView], None]
    ended: Callable[["LiveChat", TurnResult], None]
    scribe: ScribePolicy


class LiveChat:
    """A chat that is in memory. `users` counts the calls that hold it: while there are any, it stays."""

    def __init__(self, stored: StoredChat, world: World, history: list[Message] | None = None) -> None:
        self.users = 0
        self.gone = False
        self._chat = stored.chat
        self._state = ConversationState(stored.chat.status, None, stored.queue)
        self._world = world
        self._feed = Feed(stored.chat.last_seq)
        # The active branch, and the ids of what follows its last message on other branches, once needed.
        self._history = history
        self._twigs: tuple[int, ...] = ()
        self._summaries: tuple[Summary, ...] = ()
        self._run: TurnRun | None = None
        self._waiters: list[TurnWaiter] = []
        self._owed: list[Write] = []
        self._lock = anyio.Lock()

    # ---------------------------------------------------------------- what it looks like

    @property
    def id(self) -> str:
        """The chat's id."""
        return self._chat.id

    @property
    def view(self) -> ChatView:
        """The chat as it is now."""
        return ChatView(self._chat, self._state.status, self._feed.last_seq)

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self._state.busy

    @property
    def engaged(self) -> bool:
        """Whether a turn is under way, or about to begin on another branch."""
        return self._state.busy or self._state.held

    @property
    def at_rest(self) -> bool:
        """Whether nobody would miss it in memory: no turn, no listener, no caller, nothing unsaved."""
        return not (self.busy or self.users or self._waiters or self._owed) and self._feed.idle

    async def snapshot(self, *, after: int | None, before: int | None, limit: int | None) -> Snapshot:
        """Return the chat at this moment with messages of its active branch (see Store.path)."""
        seq, view, queue, preview = self._feed.last_seq, self.view, self._state.queue, self._preview()
        if self._history is not None:
            page = page_of(self._history, after, before, limit)
        else:
            leaf = self._chat.leaf_id
            page = await self._world.store.path(self.id, leaf, after=after, before=before, limit=limit)
        return Snapshot(seq, view, page.messages, page.has_more, queue, preview)

    def _preview(self) -> Preview | None:
        run = self._run
        if run is None or not len(run.assembler):
            return None
        return Preview(run.message_id, run.turn.id, "assistant", run.assembler.pieces())

    # ------------------------------------------------------------------------- listening

    async def attach(self, sink: Sink, *, after_seq: int | None, tail: int) -> Attachment:
        """Let the sink hear everything from now on, and return what it needs to know of the time before.

        Registration and the snapshot's moment are one step: between them nothing is lost or doubled.
        """
        missed = None if after_seq is None else self._feed.since(after_seq)
        self._feed.add(sink)
        if missed is not None:
            return Attachment(self._feed.last_seq - len(missed), missed, None)
        try:
            snapshot = await self.snapshot(after=None, before=None, limit=tail)
        except BaseException:
            self._feed.remove(sink)
            raise
        return Attachment(snapshot.seq, (), snapshot)

    def listen(self, sink: Sink) -> None:
        """Let the sink hear what comes next."""
        self._feed.add(sink)

    def replay(self, turn_id: str) -> list[Published]:
        """Return what was told of a turn so far; of a long one that runs, its parts as they are now."""
        told = self._feed.of_turn(turn_id)
        run = self._run
        if run is None or run.turn.id != turn_id or not told or isinstance(told[0].event, QUESTION):
            return told
        return [
            Published(self._feed.last_seq, MessagePart(turn_id, run.message_id, index, "assistant", piece))
            for index, piece in run.assembler.pieces()
        ]

    def detach(self, sink: Sink) -> None:
        """Let the sink hear no more."""
        self._feed.remove(sink)

    async def wait(self, turn_id: str, own_turn_id: str | None = None) -> TurnDone | None:
        """Wait for this turn's end and return it, None when the turn is neither under way nor queued.

        With `own_turn_id` for a message that steers it: when the turn ends without the message, that runs as
        this turn of its own, and is waited for.

        Raises:
            ConflictError: the message left the queue, or its chat was deleted.
        """
        running, queued = self._state.turn_id, {one.turn_id for one in self._state.queue}
        if (
            own_turn_id is not None
            and turn_id != running
            and (own_turn_id == running or own_turn_id in queued)
        ):
            turn_id = own_turn_id  # the turn that it was to steer is over
        if turn_id != running and turn_id not in queued:
            return None
        steers = own_turn_id != turn_id and own_turn_id in queued
        waiter = TurnWaiter(turn_id, own_turn_id if steers else None)
        self._waiters.append(waiter)
        try:
            return await waiter.wait()
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _resolve(self, turn_id: str, done: TurnDone | None) -> None:
        """A turn is over, or (None) will never run."""
        for waiter in list(self._waiters):
            if waiter.own_turn_id is not None and waiter.turn_id == turn_id:
                waiter.turn_id, waiter.own_turn_id = waiter.own_turn_id, None
            elif waiter.turn_id == turn_id or (done is None and waiter.own_turn_id == turn_id):
                waiter.resolve(done)
                self._waiters.remove(waiter)

    def _joined(self, own_turn_id: str) -> None:
        """A message that steered is part of the turn now."""
        for waiter in self._waiters:
            if waiter.own_turn_id == own_turn_id:
                waiter.own_turn_id = None

    # --------------------------------------------------------------- carrying out a plan

    async def _carry_out(self, plan: Plan, accepted: Callable[[], None] | None = None) -> None:
        """Commit, adopt, call `accepted`, tell."""
        await self._save(plan)
        self._adopt(plan)
        if accepted is not None:
            accepted()
        self._tell(plan)

    async def _save(self, plan: Plan) -> None:
        plan.number(self._feed.last_seq)
        if not plan.writes:
            return
        try:
            await self._commit(*self._owed, *plan.writes)
        except BaseException:
            if plan.start is not None:
                plan.start.withdraw()
            raise
        self._owed.clear()

    async def _commit(self, *writes: Write) -> None:
        """See a commit to its end: a cancelled caller must not leave memory behind the disk."""
        with anyio.CancelScope(shield=True):
            await self._world.store.commit(*writes)

    def _adopt(self, plan: Plan) -> None:
        self._chat, self._state, self._twigs = plan.chat, plan.state, plan.twigs
        self._summaries = plan.summaries
        if plan.branch is not None:
            self._history = [*plan.branch, *plan.messages]
        elif self._history is not None:
            self._history += plan.messages

    def _tell(self, plan: Plan) -> None:
        # The run first: whatever a listener does, the turn that was accepted runs and the stopped one ends.
        if plan.stop_cause is not None and self._run is not None:
            self._run.stop(plan.stop_cause)
        if plan.start is not None:
            self._run = plan.start
            plan.start.accepted.set()
        self._feed.publish_all(plan.events)
        for turn_id in plan.withdrawn:
            self._resolve(turn_id, None)
        if plan.events:
            self._world.tell(self.view)

    # ------------------------------------------- plans that are committed with others' plans

    @asynccontextmanager
    async def locked(self) -> AsyncGenerator[None]:
        """Keep every command waiting while the block runs.

        Raises:
            ChatNotFoundError: the chat was deleted meanwhile.
        """
        async with self._lock:
            self._check_exists()
            yield

    def unsaved(self, plan: Plan) -> Sequence[Write]:
        """Return what has to be committed for a plan, what could not be saved before included."""
        plan.number(self._feed.last_seq)
        return [*self._owed, *plan.writes]

    def saved(self, plan: Plan) -> None:
        """The plan is durable: take it over, and tell everybody."""
        self._owed.clear()
        self._adopt(plan)
        self._tell(plan)

    async def settle(self) -> None:
        """Save what could not be saved before.

        Raises:
            StoreUnavailableError: it cannot be saved now either.
        """
        async with self._lock:
            if self._owed and not self.gone:
                await self._commit(*self._owed)
                self._owed.clear()

    def _leave(self) -> None:
        """The chat is deleted: tell it, and whoever waits for a turn of it."""
        self.gone = True
        self._owed.clear()
        self._state = ConversationState(self._state.status)
        self._feed.publish(ChatChanged(self._chat, self._state.status, deleted=True))
        for waiter in self._waiters:
            waiter.resolve(None)
        self._waiters.clear()

    async def _load_history(self) -> list[Message]:
        if self._history is None:
            page = await self._world.store.path(self.id, self._chat.leaf_id)
            self._twigs = await self._world.store.children(self.id, self._chat.leaf_id)
            self._summaries = await self._world.store.summaries(self.id)
            self._history = list(page.messages)
        return self._history

    def _check_exists(self) -> None:
        if self.gone:
            raise ChatNotFoundError(f"There is no chat {self.id}.")

    def _check_open(self) -> None:
        self._check_exists()
        if self._chat.archived:
            raise ChatArchivedError("The chat is archived. Unarchive it to go on.")
