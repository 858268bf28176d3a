"""What happens in a chat, as frozen records. Each gets the chat's next `seq` when it is published."""

import msgspec

from parley_daemon.core.parts import Piece
from parley_daemon.core.records import (
    Chat,
    Failure,
    Message,
    Outcome,
    QueuedMessage,
    Role,
    Status,
    Usage,
)


class _EventBase(msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type", omit_defaults=True):
    """As JSON, an event has its `type`; a field is left out when it is at its default."""


class StatusChanged(_EventBase, frozen=True, gc=False, tag="status"):
    """The chat does something else now."""

    status: Status
    turn_id: str | None = None


class TurnStarted(_EventBase, frozen=True, gc=False, tag="turn_started"):
    """A turn got its slot and runs."""

    turn_id: str
    user_message_id: int
    model: str | None


class MessagePart(_EventBase, frozen=True, gc=False, tag="message_part"):
    """A streamed piece of part number `index` of a message in progress."""

    turn_id: str
    message_id: int
    index: int
    role: Role
    piece: Piece


class MessageAdded(_EventBase, frozen=True, gc=False, tag="message"):
    """A message is durable; it replaces what was streamed under its id."""

    message: Message
    turn_id: str | None = None


class QueueUpdated(_EventBase, frozen=True, gc=False, tag="queue_update"):
    """The whole queue as it is now."""

    queue: tuple[QueuedMessage, ...]


class PreviewReset(_EventBase, frozen=True, gc=False, tag="preview_reset"):
    """What was streamed under this id is void: another attempt begins at part 0."""

    message_id: int
    reason: str
    turn_id: str


class Retrying(_EventBase, frozen=True, gc=False, tag="retry"):
    """For the `attempt`th time (from 1) a model call got no answer; `model` is asked after the wait.

    It is another model than before where a turn falls back.
    """

    attempt: int
    delay_ms: int
    error: Failure
    retrying_at: str
    model: str
    turn_id: str


class HistoryReset(_EventBase, frozen=True, gc=False, tag="history_reset"):
    """The active branch is another one after this message (None: from the beginning)."""

    after_message_id: int | None


class ErrorRaised(_EventBase, frozen=True, gc=False, tag="error"):
    """The turn fails for this reason."""

    error: Failure
    turn_id: str


class ChatChanged(_EventBase, frozen=True, gc=False, tag="chat"):
    """The chat's own record changed, or the chat is gone."""

    chat: Chat
    status: Status
    deleted: bool = False


class Timings(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Milliseconds of a turn: waiting for a slot, until the first part, in all; and how many attempts."""

    queued_ms: int
    first_part_ms: int | None
    total_ms: int
    attempts: int


class TurnEnded(_EventBase, frozen=True, gc=False, tag="turn_ended"):
    """The turn is over, its history is durable and the chat is free. Exactly one per turn."""

    turn_id: str
    outcome: Outcome
    stop_reason: str | None
    usage: Usage | None
    timings: Timings
    error: Failure | None


Event = (
    StatusChanged
    | TurnStarted
    | MessagePart
    | MessageAdded
    | QueueUpdated
    | PreviewReset
    | Retrying
    | HistoryReset
    | ErrorRaised
    | ChatChanged
    | TurnEnded
)


def turn_of(event: Event) -> str | None:
    """Return the id of the turn that the event belongs to."""
    match event:
        case QueueUpdated() | ChatChanged() | HistoryReset():
            return None
        case _:
            return event.turn_id
