"""Opens the store, and recovers the turns that a crash cut off.

Theory of operation. A turn that has no end in the store was under way when the daemon died. Its answer so
far is in the journal and becomes an incomplete message. The turn ends with the outcome "interrupted" and
the error "daemon_lost"; the queue stays and does not run by itself. The chat's event numbers continue one
past the reserved block (see `changeset.SEQ_BLOCK`): no client has seen that number, so none resumes across
the gap.

A turn that was lost while its tools ran gets one result for each call: calls that had a result keep it, the
others are interrupted. If a question was open, the turn does not end: the chat is paused again with the same
question, and the turn goes on when it is answered. The questions of a call that was under way itself
(elicitations of MCP servers) are gone with the call.

With the setting recovery = "retry" the question of a lost turn is answered again, except in a chat that the
tool call of another one has started: the parent's new turn starts what it needs. The new turn begins in
the same commit that ends the lost one; until then the store still has it as lost, so that another crash
does not forget it. All of this happens while the store is being opened, before any caller gets at a chat.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import anyio
from msgspec.structs import replace

from parley_daemon.core.parts import Part, ToolCall, ToolResult, fold
from parley_daemon.core.records import Chat, Message, Role, Status, Turn, add_usage
from parley_daemon.engine.agents import refusals
from parley_daemon.engine.chats.changeset import SEQ_BLOCK
from parley_daemon.engine.chats.resumption import read_step
from parley_daemon.engine.turns.host import DAEMON_LOST, ResumedStep
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.store import LostTurn, Store, StoredChat, StoreUnavailableError
from parley_daemon.ports.store_writes import AddMessage, PutChat, PutTurn, Write

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

Recovery = Literal["interrupt", "retry"]
"""What happens to a turn that a crash cut off: it ends as interrupted; with "retry" another one begins."""

RestartTurn = Callable[[StoredChat, Turn], Awaitable[None]]
"""Begins a turn in place of a lost one, which is given as it ends. Both become durable in one commit."""


ResumeTurn = Callable[[StoredChat, ResumedStep], Awaitable[None]]
"""Goes on with a turn that waits for an answer."""


class StoreOpener:
    """Opens a store once, when it is first needed. After a failure it is tried again, at most once a second.

    With `restart_turn`, the questions of lost turns are answered again.
    """

    def __init__(
        self, store: Store, clock: Clock, resume_turn: ResumeTurn, restart_turn: RestartTurn | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._resume_turn = resume_turn
        self._restart_turn = restart_turn
        self._is_open = False
        self._lock = anyio.Lock()
        self._failed_at = float("-inf")
        self._failure: StoreUnavailableError | None = None

    async def open(self) -> None:
        """Return once the store is open and lost turns are recovered.

        Raises:
            StoreUnavailableError: it cannot be opened now.
        """
        if self._is_open:
            return
        async with self._lock:
            if self._is_open:
                return
            if self._failure is not None and self._clock.monotonic() - self._failed_at < RETRY_SECONDS:
                raise self._failure
            try:
                await self._open()
            except StoreUnavailableError as error:
                self._failure, self._failed_at = error, self._clock.monotonic()
                raise
            self._is_open = True

    async def _open(self) -> None:
        lost = [_without_elicitations(one) for one in await self._store.open()]
        restart_turn = self._restart_turn
        try:
            paused = [one for one in lost if one.turn.step is not None and one.turn.step.requests]
            resumed = [found for one in paused if (found := await self._prepare(one)) is not None]
            others = [one for one in lost if one not in paused]
            ended, chats = await recover(self._store, others, self._clock, ends_turns=restart_turn is None)
        except StoreUnavailableError:
            await self._store.aclose()  # it is opened again when it is tried again
            raise
        # From here on nothing fails: a turn that goes on must not be resumed a second time.
        for stored, step in resumed:
            await self._resume_turn(stored, step)
        if restart_turn is not None:
            for turn in ended:
                stored_chat = chats[turn.chat_id]
                if stored_chat.chat.spawned_by is None:
                    await restart_turn(stored_chat, turn)

    async def _prepare(self, lost: LostTurn) -> tuple[StoredChat, ResumedStep] | None:
        """Return a chat whose turn waits for an answer, and where the turn stands. None: it is gone."""
        stored = await self._store.chat(lost.turn.chat_id)
        if stored is None or lost.turn.step is None:
            return None
        resumed = await read_step(self._store, lost, lost.turn.step)
        seq = stored.chat.reserved_seq + 1  # see `recover`
        chat = replace(stored.chat, last_seq=seq, reserved_seq=seq + SEQ_BLOCK)
        await self._store.commit(PutTurn(lost.turn), PutChat(chat))
        return StoredChat(chat, stored.queue), resumed


def _without_elicitations(lost: LostTurn) -> LostTurn:
    """Return a turn without the questions of calls that were under way: nobody waits for the answers."""
    step = lost.turn.step
    if step is None or all(request.kind != "elicitation" for request in step.requests):
        return lost
    left = tuple([request for request in step.requests if request.kind != "elicitation"])
    return replace(lost, turn=replace(lost.turn, step=replace(step, requests=left)))


async def recover(
    store: Store, lost: Sequence[LostTurn], clock: Clock, *, ends_turns: bool
) -> tuple[Sequence[Turn], Mapping[str, StoredChat]]:
    """Store the partial answers of lost turns; return the turns, ended as interrupted, and their chats.

    Without `ends_turns`, only the ends of children that tools have started are stored: the caller stores the
    others.
    """
    turns: list[Turn] = []
    chats: dict[str, StoredChat] = {}
    for one in lost:
        stored = await store.chat(one.turn.chat_id)
        if stored is None:
            continue
        now = clock.now()
        messages = await store.turn_messages(one.turn.chat_id, one.turn.id)
        usage = add_usage([one.usage for one in messages])
        turns.append(
            replace(one.turn, ended_at=now, outcome="interrupted", error=DAEMON_LOST, usage=usage, step=None)
        )
        # A turn that ends later has its results from here on: another crash must not add them again.
        ends_now = ends_turns or stored.chat.spawned_by is not None
        writes: list[Write] = [PutTurn(turns[-1] if ends_now else replace(one.turn, step=None))]
        chat = stored.chat
        for partial in await _partial_messages(store, one, chat, now):
            writes.append(AddMessage(partial))
            last_id = max(chat.last_message_id, partial.id)
            chat = replace(chat, leaf_id=partial.id, last_message_id=last_id)
        # One past the reserved block: no client has seen that number, so none resumes across the gap.
        seq = chat.reserved_seq + 1
        chat = replace(
            chat,
            status=Status.WAITING,
            last_error=DAEMON_LOST,
            updated_at=now,
            last_seq=seq,
            reserved_seq=seq,
        )
        await store.commit(*writes, PutChat(chat))
        chats[chat.id] = StoredChat(chat, stored.queue)
    if turns:
        log.warning("%d turns were under way when the daemon stopped; they ended as interrupted", len(turns))
    return turns, chats


async def _partial_messages(store: Store, lost: LostTurn, chat: Chat, now: str) -> list[Message]:
    """Return what there is of a lost turn and is not stored yet: an incomplete answer, results of tools."""
    step = lost.turn.step
    if step is not None:
        resumed = await read_step(store, lost, step)
        results = [
            resumed.step.results.get(at) or _not_started(call) for at, call in enumerate(resumed.step.calls)
        ]
        return [_message(lost.turn, chat, step.results_id, chat.leaf_id, "tool", tuple(results), now)]
    parts = fold(lost.pieces)
    if lost.message_id is None or not parts:
        return []
    answer = _message(lost.turn, chat, lost.message_id, chat.leaf_id, "assistant", parts, now)
    messages = [replace(answer, model=lost.turn.model, complete=False)]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    if calls and lost.turn.settings.with_defaults(chat.settings).agent.is_on:
        results = [_not_started(call) for call in calls]
        id = max(chat.last_message_id, answer.id) + 1
        messages.append(_message(lost.turn, chat, id, answer.id, "tool", tuple(results), now))
    return messages


def _not_started(call: ToolCall) -> ToolResult:
    return refusals.failed(call, refusals.NOT_STARTED, "interrupted")


def _message(
    turn: Turn, chat: Chat, id: int, parent_id: int | None, role: Role, content: tuple[Part, ...], now: str
) -> Message:
    return Message(
        id=id,
        chat_id=chat.id,
        parent_id=parent_id,
        turn_id=turn.id,
        role=role,
        content=content,
        created_at=now,
    )
