"""Events as the bytes of their JSON: what goes to every listener, once encoded. Knows no stream."""

from typing import assert_never

from parley_daemon.core.events import (
    ChatChanged,
    ErrorRaised,
    Event,
    HistoryReset,
    MessageAdded,
    MessagePart,
    PreviewReset,
    QueueUpdated,
    Retrying,
    StatusChanged,
    TurnEnded,
    TurnStarted,
)
from parley_daemon.core.parts import Text
from parley_daemon.engine.chats.event_log import Published
from parley_daemon.engine.chats.snapshot import ChatView, Snapshot
from parley_daemon.server.wire import records
from parley_daemon.server.wire.records import Json, encode

_KEPT = 64 * 1024


def event_bytes(published: Published, chat_id: str) -> bytes:
    """Return an event as JSON. The bytes are kept with it: however many listen, it is encoded once.

    Very large ones are not kept: a queue of long messages would be there once for each of its changes.
    """
    if published.encoded is not None:
        return published.encoded
    event = published.event
    if isinstance(event, MessagePart):
        encoded = part_bytes(event, chat_id, published.seq, 1)
    else:
        encoded = encode(_event(event, chat_id, published.seq))
    if len(encoded) <= _KEPT:
        published.encoded = encoded
    return encoded


def part_bytes(event: MessagePart, chat_id: str, seq: int, span: int) -> bytes:
    """Return a streamed piece as JSON; `span` events stand behind it. This is the hot path: no dict."""
    part = event.piece
    if isinstance(part, Text):
        shown = b'{"type":"text","text":%b}' % encode(part.text)
    else:
        shown = encode(records.piece(part))
    return (
        b'{"type":"message_part","chatId":"%b","seq":%d,%b"turnId":"%b","messageId":%d,"index":%d,'
        b'"role":"%b","part":%b}'
    ) % (
        chat_id.encode(),
        seq,
        b"" if span == 1 else b'"span":%d,' % span,
        event.turn_id.encode(),
        event.message_id,
        event.index,
        event.role.encode(),
        shown,
    )


def _event(event: Event, chat_id: str, seq: int) -> Json:
    head: Json = {"type": "", "chatId": chat_id, "seq": seq}
    match event:
        case StatusChanged(status, turn_id):
            return {**head, "type": "status", **records.present(turnId=turn_id), "status": str(status)}
        case TurnStarted(turn_id, user_message_id, model):
            started = {"turnId": turn_id, "userMessageId": user_message_id, "model": model}
            return {**head, "type": "turn_started", **started}
        case MessageAdded(added, turn_id):
            return {
                **head,
                "type": "message",
                **records.present(turnId=turn_id),
                "message": records.message(added),
            }
        case QueueUpdated(queue):
            return {**head, "type": "queue_update", "queuedMessages": [records.queued(one) for one in queue]}
        case PreviewReset(message_id, reason, turn_id):
            void = {"turnId": turn_id, "messageId": message_id, "reason": reason}
            return {**head, "type": "preview_reset", **void}
        case Retrying():
            return {
                **head,
                "type": "retry",
                "turnId": event.turn_id,
                "attempt": event.attempt,
                "delayMs": event.delay_ms,
                "error": records.failure(event.error),
                "retryingAt": event.retrying_at,
                "model": event.model,
            }
        case HistoryReset(after_message_id):
            return {**head, "type": "history_reset", "afterMessageId": after_message_id}
        case ErrorRaised(error, turn_id):
            return {**head, "type": "error", "turnId": turn_id, "error": records.failure(error)}
        case ChatChanged(changed, status, deleted):
            gone = {"deleted": True} if deleted else {}
            return {**head, "type": "chat", "chat": records.chat(ChatView(changed, status, seq)), **gone}
        case TurnEnded():
            return {**head, "type": "turn_ended", **records.turn_ended(event)}
        case MessagePart():
            raise TypeError("streamed pieces have an encoding of their own")
        case _:
            assert_never(event)


def reset_bytes(one: Snapshot, chat_id: str, reason: str) -> bytes:
    """Return a reset event: it stands for everything up to its snapshot."""
    return encode(
        {
            "type": "reset",
            "chatId": chat_id,
            "seq": one.seq,
            "reason": reason,
            "snapshot": records.snapshot(one),
        }
    )


def watch_bytes(view: ChatView, change: str) -> bytes:
    """Return what chat/watch streams."""
    return encode({"type": change, "chat": records.chat(view)})
