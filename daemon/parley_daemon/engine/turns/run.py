"""The run of one turn: wait for a slot, ask the model (again, where that helps), stream its answer, end.

Every wait here ends at once when the turn is stopped, and the cause of the stop decides the outcome. Knows
neither the store nor who listens: it tells its host.
"""

import logging
from typing import Any

import anyio
from msgspec.structs import replace

from parley_daemon.core.commands import StopCause
from parley_daemon.core.compaction import tokens
from parley_daemon.core.events import PreviewReset, Retrying, Timings
from parley_daemon.core.parts import Assembler, Piece
from parley_daemon.core.pricing import cost
from parley_daemon.core.prompts import prompt_entries
from parley_daemon.core.records import Failure, Message, ModelSettings, Usage
from parley_daemon.engine.turns.deadlines import CLEANUP_SECONDS, Limits
from parley_daemon.engine.turns.fallback import Chain
from parley_daemon.engine.turns.host import DAEMON_LOST, NextCall, TurnBrief, TurnHost, TurnResult
from parley_daemon.engine.turns.model_call import open_stream
from parley_daemon.engine.turns.model_selection import first_model
from parley_daemon.engine.turns.retry import Retries
from parley_daemon.engine.turns.structured_output import output_of
from parley_daemon.ports.catalogue import Catalogue, ResolvedModel
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.models import Batch, Finish, ModelError, ModelRequest, PromptMessage, UsageReport
from parley_daemon.ports.schemas import Schemas
from parley_daemon.ports.store import StoreUnavailableError

log = logging.getLogger(__name__)

COMPACTIONS = 3
"""How often the history may be summarised in one turn."""

_UNEXPECTED = Failure("internal", "The daemon met an unexpected fault; its log has the details.")


class TurnRun:
    """One turn under way. Its task runs from acceptance to the committed end."""

    def __init__(
        self,
        brief: TurnBrief,
        host: TurnHost,
        catalogue: Catalogue,
        slots: anyio.CapacityLimiter,
        clock: Clock,
        retries: Retries,
        schemas: Schemas,
    ) -> None:
        self.turn = brief.turn
        self.answers: tuple[Message, ...] = ()
        self.accepted = anyio.Event()
        self.done = anyio.Event()
        self._brief = brief
        self._host = host
        self._catalogue = catalogue
        self._slots = slots
        self._clock = clock
        self._retries = retries
        self._schemas = schemas
        self._announced = anyio.Event()
        self._has_slot = False
        self._cause: StopCause | None = None
        self._withdrawn = False
        self._first: ResolvedModel | None = None
        self._model: ResolvedModel | None = None
        self._attempts = 0
        self._compactions = 0
        self._turn_usage: Usage | None = None
        self._begin_call(NextCall(brief.message_id, brief.history))
        self._accepted_at = clock.monotonic()
        self._slot_at: float | None = None
        self._first_part_at: float | None = None

    def _begin_call(self, call: NextCall) -> None:
        self.message_id = call.message_id
        self.assembler = Assembler()
        self._history = call.history
        self._scope = anyio.CancelScope()
        self._patience = anyio.CancelScope()
        self._over = anyio.Event()
        self._given_up = False
        self._limits: Limits | None = None
        self._failure: Failure | None = None
        self._retried = 0
        self._usage: Usage | None = None
        self._stop_reason: str | None = None
        self._output: Any = None
        if self._cause is not None:
            self._cancel()

    @property
    def cause(self) -> StopCause | None:
        """Why the run was told to end, None when it was not."""
        return self._cause

    @property
    def given_up(self) -> bool:
        """Whether the run goes on without a call that does not end: no other call can follow that one."""
        return self._given_up

    def clear_preview(self) -> None:
        """The answer so far is a message of the history now, and no longer in progress."""
        self.assembler = Assembler()

    def stop(self, cause: StopCause) -> None:
        """End the run; it finishes with what it has."""
        self._cause = cause
        self._cancel()

    def as_stopped(self, result: TurnResult) -> TurnResult:
        """Return the result as it counts by now: a run that was told to end has not failed by itself."""
        if self._cause is None or result.outcome != "failed" or result.error is _UNEXPECTED:
            return result
        return replace(result, outcome="interrupted", error=_error_of(self._cause))

    def withdraw(self) -> None:
        """End the run without a trace: its turn could not be committed, so it never was."""
        self._withdrawn = True
        self.accepted.set()
        self._cancel()

    def _cancel(self) -> None:
        self._scope.cancel()
        self._patience.deadline = anyio.current_time() + CLEANUP_SECONDS

    async def run(self) -> None:
        """Run the turn to its end. Never raises: whatever goes wrong is the turn's own failure."""
        call: NextCall | None = None
        while True:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._work)
                with self._patience:
                    await self._over.wait()
                if not self._over.is_set():
                    self._give_up()
                with anyio.CancelScope(shield=True):
                    await self.accepted.wait()
                    call = None if self._withdrawn else await self._finish(self._result())
                if call is None:
                    self.done.set()
            if call is None:
                return
            self._begin_call(call)

    async def _work(self) -> None:
        try:
            with self._scope:
                await self._slots.acquire_on_behalf_of(self)
                self._has_slot = True
                self._slot_at = self._clock.monotonic()
                await self._answer()
        finally:
            self._free_slot()
            self._over.set()

    def _free_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._slots.release_on_behalf_of(self)

    def _give_up(self) -> None:
        """The call was cancelled and does not go away: end without it."""
        log.warning("a call of %s does not end; turn %s ends without it", self.turn.model, self.turn.id)
        self._given_up = True
        self._free_slot()
        if self._cause is None and self._stop_reason is None and self._limits is not None:
            self._failure = self._limits.passed()
        self._scope.cancel()  # when the call ends after all, no other one follows

    async def _finish(self, result: TurnResult) -> NextCall | None:
        try:
            return await self._host.finish(result)
        except Exception:  # the boundary of a turn: a fault in it must not end the daemon
            log.exception("the answer of turn %s cannot be saved", self.turn.id)
            lost = replace(
                result, parts=(), outcome="failed", stop_reason=None, error=_UNEXPECTED, output=None
            )
            return await self._host.finish(lost)

    async def _answer(self) -> None:
        """Ask the model and stream what it says, telling first that the turn runs."""
        async with anyio.create_task_group() as helpers:
            helpers.start_soon(self._announce)
            try:
                await self._ask()
                await self._check()
            except ModelError as error:
                self._failure = error.failure
            except StoreUnavailableError as error:
                self._failure = Failure("internal", str(error))
            except Exception:  # the boundary of a turn: a fault in it must not end the daemon
                log.exception("turn %s failed unexpectedly", self.turn.id)
                self._failure = _UNEXPECTED

    async def _announce(self) -> None:
        await self.accepted.wait()
        if not self._announced.is_set():
            await self._host.begin(self.turn)
            self._announced.set()

    async def _ask(self) -> None:
        brief = self._brief
        # Once a turn: what is configured while it runs does not change whom it asks.
        self._first = self._first or first_model(self._catalogue, brief.references, brief.settings)
        model = self._first
        self._use(model)
        chain = Chain(self._catalogue, self._retries, brief.settings, model)
        instead = chain.instead(self._history, self._clock.monotonic())
        if instead is not None:
            pause, model = instead
            await self._fall_back(pause, model)
        attempt = 1
        while True:
            try:
                if attempt == 1 and model.context_limit and tokens(self._history) > model.context_limit:
                    await self._compact(model)
                await self._call(model)
                self._retries.answered(model.id)
                return
            except ModelError as error:
                other = await self._after(chain, model, error.failure, attempt)
            attempt = attempt + 1 if other is model else 1
            model = other

    async def _check(self) -> None:
        """See whether the answer fits its schema, if it has one. One that asks for tools is not the last."""
        model = self._model
        schema = None if model is None else self._settings(model).output_schema
        if schema is not None and model is not None and self._stop_reason != "tool_calls":
            parts = self.assembler.parts()
            self._output = await output_of(self._schemas, schema, parts, self._stop_reason, model)

    def _use(self, model: ResolvedModel) -> None:
        self._model = model
        self.turn = replace(self.turn, model=model.id)

    async def _call(self, model: ResolvedModel) -> None:
        """Ask a model once; where it finds the history too long, again with a shorter one."""
        while True:
            request = self._request(model)
            self._attempts += 1
            try:
                await self._stream(model, request)
                return
            except ModelError as error:
                self._patience.deadline = float("inf")
                if error.failure.kind != "context_length":
                    raise
                if not await self._compact(model):
                    raise ModelError(_too_long(error.failure)) from error
            finally:
                self._patience.deadline = float("inf")

    async def _after(
        self, chain: Chain, model: ResolvedModel, failure: Failure, attempt: int
    ) -> ResolvedModel:
        """Return whom to ask next, once it is time; what came of the failed attempt stays until then.

        Raises:
            ModelError: nobody.
        """
        now = self._clock.monotonic()
        self._retries.failed(model.id, failure, now)
        other = chain.after(model, failure, attempt, self._history, now)
        if other is None:
            wait = self._retries.delay(failure, attempt, now)
            if wait is None:
                raise ModelError(chain.summed_up(model, failure))
            await self._tell_retry(failure, wait, model)
            await anyio.sleep(wait)
            await self._void(failure.kind)
            return model
        await self._fall_back(failure, other)
        return other

    async def _fall_back(self, failure: Failure, model: ResolvedModel) -> None:
        await self._tell_retry(failure, 0.0, model)
        await self._void(failure.kind)
        self._use(model)

    async def _tell_retry(self, failure: Failure, wait: float, model: ResolvedModel) -> None:
        await self._announced.wait()
        self._retried += 1
        at = self._clock.now(wait)
        told = Retrying(self._retried, round(wait * 1000), failure, at, model.id, self.turn.id)
        await self._host.report(self.message_id, (told,), void=False)

    async def _compact(self, model: ResolvedModel) -> bool:
        """Let a summary stand for what came before the question; False when that cannot be."""
        if self._compactions >= COMPACTIONS:
            return False
        self._compactions += 1
        await self._announced.wait()
        shorter = await self._host.compact(model, self._history)
        if shorter is None:
            return False
        self._history = shorter
        await self._void("context_length")
        return True

    async def _void(self, reason: str) -> None:
        """What was streamed under this message id does not count."""
        if len(self.assembler):
            self.assembler = Assembler()
            void = PreviewReset(self.message_id, reason, self.turn.id)
            await self._host.report(self.message_id, (void,), void=True)
        self._usage = None
        self._stop_reason = None

    def _settings(self, model: ResolvedModel) -> ModelSettings:
        """Return what a model is asked with: the chat's and the turn's settings over its own."""
        return self._brief.settings.over(model.settings).over(ModelSettings(timeouts=model.timeouts))

    def _request(self, model: ResolvedModel) -> ModelRequest:
        entries = prompt_entries(self._history, model.id)
        if not entries or entries[-1][0] == "assistant":  # a provider would take that for a beginning
            raise ModelError(Failure("invalid_request", "The message holds no text and no file."))
        messages = tuple([PromptMessage(role, parts) for role, parts in entries])
        return ModelRequest(model.name, messages, self._brief.system_prompt, self._settings(model))

    async def _stream(self, model: ResolvedModel, request: ModelRequest) -> None:
        provider = model.provider
        self._limits = limits = Limits(request.settings.timeouts, provider, self._patience)
        async with open_stream(model, request) as batches:
            with limits.scope:
                async for batch in batches:
                    if batch:
                        await self._take(batch)
                    limits.alive(streaming=len(self.assembler) > 0, done=self._stop_reason is not None)
        if self._stop_reason is not None:
            return
        if limits.scope.cancelled_caught:
            raise ModelError(limits.passed())
        message = f"{provider} closed the stream before the answer was complete."
        raise ModelError(Failure("bad_stream", message, provider=provider, retryable=True))

    async def _take(self, batch: Batch) -> None:
        """Handle what came together. What is not told does not count: nothing is kept of it either."""
        if not self._announced.is_set():
            await self._announced.wait()
        if self._given_up:
            return
        pieces: list[tuple[int, Piece]] = []
        for chunk in batch:
            if isinstance(chunk, UsageReport):
                self._usage = chunk.usage
            elif isinstance(chunk, Finish):
                self._stop_reason = chunk.reason
            else:
                pieces.append((self.assembler.add(chunk), chunk))
        if pieces:
            if self._first_part_at is None:
                self._first_part_at = self._clock.monotonic()
            await self._host.stream(self.turn, self.message_id, pieces)

    def _result(self) -> TurnResult:
        error, outcome = self._failure, "completed"
        if self._cause is not None:
            outcome, error = "interrupted", _error_of(self._cause)
        elif error is not None:
            outcome = "failed"
        usage = self._usage
        if usage is not None and self._model is not None:
            usage = _completed(usage, self._model)
        if usage is not None:
            self._turn_usage = usage if self._turn_usage is None else self._turn_usage.plus(usage)
        return TurnResult(
            turn=self.turn,
            outcome=outcome,
            message_id=self.message_id,
            parts=self.assembler.parts(),
            model=self._model.id if self._model else None,
            stop_reason=self._stop_reason,
            usage=usage,
            turn_usage=self._turn_usage,
            error=error,
            timings=self._timings(),
            output=self._output if outcome == "completed" else None,
        )

    def _timings(self) -> Timings:
        now = self._clock.monotonic()
        slot_at = now if self._slot_at is None else self._slot_at
        first = None if self._first_part_at is None else round((self._first_part_at - slot_at) * 1000)
        return Timings(
            queued_ms=round((slot_at - self._accepted_at) * 1000),
            first_part_ms=first,
            total_ms=round((now - self._accepted_at) * 1000),
            attempts=self._attempts,
        )


def _too_long(failure: Failure) -> Failure:
    """Say what can be done about a request that is too long and that no summary makes shorter."""
    advice = "Shorten the message, choose a model with a larger context, or begin a new chat."
    return replace(failure, message=f"{failure.message} {advice}", retryable=False)


def _error_of(cause: StopCause) -> Failure | None:
    return DAEMON_LOST if cause is StopCause.SHUTDOWN else None


def _completed(usage: Usage, model: ResolvedModel) -> Usage:
    """Return what was used with the model's limit and price, where the provider did not say."""
    if usage.context_limit is None:
        usage = replace(usage, context_limit=model.context_limit)
    if usage.cost_usd is None and model.pricing is not None:
        usage = replace(usage, cost_usd=cost(usage, model.pricing))
    return usage
