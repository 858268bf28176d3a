"""The records of a chat: chat, message, queued message, turn, usage, failure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.rules import AgentMode
from parley_daemon.core.agents.steps import ToolStep
from parley_daemon.core.diff_status import DiffStatus
from parley_daemon.core.parts import Part

Role = Literal["system", "user", "assistant", "tool"]
ChatKind = Literal["chat", "agent"]
RetrievalMode = Literal["off", "tool", "auto"]
Outcome = Literal["completed", "interrupted", "failed"]
FailureKind = Literal[
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


class Status(StrEnum):
    """What a chat is doing. Only waiting, completed and error are stored."""

    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    INTERRUPTING = "interrupting"
    PAUSED = "paused"
    COMPLETED = "completed"
    ERROR = "error"


class Usage(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Tokens and cost (US dollars) of a model call, or the sums of several. None: not reported."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_read_tokens: int | None = None
    context_limit: int | None = None
    cost_usd: float | None = None

    def add(self, other: "Usage") -> "Usage":
        """Return the sum, field by field. The context limit is not summed: the newer one is used."""
        summed = {name: _sum(getattr(self, name), getattr(other, name)) for name in Usage.__struct_fields__}
        summed["context_limit"] = other.context_limit or self.context_limit
        return Usage(**summed)


def add_usage(usages: Iterable[Usage | None]) -> Usage | None:
    """Return the sum of what was reported; None: nothing was."""
    total: Usage | None = None
    for usage in usages:
        if usage is not None:
            total = usage if total is None else total.add(usage)
    return total


def _sum(one: float | None, other: float | None) -> Any:
    if one is None or other is None:
        return one if other is None else other
    return one + other


class Failure(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Why a turn failed (TurnError on the wire).

    `message` is a sentence for people, without secrets. `detail` is at most 500 characters of the response.
    """

    kind: FailureKind
    message: str
    detail: str | None = None
    provider: str | None = None
    status_code: int | None = None
    retryable: bool = False
    retry_after_ms: int | None = None


class Timeouts(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Time limits in milliseconds. None: the default of the configuration.

    `connect_ms`, `first_part_ms` and `idle_ms` are those of one model call, `total_ms` is that of a turn.
    `alive_ms`: how long a provider may show signs of life without a part of the answer.
    """

    connect_ms: int | None = None
    first_part_ms: int | None = None
    idle_ms: int | None = None
    total_ms: int | None = None
    alive_ms: int | None = None

    def with_defaults(self, base: "Timeouts") -> "Timeouts":
        """Return these limits; those that are not set are taken from `base`."""
        return Timeouts(**_overlay(self, base))


class ToolFilter(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Globs of the names of tools that a chat has. A tool that matches `deny` is left out in any case."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None

    def with_defaults(self, base: "ToolFilter") -> "ToolFilter":
        """Return this filter; a list that is not set is taken from `base`."""
        return ToolFilter(**_overlay(self, base))


class SubagentSettings(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How far the model of a root chat may delegate. None: not set (the defaults are in `subagents`).

    Attributes:
        depth: levels of child chats below the root; 0: the model cannot delegate.
        parallel: children that have work at the same time.
        total: children of a root, whatever has become of them.
    """

    depth: int | None = None
    parallel: int | None = None
    total: int | None = None

    def with_defaults(self, base: "SubagentSettings") -> "SubagentSettings":
        """Return these limits; those that are not set are taken from `base`."""
        return SubagentSettings(**_overlay(self, base))


class AgentSettings(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What the model of a chat may do, and how much of it. None: not set.

    Attributes:
        mode: None counts as "off": the model has no tools.
        mcp_servers: globs of the names of MCP servers that it may use, None: all that the chat may use.
        interactive: False: nobody answers; what would be asked is denied at once.
        max_steps: model calls in one turn.
        max_cost_usd: US dollars of all model calls of one turn.
        max_ms: milliseconds of one turn, without those in which it waits for an answer.
        subagents: how far it may delegate.
        retrieval: whether questions are searched for in the context of the chat ("auto"), or only the model
            may search there ("tool"). What None means depends on the context (see `retrieval`).
    """

    mode: AgentMode | None = None
    tools: ToolFilter = ToolFilter()
    mcp_servers: tuple[str, ...] | None = None
    interactive: bool | None = None
    max_steps: int | None = None
    max_cost_usd: float | None = None
    max_ms: int | None = None
    subagents: SubagentSettings = SubagentSettings()
    retrieval: RetrievalMode | None = None

    def with_defaults(self, base: "AgentSettings") -> "AgentSettings":
        """Return these settings; those that are not set are taken from `base`."""
        if self == _NO_AGENT:  # most chats have no tools, and this runs several times for each request
            return base
        if base == _NO_AGENT:
            return self
        merged = _overlay(self, base)
        merged["tools"] = self.tools.with_defaults(base.tools)
        merged["subagents"] = self.subagents.with_defaults(base.subagents)
        return AgentSettings(**merged)

    @property
    def is_on(self) -> bool:
        """Whether the model has tools."""
        return self.mode not in (None, "off")


_NO_AGENT = AgentSettings()


class ModelSettings(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Settings of model calls. None: not sent to the provider. `provider_options` are by dialect.

    Three settings are not sent to providers. `fallback_models` are asked in this order if the model cannot
    answer; None: those of the configuration. `local_only`: only models of local providers may be asked.
    `agent` says what the model may do.
    """

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    output_schema: Mapping[str, Any] | None = None
    timeouts: Timeouts = Timeouts()
    fallback_models: tuple[str, ...] | None = None
    local_only: bool | None = None
    agent: AgentSettings = AgentSettings()
    provider_options: Mapping[str, Mapping[str, Any]] = {}

    def with_defaults(self, base: "ModelSettings") -> "ModelSettings":
        """Return these settings; those that are not set are taken from `base`. Options are merged by name.

        `local_only` is set if either has it: it can be switched on here, but not off.
        """
        options = {**base.provider_options}
        for dialect, chosen in self.provider_options.items():
            options[dialect] = {**options.get(dialect, {}), **chosen}
        merged = _overlay(self, base)
        merged["timeouts"] = self.timeouts.with_defaults(base.timeouts)
        merged["agent"] = self.agent.with_defaults(base.agent)
        merged["local_only"] = base.local_only or merged["local_only"]
        merged["provider_options"] = options
        return ModelSettings(**merged)


def turn_tools_off(settings: ModelSettings) -> ModelSettings:
    """Return settings that came from elsewhere: they let no model do, or read, anything."""
    return replace(settings, agent=replace(settings.agent, mode=None, retrieval=None))


def _overlay(upper: msgspec.Struct, lower: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of `upper`; those that are None are taken from `lower`."""
    chosen = msgspec.structs.asdict(upper)
    return {name: getattr(lower, name) if value is None else value for name, value in chosen.items()}


class ForkOrigin(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The chat and the message that a fork was made from."""

    chat_id: str
    message_id: int


class SpawnOrigin(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The tool call of its parent that has started a child chat.

    Attributes:
        turn_id, tool_call_id: the call.
        background: whether the child goes on when that turn is interrupted.
        bounds: what that turn allowed in place of its chat's settings. The child may do no more than both.
    """

    turn_id: str
    tool_call_id: str
    background: bool = False
    bounds: AgentSettings = AgentSettings()


class Context(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The files that a chat may read: `repositories` and `files` are URIs, the others glob patterns.

    `chosen`: somebody has chosen them for the chat. Otherwise they are the folders of an editor.
    """

    repositories: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    chosen: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it names neither a folder nor a file."""
        return not self.repositories and not self.files


class RetrievalNote(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What came of the search for a question in the context of its chat.

    `state` is that of the index (see `ports.context`). `problem`: why it could not be searched, a sentence.
    """

    state: Literal["none", "indexing", "partial", "ready"]
    took_ms: float
    problem: str | None = None


class Chat(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A chat without its messages. Times are RFC 3339 UTC with milliseconds.

    `status` is waiting, completed or error; only the chat's actor knows whether a turn is under way.
    `last_seq` is the number of the newest event. Numbers up to `reserved_seq` may have been used; the two
    differ only while a turn is under way. `leaf_id` is the last message of the active branch.
    `child_count` is how many child chats of kind "agent" it has got so far. `found_tools` are the names of
    the tools that its model has searched for, in the order in which they were found. `diff_status` is how
    much its folders have changed; None: nobody has asked yet.
    """

    id: str
    owner: str
    created_at: str
    updated_at: str
    kind: ChatKind = "chat"
    title: str | None = None
    title_is_automatic: bool = True
    status: Status = Status.WAITING
    last_error: Failure | None = None
    model: str | None = None
    system_prompt: str | None = None
    settings: ModelSettings = ModelSettings()
    context: Context = Context()
    parent_chat_id: str | None = None
    root_chat_id: str | None = None
    spawned_by: SpawnOrigin | None = None
    child_count: int = 0
    forked_from: ForkOrigin | None = None
    archived: bool = False
    pinned: bool = False
    metadata: Mapping[str, Any] = {}
    usage: Usage = Usage()
    last_seq: int = 0
    reserved_seq: int = 0
    last_message_id: int = 0
    leaf_id: int | None = None
    found_tools: tuple[str, ...] = ()
    diff_status: DiffStatus | None = None

    @property
    def is_delegated(self) -> bool:
        """Whether it is an agent's chat below another chat. Its complete answer completes the chat."""
        return self.kind == "agent" and self.parent_chat_id is not None

    @property
    def scope_ids(self) -> frozenset[str]:
        """The chats whose rules, tools and servers count in it: itself, and those that a child works for."""
        if not self.is_delegated:
            return frozenset((self.id,))
        return frozenset(
            [one for one in (self.id, self.parent_chat_id, self.root_chat_id) if one is not None]
        )


class Message(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A stored message. `parent_id` is the message before it on its branch; None: it is the first one.

    `siblings` has the ids of all messages with the same parent, with its own, oldest first. It is empty if
    there is no other. `refused` is why the provider refused this user message (see `refusals`). `retrieval`
    says what came of the search for this user message; None: nothing was searched.
    """

    id: int
    chat_id: str
    parent_id: int | None
    turn_id: str | None
    role: Role
    content: tuple[Part, ...]
    created_at: str
    model: str | None = None
    usage: Usage | None = None
    complete: bool = True
    client_message_id: str | None = None
    origin: str | None = None
    siblings: tuple[int, ...] = ()
    refused: Failure | None = None
    retrieval: RetrievalNote | None = None


class QueuedMessage(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A user message that waits for its turn, whose id is `turn_id`.

    A message that `steers` joins the turn under way instead, after the present model call. If that turn ends
    first, the message waits for its own turn.
    """

    id: str
    chat_id: str
    turn_id: str
    content: tuple[Part, ...]
    created_at: str
    model: str | None = None
    settings: ModelSettings = ModelSettings()
    client_message_id: str | None = None
    origin: str | None = None
    steers: bool = False
    retrieval: RetrievalNote | None = None


class Turn(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One question and its answer. `outcome` is None while the turn is under way. Times as in Chat.

    `output` is the JSON value of an answer that had to conform to a schema. `step` is where a turn under way
    stands while its tools run; None: a model is asked, or the turn has ended.
    """

    id: str
    chat_id: str
    user_message_id: int
    accepted_at: str
    model: str | None = None
    settings: ModelSettings = ModelSettings()
    ended_at: str | None = None
    outcome: Outcome | None = None
    stop_reason: str | None = None
    usage: Usage | None = None
    error: Failure | None = None
    output: Any = None
    step: ToolStep | None = None
