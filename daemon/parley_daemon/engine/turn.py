"""The run of one turn: wait for a slot, ask the model, stream its answer, say how it ended.

Every wait here ends at once when the turn is stopped, and the cause of the stop decides the outcome. Knows
neither the store nor who listens: it tells its host, the chat's actor.
"""

import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

import anyio

from parley_daemon.core.chats import Failure, Message, ModelSettings, Outcome, Turn, Usage
from parley_daemon.core.conversation import StopCause
from parley_daemon.core.events import Timings
from parley_daemon.core.parts import Assembler, Part, Piece
from parley_daemon.core.prompts import prompt_entries
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.model import (
    Batch,
    Catalogue,
    Finish,
    ModelError,
    ModelRequest,
    PromptMessage,
    ProviderUnavailableError,
    ResolvedModel,
    UnknownModelError,
    UsageReport,
)
from parley_daemon.ports.store import StoreUnavailableError

log = logging.getLogger(__name__)

DAEMON_LOST = Failure("daemon_lost", "The daemon stopped while this answer was under way.", retryable=True)
_FINEST_LIMIT_CHECK = 0.25
# How long a provider that said why it finished may keep its stream open (for usage) in seconds.
_LINGER = 2.0


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What a run came to; `parts` is empty when nothing had come."""

    turn: Turn
    outcome: Outcome
    cause: StopCause | None
    message_id: int
    parts: tuple[Part, ...]
    model: str | None
    stop_reason: str | None
    usage: Usage | None
    error: Failure | None
    timings: Timings


@dataclass(frozen=True, slots=True)
class TurnBrief:
    """All that a run is given: the turn, the id for its answer, and what to send to which model.

    `references` are the models to try to resolve, the wished one first. `history` ends with the question.
    """

    turn: Turn
    message_id: int
    references: tuple[str, ...]
    system_prompt: str | None
    settings: ModelSettings
    history: tuple[Message, ...]


class TurnHost(Protocol):
    """The chat that a run belongs to."""

    async def begin(self, turn: Turn) -> None:
        """The turn has its slot."""
        ...

    async def stream(self, turn: Turn, message_id: int, pieces: list[tuple[int, Piece]]) -> None:
        """Publish and journal pieces, each with its part's index."""
        ...

    async def finish(self, result: TurnResult) -> None:
        """Commit the result, free the chat, tell everybody."""
        ...


class _LimitPassed(Exception):  # noqa: N818 - becomes a Failure below
    def __init__(self, failure: Failure) -> None:
        self.failure = failure


class TurnRun:
    """One turn under way. Its task runs from acceptance to the committed end."""

    def __init__(
        self,
        brief: TurnBrief,
        host: TurnHost,
        catalogue: Catalogue,
        slots: anyio.CapacityLimiter,
        clock: Clock,
    ) -> None:
        self.turn = brief.turn
        self.message_id = brief.message_id
        self.assembler = Assembler()
        self.accepted = anyio.Event()
        self.done = anyio.Event()
        self._brief = brief
        self._host = host
        self._catalogue = catalogue
        self._slots = slots
        self._clock = clock
        self._scope = anyio.CancelScope()
        self._cause: StopCause | None = None
        self._withdrawn = False
        self._announced = anyio.Event()
        self._model: ResolvedModel | None = None
        self._usage: Usage | None = None
        self._stop_reason: str | None = None
        self._accepted_at = clock.monotonic()
        self._slot_at: float | None = None
        self._first_part_at: float | None = None

    @property
    def stopped(self) -> bool:
        """Whether the run was told to end."""
        return self._cause is not None

    def stop(self, cause: StopCause) -> None:
        """End the run; it finishes with what it has."""
        self._cause = cause
        self._scope.cancel()

    def withdraw(self) -> None:
        """End the run without a trace: its turn could not be committed, so it never was."""
        self._withdrawn = True
        self._scope.cancel()

    async def run(self) -> None:
        """Run the turn to its end. Never raises: whatever goes wrong is the turn's own failure."""
        failure: Failure | None = None
        try:
            with self._scope:
                async with self._slots:
                    self._slot_at = self._clock.monotonic()
                    failure = await self._answer()
        except Exception:  # the boundary of a turn: a fault in it must not end the daemon
            log.exception("turn %s failed unexpectedly", self.turn.id)
            failure = Failure("internal", "The daemon met an unexpected fault; its log has the details.")
        if not self._withdrawn:
            with anyio.CancelScope(shield=True):
                await self.accepted.wait()
                await self._host.finish(self._result(failure))
        self.done.set()

    async def _answer(self) -> Failure | None:
        """Ask the model and stream what it says; return why it failed, or None."""
        async with anyio.create_task_group() as helpers:
            helpers.start_soon(self._announce)
            try:
                self._model = self._resolve()
                await self._stream(self._model, self._request(self._model))
            except ModelError as error:
                return error.failure
            except _LimitPassed as limit:
                return limit.failure
            except StoreUnavailableError as error:
                return Failure("internal", str(error))
            return None

    async def _announce(self) -> None:
        await self.accepted.wait()
        await self._host.begin(self.turn)
        self._announced.set()

    def _resolve(self) -> ResolvedModel:
        unknown: UnknownModelError | None = None
        for reference in self._brief.references:
            try:
                return self._catalogue.resolve(reference)
            except UnknownModelError as error:
                unknown = unknown or error
            except ProviderUnavailableError as error:
                kind = "missing_key" if error.reason == "missing_api_key" else "invalid_request"
                raise ModelError(Failure(kind, str(error))) from error
        message = str(unknown) if unknown else "No model is configured and there is no default one."
        raise ModelError(Failure("model_not_found", message))

    def _request(self, model: ResolvedModel) -> ModelRequest:
        brief = self._brief
        settings = brief.settings.over(ModelSettings(timeouts=model.timeouts))
        messages = tuple([PromptMessage(role, parts) for role, parts in prompt_entries(brief.history)])
        return ModelRequest(model.name, messages, brief.system_prompt, settings)

    async def _stream(self, model: ResolvedModel, request: ModelRequest) -> None:
        provider = model.id.partition(":")[0]
        limits = _Limits(request, provider)
        async with aclosing(model.model.stream(request)) as batches:
            with limits.scope:
                async for batch in batches:
                    if batch:
                        await self._take(batch)
                    limits.alive(streaming=len(self.assembler) > 0, done=self._stop_reason is not None)
        if self._stop_reason is not None:
            return
        if limits.scope.cancelled_caught:
            raise _LimitPassed(limits.passed())
        message = f"{provider} closed the stream before the answer was complete."
        raise ModelError(Failure("bad_stream", message, provider=provider, retryable=True))

    async def _take(self, batch: Batch) -> None:
        """Handle what came together."""
        pieces: list[tuple[int, Piece]] = []
        for chunk in batch:
            if isinstance(chunk, UsageReport):
                self._usage = chunk.usage
            elif isinstance(chunk, Finish):
                self._stop_reason = chunk.reason
            else:
                pieces.append((self.assembler.add(chunk), chunk))
        if pieces:
            await self._publish(pieces)

    async def _publish(self, pieces: list[tuple[int, Piece]]) -> None:
        if self._first_part_at is None:
            await self._announced.wait()
            self._first_part_at = self._clock.monotonic()
        await self._host.stream(self.turn, self.message_id, pieces)

    def _result(self, failure: Failure | None) -> TurnResult:
        error, outcome = failure, "completed"
        if self._cause is not None:
            outcome = "interrupted"
            error = DAEMON_LOST if self._cause is StopCause.SHUTDOWN else None
        elif failure is not None:
            outcome = "failed"
        usage = self._usage
        if usage is not None and self._model is not None and usage.context_limit is None:
            usage = usage.plus(Usage(context_limit=self._model.context_limit))
        return TurnResult(
            turn=self.turn,
            outcome=outcome,
            cause=self._cause,
            message_id=self.message_id,
            parts=self.assembler.parts(),
            model=self._model.id if self._model else None,
            stop_reason=self._stop_reason if outcome == "completed" else None,
            usage=usage,
            error=error,
            timings=self._timings(),
        )

    def _timings(self) -> Timings:
        now = self._clock.monotonic()
        slot_at = now if self._slot_at is None else self._slot_at
        first = None if self._first_part_at is None else round((self._first_part_at - slot_at) * 1000)
        return Timings(
            queued_ms=round((slot_at - self._accepted_at) * 1000),
            first_part_ms=first,
            total_ms=round((now - self._accepted_at) * 1000),
            attempts=0 if self._slot_at is None else 1,
        )


class _Limits:
    """The time limits of one call as one scope whose deadline moves on with every sign of life."""

    def __init__(self, request: ModelRequest, provider: str) -> None:
        timeouts = request.settings.timeouts
        self._provider = provider
        self._idle = _seconds(timeouts.idle_ms)
        self._first = _seconds(timeouts.first_part_ms)
        self._streaming = False
        self._start = self._moved = anyio.current_time()
        self._end = self._start + _seconds(timeouts.total_ms)
        self._grain = min(_FINEST_LIMIT_CHECK, self._idle / 8)
        # Silence before the first part is bounded by its own limit, which is the longer one: models load.
        self.scope = anyio.CancelScope(deadline=min(self._start + self._first, self._end))

    def alive(self, *, streaming: bool, done: bool) -> None:
        """Something came. Before the first part that moves nothing; after the last one little is left."""
        now = anyio.current_time()
        if done:
            self.scope.deadline = min(now + _LINGER, self._end)
            return
        if not streaming or (self._streaming and now - self._moved < self._grain):
            return
        self._streaming = True
        self._moved = now
        self.scope.deadline = min(now + self._idle, self._end)

    def passed(self) -> Failure:
        """Say which limit was passed; call it only when one was."""
        if anyio.current_time() >= self._end:
            limit = (
                f"The answer took longer than the limit of {self._end - self._start:g} s for the whole call."
            )
            return Failure("timeout", limit, provider=self._provider)
        if self._streaming:
            limit = f"{self._provider} sent nothing more for {self._idle:g} s."
            return Failure("stream_idle", limit, provider=self._provider, retryable=True)
        limit = f"{self._provider} did not begin to answer within {self._first:g} s."
        return Failure("timeout", limit, provider=self._provider, retryable=True)


def _seconds(milliseconds: int | None) -> float:
    return float("inf") if milliseconds is None else milliseconds / 1000
