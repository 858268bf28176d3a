"""The result of a phase of a turn, from what has come of it and from why it ended."""

from msgspec.structs import replace

from parley_daemon.core.commands import StopCause
from parley_daemon.core.events import Timings
from parley_daemon.core.parts import ToolCall, ToolResult
from parley_daemon.core.pricing import compute_cost
from parley_daemon.core.records import Failure, Outcome, Usage
from parley_daemon.engine.agents import refusals
from parley_daemon.engine.turns.calls.answer_stream import TurnProgress
from parley_daemon.engine.turns.calls.model_call import ModelCall
from parley_daemon.engine.turns.host import DAEMON_LOST, TurnResult
from parley_daemon.engine.turns.tool_phase import ToolPhase, reason_of
from parley_daemon.ports.catalogue import ResolvedModel


def outcome_of(
    cause: StopCause | None, failure: Failure | None, progress: TurnProgress
) -> tuple[Outcome, Failure | None, str | None]:
    """Return the outcome, its error, and the stop reason of a limit that ends a turn well."""
    if cause is not None:
        return "interrupted", error_of(cause), None
    if failure is None:
        return "completed", None, None
    if failure.kind == "timeout" and progress.limit.ends_well:
        return "completed", None, "max_time"
    return "failed", failure, None


def result_of_call(
    call: ModelCall,
    cause: StopCause | None,
    failure: Failure | None,
    progress: TurnProgress,
    turn_usage: Usage | None,
    timings: Timings,
) -> TurnResult:
    """Return the result of a model call. `turn_usage` is that of the earlier calls."""
    answer, model = call.stream, progress.model
    outcome, error, stop_reason = outcome_of(cause, failure, progress)
    usage = answer.usage
    if usage is not None and model is not None:
        usage = _add_limit_and_cost(usage, model)
    if usage is not None:
        turn_usage = usage if turn_usage is None else turn_usage.add(usage)
    parts = answer.assembler.parts()
    results: tuple[ToolResult, ...] = ()
    if progress.agent is not None and (outcome != "completed" or stop_reason is not None):
        why, ended = reason_of(cause, failure, stop_reason)
        calls = [part for part in parts if isinstance(part, ToolCall)]
        results = tuple([refusals.failed(one, why, ended) for one in calls])
    return TurnResult(
        turn=progress.turn,
        outcome=outcome,
        message_id=answer.message_id,
        parts=parts,
        model=model.id if model else None,
        stop_reason=stop_reason or answer.stop_reason,
        usage=usage,
        turn_usage=turn_usage,
        error=error,
        timings=timings,
        output=call.output if outcome == "completed" else None,
        refused=() if outcome == "interrupted" else call.omissions.refused,
        refusal=None if outcome == "interrupted" else call.omissions.refusal,
        results=results,
    )


def result_of_step(
    step: ToolPhase,
    cause: StopCause | None,
    failure: Failure | None,
    progress: TurnProgress,
    turn_usage: Usage | None,
    timings: Timings,
) -> TurnResult:
    """Return the result of the tool calls of one message."""
    outcome, error, stop_reason = outcome_of(cause, failure, progress)
    return TurnResult(
        turn=progress.turn,
        outcome=outcome,
        message_id=step.stream.message_id,
        parts=step.results,
        model=progress.turn.model,
        stop_reason=stop_reason or (step.stop_reason if outcome == "completed" else None),
        usage=None,
        turn_usage=turn_usage,
        error=error,
        timings=timings,
        role="tool",
    )


def unsaved_results(result: TurnResult) -> tuple[ToolResult, ...]:
    """Return what is left of a result that cannot be saved: each call that is stored keeps a result."""
    return tuple(
        [
            replace(part, result="The result could not be saved.", is_error=True, outcome="failed")
            for part in result.parts
            if isinstance(part, ToolResult)
        ]
    )


def error_of(cause: StopCause) -> Failure | None:
    """Return the error of a turn that was stopped for this cause; None: it has none."""
    return DAEMON_LOST if cause is StopCause.SHUTDOWN else None


def _add_limit_and_cost(usage: Usage, model: ResolvedModel) -> Usage:
    """Return a usage with the model's context limit and price, where the provider did not report them."""
    if usage.context_limit is None:
        usage = replace(usage, context_limit=model.context_limit)
    if usage.cost_usd is None and model.pricing is not None:
        usage = replace(usage, cost_usd=compute_cost(usage, model.pricing))
    return usage
