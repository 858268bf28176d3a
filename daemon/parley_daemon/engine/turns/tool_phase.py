"""The tool calls of one message as a phase of a turn: the slot, the time limits, and the pauses.

Theory of operation: while the turn only waits for answers, it holds no slot, and its limits move on: the time
of a pause counts for none of them. While it waits for turns of other chats, it holds no slot, either.
"""

from math import inf

import anyio

from parley_daemon.core.commands import StopCause
from parley_daemon.core.parts import ToolOutcome, ToolResult
from parley_daemon.core.records import Failure, Role
from parley_daemon.engine.agents import refusals
from parley_daemon.engine.agents.calls.activity import Activity
from parley_daemon.engine.agents.calls.step import StepRun
from parley_daemon.engine.agents.host import StepBrief
from parley_daemon.engine.agents.turn import AgentTurn
from parley_daemon.engine.turns.calls.answer_stream import TurnProgress
from parley_daemon.engine.turns.host import TurnHost, TurnServices
from parley_daemon.engine.turns.slot import TurnSlot
from parley_daemon.ports.models import ModelError


class ToolPhase:
    """The calls of one message.

    `scope` is what a stop of the turn cancels, `patience` the scope of whoever waits for the end.

    Attributes:
        stream: the message with the results.
        activity: which calls run, and the open questions.
    """

    role: Role = "tool"

    def __init__(
        self,
        brief: StepBrief,
        agent: AgentTurn,
        host: TurnHost,
        services: TurnServices,
        progress: TurnProgress,
        slot: TurnSlot,
        scope: anyio.CancelScope,
        patience: anyio.CancelScope,
    ) -> None:
        self.activity = Activity(self._pause, self._go_on, slot.take, slot.free)
        self._step = StepRun(
            brief, agent, host.steps, services, self.activity, lambda: progress.limit.ms_left
        )
        self.stream = self._step.stream
        self._is_resumed = bool(brief.requests)
        self._progress = progress
        self._slot = slot
        self._stopped = scope
        self._patience = patience
        self._limited = anyio.CancelScope()
        self._paused_at: float | None = None

    @property
    def needs_slot(self) -> bool:
        """Whether it begins with work. A step that a restart has resumed begins with open questions."""
        return not self._is_resumed

    @property
    def stop_reason(self) -> str | None:
        """Why the turn ends after this step; None: it goes on."""
        return self._step.stop_reason

    async def run(self) -> None:
        """Run the calls.

        Raises:
            ModelError: the limit of the turn was reached.
            StoreUnavailableError: the chat cannot be changed.
        """
        limit = self._progress.limit
        self._set_deadlines(limit.end, limit.patience_end)
        with self._limited:
            await self._step.run()
        if self._limited.cancelled_caught and not self._stopped.cancel_called:
            raise ModelError(limit.failure())

    async def complete(self, cause: StopCause | None, failure: Failure | None) -> None:
        """Give a result to each call that has none. `cause` and `failure` say why."""
        await self._step.complete(*reason_of(cause, failure, self.stop_reason))

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """The results in the order of the calls, once they are complete."""
        return self._step.results

    def _pause(self) -> None:
        self._paused_at = anyio.current_time()
        self._slot.free()
        self._set_deadlines(inf, inf)

    def _go_on(self) -> None:
        if self._paused_at is None:
            return
        paused, self._paused_at = anyio.current_time() - self._paused_at, None
        self._progress.accepted_at += paused
        limit = self._progress.limit
        limit.extend(paused)
        self._set_deadlines(limit.end, limit.patience_end)

    def _set_deadlines(self, end: float, patience_end: float) -> None:
        if not self._stopped.cancel_called:
            self._limited.deadline = end
            self._patience.deadline = patience_end


def reason_of(
    cause: StopCause | None, failure: Failure | None, stop_reason: str | None
) -> tuple[str, ToolOutcome]:
    """Return why a call did not run to its end, in words for the model."""
    if cause is not None:
        return refusals.NOT_STARTED, "interrupted"
    if stop_reason == "loop":
        return "The call did not run: the model repeats itself, so the turn ends here.", "failed"
    if failure is not None and failure.kind == "timeout":
        return f"The call was not done in time. {failure.message}", "timed_out"
    reason = "" if failure is None else f" {failure.message}"
    return f"The call did not run, because the turn failed.{reason}", "failed"
