"""Converts core records to wire objects and back. `core.codec` derives most of the conversion.

This module adds what needs a live chat. Wire objects are structs that encode to the JSON of the wire; they
are encoded once and never become pydantic models.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from parley_daemon.core import codec
from parley_daemon.core.events import TurnEnded
from parley_daemon.core.parts import Part
from parley_daemon.core.records import Chat, Context, Message, ModelSettings, QueuedMessage
from parley_daemon.engine.chats.feed.snapshot import ChatView, Preview, Snapshot
from parley_daemon.server.wire import agents, excerpts
from parley_daemon.server.wire.uris import distinct_uris
from parley_protocol.models import parts as wire_parts
from parley_protocol.models.base import to_camel
from parley_protocol.models.objects import ChatContext as WireContext
from parley_protocol.models.provider_options import ProviderOptions
from parley_protocol.models.settings import ModelSettings as WireSettings

Json = Any
"""An argument of `encode`: a struct whose JSON is a wire object, or a dictionary of them."""

encode = msgspec.json.encode

_ENVELOPE_BYTES = 1_000  # around a snapshot: the names of its fields, the response

_DIALECTS = tuple(map(to_camel, ProviderOptions.model_fields))
_CHAT = codec.JsonForm(Chat, codec.NOT_ON_THE_WIRE[Chat], "open_requests", "usage_tree")
_QUEUED = codec.JsonForm(QueuedMessage, codec.NOT_ON_THE_WIRE[QueuedMessage])

# ------------------------------------------------------------------------------ from the wire


def core_part(part: wire_parts.Part) -> Part:
    """Return a complete part that a client sent."""
    return msgspec.convert(part, Part, from_attributes=True)


def core_settings(one: WireSettings | None) -> ModelSettings:
    """Return settings that a client sent. Options of dialects keep their wire names."""
    return ModelSettings() if one is None else codec.from_attributes(ModelSettings, one)


def core_context(one: WireContext | None) -> Context:
    """Return a chat's context that a client sent. A URI in several spellings is kept once."""
    if one is None:
        return Context()
    context = codec.from_attributes(Context, one)
    files, repositories = distinct_uris(context.files), distinct_uris(context.repositories)
    return replace(context, files=files, repositories=repositories)


# -------------------------------------------------------------------------------- to the wire


def settings(one: ModelSettings) -> ModelSettings:
    """Return ModelSettings with the options of every dialect. A dialect without options has null."""
    options: Any = {dialect: one.provider_options.get(dialect) for dialect in _DIALECTS}
    return replace(one, provider_options=options)


def chat(view: ChatView) -> Json:
    """Return a Chat with its present status."""
    shown = _CHAT.to_object(view.chat)
    shown.status = view.status
    shown.last_seq = view.last_seq
    shown.open_requests = view.open_requests
    shown.usage_tree = view.usage_tree or view.chat.usage
    shown.settings = settings(shown.settings)
    return shown


def message(one: Message) -> Json:
    """Return a Message, large parts by reference. Without alternatives, `siblings` has only its own id."""
    if excerpts.is_large(one.content, excerpts.MESSAGE_BYTES):
        return excerpts.message_bytes(one, excerpts.MESSAGE_BYTES)
    return one if one.siblings else replace(one, siblings=(one.id,))


def messages(many: Sequence[Message]) -> list[Json]:
    """Return Messages in their order, large parts by reference."""
    limit = excerpts.MESSAGE_BYTES // max(1, len(many))
    if excerpts.is_large([part for one in many for part in one.content], excerpts.MESSAGE_BYTES):
        return [excerpts.message_bytes(one, limit) for one in many]
    return [message(one) for one in many]


def queued_message(one: QueuedMessage) -> Json:
    """Return a QueuedMessage, large parts by reference."""
    return queue([one])[0]


def queue(many: Sequence[QueuedMessage], limit: int = excerpts.QUEUE_BYTES) -> list[Json]:
    """Return the QueuedMessages of a chat, large parts by reference."""

    def show(at: int, content: tuple[Any, ...]) -> Json:
        shown = _QUEUED.to_object(many[at])
        shown.content = content
        return shown

    return excerpts.fit_each([one.content for one in many], limit, show)


def _preview(one: Preview | None, limit: int) -> Json:
    if one is None:
        return None
    return {
        "messageId": one.message_id,
        "turnId": one.turn_id,
        "role": one.role,
        "parts": excerpts.fit_parts([shown for _, shown in one.pieces], limit, limit // 2),
    }


def snapshot(
    one: Snapshot, limit: int = excerpts.SNAPSHOT_BYTES, *, oldest_first: bool = False
) -> dict[str, Any]:
    """Return a Snapshot of at most `limit` bytes of JSON, large parts by reference.

    Messages that do not fit are left out: the oldest, or with `oldest_first` the newest.
    """
    around = {
        "chat": msgspec.Raw(encode(chat(one.view))),
        "queuedMessages": queue(one.queue, limit // 8),
        "preview": _preview(one.preview, limit // 4),
        "actionRequests": [agents.action_request(request) for request in one.requests],
        "children": [agents.child(child) for child in one.children.members],
    }
    room = limit - len(encode(around)) - _ENVELOPE_BYTES
    shown, is_cut = excerpts.fit_messages(
        one.messages, room, excerpts.share_of(limit), oldest_first=oldest_first
    )
    return {**around, "messages": shown, "hasMore": one.has_more or is_cut}


def turn_ended(event: TurnEnded) -> dict[str, Any]:
    """Return the fields that turn_ended and the result of chat/ask share."""
    fields = msgspec.to_builtins(event)
    del fields["type"]
    return fields
