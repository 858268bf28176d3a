"""One live chat: the only place where its state changes.

A command takes the chat's lock, asks the core what follows, and carries the plan out. Streamed pieces are
published without the lock: they change no state. Knows neither the wire nor how chats are found.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from msgspec.structs import replace

from parley_daemon.core.commands import (
    Begin,
    Command,
    ConversationState,
    End,
    Hold,
    Interrupt,
    Join,
    JoinTurn,
    Promote,
    Reanswer,
    Release,
    Rewrite,
    Send,
    StopCause,
    Switch,
    WhenBusy,
    Withdraw,
)
from parley_daemon.core.events import Event, MessagePart, TurnEnded
from parley_daemon.core.parts import Part, Piece
from parley_daemon.core.records import Failure, Message, ModelSettings, QueuedMessage, Turn
from parley_daemon.engine.chats.acceptance import Accepted, Disposition, Draft, TurnDone
from parley_daemon.engine.chats.changeset import SEQ_BLOCK, Plan
from parley_daemon.engine.chats.live import World
from parley_daemon.engine.chats.planning import PlanningChat
from parley_daemon.engine.chats.snapshot import ChatView
from parley_daemon.engine.errors import (
    ConflictError,
    MessageNotFoundError,
    NotAUserMessageError,
    ShuttingDownError,
)
from parley_daemon.engine.turns.host import NextCall, TurnBrief, TurnResult
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.ports.store import (
    DeleteChat,
    JournalEntry,
    PutChat,
    PutTurn,
    StoredChat,
    StoreUnavailableError,
)

log = logging.getLogger(__name__)


class ChatActor(PlanningChat):
    """A chat that takes commands. At most one change of its active branch is under way at a time."""

    def __init__(self, stored: StoredChat, world: World, history: list[Message] | None = None) -> None:
        super().__init__(stored, world, history)
        self._switching = anyio.Lock()

    # ------------------------------------------------------------------------ messages

    async def send(self, draft: Draft, when_busy: WhenBusy, accepted: Callable[[Accepted], None]) -> None:
        """Take a message. `accepted` is called once it is durable, before any event of it goes out."""
        async with self._lock:
            self._check_exists()
            first = await self._sent_before(draft.client_message_id)
            if first is not None:
                accepted(first)
                return
            self._check_open()
            await self._load_history()
            message = self._queued(draft)
            plan = self._plan(self._decide(Send(message, when_busy)))
            answer = self._accepted(plan, message)
            await self._carry_out(plan, lambda: accepted(answer))

    async def sent_before(self, client_message_id: str | None) -> Accepted | None:
        """Return what became of a message with this id, None when there is none."""
        async with self._lock:
            self._check_exists()
            return await self._sent_before(client_message_id)

    def _queued(self, draft: Draft) -> QueuedMessage:
        clock = self._world.clock
        return QueuedMessage(
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

    def _accepted(self, plan: Plan, message: QueuedMessage) -> Accepted:
        """Say what a plan makes of a message."""
        asked = next((one for one in plan.messages if one.turn_id == message.turn_id), None)
        if asked is not None:
            return Accepted("started", message.turn_id, asked)
        return _waiting(plan.state, message, "queued" if plan.stop_cause is None else "interrupting")

    async def _sent_before(self, client_message_id: str | None) -> Accepted | None:
        if client_message_id is None:
            return None
        found = await self._world.store.find_client_message(self.id, client_message_id)
        match found:
            case None:
                return None
            case QueuedMessage():
                return _waiting(self._state, found, "queued")
            case Message():
                return Accepted("started", found.turn_id or "", message=found)

    async def withdraw(self, queued_id: str) -> tuple[QueuedMessage, ...]:
        """Take a message out of the queue; return what is left of it."""
        return await self._change_queue(Withdraw(queued_id))

    async def rewrite(self, queued_id: str, content: tuple[Part, ...]) -> tuple[QueuedMessage, ...]:
        """Change what a queued message says; return the queue."""
        return await self._change_queue(Rewrite(queued_id, content))

    async def promote(self, queued_id: str) -> tuple[QueuedMessage, ...]:
        """Run a queued message next, interrupting the turn under way; return the queue."""
        return await self._change_queue(Promote(queued_id))

    async def _change_queue(self, command: Command) -> tuple[QueuedMessage, ...]:
        async with self._lock:
            self._check_open()
            await self._load_history()
            await self._carry_out(self._plan(self._decide(command)))
            return self._state.queue

    async def interrupt(self, cause: StopCause = StopCause.INTERRUPT) -> TurnRun | None:
        """Stop the turn under way, and return its run if there is one."""
        async with self._lock:
            self._check_exists()
            run = self._run
            await self._carry_out(self._plan(self._decide(Interrupt(cause))))
            return run

    async def take_back(self, turn_id: str, own_turn_id: str | None = None) -> None:
        """Stop the turn that answers a message; one that still waits leaves the queue, and nothing stops.

        With `own_turn_id` for a message that steers the turn: see `wait`.
        """
        async with self._lock:
            self._check_exists()
            names = {turn_id, own_turn_id}
            queued = next((one for one in self._state.queue if one.turn_id in names), None)
            if queued is not None:
                await self._carry_out(self._plan(self._decide(Withdraw(queued.id))))
            elif self._state.turn_id in names:
                await self._carry_out(self._plan(self._decide(Interrupt(StopCause.INTERRUPT))))

    # ------------------------------------------------------------------------ the record

    async def delete(self) -> None:
        """End the running turn, then remove the chat and tell whoever listens."""
        while (run := await self.interrupt(StopCause.DELETE)) is not None:
            await run.done.wait()
        async with self._lock:
            self._check_exists()
            if self.busy:
                raise ConflictError("A new turn began while the chat was being deleted. Delete it again.")
            await self._commit(DeleteChat(self.id))
            self._chat = replace(self._chat, archived=True)
            self._leave()

    # --------------------------------------------------------------------- its branches

    async def edit(self, message_id: int, draft: Draft, accepted: Callable[[Accepted], None]) -> None:
        """Say a user message differently: a sibling of it begins the new branch; the queue is cleared.

        Raises:
            MessageNotFoundError: the chat has no such message.
            NotAUserMessageError: it is not a user message.
        """
        old = await self._user_message(message_id)
        async with self._held():
            message = self._queued(replace(draft, model=draft.model or old.model))
            plan = await self._plan_switch(old.parent_id, Switch(message, clears_queue=True))
            await self._carry_out(plan, lambda: accepted(self._accepted(plan, message)))

    async def retry(
        self,
        message_id: int | None,
        model: str | None,
        settings: ModelSettings,
        accepted: Callable[[Accepted], None],
    ) -> None:
        """Answer a user message (None: the last one) again; the new answer is a sibling of those it had.

        Raises:
            MessageNotFoundError: the chat has no such message.
            NotAUserMessageError: it is not a user message.
        """
        await self._user_message(message_id)  # before anything is stopped for it
        async with self._held():
            question = await self._user_message(message_id)
            again = Reanswer(self._world.clock.new_id(), question, model, settings)
            plan = await self._plan_switch(question.id, Switch(again))
            answer = Accepted("started", again.turn_id, question)
            await self._carry_out(plan, lambda: accepted(answer))

    async def answer_again(self, lost: Turn) -> None:
        """Ask the last question once more, in the place of a lost turn, which ends with the same commit.

        Without that commit another crash finds the turn lost again; so the chat's next commit ends it.
        """
        async with self._lock:
            try:
                history = await self._load_history()
                question = next((one for one in reversed(history) if one.role == "user"), None)
                plan = self._empty_plan()
                if question is not None and not self.busy:
                    again = Reanswer(self._world.clock.new_id(), question, lost.model, lost.settings)
                    plan = await self._plan_switch(question.id, Switch(again))
                plan.writes.append(PutTurn(lost))
                await self._carry_out(plan)
            except StoreUnavailableError as error:
                log.warning("the lost turn %s is not answered again: %s", lost.id, error)
                self._owed.append(PutTurn(lost))

    async def select(self, message_id: int, *, newest_leaf: bool) -> ChatView:
        """Let the active branch end at a message, or run through it to its newest leaf.

        Raises:
            MessageNotFoundError: the chat has no such message.
        """
        await self._message(message_id)
        async with self._held():
            leaf = await self._world.store.newest_leaf(self.id, message_id) if newest_leaf else message_id
            await self._carry_out(await self._plan_switch(leaf, Switch()))
            return self.view

    async def _user_message(self, message_id: int | None) -> Message:
        if message_id is None:
            history = await self._load_history()
            found = next((one for one in reversed(history) if one.role == "user"), None)
            if found is None:
                raise MessageNotFoundError("The chat has no user message yet.")
            return found
        found = await self._message(message_id)
        if found.role != "user":
            raise NotAUserMessageError(f"Message {message_id} is not a user message.")
        return found

    async def _message(self, message_id: int) -> Message:
        found = await self._world.store.message(self.id, message_id)
        if found is None:
            raise MessageNotFoundError(f"The chat has no message {message_id}.")
        return found

    async def _plan_switch(self, leaf_id: int | None, switch: Switch) -> Plan:
        """Return the plan that makes the branch that ends at `leaf_id` the active one."""
        store = self._world.store
        before = await self._load_history()
        if leaf_id == self._chat.leaf_id:
            branch, twigs = before, self._twigs
        else:
            branch = list((await store.path(self.id, leaf_id)).messages) if leaf_id is not None else []
            twigs = await store.children(self.id, leaf_id)
        plan = self._empty_plan()
        plan.to_branch(before, branch, twigs)
        return self._fill(plan, self._decide(switch))

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[None]:
        """Hold the chat's lock while no turn runs: one that does is stopped first."""
        async with self._switching:
            try:
                async with self._lock:
                    self._check_open()
                    run = self._run
                    await self._carry_out(self._plan(self._decide(Hold())))
                if run is not None:
                    await run.done.wait()
                    if run.cause is StopCause.SHUTDOWN:
                        raise ShuttingDownError("The daemon is stopping. Do it again with the next one.")
                async with self._lock:
                    self._check_open()
                    yield
            finally:
                if self._state.held:
                    await self._release()

    async def _release(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._lock:
                if self.gone:
                    return
                try:
                    await self._load_history()
                    await self._carry_out(self._plan(self._decide(Release())))
                except StoreUnavailableError as error:
                    log.warning("the queue of chat %s does not go on: %s", self.id, error)
                    self._state = replace(self._state, held=False, called=False)

    # ------------------------------------------------------- what its turn's run tells

    def _run_of(self, brief: TurnBrief) -> TurnRun:
        world = self._world
        return TurnRun(brief, self, world.catalogue, world.slots, world.clock, world.retries, world.schemas)

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

    async def report(self, message_id: int, events: Sequence[Event], *, void: bool) -> None:
        """Tell what happens between the attempts of a call; `void`: what was streamed does not count."""
        self._feed.publish_all(events)
        if void:
            self._world.store.void_journal(self.id, message_id)

    async def finish(self, result: TurnResult) -> NextCall | None:
        """Commit how a model call ended (TurnHost).

        When messages steer the turn, they join it and the next call is returned; else the turn is over: the
        chat is set free and everybody is told.
        """
        async with self._lock:
            if self._run is not None:  # told to end while it waited here
                result = self._run.as_stopped(result)
            try:
                call = await self._go_on(result)
                if call is not None:
                    return call
                plan = self._plan_end(result)
                await self._save(plan)
            except StoreUnavailableError as error:
                plan = self._plan_unsaved(result, error)
            ended = next(event for event in plan.events if isinstance(event, TurnEnded))
            answers = () if self._run is None else (*self._run.answers, *_answers(plan))
            self._run = None
            self._adopt(plan)
            self._tell(plan)
            self._resolve(result.turn.id, TurnDone(ended, answers, result.output))
            self._world.ended(self, result)
            return None

    async def _go_on(self, result: TurnResult) -> NextCall | None:
        """Let messages that steer the turn join it, if there are any and it is not over anyway."""
        run = self._run
        if run is None or run.cause is not None or run.given_up or result.outcome != "completed":
            return None
        joined = self._decide(Join(result.turn.id))
        if not joined.effects:
            return None
        plan = self._empty_plan()
        plan.step(result)
        call = self._fill(plan, joined).next_call(self._history or ())
        await self._carry_out(plan, run.call_saved)
        for effect in joined.effects:
            if isinstance(effect, JoinTurn):
                self._joined(effect.message.turn_id)
        run.answers += _answers(plan)
        return call

    def _plan_end(self, result: TurnResult) -> Plan:
        cause = None if self._run is None else self._run.cause
        end = End(result.turn.id, result.outcome, cause, self._chat.delegated)
        return self._plan(self._decide(end), result)

    def _plan_unsaved(self, result: TurnResult, error: StoreUnavailableError) -> Plan:
        """The answer cannot be saved now: the turn fails, and the next commit carries the answer along."""
        failure = Failure("internal", f"The answer is not saved yet: {error}", retryable=True)
        failed = replace(result, outcome="failed", error=failure, stop_reason=None, output=None)
        plan = self._plan_end(failed)
        plan.number(self._feed.last_seq)
        self._owed += plan.writes
        return plan


def _waiting(state: ConversationState, message: QueuedMessage, disposition: Disposition) -> Accepted:
    """Say of a message that waits what it waits for: its own turn, or to join the one under way."""
    queued = next(one for one in state.queue if one.id == message.id)
    if queued.steers and state.turn_id is not None:
        return Accepted("steered", state.turn_id, queued=queued)
    return Accepted(disposition, queued.turn_id, queued=queued)


def _answers(plan: Plan) -> tuple[Message, ...]:
    return tuple([message for message in plan.messages if message.role != "user"])
