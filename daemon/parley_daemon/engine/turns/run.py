"""The run of one turn, from its acceptance to its committed end.

Theory of operation:

- Start. The run starts before the turn is committed, so that the request and the commit overlap. It waits
  for `accepted` before it tells anything. `withdraw` ends a run whose turn could not be committed; it
  leaves no trace.
- Slot. At most as many turns ask models at once as there are slots; the others wait. A stopped turn leaves
  the line.
- Calls. A turn has one model call, or several: when messages steer it, they join after a call, and the host
  returns the next one. Each call runs in a task of its own (`_work`) inside a scope that `stop` cancels.
- Retries and fallback models belong to a call (`model_call`).
- Stop. `stop` stores the cause and cancels the call. The cause decides the outcome; no exception is
  interpreted. A stronger cause (delete, shutdown) replaces a weaker one.
- Give up. A cancelled call gets CLEANUP_SECONDS. A call that does not end by then is abandoned: the turn
  ends, the slot is free, and nothing that the call still yields counts.
- End. The result goes to the host, which commits it. The run never raises: whatever goes wrong is the
  turn's failure.
"""

import logging

import anyio
from msgspec.structs import replace

from parley_daemon.core.commands import StopCause
from parley_daemon.core.events import Timings
from parley_daemon.core.parts import Assembler
from parley_daemon.core.pricing import compute_cost
from parley_daemon.core.records import Failure, Message, Turn, Usage
from parley_daemon.engine.turns.answer_stream import TurnProgress
from parley_daemon.engine.turns.deadlines import CLEANUP_SECONDS, TurnLimit
from parley_daemon.engine.turns.host import (
    DAEMON_LOST,
    NextCall,
    TurnBrief,
    TurnHost,
    TurnResult,
    TurnServices,
)
from parley_daemon.engine.turns.model_call import ModelCall
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.models import ModelError
from parley_daemon.ports.store import StoreUnavailableError

log = logging.getLogger(__name__)

_UNEXPECTED = Failure("internal", "An unexpected error occurred in the daemon. Its log has the details.")


class TurnRun:
    """One turn under way.

    Attributes:
        answers: the answers of the calls that are committed already.
        accepted: set when the turn is committed.
        done: set when its end is committed.
    """

    def __init__(self, brief: TurnBrief, host: TurnHost, services: TurnServices) -> None:
        self.answers: tuple[Message, ...] = ()
        self.accepted = anyio.Event()
        self.done = anyio.Event()
        self._brief = brief
        self._host = host
        self._services = services
        now = anyio.current_time()
        limit = TurnLimit(now, brief.settings.timeouts.total_ms)
        self._progress = TurnProgress(brief.turn, anyio.Event(), now, limit)
        self._turn_usage: Usage | None = None
        self._cause: StopCause | None = None
        self._is_withdrawn = False
        self._has_slot = False
        self._accepted_at = services.clock.monotonic()
        self._slot_at: float | None = None
        self._begin_call(NextCall(brief.message_id, brief.history))

    def _begin_call(self, call: NextCall) -> None:
        self._scope = anyio.CancelScope()
        self._patience = anyio.CancelScope()
        self._call_ended = anyio.Event()
        self._failure: Failure | None = None
        self._call = ModelCall(self._brief, call, self._host, self._services, self._progress, self._patience)
        if self._cause is not None:
            self._cancel()

    # ------------------------------------------------------------------ for the chat

    @property
    def turn(self) -> Turn:
        """The turn; its model is the one that is asked now."""
        return self._progress.turn

    @property
    def message_id(self) -> int:
        """The id of the answer in progress."""
        return self._call.stream.message_id

    @property
    def assembler(self) -> Assembler:
        """The parts of the answer in progress."""
        return self._call.stream.assembler

    @property
    def cause(self) -> StopCause | None:
        """Why the run was stopped, None when it was not."""
        return self._cause

    @property
    def is_abandoned(self) -> bool:
        """Whether the present call was abandoned because it does not end. No other call can follow it."""
        return self._call.stream.is_abandoned

    def clear_preview(self) -> None:
        """The answer so far is a message of the history now, and no longer in progress."""
        self._call.stream.assembler = Assembler()

    def stop(self, cause: StopCause) -> None:
        """End the run. It finishes with what it has."""
        self._cause = cause
        self._cancel()

    def withdraw(self) -> None:
        """End the run without a trace: its turn could not be committed."""
        self._is_withdrawn = True
        self.accepted.set()
        self._cancel()

    def as_stopped(self, result: TurnResult) -> TurnResult:
        """Return a result as it counts by now: a failure after a stop counts as the stop."""
        if self._cause is None or result.outcome != "failed" or result.error is _UNEXPECTED:
            return result
        return replace(result, outcome="interrupted", error=_error_of(self._cause), refused=(), refusal=None)

    def _cancel(self) -> None:
        self._scope.cancel()
        self._patience.deadline = anyio.current_time() + CLEANUP_SECONDS

    # ----------------------------------------------------------------------- the run

    async def run(self) -> None:
        """Run the turn to its end. Never raises."""
        call: NextCall | None = None
        while True:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._work)
                with self._patience:
                    await self._call_ended.wait()
                if not self._call_ended.is_set():
                    self._give_up()
                with anyio.CancelScope(shield=True):
                    await self.accepted.wait()
                    call = None if self._is_withdrawn else await self._finish(self._result())
                if call is None:
                    self.done.set()
            if call is None:
                return
            self._begin_call(call)

    async def _work(self) -> None:
        try:
            with self._scope:
                if await self._take_slot():
                    await self._answer()
        finally:
            self._free_slot()
            self._call_ended.set()

    async def _take_slot(self) -> bool:
        """Wait for a slot. False: none was free within the limit of the turn."""
        try:
            with self._progress.limit.enforce():
                await self._services.turn_slots.acquire_on_behalf_of(self)
        except ModelError as error:
            self._failure = error.failure
            await self._announce()
            return False
        self._has_slot = True
        if self._slot_at is None:
            self._slot_at = self._services.clock.monotonic()
        return True

    def _free_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._services.turn_slots.release_on_behalf_of(self)

    async def _answer(self) -> None:
        """Announce the turn and run its call, both at once."""
        async with anyio.create_task_group() as helpers:
            helpers.start_soon(self._announce)
            try:
                await self._call.answer()
            except ModelError as error:
                self._failure = error.failure
            except StoreUnavailableError as error:
                self._failure = Failure("internal", str(error))
            except Exception:  # the boundary of a turn: a fault in it must not end the daemon
                log.exception("turn %s failed unexpectedly", self.turn.id)
                self._failure = _UNEXPECTED

    async def _announce(self) -> None:
        await self.accepted.wait()
        if not self._progress.announced.is_set():
            await self._host.begin(self.turn)
            self._progress.announced.set()

    def _give_up(self) -> None:
        """Continue without a call that was cancelled and does not end."""
        log.warning("a call of %s does not end; turn %s ends without it", self.turn.model, self.turn.id)
        answer = self._call.stream
        answer.is_abandoned = True
        self._free_slot()
        if self._cause is None and answer.stop_reason is None:
            self._failure = answer.overdue_failure()
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

    # -------------------------------------------------------------------- the result

    def _result(self) -> TurnResult:
        call, answer = self._call, self._call.stream
        model, error, outcome = self._progress.model, self._failure, "completed"
        if self._cause is not None:
            outcome, error = "interrupted", _error_of(self._cause)
        elif error is not None:
            outcome = "failed"
        usage = answer.usage
        if usage is not None and model is not None:
            usage = _add_limit_and_cost(usage, model)
        if usage is not None:
            self._turn_usage = usage if self._turn_usage is None else self._turn_usage.add(usage)
        return TurnResult(
            turn=self.turn,
            outcome=outcome,
            message_id=answer.message_id,
            parts=answer.assembler.parts(),
            model=model.id if model else None,
            stop_reason=answer.stop_reason,
            usage=usage,
            turn_usage=self._turn_usage,
            error=error,
            timings=self._timings(),
            output=call.output if outcome == "completed" else None,
            refused=() if outcome == "interrupted" else call.omissions.refused,
            refusal=None if outcome == "interrupted" else call.omissions.refusal,
        )

    def _timings(self) -> Timings:
        now = self._services.clock.monotonic()
        slot_at = now if self._slot_at is None else self._slot_at
        first_at = self._progress.first_part_at
        return Timings(
            queued_ms=round((slot_at - self._accepted_at) * 1000),
            first_part_ms=None if first_at is None else round((first_at - slot_at) * 1000),
            total_ms=round((now - self._accepted_at) * 1000),
            attempts=self._progress.attempts,
        )


def _error_of(cause: StopCause) -> Failure | None:
    return DAEMON_LOST if cause is StopCause.SHUTDOWN else None


def _add_limit_and_cost(usage: Usage, model: ResolvedModel) -> Usage:
    """Return a usage with the model's context limit and price, where the provider did not report them."""
    if usage.context_limit is None:
        usage = replace(usage, context_limit=model.context_limit)
    if usage.cost_usd is None and model.pricing is not None:
        usage = replace(usage, cost_usd=compute_cost(usage, model.pricing))
    return usage
