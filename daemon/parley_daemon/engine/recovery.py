"""Opening the store, and after a crash: end what was under way, keep what had come of it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import anyio

from parley_daemon.core.chats import Message, Status, Turn
from parley_daemon.core.parts import fold
from parley_daemon.engine.turn import DAEMON_LOST
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.store import (
    AddMessage,
    LostTurn,
    PutChat,
    PutTurn,
    Store,
    StoreUnavailableError,
    Write,
)

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

Recovery = Literal["interrupt", "retry"]
"""What becomes of a turn that a crash cut off: it ends as interrupted, or is also answered again."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A turn that a crash cut off and that has ended now; `leaf_id` is where its branch ends since then."""

    turn: Turn
    leaf_id: int | None


class OpenStore:
    """A store that is opened once, when it is first needed; a failed opening is tried again."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._opened = False
        self._lock = anyio.Lock()
        self._failed_at = float("-inf")
        self._failure: StoreUnavailableError | None = None
        self.recovered: Sequence[Recovered] = ()

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
        try:
            self.recovered = await recover(self._store, lost, self._clock)
        except StoreUnavailableError:
            await self._store.aclose()  # it is opened again when it is tried again
            raise


async def recover(store: Store, lost: Sequence[LostTurn], clock: Clock) -> Sequence[Recovered]:
    """End every lost turn as interrupted (daemon_lost) and keep its partial answer. The queue stays."""
    recovered: list[Recovered] = []
    for one in lost:
        stored = await store.chat(one.turn.chat_id)
        if stored is None:
            continue
        now, chat = clock.now(), stored.chat
        writes: list[Write] = [
            PutTurn(replace(one.turn, ended_at=now, outcome="interrupted", error=DAEMON_LOST))
        ]
        parts = fold(one.pieces)
        if one.message_id is not None and parts:
            partial = Message(
                id=one.message_id,
                chat_id=chat.id,
                parent_id=chat.leaf_id,
                turn_id=one.turn.id,
                role="assistant",
                content=parts,
                created_at=now,
                model=one.turn.model,
                complete=False,
            )
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
        recovered.append(Recovered(one.turn, chat.leaf_id))
    if lost:
        log.warning("%d turns were under way when the daemon stopped; they ended as interrupted", len(lost))
    return recovered
