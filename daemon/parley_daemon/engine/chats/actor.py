"""The actor of one chat: the only place where the chat's state changes.

Theory of operation:

- One actor. The registry has at most one actor per chat, so all callers of a chat meet here.
- One lock. Every command takes the lock of the live chat, so commands take effect one after the other.
  Reads that need no consistency with a command (`view`) take no lock: the loop runs one of them at a time.
- Commit before telling. The executor decides, commits, adopts and publishes, in this order (see
  `executor`).
- Streamed pieces take no lock. They change no state; they are numbered, journaled and published at once.
- Attaching is one step. A listener is registered and the snapshot is fixed without an await in between, so
  no event is lost and none is delivered twice.
- A turn runs in a task of its own (`TurnRun`), which never touches the chat. It reports to a `CurrentTurn`,
  which takes the lock. Stopping a turn tells the run why, and does not wait: the turn ends with a command
  of its own.

The actor consists of parts that share one `LiveChat`: `queue`, `branches`, `summaries` and `listeners` are
public. Callers hold an actor in `async with chats.open(id) as chat`, which keeps it in memory.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from msgspec.structs import replace

from parley_daemon.core.children import NO_CHILDREN, Children
from parley_daemon.core.commands import (
    Command,
    EditQueued,
    Interrupt,
    PromoteQueued,
    RemoveQueued,
    Send,
    StopCause,
    WhenBusy,
)
from parley_daemon.core.diff_status import DiffStatus
from parley_daemon.core.events import Timings, TurnEnded
from parley_daemon.core.parts import Part, Piece, Source
from parley_daemon.core.records import Chat, Message, QueuedMessage, Status, Turn, Usage
from parley_daemon.engine.chats import turn_changes
from parley_daemon.engine.chats.acceptance import (
    Acceptance,
    Draft,
    TurnDone,
    queued_message,
    to_acceptance,
    to_queued_acceptance,
)
from parley_daemon.engine.chats.action_requests import ActionRequests
from parley_daemon.engine.chats.branches import Branches
from parley_daemon.engine.chats.current_turn import CurrentTurn
from parley_daemon.engine.chats.executor import CommandExecutor
from parley_daemon.engine.chats.family import Family
from parley_daemon.engine.chats.feed.snapshot import ChatView, Snapshot
from parley_daemon.engine.chats.host import ChatServices
from parley_daemon.engine.chats.listeners import Listeners
from parley_daemon.engine.chats.live_chat import LiveChat
from parley_daemon.engine.chats.sources import with_sources
from parley_daemon.engine.chats.summaries import Summaries
from parley_daemon.engine.chats.tool_steps import ToolSteps
from parley_daemon.engine.errors import ConflictError, MessageNotFoundError, NotQueuedError
from parley_daemon.engine.turns.calls.model_selection import fallback_default, find_model
from parley_daemon.engine.turns.host import ResumedStep
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.ports.store import StoredChat
from parley_daemon.ports.store_writes import PutChat, Write


class ChatActor:
    """One chat in memory. `users` counts the callers that hold it; while there are any, it stays.

    Attributes:
        queue: the messages that wait.
        branches: changes of the active branch.
        requests: the open questions of the turn under way, and the answers to them.
        summaries: the automatic title and the summaries.
        listeners: who hears the chat's events.
        family: its child chats, and the chat as a child of another one.
        executor: for changesets that are committed together with other chats'.
    """

    def __init__(
        self,
        stored: StoredChat,
        services: ChatServices,
        history: list[Message] | None = None,
        children: Children = NO_CHILDREN,
    ) -> None:
        self.id = stored.chat.id
        self.users = 0
        self._live = live = LiveChat(stored, services, history, children)
        self.executor = CommandExecutor(live, lambda executor: CurrentTurn(live, executor))
        self.summaries = Summaries(live, self.executor)
        self.requests = ActionRequests(live, self.executor)
        self.queue = MessageQueue(live, self.executor)
        self.branches = Branches(live, self.executor)
        self.listeners = Listeners(live)
        self.family = Family(live, self.executor, ToolSteps(live, self.executor))

    # ---------------------------------------------------------------------------- state

    @property
    def view(self) -> ChatView:
        """The chat's record with its present status and event number."""
        return self._live.view

    @property
    def is_busy(self) -> bool:
        """Whether a turn is under way."""
        return self._live.state.is_busy

    @property
    def is_running(self) -> bool:
        """Whether a turn is under way that does not only wait for answers."""
        return self._live.state.is_busy and self._live.state.status is not Status.PAUSED

    @property
    def is_suspended(self) -> bool:
        """Whether the daemon stops, and left the turn as it is because a question is open."""
        return self._live.state.is_busy and self._live.run is None

    @property
    def is_busy_or_held(self) -> bool:
        """Whether a turn is under way, or may begin because the active branch is being changed."""
        return self._live.state.is_busy or self._live.state.is_held

    @property
    def is_deleted(self) -> bool:
        """Whether the chat was deleted."""
        return self._live.is_deleted

    @property
    def is_unused(self) -> bool:
        """Whether it can leave memory: no turn, no listener, no caller, nothing unsaved."""
        live = self._live
        return not (live.state.is_busy or self.users or live.waiters or live.unsaved) and live.feed.is_idle

    async def snapshot(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        max_bytes: int | None = None,
    ) -> Snapshot:
        """Return the chat with a page of its active branch (parameters: see Store.path)."""
        return await self._live.snapshot(after=after, before=before, limit=limit, max_bytes=max_bytes)

    async def parts_of(self, message_id: int | None, queued_id: str | None = None) -> Sequence[Piece]:
        """Return the parts of a message: stored, in progress, or queued.

        Raises:
            MessageNotFoundError, NotQueuedError: there is no such message.
        """
        live = self._live
        live.check_exists()
        if message_id is None:
            for queued in live.state.queue:
                if queued.id == queued_id:
                    return queued.content
            raise NotQueuedError(f"The message {queued_id} is not in the queue.")
        if live.run is not None and live.run.message_id == message_id and len(live.run.assembler):
            return [piece for _, piece in live.run.assembler.pieces()]
        message = await live.services.store.message(live.id, message_id)
        if message is None:
            raise MessageNotFoundError(f"The chat has no message {message_id}.")
        return message.content

    def create_with(self, *writes: Write) -> None:
        """Store the chat with its first commit: these writes are part of it. The chat is not stored yet."""
        self._live.unsaved += writes

    # ------------------------------------------------------------------------- messages

    async def send(
        self, draft: Draft, when_busy: WhenBusy, on_accepted: Callable[[Acceptance], None]
    ) -> None:
        """Accept a message: start its turn, or queue it as `when_busy` says.

        `on_accepted` is called once the message is durable, before its events go out. A message whose
        `client_message_id` is known was accepted before: it is answered as then, and nothing changes.

        Raises:
            ChatBusyError: the chat is busy, and `when_busy` is "reject".
            QueueFullError: the queue is full.
            ChatArchivedError: the chat is archived.
            and what `LiveChat.check_turn` raises.
        """
        live = self._live
        draft = replace(draft, model=await live.check_turn(draft.model, draft.settings))
        draft = await with_sources(live, draft)
        async with live.lock:
            live.check_exists()
            earlier = await self._find_sent(draft.client_message_id)
            if earlier is not None:
                on_accepted(earlier)
                return
            live.check_open()
            await live.load_history()
            message = queued_message(draft, live.id, live.services.clock)
            changeset = self.executor.plan(Send(message, when_busy))
            accepted = to_acceptance(changeset, message)
            await self.executor.carry_out(changeset, lambda: on_accepted(accepted))

    async def find_sent(self, client_message_id: str | None) -> Acceptance | None:
        """Return what happened to the message that a client sent under this id, None when there is none."""
        async with self._live.lock:
            self._live.check_exists()
            return await self._find_sent(client_message_id)

    async def _find_sent(self, client_message_id: str | None) -> Acceptance | None:
        if client_message_id is None:
            return None
        live = self._live
        found = await live.services.store.find_client_message(live.id, client_message_id)
        match found:
            case None:
                return None
            case QueuedMessage():
                return to_queued_acceptance(live.state, found)
            case Message():
                return Acceptance("started", found.turn_id or "", message=found)

    # ---------------------------------------------------------------------------- turns

    async def wait_for_turn(self, turn_id: str, own_turn_id: str | None = None) -> TurnDone:
        """Wait for the end of an accepted turn and return its result; an ended one is read from the store.

        `own_turn_id` belongs to a message that steers `turn_id` (see TurnWaiters.wait).

        Raises:
            ConflictError: the message left the queue, the chat was deleted, or there is no such turn.
        """
        live = self._live
        live.check_exists()
        done = await live.waiters.wait(live.state, turn_id, own_turn_id)
        return done or await self._load_ended_turn(turn_id, own_turn_id)

    async def _load_ended_turn(self, turn_id: str, own_turn_id: str | None) -> TurnDone:
        store = self._live.services.store
        turn = None if own_turn_id is None else await store.turn(self.id, own_turn_id)
        turn = turn or await store.turn(self.id, turn_id)
        if turn is None or turn.outcome is None:
            raise ConflictError("The turn of that message is no longer known.")
        messages = await store.turn_messages(self.id, turn.id)
        ended = TurnEnded(
            turn.id,
            turn.outcome,
            turn.stop_reason,
            turn.usage or Usage(),
            Timings(queued_ms=0, first_part_ms=None, total_ms=0, attempts=0),
            turn.error,
            turn.output,
        )
        answers = tuple([message for message in messages if message.role != "user"])
        return TurnDone(ended, answers)

    async def sources_of(self, turn_id: str) -> tuple[Source, ...]:
        """Return the sources of the questions of a turn, in their order."""
        messages = await self._live.services.store.turn_messages(self.id, turn_id)
        return tuple(
            [
                part
                for message in messages
                if message.role == "user"
                for part in message.content
                if isinstance(part, Source)
            ]
        )

    async def interrupt(
        self, cause: StopCause = StopCause.INTERRUPT, *, keeps_children: bool = False
    ) -> TurnRun | None:
        """Stop the turn under way; return its run, None when there is none. Does not wait for its end.

        Its child chats are interrupted, too, except those in the background, or with `keeps_children` none. A
        turn with an open question does not end when the daemon stops: the next start goes on with it.
        """
        live = self._live
        async with live.lock:
            live.check_exists()
            run = live.run
            if cause is StopCause.SHUTDOWN and run is not None and live.requests:
                run.stop(cause)
            else:
                changeset = self.executor.plan(Interrupt(cause))
                changeset.keeps_children = keeps_children
                await self.executor.carry_out(changeset)
            return run

    async def resume_turn(self, resumed: ResumedStep) -> None:
        """Go on with a turn that a stop of the daemon has cut off while a question was open.

        The chat has just been loaded: no caller has it yet.
        """
        live, turn = self._live, resumed.step.turn
        assert turn.step is not None
        async with live.lock:
            brief = turn_changes.resumed_brief(live.chat, turn, turn.step, self._default_model(turn))
            run = TurnRun(brief, CurrentTurn(live, self.executor), live.services, resumed)
            live.step, live.run = turn.step, run
            live.state = replace(live.state, status=Status.PAUSED, turn_id=turn.id)
            live.services.host.start_turn(run)

    def _default_model(self, turn: Turn) -> str | None:
        return fallback_default(self._live.services.catalogue, turn.model, self._live.chat.model)

    async def cancel_turn(self, turn_id: str, own_turn_id: str | None = None) -> None:
        """Stop the turn that answers a message; remove a message that is still queued from the queue.

        `own_turn_id` belongs to a message that steers `turn_id` (see TurnWaiters.wait). A turn that has ended
        is left alone.
        """
        live = self._live
        async with live.lock:
            live.check_exists()
            turn_ids = {turn_id, own_turn_id}
            queued = next((one for one in live.state.queue if one.turn_id in turn_ids), None)
            if queued is not None:
                await self.executor.execute(RemoveQueued(queued.id))
            elif live.state.turn_id in turn_ids:
                await self.executor.execute(Interrupt(StopCause.INTERRUPT))

    # ------------------------------------------------------------------------ the record

    async def update(self, change: Callable[[Chat], Chat]) -> ChatView:
        """Change the chat's own record; `change` gets the present one and returns the new one."""
        live = self._live
        async with live.lock:
            live.check_exists()
            await self.executor.carry_out(self.executor.plan_update(change))
            return live.view

    async def set_model(self, reference: str) -> ChatView:
        """Set the model of the chat's next turns.

        Raises:
            NotLocalError, UnknownModelError, ProviderUnavailableError: see `find_model`.
        """
        services = self._live.services
        await services.host.load_configuration(reference)
        return await self.update(
            lambda chat: replace(chat, model=find_model(services.catalogue, reference, chat.settings).id)
        )

    async def pin(self, *, pinned: bool) -> ChatView:
        """Pin or unpin the chat. Without a difference nothing is written and no event is published.

        `updated_at` stays as it is: pinning is no use of the chat, so its place in a list does not change.
        """
        live = self._live
        async with live.lock:
            live.check_exists()
            if live.chat.pinned != pinned:
                changeset = self.executor.new_changeset()
                changeset.chat = replace(live.chat, pinned=pinned)
                changeset.writes.append(PutChat(changeset.chat))
                changeset.publish_chat()
                await self.executor.carry_out(changeset)
            return live.view

    async def set_diff_status(self, status: DiffStatus) -> None:
        """Record how much the chat's folders have changed, and tell it if it is something else now."""
        live = self._live
        async with live.lock:
            if live.is_deleted:
                return
            if status.is_like(live.chat.diff_status):
                live.chat = replace(live.chat, diff_status=status)
                return
            changeset = self.executor.new_changeset()
            changeset.chat = replace(live.chat, diff_status=status)
            changeset.writes.append(PutChat(changeset.chat))
            changeset.change = "diff_status"
            changeset.publish_chat()
            await self.executor.carry_out(changeset)

    async def end_turn(self) -> None:
        """End the turn under way, and those that follow it, because the chat will be deleted."""
        while (run := await self.interrupt(StopCause.DELETE)) is not None:
            await run.done.wait()

    def check_deletable(self) -> None:
        """Check that no turn is under way, with the lock held.

        Raises:
            ConflictError: one is.
        """
        if self._live.state.is_busy:
            raise ConflictError("A new turn began while the chat was being deleted. Delete it again.")

    async def finish_deletion(self) -> None:
        """Tell the listeners that the chat is gone. It is deleted in the store, and the lock is held."""
        live = self._live
        live.chat = replace(live.chat, archived=True)
        live.mark_deleted()
        with anyio.CancelScope(shield=True):
            await live.services.checkpoints.forget(live.id)
            await live.services.toolbox.forget(live.id)
        live.services.host.chat_changed(live.view, "deleted")

    # ------------------------------------------------------- changes together with others

    @asynccontextmanager
    async def hold_lock(self) -> AsyncGenerator[None]:
        """Keep every command waiting while the block runs.

        Raises:
            ChatNotFoundError: the chat was deleted.
        """
        async with self._live.lock:
            self._live.check_exists()
            yield

    async def save_unsaved(self) -> None:
        """Commit what could not be committed before.

        Raises:
            StoreUnavailableError: it cannot be committed now either.
        """
        live = self._live
        async with live.lock:
            if live.unsaved and not live.is_deleted:
                await live.commit_with_unsaved()


class MessageQueue:
    """The messages of a chat that wait. Each method returns the queue as it is afterwards.

    Raises:
        NotQueuedError: the message is not in the queue.
        ChatArchivedError: the chat is archived.
    """

    __slots__ = ("_executor", "_live")

    def __init__(self, live: LiveChat, executor: CommandExecutor) -> None:
        self._live = live
        self._executor = executor

    async def edit(self, queued_id: str, content: tuple[Part, ...]) -> tuple[QueuedMessage, ...]:
        """Replace a message's content."""
        live, queued = self._live, next((one for one in self._live.state.queue if one.id == queued_id), None)
        if queued is not None:
            draft = await with_sources(live, Draft(content, settings=queued.settings))
            content = draft.content
        return await self._execute(EditQueued(queued_id, content))

    async def remove(self, queued_id: str) -> tuple[QueuedMessage, ...]:
        """Remove a message; its turn will never run."""
        return await self._execute(RemoveQueued(queued_id))

    async def promote(self, queued_id: str) -> tuple[QueuedMessage, ...]:
        """Run a message next. A turn under way is interrupted for it."""
        return await self._execute(PromoteQueued(queued_id))

    async def _execute(self, command: Command) -> tuple[QueuedMessage, ...]:
        live = self._live
        async with live.lock:
            live.check_open()
            await live.load_history()
            await self._executor.execute(command)
            return live.state.queue
