"""Objects that several methods and events share: chats, messages, usage, errors of turns, snapshots.

Times are RFC 3339 in UTC with milliseconds. Ids of chats, turns and requests are UUIDv7 strings. Ids of
messages are integers that increase within a chat.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from parley_protocol.models.base import CLIENT_CONTEXT, Id, Role, Uri, Wire, check_paths
from parley_protocol.models.diff_status import DiffStatus
from parley_protocol.models.parts import DeliveredPart, DeliveredPiece
from parley_protocol.models.settings import AgentSettings, ModelSettings

ChatStatus = Literal["waiting", "pending", "running", "interrupting", "paused", "completed", "error"]
ChatKind = Literal["chat", "agent"]
TurnOutcome = Literal["completed", "interrupted", "failed"]
IndexState = Literal["none", "indexing", "partial", "ready"]
NetworkReach = Literal["loopback", "all"]
ChildStatus = Literal["waiting", "running", "paused", "completed", "failed", "interrupted"]
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
    "limit",
    "internal",
]


class ChatScope(Wire):
    """A rule counts in one chat."""

    chat_id: Id


class RootScope(Wire):
    """A rule counts in chats that work below one folder."""

    root: Uri
    """The URI of the folder."""


RuleScope = ChatScope | RootScope | Literal["always"]


class Usage(Wire):
    """Tokens and cost of a model call, or sums of them. null: the provider did not report it.

    - `inputTokens` includes tokens read from and written to the provider's cache.
    - `outputTokens` includes `reasoningTokens`.
    - `contextLimit` is the model's limit in tokens.
    - `costUsd` is in US dollars, computed from the configured prices.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_read_tokens: int | None = None
    context_limit: int | None = None
    cost_usd: float | None = None


class TurnError(Wire):
    """Why a turn failed.

    - `message` is one sentence for a person. `detail` is what the provider answered, 500 characters at most.
    - `statusCode` is the HTTP status, null when there was no response.
    - `retryable`: the same request may succeed later, after `retryAfterMs` milliseconds if the provider said
      so.
    """

    kind: TurnErrorKind
    """The kind of failure."""
    message: str
    """What went wrong, in one sentence for a person."""
    detail: Annotated[str, Field(max_length=500)] | None = None
    provider: str | None = None
    """The name of the provider; null: it was asked nothing."""
    status_code: int | None = None
    retryable: bool = False
    retry_after_ms: int | None = None


class Timings(Wire):
    """How long a turn took, in milliseconds.

    - `queuedMs`: the time it waited for one of the daemon's slots for running turns.
    - `firstPartMs`: the time from then until the first streamed part, null when none came.
    - `totalMs`: the whole turn, waiting included.
    - `attempts`: how many requests were sent to providers.
    """

    queued_ms: int
    first_part_ms: int | None = None
    """Milliseconds from the start of the run to the first streamed part; null: none came."""
    total_ms: int
    attempts: int


class ChatContext(Wire):
    """The files that a chat is about. `repositories` and `files` are URIs, `include` and `exclude` glob
    patterns.
    """

    repositories: list[str] = Field(default_factory=list[str])
    include: list[str] = Field(default_factory=list[str])
    exclude: list[str] = Field(default_factory=list[str])
    files: list[str] = Field(default_factory=list[str])
    """Single files beside the repositories, whatever `include` and `exclude` say."""
    chosen: bool = False
    """Whether somebody has chosen them for the chat. false: they are the folders that a client has open, so
    `settings.agent.retrieval` is "off" by default."""

    @field_validator("repositories", "include", "exclude", "files")
    @classmethod
    def _short(cls, value: list[str], info: ValidationInfo) -> list[str]:
        return check_paths(value) if info.context == CLIENT_CONTEXT else value


class NewChatContext(ChatContext):
    """The context of a new chat. Contexts of stored and exported chats may have something else than URIs."""

    repositories: list[Uri] = Field(default_factory=list[Uri])
    files: list[Uri] = Field(default_factory=list[Uri])
    chosen: bool = True


class ForkOrigin(Wire):
    """The chat that a chat was forked from, and the last message that both have."""

    chat_id: str
    """The id of the chat that was copied."""
    message_id: int
    """The id of the last message that was copied."""


class SpawnOrigin(Wire):
    """The tool call of the parent that has started a child chat."""

    turn_id: str
    """The id of the parent's turn."""
    tool_call_id: str
    background: bool = False
    """Whether the child goes on when that turn is interrupted."""
    bounds: AgentSettings = Field(default_factory=AgentSettings)
    """What that turn allowed in place of its chat's settings. The child may do no more than both."""


class ChatFields(Wire):
    """The fields that a chat has on the wire and in an exported file."""

    id: str
    """The id of the chat, a UUIDv7."""
    kind: ChatKind = "chat"
    """"agent": another chat has started this one."""
    title: str | None = None
    """The title; null until a person or the daemon sets one."""
    last_error: TurnError | None = None
    model: str | None = None
    """The model, as "provider:model"; null: the default model."""
    system_prompt: str | None = None
    settings: ModelSettings = Field(default_factory=ModelSettings)
    context: ChatContext = Field(default_factory=ChatContext)
    parent_chat_id: str | None = None
    root_chat_id: str | None = None
    spawned_by: SpawnOrigin | None = None
    """The tool call that has started it; null: none did."""
    forked_from: ForkOrigin | None = None
    archived: bool = False
    pinned: bool = False
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    usage: Usage = Field(default_factory=Usage)
    """The sum over all turns of the chat itself."""
    created_at: str
    updated_at: str


class Chat(ChatFields):
    """A chat without its messages.

    - `owner` is the user whose chat it is. `kind` is "agent" for a chat that another chat has started.
    - `title` is null until a person or the daemon sets one.
    - `lastError` is why the last turn failed, null otherwise.
    - `model` is "provider:model"; null: the default model.
    - `parentChatId` is the chat directly above it, `rootChatId` the topmost one; null for a chat at the top.
    - `pinned`: a person marked the chat as important. It changes nothing else.
    - `metadata` is the clients' own data, not interpreted by the daemon.
    - `usage` is the sum of all its turns, `usageTree` with those of its children of kind "agent" in addition.
    - `openRequests` is how many questions wait for an answer, those of such children included.
    - `childCount` is how many such children it has got so far, deleted ones included.
    - `lastSeq` is the number of the chat's last event, `lastMessageId` the highest id of a message so far.
    - `createdAt` and `updatedAt` are RFC 3339 in UTC with milliseconds.
    """

    owner: str
    status: ChatStatus
    """What the chat is doing."""
    child_count: int = 0
    """How many child chats of kind "agent" it has got so far, deleted ones included."""
    usage_tree: Usage = Field(default_factory=Usage)
    """`usage`, and the `usageTree` of all its child chats of kind "agent". `contextLimit` is its own."""
    open_requests: int = 0
    diff_status: DiffStatus | None = None
    """How much its folders have changed; null: nobody has asked, and no tool has changed a file."""
    last_seq: int
    last_message_id: int


class RetrievalNote(Wire):
    """What came of the search for a message in the context of its chat. What was found is in the message, as
    `source` parts.
    """

    state: IndexState
    """How complete the index was when it was searched."""
    took_ms: float
    """Milliseconds that the message waited for the search."""
    problem: str | None = None
    """Why the context could not be searched, a sentence; null: it could."""


class Message(Wire):
    """A stored message.

    - `id` is a number that is unique in the chat and higher than those before. `parentId` is the message
      before it on its branch, null for the first one.
    - `siblings` are the ids of all messages with the same parent, itself included.
    - `turnId` is the turn that created it, null for a restored message.
    - `model` is the model that wrote it, "provider:model".
    - `complete` is false when the message was cut off by an interrupt, a failure or a crash.
    - `clientMessageId` is the id that its client chose, `origin` the name of that client.
    - `retrieval` is what came of the search for this user message in the chat's context, null: none was made.
    - `refused` is why the provider refused this user message: later requests to models leave it out, with
      what was answered to it, until it is retried or edited. null: it was not refused.
    """

    id: int
    """The id of the message, a number that is unique in its chat and higher than those before."""
    chat_id: str
    parent_id: int | None = None
    siblings: list[int]
    turn_id: str | None = None
    """The id of the turn that created it; null: it was restored."""
    role: Role
    content: list[DeliveredPart]
    model: str | None = None
    """The model that wrote it, as "provider:model"; null: none did."""
    usage: Usage | None = None
    complete: bool = True
    client_message_id: str | None = None
    origin: str | None = None
    refused: TurnError | None = None
    retrieval: RetrievalNote | None = None
    created_at: str


class QueuedMessage(Wire):
    """A message that waits until the running turn has ended. Files that it refers to have been read already:
    they are `source` parts.

    `model` is the model that was sent with it, null: the one of the chat.
    """

    id: str
    """The id of the queued message, a UUIDv7."""
    chat_id: str
    content: list[DeliveredPart]
    model: str | None = None
    """The model that was sent with it, as "provider:model"; null: the chat's."""
    client_message_id: str | None = None
    created_at: str


class Preview(Wire):
    """The message that is being streamed: the parts received so far. `messageId` is the id it gets when
    stored.
    """

    message_id: int
    """The id that the message gets when it is stored."""
    turn_id: str
    role: Role
    parts: list[DeliveredPiece]


class ServerForm(Wire):
    """What an MCP server asks a person during a call. All of it is the server's words."""

    server: str
    """The name of the server."""
    message: str
    """What it says, at most 4,000 characters."""
    answer_schema: dict[str, Any] | None = None
    """The JSON Schema of the answers, an object of texts, numbers, choices, and yes or no; null: the person
    is to visit the `url` of the preview."""


class ActionPreview(Wire):
    """What a person is shown before a tool call runs. Fields that do not apply are null."""

    command: str | None = None
    """The shell command; null: none runs."""
    cwd: str | None = None
    """The URI of the folder in which the command runs; null: none runs."""
    paths: list[str] | None = None
    """URIs of the files that the call reads or changes; null: it names none."""
    diff: str | None = None
    """The changes as a unified diff, at most 64 KiB; null: there are none."""
    url: str | None = None
    """The URL that is fetched; null: none is."""
    plan: str | None = None
    """The plan, in Markdown; null: there is none."""
    questions: Any = None
    """The questions of the model, a list of `{text, options?, multi?}`; null: it asks none."""
    network: NetworkReach | None = None
    form: ServerForm | None = None
    """What an MCP server asks for during a call; null: it asks nothing."""


class OfferedRule(Wire):
    """A rule that `allow_always` stores, exactly as it is shown here."""

    id: str
    """What to answer with: `result: {"ruleId"}`."""
    text: str
    """The rule in one line."""
    scope: RuleScope


class ActionRequest(Wire):
    """A question that a person or a client must answer with `chat/respond` before the turn continues.

    - `chatId` is the chat where it arose.
    - `toolCallId`, `toolName` and `args` describe the tool call in question, null otherwise.
    - `options` are the decisions that are possible. Answer `allow_always` with the id of one of `rules`.
    - `argsHash` is of all that the approval is bound to. An answer that names another hash is refused.
    - `human`: only a person may allow it, no program on its own.
    - `expiresAt` is when it expires, RFC 3339; null: never.
    """

    id: str
    """The id of the request, a UUIDv7."""
    chat_id: str
    turn_id: str
    kind: str
    """What is asked for: "permission", "question", "plan", "tool", "elicitation", "trust" or "loop". Later
    versions may have others."""
    created_at: str
    title: str
    """What is asked, in one line."""
    tool_call_id: str | None = None
    """The id of the tool call in question; null: it is about none."""
    tool_name: str | None = None
    """The name of the tool in question; null: it is about none."""
    args: Any = None
    options: list[Decision]
    preview: ActionPreview = Field(default_factory=ActionPreview)
    """What to show to a person."""
    args_hash: str = ""
    """A hash of all that the approval is bound to."""
    rules: list[OfferedRule] = Field(default_factory=list[OfferedRule])
    """The rules that can be stored with `allow_always`."""
    human: bool = False
    """Whether only a person may allow it."""
    expires_at: str | None = None


class ChildChat(Wire):
    """A child chat of kind "agent", as its parent sees it."""

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


class Snapshot(Wire):
    """The state of a chat at one moment. The next event has the number `seq` + 1.

    It has at most 1 MiB of JSON: older messages may be left out, and large parts are delivered by reference.
    `hasMore`: the active branch has older messages, which `chat/get` returns.
    """

    chat: Chat
    messages: list[Message]
    queued_messages: list[QueuedMessage]
    preview: Preview | None = None
    action_requests: list[ActionRequest]
    children: list[ChildChat] = Field(default_factory=list[ChildChat])
    """Its child chats of kind "agent", oldest first."""
    has_more: bool = False
