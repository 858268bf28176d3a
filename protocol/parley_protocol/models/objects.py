"""The objects that several methods and events share: chats, messages, usage, errors of turns, snapshots.

Times are RFC 3339 in UTC with milliseconds. Ids of chats, turns and requests are UUIDv7 strings; ids of
messages are integers that ascend within a chat.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from parley_protocol.models.base import Role, Wire
from parley_protocol.models.parts import Part, PartDelta
from parley_protocol.models.settings import ModelSettings

ChatStatus = Literal["waiting", "pending", "running", "interrupting", "paused", "completed", "error"]
ChatKind = Literal["chat", "agent"]
TurnOutcome = Literal["completed", "interrupted", "failed"]
Decision = Literal["allow", "allow_always", "deny"]
TurnErrorKind = Literal[
    "auth",
    "missing_key",
    "rate_limit",
    "usage_limit",
    "overloaded",
    "timeout",
    "stream_idle",
    "context_length",
    "content_filter",
    "invalid_request",
    "model_not_found",
    "network",
    "bad_stream",
    "tool",
    "daemon_lost",
    "internal",
]


class Usage(Wire):
    """Tokens and money of a model call, or sums of them; null: the provider did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_read_tokens: int | None = None
    context_limit: int | None = None
    cost_usd: float | None = None


class TurnError(Wire):
    """Why a turn failed. `message` is one plain sentence, `detail` what the peer said (500 characters)."""

    kind: TurnErrorKind
    message: str
    detail: Annotated[str, Field(max_length=500)] | None = None
    provider: str | None = None
    status_code: int | None = None
    retryable: bool = False
    retry_after_ms: int | None = None


class Timings(Wire):
    """Milliseconds of a turn: waiting for a slot, until the first part, in all; and how many attempts."""

    queued_ms: int
    first_part_ms: int | None = None
    total_ms: int
    attempts: int


class ChatContext(Wire):
    """The files that a chat may look at: URIs of repositories and files, glob patterns."""

    repositories: list[str] = Field(default_factory=list[str])
    include: list[str] = Field(default_factory=list[str])
    exclude: list[str] = Field(default_factory=list[str])
    files: list[str] = Field(default_factory=list[str])


class ForkOrigin(Wire):
    """Where a chat was forked from."""

    chat_id: str
    message_id: int


class Chat(Wire):
    """A chat without its messages. `model` is "provider:model"; `usage` sums all turns."""

    id: str
    owner: str
    kind: ChatKind = "chat"
    title: str | None = None
    status: ChatStatus
    last_error: TurnError | None = None
    model: str | None = None
    system_prompt: str | None = None
    settings: ModelSettings = Field(default_factory=ModelSettings)
    context: ChatContext = Field(default_factory=ChatContext)
    parent_chat_id: str | None = None
    root_chat_id: str | None = None
    forked_from: ForkOrigin | None = None
    archived: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    usage: Usage = Field(default_factory=Usage)
    last_seq: int
    last_message_id: int
    created_at: str
    updated_at: str


class Message(Wire):
    """A durable message. `siblings` are the ids of the alternatives at its place, itself included.

    `complete` is false when it was cut short; `origin` is the client that sent it.
    """

    id: int
    chat_id: str
    parent_id: int | None = None
    siblings: list[int]
    turn_id: str | None = None
    role: Role
    content: list[Part]
    model: str | None = None
    usage: Usage | None = None
    complete: bool = True
    client_message_id: str | None = None
    origin: str | None = None
    created_at: str


class QueuedMessage(Wire):
    """A message that waits for its turn. References in it have been read: they are `source` parts."""

    id: str
    chat_id: str
    content: list[Part]
    model: str | None = None
    client_message_id: str | None = None
    created_at: str


class Preview(Wire):
    """The message in progress: what was streamed of it so far, part by part."""

    message_id: int
    turn_id: str
    role: Role
    parts: list[PartDelta]


class ActionRequest(Wire):
    """A question that a person or a client must answer before the turn goes on."""

    id: str
    kind: str
    tool_call_id: str | None = None
    tool_name: str | None = None
    args: Any = None
    options: list[Decision]
    expires_at: str | None = None


class Snapshot(Wire):
    """A chat as it is at one moment; events go on from `seq` + 1."""

    chat: Chat
    messages: list[Message]
    queued_messages: list[QueuedMessage]
    preview: Preview | None = None
    action_requests: list[ActionRequest]
