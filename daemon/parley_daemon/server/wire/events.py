"""Events as JSON bytes. Each event is encoded once, however many clients get it."""

from parley_daemon.core.events import (
    ActionRequired,
    ChatChanged,
    Event,
    FilesChanged,
    MessageAdded,
    MessagePart,
    QueueUpdated,
)
from parley_daemon.core.parts import Reasoning, Text
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.engine.chats.feed.snapshot import ChatView, Snapshot
from parley_daemon.server.wire import agents, records
from parley_daemon.server.wire.excerpts import MESSAGE_BYTES, fit_part
from parley_daemon.server.wire.records import Json, encode

_KEPT = 64 * 1024


def event_bytes(published: Published, chat_id: str) -> bytes:
    """Return an event as JSON. The bytes are kept with it: however many clients listen, it is encoded once.

    Events above 64 KiB are not kept: a queue of long messages would stay in memory once for each change.
    """
    if published.encoded is not None:
        return published.encoded
    event = published.event
    if isinstance(event, MessagePart):
        encoded = part_bytes(event, chat_id, published.seq, 1)
    else:
        fields = encode(_to_json(event, published.seq))
        encoded = b'{"chatId":"%b","seq":%d,%b' % (chat_id.encode(), published.seq, fields[1:])
    if len(encoded) <= _KEPT:
        published.encoded = encoded
    return encoded


def part_bytes(event: MessagePart, chat_id: str, seq: int, span: int) -> bytes:
    """Return a streamed piece as JSON.

    It stands for `span` events. This is the hot path: no dictionary is built.
    """
    part = event.piece
    if isinstance(part, Text):
        shown = b'{"type":"text","text":%b}' % encode(part.text)
    else:
        shown = encode(part if isinstance(part, Reasoning) else fit_part(part, MESSAGE_BYTES))
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


def _to_json(event: Event, seq: int) -> Json:
    """Return the object to encode: the event, or a dictionary if its record looks different on the wire."""
    match event:
        case MessageAdded(message, turn_id):
            shown = {"type": "message", "message": records.message(message)}
            return shown if turn_id is None else {**shown, "turnId": turn_id}
        case QueueUpdated(queue):
            return {"type": "queue_update", "queuedMessages": records.queue(queue)}
        case ActionRequired(request, turn_id):
            shown = {"type": "action_required", "request": agents.action_request(request)}
            return shown if turn_id is None else {**shown, "turnId": turn_id}
        case FilesChanged():
            return agents.files_changed(event)
        case ChatChanged(chat, status, deleted, open_requests, usage_tree):
            view = ChatView(chat, status, seq, open_requests, usage_tree)
            shown = {"type": "chat", "chat": records.chat(view)}
            return {**shown, "deleted": True} if deleted else shown
        case _:
            return event


def reset_bytes(one: Snapshot, chat_id: str, reason: str) -> bytes:
    """Return a reset event. It replaces all events up to its snapshot."""
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
    """Return an event of chat/watch."""
    return encode({"type": change, "chat": records.chat(view)})
