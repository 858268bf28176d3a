"""The file that `chat/export` writes as JSON and `chat/import` reads: a chat with everything that belongs to
it.

Readers ignore unknown fields. FILE_VERSION is increased when an older reader could not ignore something new
without losing content, such as a new type of part; it then refuses the file. The owner, event numbers and
credentials in settings are not exported.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from parley_protocol.models.base import MAX_SAFE_INTEGER, Count, Id, Metadata, Role, Title, Wire
from parley_protocol.models.objects import (
    ChatFields,
    TurnError,
    TurnOutcome,
    Usage,
)
from parley_protocol.models.parts import Part
from parley_protocol.models.settings import ModelSettings

FILE_FORMAT: Final = "parley-chat"
FILE_VERSION: Final = 1

CONTENT_LIMIT: Final = 30 * 1024 * 1024
"""The largest exported chat in bytes. As an escaped JSON string it still fits into one frame."""

RestingStatus = Literal["waiting", "completed", "error"]
MessageId = Annotated[int, Field(ge=1, le=MAX_SAFE_INTEGER)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]


class ExportedChat(ChatFields):
    """The chat itself. `leafId` is the last message of its active branch, null when it has none.

    The file has all fields of ChatFields. Those that are repeated here are checked more strictly.
    """

    id: Id
    title: Title | None = None
    title_is_automatic: bool = False
    status: RestingStatus = "waiting"
    metadata: Metadata = Field(default_factory=dict[str, Any])
    last_message_id: Count = 0
    leaf_id: MessageId | None = None
    created_at: Time
    updated_at: Time


class ExportedMessage(Wire):
    """A message of any branch. `parentId` is the message before it, null for the first one; it is always the
    smaller id.
    """

    id: MessageId
    parent_id: MessageId | None = None
    turn_id: str | None = None
    role: Role
    content: list[Part]
    model: str | None = None
    usage: Usage | None = None
    complete: bool = True
    client_message_id: str | None = None
    origin: str | None = None
    refused: TurnError | None = None
    created_at: str


class ExportedTurn(Wire):
    """A turn that has ended. A turn that is running is not exported, but its user message is."""

    id: Id
    user_message_id: MessageId
    model: str | None = None
    settings: ModelSettings = Field(default_factory=ModelSettings)
    accepted_at: str
    ended_at: str | None = None
    outcome: TurnOutcome
    stop_reason: str | None = None
    usage: Usage | None = None
    error: TurnError | None = None
    output: Any = None


class ExportedQueuedMessage(Wire):
    """A message in the queue."""

    id: Id
    turn_id: Id
    content: list[Part]
    model: str | None = None
    settings: ModelSettings = Field(default_factory=ModelSettings)
    client_message_id: str | None = None
    origin: str | None = None
    created_at: str


class ChatFile(Wire):
    """The whole file. Messages and turns are ordered by id, queued messages by position."""

    format: Literal["parley-chat"] = FILE_FORMAT
    version: int = FILE_VERSION
    generator: str | None = None
    chat: ExportedChat
    messages: list[ExportedMessage]
    turns: list[ExportedTurn] = Field(default_factory=list[ExportedTurn])
    queued_messages: list[ExportedQueuedMessage] = Field(default_factory=list[ExportedQueuedMessage])
