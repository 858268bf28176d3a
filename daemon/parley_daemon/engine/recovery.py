"""Opens the store, and recovers the turns that a crash cut off.

Theory of operation. A turn that has no end in the store was under way when the daemon died. Its answer so
far is in the journal and becomes an incomplete message. The turn ends with the outcome "interrupted" and
the error "daemon_lost"; the queue stays and does not run by itself. The chat's event numbers continue one
past the reserved block (see `changeset.SEQ_BLOCK`): no client has seen that number, so none resumes across
the gap.

With the setting recovery = "retry" the question of a lost turn is answered again. The new turn begins in
the same commit that ends the lost one; until then the store still has it as lost, so that another crash
does not forget it. All of this happens while the store is being opened, before any caller gets at a chat.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import anyio
from msgspec.structs import replace

from parley_daemon.core.parts import fold
from parley_daemon.core.records import Chat, Message, Status, Turn
from parley_daemon.engine.turns.host import DAEMON_LOST
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.store import LostTurn, Store, StoredChat, StoreUnavailableError
from parley_daemon.ports.store_writes import AddMessage, PutChat, PutTurn, Write

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

Recovery = Literal["interrupt", "retry"]
"""What happens to a turn that a crash cut off: it ends as interrupted; with "retry" another one begins."""

RestartTurn = Callable[[StoredChat, Turn], Awaitable[None]]
"""Begins a turn in place of a lost one, which is given as it ends. Both become durable in one commit."""


class StoreOpener:
    """Opens a store once, when it is first needed. After a failure it is tried again, at most once a second.

    With `restart_turn`, the questions of lost turns are answered again.
    """

    def __init__(self, store: Store, clock: Clock, restart_turn: RestartTurn | None = None) -> None:
        self._store = store
        self._clock = clock
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
        lost = await self._store.open()
        restart_turn = self._restart_turn
        try:
            ended, chats = await recover(self._store, lost, self._clock, ends_turns=restart_turn is None)
        except StoreUnavailableError:
            await self._store.aclose()  # it is opened again when it is tried again
            raise
        if restart_turn is not None:
            for turn in ended:
                await restart_turn(chats[turn.chat_id], turn)


async def recover(
    store: Store, lost: Sequence[LostTurn], clock: Clock, *, ends_turns: bool
) -> tuple[Sequence[Turn], Mapping[str, StoredChat]]:
    """Store the partial answers of lost turns; return the turns, ended as interrupted, and their chats.

    Without `ends_turns`, the turns' ends are not stored: the caller does that.
    """
    turns: list[Turn] = []
    chats: dict[str, StoredChat] = {}
    for one in lost:
        stored = await store.chat(one.turn.chat_id)
        if stored is None:
            continue
        now = clock.now()
        turns.append(replace(one.turn, ended_at=now, outcome="interrupted", error=DAEMON_LOST))
        writes: list[Write] = [PutTurn(turns[-1])] if ends_turns else []
        chat, partial = stored.chat, _partial(one, stored.chat, now)
        if partial is not None:
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


def _partial(lost: LostTurn, chat: Chat, now: str) -> Message | None:
    """Return the answer so far as a message, None when there is none."""
    parts = fold(lost.pieces)
    if lost.message_id is None or not parts:
        return None
    return Message(
        id=lost.message_id,
        chat_id=chat.id,
        parent_id=chat.leaf_id,
        turn_id=lost.turn.id,
        role="assistant",
        content=parts,
        created_at=now,
        model=lost.turn.model,
        complete=False,
    )
