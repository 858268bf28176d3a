"""The events of a chat, as `$/progress` carries them. CONTRIBUTING.md has the checklist for a new event."""

from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter

from parley_protocol.models.base import OptionalStr, Role, Wire
from parley_protocol.models.chats import WatchEvent
from parley_protocol.models.objects import (
    ActionRequest,
    Chat,
    ChatStatus,
    ChildStatus,
    Message,
    QueuedMessage,
    Snapshot,
    Timings,
    TurnError,
    TurnOutcome,
    Usage,
)
from parley_protocol.models.parts import DeliveredPiece
from parley_protocol.models.turns import ActionOutcome
from parley_protocol.models.workspace import GitChangeType

SandboxKind = Literal["bwrap", "landlock", "seatbelt", "none"]


class EventBase(Wire):
    """The fields of every event. It covers `seq - span + 1` to `seq`; `span` is absent if it is 1."""

    chat_id: str
    seq: int
    span: Annotated[int, Field(ge=1, exclude_if=lambda v: v == 1)] = 1


class OptionalTurnEvent(EventBase):
    """An event that may belong to a turn. `turnId` is absent if it does not."""

    turn_id: OptionalStr = None


class StatusEvent(OptionalTurnEvent):
    """The chat's status changed."""

    type: Literal["status"] = "status"
    status: ChatStatus


class TurnStartedEvent(EventBase):
    """The turn has started to run."""

    type: Literal["turn_started"] = "turn_started"
    turn_id: str
    user_message_id: int
    model: str | None = None
    """The model that is asked, as "provider:model"; null: none can be."""


class MessagePartEvent(OptionalTurnEvent):
    """A streamed piece of part number `index` of a message in progress."""

    type: Literal["message_part"] = "message_part"
    message_id: int
    index: int
    role: Role
    part: DeliveredPiece


class MessageEvent(OptionalTurnEvent):
    """The message is stored. It replaces what was streamed under its id."""

    type: Literal["message"] = "message"
    message: Message


class PreviewResetEvent(OptionalTurnEvent):
    """What was streamed under this message id is no longer valid. Its parts begin again at index 0."""

    type: Literal["preview_reset"] = "preview_reset"
    message_id: int
    reason: str
    """Why what was streamed is no longer valid."""


class RetryEvent(OptionalTurnEvent):
    """A model call failed. `model` is called after `delayMs`. `attempt` counts from 1.

    `model` is a different one if the turn continues with a fallback model.
    """

    type: Literal["retry"] = "retry"
    attempt: int
    delay_ms: int
    error: TurnError
    """Why the attempt failed."""
    retrying_at: str
    model: str | None = None
    """The model that is called next, as "provider:model"."""


class QueueUpdateEvent(OptionalTurnEvent):
    """The queue changed; this is all of it."""

    type: Literal["queue_update"] = "queue_update"
    queued_messages: list[QueuedMessage]


class ToolStartedEvent(EventBase):
    """A tool call has started. `messageId` is the message that has the call."""

    type: Literal["tool_started"] = "tool_started"
    turn_id: str
    message_id: int
    tool_call_id: str
    tool_name: str
    allowed_by: str
    """What allowed it: "mode:NAME", "rule:ID" or "request:ID"."""
    sandbox: SandboxKind | None = None
    """What its processes run in; null: it starts none."""


class FileChange(Wire):
    """A file that a tool call has changed."""

    path: str
    """The URI of the file."""
    change_type: GitChangeType
    additions: int | None = None
    """How many lines were added; null: the file is not text."""
    deletions: int | None = None
    """How many lines were removed; null: the file is not text."""
    restorable: bool
    """Whether `chat/restore` can bring back what was there before."""


class FilesChangedEvent(EventBase):
    """A tool call has changed files."""

    type: Literal["files_changed"] = "files_changed"
    turn_id: str
    tool_call_id: str
    checkpoint_id: str | None = None
    """The checkpoint that has the files' earlier states; null: nothing was kept."""
    files: list[FileChange]
    """The files that were changed."""


class ActionRequiredEvent(OptionalTurnEvent):
    """The turn waits until a person or a client answers this request."""

    type: Literal["action_required"] = "action_required"
    request: ActionRequest


class ActionResolvedEvent(OptionalTurnEvent):
    """A request was answered or is no longer valid. `by` is the name of the client that answered."""

    type: Literal["action_resolved"] = "action_resolved"
    request_id: str
    outcome: ActionOutcome
    """What became of the request."""
    by: str | None = None


class ChildEvent(OptionalTurnEvent):
    """A child chat of kind "agent" is new, or has changed. `deleted: true`: it is no child any more."""

    type: Literal["child"] = "child"
    child_chat_id: str
    """The id of the child chat."""
    tool_call_id: str | None = None
    """The tool call that has started it; null: a client has created it."""
    status: ChildStatus
    """"running": it has a turn under way. "paused": it waits for an answer to a question. "completed",
    "failed", "interrupted": how its last turn ended. "waiting": it has nothing to do."""
    usage: Usage
    """Its `usageTree`."""
    title: str | None = None
    deleted: Annotated[bool, Field(exclude_if=lambda v: not v)] = False
    """true: the child chat was deleted."""


class ErrorEvent(OptionalTurnEvent):
    """The turn fails with this error."""

    type: Literal["error"] = "error"
    error: TurnError
    """Why the turn fails."""


class HistoryResetEvent(OptionalTurnEvent):
    """The active branch changed. Remove the messages after this one (null: all messages)."""

    type: Literal["history_reset"] = "history_reset"
    after_message_id: int | None = None
    """Remove the messages after this one; null: all messages."""


class ChatEvent(OptionalTurnEvent):
    """The chat's record changed. `deleted: true` marks the last event of a deleted chat."""

    type: Literal["chat"] = "chat"
    chat: Chat
    deleted: Annotated[bool, Field(exclude_if=lambda v: not v)] = False
    """true: the chat was deleted; this is its last event."""


class TurnEndedEvent(EventBase):
    """The turn has ended, its messages are stored, and the chat is free. Each turn has exactly one.

    `output` is the answer as JSON, if `outputSchema` was set and the turn completed; null otherwise.
    """

    type: Literal["turn_ended"] = "turn_ended"
    turn_id: str
    outcome: TurnOutcome
    stop_reason: str | None = None
    usage: Usage | None = None
    timings: Timings
    error: TurnError | None = None
    """Why the turn failed; null: it did not."""
    output: Any = None
    children: Annotated[list[str], Field(exclude_if=lambda v: not v)] = Field(default_factory=list[str])
    """The ids of the child chats that go on; absent: none does."""


class ResetEvent(OptionalTurnEvent):
    """The client was too slow. Start again with this snapshot, which is as of `seq`."""

    type: Literal["reset"] = "reset"
    reason: Literal["slow_client", "too_old"]
    """Why the client has to start again."""
    snapshot: Snapshot
    """The chat as of `seq`."""


class UnknownEvent(OptionalTurnEvent):
    """An event of a type that this version does not know. Count its number and ignore its content."""

    model_config = ConfigDict(extra="allow")

    type: str


KnownEvent = Annotated[
    StatusEvent
    | TurnStartedEvent
    | MessagePartEvent
    | MessageEvent
    | PreviewResetEvent
    | RetryEvent
    | ToolStartedEvent
    | FilesChangedEvent
    | QueueUpdateEvent
    | ActionRequiredEvent
    | ActionResolvedEvent
    | ChildEvent
    | ErrorEvent
    | HistoryResetEvent
    | ChatEvent
    | TurnEndedEvent
    | ResetEvent,
    Field(discriminator="type"),
]
"""Every event of this version. `type` tells which one it is."""

Event = KnownEvent | UnknownEvent
"""What a `chat/subscribe` or a `chat/ask` streams."""

EVENT_TYPES: dict[str, type[EventBase]] = {
    kind.model_fields["type"].default: kind for kind in get_args(get_args(KnownEvent)[0])
}
"""The class of each event type, in the order of the union."""


@lru_cache(maxsize=1)
def _known_events() -> TypeAdapter[Any]:
    return TypeAdapter(KnownEvent)


def parse_event(value: dict[str, Any]) -> Event:
    """Read the `value` of a `$/progress` that belongs to a subscription or an ask.

    Raises:
        pydantic.ValidationError: the value is not an event.
    """
    if value.get("type") in EVENT_TYPES:
        return _known_events().validate_python(value)
    return UnknownEvent.model_validate(value)


def parse_watch_event(value: dict[str, Any]) -> WatchEvent:
    """Read the `value` of a `$/progress` that belongs to a `chat/watch`.

    Raises:
        pydantic.ValidationError: the value is not a watch event.
    """
    return WatchEvent.model_validate(value)
