"""Opening the store, and after a crash: end what was under way, keep what had come of it."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import anyio
from msgspec.structs import replace

from parley_daemon.core.parts import fold
from parley_daemon.core.records import Chat, Message, Status, Turn
from parley_daemon.engine.turns.host import DAEMON_LOST
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.store import (
    AddMessage,
    LostTurn,
    PutChat,
    PutTurn,
    Store,
    StoredChat,
    StoreUnavailableError,
    Write,
)

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

Recovery = Literal["interrupt", "retry"]
"""What becomes of a turn that a crash cut off: it ends as interrupted, or is also answered again."""

AnswerAgain = Callable[[StoredChat, Turn], Awaitable[None]]
"""Given a chat and a lost turn of it as it ended: ends it in the store as another one begins in its place."""


class OpenStore:
    """A store that is opened once, when it is first needed; a failed opening is tried again.

    With `answer_again` the questions of lost turns are asked again before anybody else gets at their chats.
    """

    def __init__(self, store: Store, clock: Clock, answer_again: AnswerAgain | None = None) -> None:
        self._store = store
        self._clock = clock
        self._answer_again = answer_again
        self._opened = False
        self._lock = anyio.Lock()
        self._failed_at = float("-inf")
        self._failure: StoreUnavailableError | None = None

    async def __call__(self) -> None:
        """Return once the store is open and what was lost is recovered.

        Raises:
            StoreUnavailableError: it cannot be opened now.
        """
        if self._opened:
            return
        async with self._lock:
            if self._opened:
                return
            if self._failure is not None and self._clock.monotonic() - self._failed_at < RETRY_SECONDS:
                raise self._failure
            try:
                await self._open()
            except StoreUnavailableError as error:
                self._failure, self._failed_at = error, self._clock.monotonic()
                raise
            self._opened = True

    async def _open(self) -> None:
        lost = await self._store.open()
        again = self._answer_again
        try:
            ended, chats = await recover(self._store, lost, self._clock, ends_turns=again is None)
        except StoreUnavailableError:
            await self._store.aclose()  # it is opened again when it is tried again
            raise
        if again is not None:
            for turn in ended:
                await again(chats[turn.chat_id], turn)


async def recover(
    store: Store, lost: Sequence[LostTurn], clock: Clock, *, ends_turns: bool
) -> tuple[Sequence[Turn], Mapping[str, StoredChat]]:
    """Keep the partial answers of lost turns; return the turns, ended as interrupted, and their chats.

    Unless `ends_turns`, the store still has them as lost, so that another crash does not forget them. The
    queues stay.
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
        # One past the reserved block: no client has heard of that number, so none resumes across the gap.
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
    """Return what had come of the answer as a message, None when nothing had."""
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
