"""The events of a chat. Each gets the chat's next number (`seq`) when it is published."""

from typing import Any

import msgspec

from parley_daemon.core.agents.actions import ActionOutcome, ActionRequest
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import FileChange
from parley_daemon.core.children import ChildStatus
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
    """As JSON, an event has a `type`, and no field that is at its default."""


class StatusChanged(_EventBase, frozen=True, gc=False, tag="status"):
    """The status of the chat has changed."""

    status: Status
    turn_id: str | None = None


class TurnStarted(_EventBase, frozen=True, gc=False, tag="turn_started"):
    """A turn has its slot and runs."""

    turn_id: str
    user_message_id: int
    model: str | None


class MessagePart(_EventBase, frozen=True, gc=False, tag="message_part"):
    """A streamed piece of a message in progress. `index` is the number of its part, from 0."""

    turn_id: str
    message_id: int
    index: int
    role: Role
    piece: Piece


class MessageAdded(_EventBase, frozen=True, gc=False, tag="message"):
    """A message is stored. It replaces the pieces that were streamed under its id."""

    message: Message
    turn_id: str | None = None


class QueueUpdated(_EventBase, frozen=True, gc=False, tag="queue_update"):
    """The queue has changed. `queue` is the whole queue."""

    queue: tuple[QueuedMessage, ...]


class PreviewReset(_EventBase, frozen=True, gc=False, tag="preview_reset"):
    """The pieces that were streamed under this id are no longer valid. The next attempt begins at part 0."""

    message_id: int
    reason: str
    turn_id: str


class Retrying(_EventBase, frozen=True, gc=False, tag="retry"):
    """Attempt number `attempt` (from 1) of a model call failed. `model` is asked after `delay_ms`.

    It is a fallback model if the turn does not ask the same model again. `retrying_at` is the time of the
    next attempt.
    """

    attempt: int
    delay_ms: int
    error: Failure
    retrying_at: str
    model: str
    turn_id: str


class ToolStarted(_EventBase, frozen=True, gc=False, tag="tool_started"):
    """A tool call begins to run. `message_id` is the message that has the call.

    `allowed_by` is "mode:NAME", "rule:ID" or "request:ID". `sandbox` is what its processes run in; None: it
    starts none.
    """

    turn_id: str
    message_id: int
    tool_call_id: str
    tool_name: str
    allowed_by: str
    sandbox: SandboxKind | None


class FilesChanged(_EventBase, frozen=True, gc=False, tag="files_changed"):
    """A tool call has changed files. `checkpoint_id` has their earlier states; None: nothing was kept."""

    turn_id: str
    tool_call_id: str
    checkpoint_id: str | None
    files: tuple[FileChange, ...]


class ActionRequired(_EventBase, frozen=True, gc=False, tag="action_required"):
    """A person or a client has to answer a question.

    `turn_id` is the turn under way. If a child chat asks, there may be none.
    """

    request: ActionRequest
    turn_id: str | None = None


class ActionResolved(_EventBase, frozen=True, gc=False, tag="action_resolved"):
    """A question is not open any more. `by` is the name of the client that answered; `turn_id` as above."""

    request_id: str
    outcome: ActionOutcome
    by: str | None
    turn_id: str | None = None


class ChildChanged(_EventBase, frozen=True, gc=False, tag="child"):
    """A child chat of kind "agent" is new, or has changed. `usage` is its own and that of its children.

    `tool_call_id` is the call that started it; None: a client has created it. `turn_id` is the turn under
    way, if there is one.
    """

    child_chat_id: str
    tool_call_id: str | None
    status: ChildStatus
    usage: Usage
    title: str | None = None
    deleted: bool = False
    turn_id: str | None = None


class HistoryReset(_EventBase, frozen=True, gc=False, tag="history_reset"):
    """The active branch has changed after this message (None: from the beginning)."""

    after_message_id: int | None


class ErrorRaised(_EventBase, frozen=True, gc=False, tag="error"):
    """The turn fails for this reason."""

    error: Failure
    turn_id: str


class ChatChanged(_EventBase, frozen=True, gc=False, tag="chat"):
    """The chat's record has changed, or the chat was deleted.

    `open_requests` and `usage_tree` are with those of its children (see ChatView).
    """

    chat: Chat
    status: Status
    deleted: bool = False
    open_requests: int = 0
    usage_tree: Usage | None = None


class Timings(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Milliseconds that a turn waited for a slot, for the first part, and in total; its attempts."""

    queued_ms: int
    first_part_ms: int | None
    total_ms: int
    attempts: int


class TurnEnded(_EventBase, frozen=True, gc=False, tag="turn_ended"):
    """The turn has ended, its messages are stored, and the chat is free. There is exactly one per turn.

    `output` is the JSON value of an answer that had to conform to a schema, otherwise None. `children` are
    the ids of the child chats that go on.
    """

    turn_id: str
    outcome: Outcome
    stop_reason: str | None
    usage: Usage | None
    timings: Timings
    error: Failure | None
    output: Any
    children: tuple[str, ...] = ()


Event = (
    StatusChanged
    | TurnStarted
    | MessagePart
    | MessageAdded
    | QueueUpdated
    | PreviewReset
    | Retrying
    | ToolStarted
    | FilesChanged
    | ActionRequired
    | ActionResolved
    | ChildChanged
    | HistoryReset
    | ErrorRaised
    | ChatChanged
    | TurnEnded
)


def turn_of(event: Event) -> str | None:
    """Return the id of the turn that the event belongs to. None: it belongs to no turn."""
    match event:
        case QueueUpdated() | ChatChanged() | HistoryReset():
            return None
        case _:
            return event.turn_id
