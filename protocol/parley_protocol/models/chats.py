"""Params and results of the methods that manage chats: create, read, change, search, export, subscribe."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from parley_protocol.models.base import (
    ClientMessageId,
    Count,
    Cursor,
    Id,
    Limit,
    Metadata,
    NewTitle,
    OptionalStr,
    Params,
    Query,
    Role,
    SystemPrompt,
    Timestamp,
    Token,
    Uri,
    Wire,
    absent_when_none,
    check_paths,
)
from parley_protocol.models.objects import (
    ActionRequest,
    Chat,
    ChatKind,
    ChildChat,
    Message,
    NewChatContext,
    Preview,
    QueuedMessage,
    Snapshot,
)
from parley_protocol.models.parts import Content, HistoryContent
from parley_protocol.models.settings import ModelSettings

ChatOrder = Literal["updated", "created", "title"]
ExportFormat = Literal["json", "markdown"]
WatchEventType = Literal["created", "deleted", "changed", "diff_status"]


Paths = Annotated[list[str], AfterValidator(check_paths)]
Uris = Annotated[list[Uri], AfterValidator(check_paths)]


class HistoryMessage(Wire):
    """A message of an earlier conversation, to start a chat with. A string is short for one text part.

    `createdAt` is RFC 3339 in any time zone; it is stored in UTC with milliseconds. `model` is the model
    that wrote it.
    """

    role: Role
    content: HistoryContent
    model: str | None = None
    created_at: Timestamp | None = None


class ChatCreateParams(Params):
    """Params of `chat/create`. All are optional.

    - `model` is "provider:model", by default the daemon's default model.
    - `metadata` is the client's own JSON, at most 16 KiB.
    - `parentChatId` makes the chat a child of another one.
    - `messages` is the history to start with, oldest first.
    - `content` is the first message, or the first one after `messages`: its turn starts at once.
    - `clientMessageId` makes a request with `content` safe to repeat, also on another connection: if a chat
      was created with this id, that chat is the result, and nothing is started.
    """

    title: NewTitle | None = None
    """The title; null: the daemon writes one."""
    kind: ChatKind | None = None
    """What the chat is; null: "chat"."""
    model: str | None = None
    """The model, as "provider:model"; null: the default model."""
    system_prompt: SystemPrompt | None = None
    settings: ModelSettings | None = None
    context: NewChatContext | None = None
    metadata: Metadata | None = None
    parent_chat_id: Id | None = None
    """Makes the chat a child of this chat; null: of none."""
    messages: Annotated[list[HistoryMessage], Field(max_length=10_000)] | None = None
    """The history to start with, oldest first."""
    content: Content | None = None
    """The first message; its turn starts at once. null: none yet."""
    client_message_id: ClientMessageId | None = None
    """The id of the first message, which makes the request safe to repeat; null: none."""

    @model_validator(mode="after")
    def _has_content(self) -> "ChatCreateParams":
        if self.client_message_id is not None and self.content is None:
            raise ValueError("give content, the first message, with clientMessageId")
        return self


class ChatCreateResult(Chat):
    """The new chat. If it was created with `content`, also `message`, the first message, and `turnId`, the
    turn that answers it; otherwise both are absent.
    """

    turn_id: OptionalStr = None
    """The turn that answers the first message; absent: the chat was created without one."""
    message: Annotated[Message | None, Field(exclude_if=absent_when_none)] = None
    """The first message; absent: the chat was created without one."""


class ChatGetParams(Params):
    """Params of `chat/get`. Reads the newest messages of the active branch, or at most `limit` messages
    after or before the given one.
    """

    chat_id: Id
    after_message_id: Count | None = None
    """Only messages after this one."""
    before_message_id: Count | None = None
    limit: Limit = 100
    """How many messages are returned at most."""


class ChatGetResult(Wire):
    """Result of `chat/get`. Messages are ordered from oldest to newest. `hasMore`: the active branch has
    more messages in the direction that was read. A page has at most 8 MiB of JSON, and at least one message;
    large parts are delivered by reference.
    """

    chat: Chat
    messages: list[Message]
    queued_messages: list[QueuedMessage]
    preview: Preview | None = None
    """The message that is being streamed; null: there is none."""
    action_requests: list[ActionRequest]
    children: list[ChildChat] = Field(default_factory=list[ChildChat])
    """Its child chats of kind "agent", oldest first."""
    has_more: bool


class ChatFileParams(Params):
    """Params of `chat/file`: the number of a part (from 0) in a message of any branch, also of the one in
    progress, or in a queued message. Either `messageId` or `queuedMessageId`.
    """

    chat_id: Id
    message_id: Count | None = None
    queued_message_id: Id | None = None
    index: Count

    @model_validator(mode="after")
    def _one_message(self) -> "ChatFileParams":
        if (self.message_id is None) == (self.queued_message_id is None):
            raise ValueError("give either messageId or queuedMessageId")
        return self


class ChatListParams(Params):
    """Params of `chat/list`. Filters that are null do not apply, so archived chats are listed, too.

    - `query` is a part of the title; case is ignored.
    - `cwd` is the URI of a folder: only chats with this folder in `context.repositories` are listed. A slash
      at the end, escapes and the case of a drive letter do not matter.
    - `below`: also chats with a folder below `cwd`.
    - `cursor` is the `nextCursor` of the page before.
    - `limit` is the number of chats on a page, 1 to 200.
    - `order`: newest change first, newest chat first, or by title.
    """

    archived: bool | None = None
    """true: only archived chats; false: only others; null: both."""
    pinned: bool | None = None
    """true: only pinned chats; false: only others; null: both."""
    query: Query | None = None
    """A part of the title; case is ignored. null: any title."""
    kind: ChatKind | None = None
    """Only chats of this kind; null: of any."""
    parent_chat_id: Id | None = None
    """Only the children of this chat; null: any chats."""
    cwd: Uri | None = None
    below: bool = False
    """true: also chats of folders below `cwd`."""
    cursor: Cursor | None = None
    limit: Limit = 50
    order: ChatOrder = "updated"
    """By last change ("updated") or creation, newest first, or by title."""

    @model_validator(mode="after")
    def _has_folder(self) -> "ChatListParams":
        if self.below and self.cwd is None:
            raise ValueError("give cwd, the folder, with below")
        return self


class ChatListResult(Wire):
    """Result of `chat/list`. `total` is the number of chats on all pages; `nextCursor` is null on the last
    page.
    """

    chats: list[Chat]
    next_cursor: str | None = None
    total: int


class ChatUpdateParams(Params):
    """Params of `chat/update`. Absent fields stay unchanged; null clears a field."""

    chat_id: Id
    title: NewTitle | None = None
    """The title; null: the first words of the chat."""
    system_prompt: SystemPrompt | None = None
    settings: ModelSettings | None = None
    metadata: Metadata | None = None


class ChatSetModelParams(Params):
    """Params of `chat/setModel`. `model` is "provider:model". It applies to turns that start later."""

    chat_id: Id
    model: Id


class ChatSetContextParams(Params):
    """Params of `chat/setContext`. Absent fields stay unchanged. `repositories` and `files` are URIs,
    `include` and `exclude` glob patterns.
    """

    chat_id: Id
    repositories: Uris | None = None
    include: Paths | None = None
    exclude: Paths | None = None
    files: Uris | None = None


class ChatArchiveParams(Params):
    """Params of `chat/archive`."""

    chat_id: Id


class ChatUnarchiveParams(Params):
    """Params of `chat/unarchive`."""

    chat_id: Id


class ChatPinParams(Params):
    """Params of `chat/pin`. false unpins the chat."""

    chat_id: Id
    pinned: bool


class ChatDeleteParams(Params):
    """Params of `chat/delete`: either `chatIds` or `all: true`."""

    chat_ids: Annotated[list[Id], Field(min_length=1, max_length=10_000)] | None = None
    all: bool | None = None

    @model_validator(mode="after")
    def _one_choice(self) -> "ChatDeleteParams":
        if (self.chat_ids is None) == (self.all is not True):
            raise ValueError("give either chatIds or all: true")
        return self


class ChatDeleteError(Wire):
    """A chat that was not deleted. `code` is one of the codes of error responses."""

    chat_id: str
    code: int
    """One of the codes of error responses."""
    message: str
    """Why the chat was not deleted, in a sentence."""


class ChatDeleteResult(Wire):
    """Result of `chat/delete`: the ids of the chats that were deleted, and why others were not."""

    deleted: list[str]
    """The ids of the chats that were deleted."""
    errors: list[ChatDeleteError]


class ChatForkParams(Params):
    """Params of `chat/fork`. `messageId` is the last message to copy; null: the end of the active branch."""

    chat_id: Id
    message_id: Count | None = None
    """The last message to copy; null: the end of the active branch."""


class ChatSearchParams(Params):
    """Params of `chat/search`. `query`: words, "phrases" and -excluded words. No query is a syntax error."""

    query: Annotated[str, Field(min_length=1, max_length=1000)]
    """Words, "phrases" and -excluded words."""
    cursor: Cursor | None = None
    limit: Limit = 50


class ChatSearchHit(Wire):
    """A message that was found, or a title: then `messageId` is null.

    - `title` is the chat's title.
    - `snippet` is plain text in one line, about 160 characters around the first match.
    - `score`: higher is better. Scores of different searches cannot be compared.
    """

    chat_id: str
    message_id: int | None = None
    """The id of the message; null: the title was found."""
    title: str | None = None
    """The title of the chat."""
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
    """"json" can be imported, "markdown" is to be read."""
    children: bool = True
    """In JSON: whether the child chats of kind "agent" directly below it are part of the file."""


class ChatExportResult(Wire):
    """Result of `chat/export`: the file's content. `chat/import` reads the JSON without loss."""

    content: str
    """The content of the file."""


class ChatImportParams(Params):
    """Params of `chat/import`. `content` is an exported chat in JSON. `merge`: if a chat with the exported
    id exists, add to it the messages that it lacks.
    """

    content: Annotated[str, Field(min_length=1)]
    """An exported chat in JSON."""
    merge: bool = False


class ChatSubscribeParams(Params):
    """Params of `chat/subscribe`.

    - `partialResultToken` is the token of the `$/progress` notifications that carry the events.
    - `afterSeq` resumes after the event with this number, if the daemon still has the events since then.
    - `tail` is the number of newest messages in the snapshot, 0 to 1000.
    """

    chat_id: Id
    partial_result_token: Token
    after_seq: Count | None = None
    tail: Annotated[int, Field(ge=0, le=1000)] = 100


class ChatSubscribeResult(Wire):
    """Result of `chat/subscribe`. The next event has the number `seq` + 1. `snapshot` is null when the
    subscription was `resumed`.
    """

    resumed: bool
    seq: int
    """The number of the last event that the snapshot contains. The next one is `seq` + 1."""
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
    """What `chat/watch` streams: a chat of this user was created, deleted or changed."""

    type: WatchEventType
    """What happened to the chat."""
    chat: Chat
