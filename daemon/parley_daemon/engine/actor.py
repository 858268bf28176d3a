"""One live chat: the only place where its state changes.

A command takes the chat's lock, asks the core what follows, commits that, and only then publishes it, so that
nobody hears of anything that a crash could take back. Streamed pieces are published without the lock: they
change no state. Knows neither the wire nor how chats are found.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from parley_daemon.core.chats import Chat, Failure, Message, QueuedMessage, Turn
from parley_daemon.core.conversation import (
    AcceptTurn,
    Begin,
    Command,
    ConversationState,
    Decision,
    Dequeue,
    End,
    Enqueue,
    FinishTurn,
    Interrupt,
    Refused,
    Send,
    StartTurn,
    StopCause,
    StopTurn,
    WhenBusy,
    Withdraw,
    decide,
)
from parley_daemon.core.events import ChatChanged, MessagePart, TurnEnded
from parley_daemon.core.parts import Piece
from parley_daemon.engine.errors import (
    ChatArchivedError,
    ChatNotFoundError,
    ConflictError,
    refused,
)
from parley_daemon.engine.feed import Feed
from parley_daemon.engine.plan import SEQ_BLOCK, Plan
from parley_daemon.engine.snapshots import Attachment, ChatView, Preview, Sink, Snapshot, page_of
from parley_daemon.engine.tickets import Accepted, Draft, TurnDone, TurnWaiter
from parley_daemon.engine.turn import TurnResult, TurnRun
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.model import Catalogue
from parley_daemon.ports.store import (
    DeleteChat,
    JournalEntry,
    PutChat,
    Store,
    StoredChat,
    StoreUnavailableError,
    Write,
)


@dataclass(frozen=True, slots=True)
class World:
    """What every chat of an engine shares."""

    store: Store
    catalogue: Catalogue
    clock: Clock
    slots: anyio.CapacityLimiter
    start: Callable[[TurnRun], None]
    tell: Callable[[ChatView], None]


class ChatActor:
    """A chat that is in memory. `users` counts the calls that hold it: while there are any, it stays."""

    def __init__(self, stored: StoredChat, world: World, history: list[Message] | None = None) -> None:
        self.users = 0
        self.gone = False
        self._chat = stored.chat
        self._state = ConversationState(stored.chat.status, None, stored.queue)
        self._world = world
        self._feed = Feed(stored.chat.last_seq)
        self._history = history
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

    def detach(self, sink: Sink) -> None:
        """Let the sink hear no more."""
        self._feed.remove(sink)

    async def wait(self, turn_id: str) -> TurnDone | None:
        """Wait for this turn's end and return it, None when the turn is neither under way nor queued.

        Raises:
            ConflictError: its message left the queue, or its chat was deleted.
        """
        queued = any(one.turn_id == turn_id for one in self._state.queue)
        if turn_id != self._state.turn_id and not queued:
            return None
        waiter = TurnWaiter(turn_id)
        self._waiters.append(waiter)
        try:
            return await waiter.wait()
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    # ------------------------------------------------------------------------ commands

    async def send(self, draft: Draft, when_busy: WhenBusy, accepted: Callable[[Accepted], None]) -> None:
        """Take a message. `accepted` is called once it is durable, before any event of it goes out."""
        async with self._lock:
            self._check_open()
            first = await self._sent_before(draft.client_message_id)
            if first is not None:
                accepted(first)
                return
            await self._load_history()
            clock = self._world.clock
            message = QueuedMessage(
                id=clock.new_id(),
                chat_id=self.id,
                turn_id=clock.new_id(),
                content=draft.content,
                created_at=clock.now(),
                model=draft.model,
                settings=draft.settings,
                client_message_id=draft.client_message_id,
                origin=draft.origin,
            )
            plan = self._plan(self._decide(Send(message, when_busy)))
            asked = next((m for m in plan.messages if m.turn_id == message.turn_id), None)
            answer = Accepted(message.turn_id, asked, None if asked else message)
            await self._carry_out(plan, lambda: accepted(answer))

    async def interrupt(
        self, cause: StopCause = StopCause.INTERRUPT, turn_id: str | None = None
    ) -> TurnRun | None:
        """Stop the turn under way, and return its run if there is one.

        With `turn_id` only that turn: when it still waits in the queue, its message is taken back.
        """
        async with self._lock:
            run = self._run
            if turn_id is None or self._state.turn_id == turn_id:
                await self._carry_out(self._plan(self._decide(Interrupt(cause))))
                return run
            queued = next((one for one in self._state.queue if one.turn_id == turn_id), None)
            if queued is not None:
                await self._carry_out(self._plan(self._decide(Withdraw(queued.id))))
                self._resolve(turn_id, None)
            return None

    async def update(self, change: Callable[[Chat], Chat]) -> ChatView:
        """Change the chat's own record."""
        async with self._lock:
            self._check_exists()
            now = self._world.clock.now()
            plan = Plan(replace(change(self._chat), updated_at=now), self._state, now)
            plan.events.append(ChatChanged(plan.chat, self._state.status))
            plan.writes.append(PutChat(plan.chat))
            await self._carry_out(plan)
            return self.view

    async def delete(self) -> None:
        """End the running turn, then remove the chat and tell whoever listens."""
        while (run := await self.interrupt(StopCause.DELETE)) is not None:
            await run.done.wait()
        async with self._lock:
            self._check_exists()
            if self.busy:
                raise ConflictError("A new turn began while the chat was being deleted. Delete it again.")
            await self._commit(DeleteChat(self.id))
            self.gone = True
            self._owed.clear()
            self._chat = replace(self._chat, archived=True)
            self._feed.publish(ChatChanged(self._chat, self._state.status, deleted=True))
            for waiter in self._waiters:
                waiter.resolve(None)
            self._waiters.clear()

    async def settle(self) -> None:
        """Save what could not be saved before.

        Raises:
            StoreUnavailableError: it cannot be saved now either.
        """
        async with self._lock:
            if self._owed and not self.gone:
                await self._commit(*self._owed)
                self._owed.clear()

    # ------------------------------------------------------- what its turn's run tells

    async def begin(self, turn: Turn) -> None:
        """The turn got its slot (TurnHost)."""
        async with self._lock:
            if self._state.turn_id == turn.id and self._run is not None and self._run.cause is None:
                await self._carry_out(self._plan(self._decide(Begin(turn.id))))

    async def stream(self, turn: Turn, message_id: int, pieces: list[tuple[int, Piece]]) -> None:
        """Publish and journal pieces (TurnHost)."""
        journal, publish = self._world.store.journal, self._feed.publish
        for index, piece in pieces:
            publish(MessagePart(turn.id, message_id, index, "assistant", piece))
            journal(JournalEntry(self.id, turn.id, message_id, index, piece))
        if self._chat.reserved_seq - self._feed.last_seq < SEQ_BLOCK // 2:
            async with self._lock:
                more = replace(self._chat, reserved_seq=self._feed.last_seq + SEQ_BLOCK)
                await self._commit(PutChat(more))
                self._chat = more

    async def finish(self, result: TurnResult) -> None:
        """Commit how the turn ended, free the chat, tell everybody (TurnHost)."""
        async with self._lock:
            plan = self._plan_end(result)
            try:
                await self._save(plan)
            except StoreUnavailableError as error:
                plan = self._plan_unsaved(result, error)
            answers = tuple([message for message in plan.messages if message.role != "user"])
            ended = next(event for event in plan.events if isinstance(event, TurnEnded))
            self._run = None
            self._adopt(plan)
            self._tell(plan)
            self._resolve(result.turn.id, TurnDone(ended, answers))

    def _plan_end(self, result: TurnResult) -> Plan:
        cause = None if self._run is None else self._run.cause
        return self._plan(self._decide(End(result.turn.id, result.outcome, cause)), result)

    def _plan_unsaved(self, result: TurnResult, error: StoreUnavailableError) -> Plan:
        """The answer cannot be saved now: the turn fails, and the next commit carries the answer along."""
        failure = Failure("internal", f"The answer is not saved yet: {error}", retryable=True)
        failed = replace(result, outcome="failed", error=failure, stop_reason=None)
        plan = self._plan_end(failed)
        plan.number(self._feed.last_seq)
        self._owed += plan.writes
        return plan

    # --------------------------------------------------------------------- carrying out

    def _decide(self, command: Command) -> Decision:
        try:
            return decide(self._state, command)
        except Refused as refusal:
            raise refused(refusal) from None

    def _plan(self, decision: Decision, result: TurnResult | None = None) -> Plan:
        plan = Plan(self._chat, decision.state, self._world.clock.now())
        for effect in decision.effects:
            match effect:
                case Enqueue(message):
                    plan.enqueue(message)
                case Dequeue(message):
                    plan.dequeue(message)
                case AcceptTurn(message, from_queue):
                    default = self._world.catalogue.default_model
                    plan.accept(message, from_queue=from_queue, history=self._history or (), default=default)
                case StartTurn():
                    assert self._run is not None
                    plan.start_turn(self._run.turn)
                case StopTurn(_, cause):
                    plan.stop_turn(cause, already=self._state.status == decision.state.status)
                case FinishTurn():
                    assert result is not None
                    plan.finish(result)
        if plan.brief is not None:
            # The run may ask the model while the commit is under way; it tells nothing before it is accepted.
            world = self._world
            plan.start = TurnRun(plan.brief, self, world.catalogue, world.slots, world.clock)
            world.start(plan.start)
        return plan

    async def _carry_out(self, plan: Plan, accepted: Callable[[], None] | None = None) -> None:
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
        self._chat, self._state = plan.chat, plan.state
        if self._history is not None:
            self._history += plan.messages

    def _tell(self, plan: Plan) -> None:
        self._feed.publish_all(plan.events)
        if plan.stop_cause is not None and self._run is not None:
            self._run.stop(plan.stop_cause)
        if plan.start is not None:
            self._run = plan.start
            plan.start.accepted.set()
        if plan.events:
            self._world.tell(self.view)

    def _resolve(self, turn_id: str, done: TurnDone | None) -> None:
        for waiter in [one for one in self._waiters if one.turn_id == turn_id]:
            waiter.resolve(done)
            self._waiters.remove(waiter)

    async def _load_history(self) -> None:
        if self._history is None:
            page = await self._world.store.path(self.id, self._chat.leaf_id)
            self._history = list(page.messages)

    async def _sent_before(self, client_message_id: str | None) -> Accepted | None:
        if client_message_id is None:
            return None
        found = await self._world.store.find_client_message(self.id, client_message_id)
        match found:
            case None:
                return None
            case QueuedMessage():
                return Accepted(found.turn_id, queued=found)
            case Message():
                return Accepted(found.turn_id or "", message=found)

    def _check_exists(self) -> None:
        if self.gone:
            raise ChatNotFoundError(f"There is no chat {self.id}.")

    def _check_open(self) -> None:
        self._check_exists()
        if self._chat.archived:
            raise ChatArchivedError("The chat is archived. Unarchive it to go on.")
