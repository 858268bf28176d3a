"""Objects of the wire as plain JSON, for tests that need one and do not care which."""

from typing import Any

from parley_protocol.models.objects import Chat

CHAT_ID = "019aa5d0-7c1e-7d52-8a63-0b1f8f3c2e11"
TURN_ID = "019aa5d0-9e04-7b0a-b7d1-55f0c7a9d1f2"
TIME = "2026-11-21T09:15:00.000Z"

Json = dict[str, Any]


def chat(**changes: Any) -> Json:
    """Return a Chat at rest. Its fields are those of the model; all that have a default are at it."""
    sample = Chat(
        id=CHAT_ID,
        owner="local",
        status="waiting",
        last_seq=0,
        last_message_id=0,
        created_at=TIME,
        updated_at=TIME,
    )
    return {**sample.to_wire(), **changes}


def message(message_id: int, text: str, **changes: Any) -> Json:
    """Return a Message of one text part."""
    return {
        "id": message_id,
        "chatId": CHAT_ID,
        "parentId": message_id - 1 or None,
        "siblings": [message_id],
        "turnId": TURN_ID,
        "role": "user" if message_id % 2 else "assistant",
        "content": [{"type": "text", "text": text}],
        "model": None,
        "usage": None,
        "complete": True,
        "clientMessageId": None,
        "origin": None,
        "refused": None,
        "retrieval": None,
        "createdAt": TIME,
        **changes,
    }


def snapshot(**changes: Any) -> Json:
    """Return the Snapshot of an empty chat."""
    return {
        "chat": chat(),
        "messages": [],
        "queuedMessages": [],
        "preview": None,
        "actionRequests": [],
        "children": [],
        "hasMore": False,
        **changes,
    }


def event(kind: str, seq: int, **fields: Any) -> Json:
    """Return an event of a turn."""
    return {"type": kind, "chatId": CHAT_ID, "seq": seq, "turnId": TURN_ID, **fields}


def piece(seq: int, index: int, part: Json, *, message_id: int = 2, span: int = 1) -> Json:
    """Return a message_part event."""
    merged = {} if span == 1 else {"span": span}
    return event(
        "message_part", seq, messageId=message_id, index=index, role="assistant", part=part, **merged
    )
