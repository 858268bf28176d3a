"""The run of one turn, from its acceptance to its committed end.

Theory of operation:

- Start. The run starts before the turn is committed, so that the request and the commit overlap. It waits
  for `accepted` before it tells anything. `withdraw` ends a run whose turn could not be committed; it
  leaves no trace.
- Slot. At most as many turns ask models at once as there are slots; the others wait. A stopped turn leaves
  the line.
- Phases. A turn has one model call, or several: when the answer calls tools, the calls run (`ToolPhase`) and
  the model is asked again; when messages steer the turn, they join between two model calls. The host returns
  the next phase. Each runs in a task of its own (`_work`) inside a scope that `stop` cancels.
- Retries and fallback models belong to a call (`model_call`).
- Stop. `stop` stores the cause and cancels the phase. The cause decides the outcome; no exception is
  interpreted. A stronger cause (delete, shutdown) replaces a weaker one.
- Give up. A cancelled call gets CLEANUP_SECONDS. A call that does not end by then is abandoned: the turn
  ends, the slot is free, and nothing that the call still yields counts.
- End. The result goes to the host, which commits it. The run never raises: whatever goes wrong is the
  turn's failure.
"""

import logging

import anyio
from msgspec.structs import replace

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.commands import StopCause
from parley_daemon.core.events import Timings
from parley_daemon.core.parts import Assembler
from parley_daemon.core.records import Failure, Message, Role, Turn, Usage
from parley_daemon.engine.agents.host import StepBrief
from parley_daemon.engine.agents.turn import AgentTurn
from parley_daemon.engine.turns.calls.answer_stream import TurnProgress
from parley_daemon.engine.turns.calls.deadlines import CLEANUP_SECONDS, TurnLimit
from parley_daemon.engine.turns.calls.model_call import ModelCall
from parley_daemon.engine.turns.host import (
    NextCall,
    ResumedStep,
    TurnBrief,
    TurnHost,
    TurnResult,
    TurnServices,
)
from parley_daemon.engine.turns.results import error_of, result_of_call, result_of_step, unsaved_results
from parley_daemon.engine.turns.slot import TurnSlot
from parley_daemon.engine.turns.tool_phase import ToolPhase
from parley_daemon.ports.models import ModelError
from parley_daemon.ports.store import StoreUnavailableError

log = logging.getLogger(__name__)

_UNEXPECTED = Failure("internal", "An unexpected error occurred in the daemon. Its log has the details.")


class TurnRun:
    """One turn under way.

    `resumed` is the step that a turn goes on with after a restart of the daemon, with its open questions.

    Attributes:
        answers: the answers of the calls that are committed already.
        accepted: set when the turn is committed.
        done: set when its end is committed.
    """

    def __init__(
        self, brief: TurnBrief, host: TurnHost, services: TurnServices, resumed: ResumedStep | None = None
    ) -> None:
        self.answers: tuple[Message, ...] = ()
        self.accepted = anyio.Event()
        self.done = anyio.Event()
        self._brief = brief
        self._host = host
        self._services = services
        now = anyio.current_time()
        agent = AgentTurn(services, brief.turn) if brief.settings.agent.is_on else None
        limit = TurnLimit(now, brief.settings.timeouts.total_ms)
        self._progress = TurnProgress(brief.turn, anyio.Event(), now, limit, agent)
        self._turn_usage: Usage | None = None
        self._cause: StopCause | None = None
        self._is_withdrawn = False
        self._slot = TurnSlot(services)
        self._accepted_at = services.clock.monotonic()
        if resumed is None:
            self._begin(NextCall(brief.message_id, brief.history))
        else:
            self._resume(resumed)

    def _resume(self, resumed: ResumedStep) -> None:
        progress, settings = self._progress, self._brief.settings
        progress.agent = progress.agent or AgentTurn(self._services, self._brief.turn)
        step = resumed.step.turn.step
        progress.agent.is_plan_approved = step is not None and step.is_plan_approved
        progress.accepted_at -= resumed.used_ms / 1000
        progress.limit = TurnLimit(progress.accepted_at, settings.timeouts.total_ms, settings.agent.max_ms)
        progress.announced.set()
        self.accepted.set()
        self._slot.first_at = self._accepted_at  # it has had its slot before the restart
        self._turn_usage = progress.agent.restore(resumed.messages)
        self.answers = resumed.messages
        self._begin(resumed.step)

    def _begin(self, following: NextCall | StepBrief) -> None:
        """Make the next phase of the turn the present one."""
        self._scope = anyio.CancelScope()
        self._patience = anyio.CancelScope()
        self._phase_ended = anyio.Event()
        self._failure: Failure | None = None
        self._is_abandoned = False
        self._phase: ModelCall | ToolPhase
        if isinstance(following, NextCall):
            self._phase = ModelCall(
                self._brief, following, self._host, self._services, self._progress, self._patience
            )
        else:
            agent = self._progress.agent
            assert agent is not None
            self._phase = ToolPhase(
                *(following, agent, self._host, self._services, self._progress),
                *(self._slot, self._scope, self._patience),
            )
        if self._cause is not None:
            self._cancel()

    # ------------------------------------------------------------------ for the chat

    @property
    def turn(self) -> Turn:
        """The turn; its model is the one that is asked now."""
        return self._progress.turn

    @property
    def message_id(self) -> int:
        """The id of the message in progress."""
        return self._phase.stream.message_id

    @property
    def role(self) -> Role:
        """The role of the message in progress."""
        return self._phase.role

    @property
    def assembler(self) -> Assembler:
        """The parts of the message in progress."""
        return self._phase.stream.assembler

    @property
    def cause(self) -> StopCause | None:
        """Why the run was stopped, None when it was not."""
        return self._cause

    @property
    def is_abandoned(self) -> bool:
        """Whether the present phase was abandoned because it does not end. No other one can follow it."""
        return self._is_abandoned

    @property
    def is_idle(self) -> bool:
        """Whether the turn only waits for answers to its questions."""
        return isinstance(self._phase, ToolPhase) and self._phase.activity.is_idle

    @property
    def agent(self) -> AgentTurn | None:
        """What the turn keeps of its tool calls; None: its model has no tools."""
        return self._progress.agent

    @property
    def used_ms(self) -> int:
        """The milliseconds of the turn so far, without its pauses."""
        return round((anyio.current_time() - self._progress.accepted_at) * 1000)

    def resolve(self, request_id: str, answer: Answer) -> None:
        """Give the answer to an open question to the call that waits for it."""
        if isinstance(self._phase, ToolPhase):
            self._phase.activity.questions.resolve(request_id, answer)

    def clear_preview(self) -> None:
        """The message in progress is one of the history now."""
        self._phase.stream.assembler = Assembler()

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
        """Return a result as it counts by now.

        A failure after a stop counts as the stop. So does a phase that another one would have followed: what
        it did is done, but not the turn.
        """
        is_failed = result.outcome == "failed" and result.error is not _UNEXPECTED
        if self._cause is None or not (is_failed or (self.agent is not None and result.is_followed)):
            return result
        return replace(result, outcome="interrupted", error=error_of(self._cause), refused=(), refusal=None)

    def _cancel(self) -> None:
        self._scope.cancel()
        self._patience.deadline = anyio.current_time() + CLEANUP_SECONDS

    # ----------------------------------------------------------------------- the run

    async def run(self) -> None:
        """Run the turn to its end. Never raises."""
        following: NextCall | StepBrief | None = None
        while True:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._work)
                with self._patience:
                    await self._phase_ended.wait()
                if not self._phase_ended.is_set():
                    self._give_up()
                with anyio.CancelScope(shield=True):
                    await self.accepted.wait()
                    following = None if await self._is_over() else await self._finish(await self._result())
                if following is None:
                    self.done.set()
            if following is None:
                return
            self._begin(following)

    async def _is_over(self) -> bool:
        """Return whether nothing is to be committed any more."""
        return self._is_withdrawn or (
            self._cause is StopCause.SHUTDOWN
            and isinstance(self._phase, ToolPhase)
            and await self._host.suspend()
        )

    async def _work(self) -> None:
        try:
            with self._scope:
                if not self._phase.needs_slot or await self._take_slot():
                    await self._run_phase()
        finally:
            self._slot.free()
            self._phase_ended.set()

    async def _take_slot(self) -> bool:
        """Wait for a slot. False: none was free within the limit of the turn."""
        try:
            with self._progress.limit.enforce():
                await self._slot.take()
        except ModelError as error:
            self._failure = error.failure
            await self._announce()
            return False
        return True

    async def _run_phase(self) -> None:
        """Run the phase; the first one while the turn is announced."""
        if self._progress.announced.is_set():
            await self._try_phase()
            return
        async with anyio.create_task_group() as helpers:
            helpers.start_soon(self._announce)
            await self._try_phase()

    async def _try_phase(self) -> None:
        try:
            if isinstance(self._phase, ModelCall):
                await self._phase.answer()
            else:
                await self._phase.run()
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
        """Continue without a phase that was cancelled and does not end."""
        log.warning("a call of %s does not end; turn %s ends without it", self.turn.model, self.turn.id)
        phase = self._phase
        self._is_abandoned = phase.stream.is_abandoned = True
        self._slot.free()
        if self._cause is None:
            if isinstance(phase, ToolPhase):
                self._failure = self._failure or self._progress.limit.failure()
            elif phase.stream.stop_reason is None:
                self._failure = phase.stream.overdue_failure()
        self._scope.cancel()  # when the phase ends after all, no other one follows

    async def _finish(self, result: TurnResult) -> NextCall | StepBrief | None:
        try:
            return await self._host.finish(result)
        except Exception:  # the boundary of a turn: a fault in it must not end the daemon
            log.exception("the answer of turn %s cannot be saved", self.turn.id)
            lost = replace(result, outcome="failed", stop_reason=None, error=_UNEXPECTED, output=None)
            return await self._host.finish(replace(lost, parts=unsaved_results(result), results=()))

    # -------------------------------------------------------------------- the result

    async def _result(self) -> TurnResult:
        progress, phase = self._progress, self._phase
        reasons = self._cause, self._failure, progress, self._turn_usage, self._timings()
        if isinstance(phase, ToolPhase):
            await phase.complete(self._cause, self._failure)
            result = result_of_step(phase, *reasons)
        else:
            result = result_of_call(phase, *reasons)
            self._turn_usage = result.turn_usage
        return replace(result, used_ms=self.used_ms)

    def _timings(self) -> Timings:
        now = self._services.clock.monotonic()
        slot_at = now if self._slot.first_at is None else self._slot.first_at
        first_at = self._progress.first_part_at
        return Timings(
            queued_ms=round((slot_at - self._accepted_at) * 1000),
            first_part_ms=None if first_at is None else round((first_at - slot_at) * 1000),
            total_ms=round((now - self._accepted_at) * 1000),
            attempts=self._progress.attempts,
        )
