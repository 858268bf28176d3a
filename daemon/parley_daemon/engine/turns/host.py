"""Between the run of a turn and its chat: what the run gets, reports and results in."""

from collections.abc import Sequence
from typing import Any, Protocol

import anyio
import msgspec

from parley_daemon.core.events import Event, Timings
from parley_daemon.core.parts import Part, Piece, ToolCall, ToolResult
from parley_daemon.core.records import Failure, Message, ModelSettings, Outcome, Role, Turn, Usage
from parley_daemon.core.refusals import Cause
from parley_daemon.engine.agents.budgets import Budgets
from parley_daemon.engine.agents.host import StepBrief, StepHost
from parley_daemon.engine.agents.mcp.offer import McpOffers
from parley_daemon.engine.agents.policy.instructions import Instructions
from parley_daemon.engine.agents.services import Lineage, RuleBook
from parley_daemon.engine.context.retrieval import Retrieval
from parley_daemon.engine.turns.prompt_cache import PromptCache
from parley_daemon.engine.turns.retry import Retries
from parley_daemon.ports.catalogue import Catalogue, ResolvedModel
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.models import AnswerLimits
from parley_daemon.ports.schemas import Schemas
from parley_daemon.ports.tools import Toolbox

DAEMON_LOST = Failure("daemon_lost", "The daemon stopped while this answer was under way.", retryable=True)


class TurnResult(msgspec.Struct, frozen=True, gc=False):
    """The result of a phase of a turn: of a model call, or of the tool calls of one message.

    `parts` is empty when nothing was answered. Those of tool calls (`role` is "tool") are their results.
    `results` are the results of calls in the answer of a model that do not run, because the turn ends.
    `used_ms` are the milliseconds of the turn so far, without its pauses.

    `usage` is that of the call, `turn_usage` that of all calls of the turn so far. `output` is the JSON value
    of an answer that had to fit a schema. `refused` are the ids of messages that the provider has refused,
    for the reason `refusal`.
    """

    turn: Turn
    outcome: Outcome
    message_id: int
    parts: tuple[Part, ...]
    model: str | None
    stop_reason: str | None
    usage: Usage | None
    turn_usage: Usage | None
    error: Failure | None
    timings: Timings
    output: Any = None
    refused: tuple[int, ...] = ()
    refusal: Failure | None = None
    role: Role = "assistant"
    results: tuple[ToolResult, ...] = ()
    used_ms: int = 0

    @property
    def is_followed(self) -> bool:
        """Whether another phase of an agent turn follows, if nothing stops it."""
        if self.outcome != "completed":
            return False
        if self.role == "tool":
            return self.stop_reason is None
        return self.stop_reason != "max_time" and any(isinstance(part, ToolCall) for part in self.parts)

    @property
    def is_whole(self) -> bool:
        """Whether the model finished its answer, even if the answer does not fit its schema."""
        if self.role == "tool":
            return True
        if self.stop_reason == "max_time":
            return False
        return self.outcome == "completed" or (self.outcome == "failed" and self.stop_reason is not None)


class TurnBrief(msgspec.Struct, frozen=True, gc=False):
    """What a run needs to start: the turn, the id of its answer, and what to send to which model.

    `references` are model ids in the order of precedence; the first one that exists is asked. `history` ends
    with the question. `omitted` says what the models of this chat do not get of earlier messages, by their
    ids; the run adds to it. `prompts` builds the messages of requests.
    """

    turn: Turn
    message_id: int
    references: tuple[str, ...]
    system_prompt: str | None
    settings: ModelSettings
    history: tuple[Message, ...]
    omitted: dict[str, frozenset[Cause]] = {}
    prompts: PromptCache = msgspec.field(default_factory=PromptCache)


class NextCall(msgspec.Struct, frozen=True, gc=False):
    """A further model call of the same turn: the id of its answer, and what to send."""

    message_id: int
    history: tuple[Message, ...]


class ResumedStep(msgspec.Struct, frozen=True, gc=False):
    """Where a turn goes on after a restart: its step, its answers so far, the milliseconds it has used."""

    step: StepBrief
    messages: tuple[Message, ...]
    used_ms: int


class TurnHost(Protocol):
    """The chat that a run belongs to."""

    @property
    def steps(self) -> StepHost:
        """What the tool calls of the turn report to."""
        ...

    async def suspend(self) -> bool:
        """Leave the turn as it is, because the daemon stops and a question is open. False: none is open."""
        ...

    async def stream(self, turn: Turn, message_id: int, pieces: list[tuple[int, Piece]]) -> None:
        """Publish and journal pieces of the answer, each with the index of its part."""
        ...

    async def begin(self, turn: Turn) -> None:
        """The turn has its slot."""
        ...

    async def report(self, message_id: int, events: Sequence[Event], *, void: bool) -> None:
        """Publish events between two attempts. `void`: drop the journal of the message."""
        ...

    async def compact(self, model: ResolvedModel, history: tuple[Message, ...]) -> tuple[Message, ...] | None:
        """Return the history with a summary in place of all before its last question.

        None: there is nothing before it, or only a summary.

        Raises:
            ModelError: the summary could not be made.
        """
        ...

    async def find_filtered_turns(self, history: Sequence[Message]) -> frozenset[str]:
        """Return the turns whose answers in a history were cut off by a content filter.

        Raises:
            StoreUnavailableError: the turns cannot be read.
        """
        ...

    async def finish(self, result: TurnResult) -> "NextCall | StepBrief | None":
        """Commit the result of a phase; return the next phase, or None when the turn has ended.

        A model's answer that calls tools is followed by its calls, and these by the next model call.
        """
        ...


class TurnServices(Protocol):
    """What all turns of an engine share."""

    catalogue: Catalogue
    clock: Clock
    schemas: Schemas
    turn_slots: anyio.CapacityLimiter
    retries: Retries
    answer_limits: AnswerLimits
    toolbox: Toolbox

    @property
    def lineage(self) -> Lineage:
        """The chats above child chats."""
        ...

    @property
    def permissions(self) -> RuleBook:
        """The rules of what models may do."""
        ...

    @property
    def mcp(self) -> McpOffers:
        """The tools of MCP servers."""
        ...

    @property
    def retrieval(self) -> Retrieval:
        """The search in the contexts of chats."""
        ...

    @property
    def instructions(self) -> Instructions:
        """What people tell models in AGENTS.md."""
        ...

    @property
    def budgets(self) -> Budgets:
        """What turns and their children may cost together."""
        ...
