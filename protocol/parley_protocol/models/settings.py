"""Settings of model calls: sampling, time limits, fallback models. Options of one API: `provider_options`.

A field that is null is not sent to the provider.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from parley_protocol.models.base import MAX_SAFE_INTEGER, Id, PositiveInt, Wire
from parley_protocol.models.provider_options import ProviderOptions

AgentMode = Literal["off", "plan", "ask", "edits", "auto"]
RetrievalMode = Literal["off", "tool", "auto"]
Glob = Annotated[str, Field(min_length=1, max_length=200)]
Globs = Annotated[list[Glob], Field(max_length=200)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Timeouts(Wire):
    """Time limits in milliseconds. null: the daemon's default.

    Signs of life of a provider are comments, pings, and empty and progress chunks of its stream.
    """

    connect_ms: PositiveInt | None = None
    """Milliseconds until the connection to the provider is open, 1 or more."""

    first_part_ms: PositiveInt | None = None
    """Milliseconds without a sign of life before the first part of the answer, connecting included; 1 or
    more."""

    idle_ms: PositiveInt | None = None
    """Milliseconds without a sign of life between two parts of the answer, 1 or more."""

    total_ms: PositiveInt | None = None
    """Milliseconds for the whole turn from its acceptance on, 1 or more: with retries, summaries and fallback
    models."""

    alive_ms: PositiveInt | None = None
    """Milliseconds without a part of the answer, however many signs of life there are, 1 or more. Never
    shorter than the limit without a sign of life."""


class ToolFilter(Wire):
    """Which tools a chat has, by globs of their names. null: not set."""

    allow: Globs | None = None
    """Only tools whose names match one of these globs; null: all."""

    deny: Globs | None = None
    """No tools whose names match one of these globs, whatever `allow` says."""


class SubagentSettings(Wire):
    """How far the model of a chat may delegate to child chats. null: not set."""

    depth: Annotated[int, Field(ge=0, le=1)] | None = None
    """Levels of children below a chat that has no parent: 0 or 1. 0: it cannot delegate. Default: 1."""

    parallel: Annotated[int, Field(ge=1, le=32)] | None = None
    """The most children that have a turn under way at the same time, 1 to 32. Default: 4."""

    total: Annotated[int, Field(ge=0, le=1_000)] | None = None
    """The most children of a chat, those that have ended included, 0 to 1,000. Default: 32."""


class AgentSettings(Wire):
    """What the model of a chat may do, and how much of it in one turn. null: not set, so the next lower level
    applies (turn, chat, then the default).
    """

    mode: AgentMode | None = None
    """What the model may do unasked. "off", the default: it has no tools. "plan": it reads. "ask": it reads,
    and asks before everything else. "edits": it also edits below the roots. "auto": it also runs commands,
    in a working sandbox."""

    tools: ToolFilter | None = None
    """Which tools it has."""

    mcp_servers: Globs | None = None
    """The MCP servers whose tools it has, by name or glob such as "git*". Default: all that the chat may use.
    An empty list: none."""

    interactive: bool | None = None
    """false: nobody answers questions, so what would be asked is denied at once. Default: true."""

    max_steps: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """The most model calls of one turn. Default: 200."""

    max_cost_usd: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """The turn ends before a model call if those before it cost so many US dollars. It fails, before any
    tool runs, if the cost of its model is not known. Local models cost nothing. Default: no limit."""

    max_ms: PositiveInt | None = None
    """The most milliseconds of one turn, without those in which it waits for answers. Default: no limit."""

    subagents: SubagentSettings | None = None
    """How far it may delegate."""

    retrieval: RetrievalMode | None = None
    """"auto": each message is searched for in the chat's context, and what is found goes to the model with
    it. "tool": the model may search there; needs a mode other than "off". "off": neither. Default: "auto" if
    the context was set by chat/setContext or chat/create, "off" if it is that of workspace folders."""


class ModelSettings(Wire):
    """Settings of model calls. null: not set, so the next lower level applies (turn, chat, model, provider's
    default).
    """

    max_output_tokens: PositiveInt | None = None
    """The longest answer, in tokens."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """How freely the model chooses among likely words; 0: as little as possible."""

    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """The model chooses among the likeliest words that have this share of the probability."""

    top_k: PositiveInt | None = None
    """The model chooses among this number of likeliest words."""

    presence_penalty: Penalty | None = None
    """How much less likely words become that occurred before."""

    frequency_penalty: Penalty | None = None
    """How much less likely words become with each time that they occurred."""

    stop: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16)] | None = None
    """Texts at which the model stops."""

    seed: Annotated[int, Field(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)] | None = None
    """Asks for repeatable answers, where the provider supports it. Any integer of up to 53 bits."""

    output_schema: dict[str, Any] | None = None
    """A JSON Schema that the answer must match."""

    timeouts: Timeouts | None = None
    """Time limits."""

    fallback_models: Annotated[list[Id], Field(max_length=16)] | None = None
    """Models that are tried in this order when the model is overloaded, rate limited, too slow or
    unreachable. null: those of the daemon's configuration; empty: none.
    """

    local_only: bool | None = None
    """Whether only models of local providers are called. true on any level cannot be overridden."""

    agent: AgentSettings | None = None
    """What the model may do."""

    provider_options: ProviderOptions | None = None
    """Options of single provider APIs."""
