"""The file that `chat/export` writes as JSON and `chat/import` reads: a chat with everything that belongs to
it.

Values are checked as strictly as in params: what a client could not send cannot be imported either. Files in
messages that no user sent are an exception: they are what a provider sent.
Readers ignore unknown fields. FILE_VERSION is increased when an older reader could not ignore something new
without losing content, such as a new type of part; it then refuses the file. The owner, event numbers and
credentials in settings are not exported.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from parley_protocol.models.base import (
    MAX_SAFE_INTEGER,
    Count,
    Id,
    Metadata,
    Role,
    SystemPrompt,
    Timestamp,
    Title,
    Wire,
)
from parley_protocol.models.objects import (
    ChatFields,
    ForkOrigin,
    RetrievalNote,
    TurnError,
    TurnOutcome,
    Usage,
)
from parley_protocol.models.parts import Part
from parley_protocol.models.settings import ModelSettings
from parley_protocol.models.turns import ClientMessageId

FILE_FORMAT: Final = "parley-chat"
FILE_VERSION: Final = 1

CONTENT_LIMIT: Final = 30 * 1024 * 1024
"""The largest exported chat in bytes. As an escaped JSON string it still fits into one frame."""

RestingStatus = Literal["waiting", "completed", "error"]
MessageId = Annotated[int, Field(ge=1, le=MAX_SAFE_INTEGER)]
Number = Annotated[int, Field(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)]


class ExportedUsage(Usage):
    """Tokens and cost, as in Usage."""

    input_tokens: Number | None = None
    output_tokens: Number | None = None
    total_tokens: Number | None = None
    reasoning_tokens: Number | None = None
    cache_creation_tokens: Number | None = None
    cache_read_tokens: Number | None = None
    context_limit: Number | None = None
    cost_usd: Annotated[float, Field(allow_inf_nan=False)] | None = None


class ExportedError(TurnError):
    """Why a turn failed, as in TurnError."""

    status_code: Number | None = None
    retry_after_ms: Number | None = None


class ExportedForkOrigin(ForkOrigin):
    """The chat that the chat was forked from, as in ForkOrigin."""

    chat_id: Id
    message_id: Count


class ExportedChat(ChatFields):
    """The chat itself. `leafId` is the last message of its active branch, null when it has none.

    The file has all fields of ChatFields. Those that are repeated here are checked as in params;
    their types are subtypes of those in ChatFields.
    """

    id: Id
    """The id of the chat, a UUIDv7."""
    title: Title | None = None
    """The title; null until a person or the daemon sets one."""
    last_error: ExportedError | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    model: Id | None = None
    system_prompt: SystemPrompt | None = None
    parent_chat_id: Id | None = None
    root_chat_id: Id | None = None
    forked_from: ExportedForkOrigin | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    usage: ExportedUsage = Field(default_factory=ExportedUsage)  # pyright: ignore[reportIncompatibleVariableOverride]
    title_is_automatic: bool = False
    status: RestingStatus = "waiting"
    """What the chat was doing when it was exported."""
    metadata: Metadata = Field(default_factory=dict[str, Any])
    last_message_id: Count = 0
    leaf_id: MessageId | None = None
    created_at: Timestamp
    updated_at: Timestamp


class ExportedMessage(Wire):
    """A message of any branch. `parentId` is the message before it, null for the first one; it is always the
    smaller id.
    """

    id: MessageId
    """The id of the message, a number that is unique in its chat."""
    parent_id: MessageId | None = None
    turn_id: Id | None = None
    role: Role
    content: list[Part]
    model: Id | None = None
    usage: ExportedUsage | None = None
    complete: bool = True
    client_message_id: ClientMessageId | None = None
    origin: str | None = None
    refused: ExportedError | None = None
    retrieval: RetrievalNote | None = None
    created_at: Timestamp


class ExportedTurn(Wire):
    """A turn that has ended. A turn that is running is not exported, but its user message is."""

    id: Id
    """The id of the turn, a UUIDv7."""
    user_message_id: MessageId
    model: Id | None = None
    settings: ModelSettings = Field(default_factory=ModelSettings)
    accepted_at: Timestamp
    ended_at: Timestamp | None = None
    outcome: TurnOutcome
    stop_reason: str | None = None
    usage: ExportedUsage | None = None
    error: ExportedError | None = None
    """Why the turn failed; null: it did not."""
    output: Any = None


class ExportedQueuedMessage(Wire):
    """A message in the queue."""

    id: Id
    """The id of the queued message, a UUIDv7."""
    turn_id: Id
    content: list[Part]
    model: Id | None = None
    settings: ModelSettings = Field(default_factory=ModelSettings)
    client_message_id: ClientMessageId | None = None
    origin: str | None = None
    retrieval: RetrievalNote | None = None
    created_at: Timestamp


class ExportedChild(Wire):
    """A child chat of kind "agent" with everything that belongs to it."""

    chat: ExportedChat
    messages: list[ExportedMessage]
    turns: list[ExportedTurn] = Field(default_factory=list[ExportedTurn])
    queued_messages: list[ExportedQueuedMessage] = Field(default_factory=list[ExportedQueuedMessage])


class ChatFile(Wire):
    """The whole file. Messages and turns are ordered by id, queued messages by position."""

    format: Literal["parley-chat"] = FILE_FORMAT
    """Marks the file as an exported chat."""
    version: int = FILE_VERSION
    """The version of the format. Newer ones are refused."""
    generator: str | None = None
    chat: ExportedChat
    messages: list[ExportedMessage]
    turns: list[ExportedTurn] = Field(default_factory=list[ExportedTurn])
    queued_messages: list[ExportedQueuedMessage] = Field(default_factory=list[ExportedQueuedMessage])
    children: Annotated[list[ExportedChild], Field(exclude_if=lambda v: not v)] = Field(
        default_factory=list[ExportedChild]
    )
    """The child chats of kind "agent" that are directly below the chat, oldest first; absent: there are
    none."""
