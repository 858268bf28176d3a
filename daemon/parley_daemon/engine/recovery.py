"""After a crash: end what was under way, keep what had come of it. Runs before any chat is opened."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from parley_daemon.core.chats import Message, Status
from parley_daemon.core.parts import fold
from parley_daemon.engine.turn import DAEMON_LOST
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.store import AddMessage, LostTurn, PutChat, PutTurn, Store, Write

log = logging.getLogger(__name__)


async def recover(store: Store, lost: Sequence[LostTurn], clock: Clock) -> None:
    """End every lost turn as interrupted (daemon_lost) and keep its partial answer. The queue stays."""
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
    if lost:
        log.warning("%d turns were under way when the daemon stopped; they ended as interrupted", len(lost))
