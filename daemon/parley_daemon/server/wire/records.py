"""Converts core records to wire objects and back. `core.codec` derives most of the conversion.

This module adds what needs a live chat. Wire objects are structs that encode to the JSON of the wire; they
are encoded once and never become pydantic models.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from parley_daemon.core import codec
from parley_daemon.core.events import TurnEnded
from parley_daemon.core.parts import Part
from parley_daemon.core.records import Chat, Context, Message, ModelSettings, QueuedMessage
from parley_daemon.engine.chats.snapshot import ChatView, Preview, Snapshot
from parley_protocol.models import parts as wire_parts
from parley_protocol.models.base import to_camel
from parley_protocol.models.objects import ChatContext as WireContext
from parley_protocol.models.provider_options import ProviderOptions
from parley_protocol.models.settings import ModelSettings as WireSettings

Json = Any
"""An argument of `encode`: a struct whose JSON is a wire object, or a dictionary of them."""

encode = msgspec.json.encode

_DIALECTS = tuple(map(to_camel, ProviderOptions.model_fields))
_CHAT = codec.JsonForm(Chat, codec.NOT_ON_THE_WIRE[Chat])
_QUEUED = codec.JsonForm(QueuedMessage, codec.NOT_ON_THE_WIRE[QueuedMessage])

# ------------------------------------------------------------------------------ from the wire


def core_part(part: wire_parts.Part) -> Part:
    """Return a complete part that a client sent."""
    return msgspec.convert(part, Part, from_attributes=True)


def core_settings(one: WireSettings | None) -> ModelSettings:
    """Return settings that a client sent. Options of dialects keep their wire names."""
    return ModelSettings() if one is None else codec.from_attributes(ModelSettings, one)


def core_context(one: WireContext | None) -> Context:
    """Return a chat's context that a client sent."""
    return Context() if one is None else codec.from_attributes(Context, one)


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
    shown.settings = settings(shown.settings)
    return shown


def message(one: Message) -> Message:
    """Return a Message. Without alternatives, `siblings` has only its own id."""
    return one if one.siblings else replace(one, siblings=(one.id,))


def messages(many: Iterable[Message]) -> list[Message]:
    """Return Messages in their order."""
    return [message(one) for one in many]


def queued_message(one: QueuedMessage) -> Json:
    """Return a QueuedMessage."""
    return _QUEUED.to_object(one)


def _preview(one: Preview | None) -> Json:
    if one is None:
        return None
    return {
        "messageId": one.message_id,
        "turnId": one.turn_id,
        "role": one.role,
        "parts": [shown for _, shown in one.pieces],
    }


def snapshot(one: Snapshot) -> dict[str, Any]:
    """Return a Snapshot."""
    return {
        "chat": chat(one.view),
        "messages": messages(one.messages),
        "queuedMessages": [queued_message(each) for each in one.queue],
        "preview": _preview(one.preview),
        "actionRequests": [],
    }


def turn_ended(event: TurnEnded) -> dict[str, Any]:
    """Return the fields that turn_ended and the result of chat/ask share."""
    fields = msgspec.to_builtins(event)
    del fields["type"]
    return fields
