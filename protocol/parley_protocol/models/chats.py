"""Params and results of `chat/…` methods that manage chats: create, read, change, find, follow."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from parley_protocol.models.base import (
    Count,
    Id,
    Limit,
    Metadata,
    Params,
    Role,
    Timestamp,
    Title,
    Token,
    Uri,
    Wire,
)
from parley_protocol.models.objects import (
    ActionRequest,
    Chat,
    ChatContext,
    ChatKind,
    Message,
    Preview,
    QueuedMessage,
    Snapshot,
)
from parley_protocol.models.parts import HistoryContent
from parley_protocol.models.settings import ModelSettings

ChatOrder = Literal["updated", "created", "title"]
ExportFormat = Literal["json", "markdown"]
WatchEventType = Literal["created", "deleted", "changed"]


class HistoryMessage(Wire):
    """A message of an earlier conversation, to begin a chat with. A plain string stands for one text part.

    `createdAt` is RFC 3339 in any time zone, and is kept in UTC with milliseconds.
    """

    role: Role
    content: HistoryContent
    model: str | None = None
    created_at: Timestamp | None = None


class ChatCreateParams(Params):
    """Params of `chat/create`. `messages` is the history to restore, oldest first."""

    title: Title | None = None
    kind: ChatKind | None = None
    model: str | None = None
    system_prompt: str | None = None
    settings: ModelSettings | None = None
    context: ChatContext | None = None
    metadata: Metadata | None = None
    parent_chat_id: Id | None = None
    messages: list[HistoryMessage] | None = None


class ChatGetParams(Params):
    """Params of `chat/get`: the newest messages of the active branch, or those after or before one."""

    chat_id: Id
    after_message_id: Count | None = None
    before_message_id: Count | None = None
    limit: Limit = 100


class ChatGetResult(Wire):
    """Result of `chat/get`. `hasMore`: the active branch has more messages in the direction that was read."""

    chat: Chat
    messages: list[Message]
    queued_messages: list[QueuedMessage]
    preview: Preview | None = None
    action_requests: list[ActionRequest]
    has_more: bool


class ChatListParams(Params):
    """Params of `chat/list`. Without a filter every chat is listed, archived ones too.

    `cwd` is the URI of a folder: chats are listed that have the very same one in their `repositories`.
    """

    archived: bool | None = None
    query: str | None = None
    kind: ChatKind | None = None
    parent_chat_id: Id | None = None
    cwd: Uri | None = None
    cursor: str | None = None
    limit: Limit = 50
    order: ChatOrder = "updated"


class ChatListResult(Wire):
    """Result of `chat/list`. `total` counts all that fit; `nextCursor` is null on the last page."""

    chats: list[Chat]
    next_cursor: str | None = None
    total: int


class ChatUpdateParams(Params):
    """Params of `chat/update`. What is left out stays as it is; null clears."""

    chat_id: Id
    title: Title | None = None
    system_prompt: str | None = None
    settings: ModelSettings | None = None
    metadata: Metadata | None = None


class ChatSetModelParams(Params):
    """Params of `chat/setModel`. `model` is "provider:model"."""

    chat_id: Id
    model: Id


class ChatSetContextParams(Params):
    """Params of `chat/setContext`. What is left out stays as it is."""

    chat_id: Id
    repositories: list[str] | None = None
    include: list[str] | None = None
    exclude: list[str] | None = None
    files: list[str] | None = None


class ChatArchiveParams(Params):
    """Params of `chat/archive`."""

    chat_id: Id


class ChatUnarchiveParams(Params):
    """Params of `chat/unarchive`."""

    chat_id: Id


class ChatDeleteParams(Params):
    """Params of `chat/delete`: either `chatIds` or `all: true`."""

    chat_ids: Annotated[list[Id], Field(min_length=1)] | None = None
    all: bool | None = None

    @model_validator(mode="after")
    def _one_choice(self) -> "ChatDeleteParams":
        if (self.chat_ids is None) == (self.all is not True):
            raise ValueError("give either chatIds or all: true")
        return self


class ChatDeleteError(Wire):
    """A chat that could not be deleted; `code` as in an error answer."""

    chat_id: str
    code: int
    message: str


class ChatDeleteResult(Wire):
    """Result of `chat/delete`: the ids that are gone, and those that are not."""

    deleted: list[str]
    errors: list[ChatDeleteError]


class ChatForkParams(Params):
    """Params of `chat/fork`. Without `messageId`: at the end of the active branch."""

    chat_id: Id
    message_id: Count | None = None


class ChatSearchParams(Params):
    """Params of `chat/search`. `query` is what a person types: words, "phrases", -excluded words."""

    query: Annotated[str, Field(min_length=1, max_length=1000)]
    cursor: str | None = None
    limit: Limit = 50


class ChatSearchHit(Wire):
    """One message found, or a chat's title: then `messageId` is null. A higher `score` fits better.

    `title` is the chat's. `snippet` is plain text in one line, about 160 characters around the first match.
    """

    chat_id: str
    message_id: int | None = None
    title: str | None = None
    snippet: str
    score: float


class ChatSearchResult(Wire):
    """Result of `chat/search`, best first. `nextCursor` is null on the last page."""

    hits: list[ChatSearchHit]
    next_cursor: str | None = None


class ChatExportParams(Params):
    """Params of `chat/export`."""

    chat_id: Id
    format: ExportFormat


class ChatExportResult(Wire):
    """Result of `chat/export`. JSON goes back in by `chat/import` without loss."""

    content: str


class ChatImportParams(Params):
    """Params of `chat/import`. `merge`: into the chat that has the exported id, if it is there."""

    content: Annotated[str, Field(min_length=1)]
    merge: bool = False


class ChatSubscribeParams(Params):
    """Params of `chat/subscribe`. `tail` is how many of the newest messages a snapshot holds."""

    chat_id: Id
    partial_result_token: Token
    after_seq: Count | None = None
    tail: Annotated[int, Field(ge=0, le=1000)] = 100


class ChatSubscribeResult(Wire):
    """Result of `chat/subscribe`: events go on from `seq` + 1. A resumed subscription has no snapshot."""

    resumed: bool
    seq: int
    snapshot: Snapshot | None = None


class ChatUnsubscribeParams(Params):
    """Params of `chat/unsubscribe`."""

    partial_result_token: Token


class ChatWatchParams(Params):
    """Params of `chat/watch`."""

    partial_result_token: Token


class ChatUnwatchParams(Params):
    """Params of `chat/unwatch`."""

    partial_result_token: Token


class WatchEvent(Wire):
    """What `chat/watch` streams: a chat of the owner was created, deleted or changed."""

    type: WatchEventType
    chat: Chat
