"""Between a turn's run and its host, the chat's actor: what the run is given, tells, and comes to."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from parley_daemon.core.events import Event, Timings
from parley_daemon.core.parts import Part, Piece
from parley_daemon.core.records import Failure, Message, ModelSettings, Outcome, Turn, Usage
from parley_daemon.ports.catalogue import ResolvedModel

DAEMON_LOST = Failure("daemon_lost", "The daemon stopped while this answer was under way.", retryable=True)


class TurnResult(msgspec.Struct, frozen=True, gc=False):
    """What a model call came to; `parts` is empty when nothing had come.

    `usage` is the call's, `turn_usage` that of all calls of the turn so far. `output` is the value of an
    answer that had to fit a schema.
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

    @property
    def is_whole(self) -> bool:
        """Whether the model finished its answer, even if the answer does not fit its schema."""
        return self.outcome == "completed" or (self.outcome == "failed" and self.stop_reason is not None)


class TurnBrief(msgspec.Struct, frozen=True, gc=False):
    """All that a run is given: the turn, the id for its answer, and what to send to which model.

    `references` are the models to try to resolve, the wished one first. `history` ends with the question.
    """

    turn: Turn
    message_id: int
    references: tuple[str, ...]
    system_prompt: str | None
    settings: ModelSettings
    history: tuple[Message, ...]


class NextCall(msgspec.Struct, frozen=True, gc=False):
    """One more model call of the same turn: the id for its answer, and what to send."""

    message_id: int
    history: tuple[Message, ...]


class TurnHost(Protocol):
    """The chat that a run belongs to."""

    async def begin(self, turn: Turn) -> None:
        """The turn has its slot."""
        ...

    async def stream(self, turn: Turn, message_id: int, pieces: list[tuple[int, Piece]]) -> None:
        """Publish and journal pieces, each with its part's index."""
        ...

    async def report(self, message_id: int, events: Sequence[Event], *, void: bool) -> None:
        """Tell what happens between two attempts; `void`: forget what was streamed of the message."""
        ...

    async def compact(self, model: ResolvedModel, history: tuple[Message, ...]) -> tuple[Message, ...] | None:
        """Return the history with a summary of all before its last question, None when there is none."""
        ...

    async def finish(self, result: TurnResult) -> NextCall | None:
        """Commit the result; return the turn's next call, or None: the chat is free then and all are told."""
        ...
