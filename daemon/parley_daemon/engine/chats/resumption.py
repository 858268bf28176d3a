"""Reads from the store where a turn was cut off while its tools ran."""

from collections.abc import Iterable

from parley_daemon.core.agents.steps import ToolStep
from parley_daemon.core.parts import Assembler, Piece, ToolCall, ToolResult, ToolResultPiece
from parley_daemon.engine.agents import refusals
from parley_daemon.engine.agents.host import StepBrief
from parley_daemon.engine.turns.host import ResumedStep
from parley_daemon.ports.store import LostTurn, Store


async def read_step(store: Store, lost: LostTurn, step: ToolStep) -> ResumedStep:
    """Return the step of a lost turn: its calls, the results that there are, its questions.

    Raises:
        StoreUnavailableError: it cannot be read.
    """
    turn = lost.turn
    messages = await store.turn_messages(turn.chat_id, turn.id)
    message = next((one for one in messages if one.id == step.message_id), None)
    content = () if message is None else message.content
    calls = tuple([part for part in content if isinstance(part, ToolCall)])
    asked = next((one for one in reversed(messages) if one.role == "user"), None)
    brief = StepBrief(
        turn=turn,
        message_id=step.message_id,
        results_id=step.results_id,
        calls=calls,
        origin=None if asked is None else asked.origin,
        results=find_results(lost, step, calls),
        started=frozenset(step.started),
        requests=step.requests,
    )
    answers = tuple([one for one in messages if one.role != "user"])
    return ResumedStep(brief, answers, step.used_ms)


def find_results(lost: LostTurn, step: ToolStep, calls: tuple[ToolCall, ...]) -> dict[int, ToolResult]:
    """Return the results of calls by their positions, without those of open questions and of the rest.

    A call that had started and has no result was interrupted. Its output so far is kept.
    """
    left = _merge(lost.pieces) if lost.message_id == step.results_id else []
    asked = {request.tool_call_id for request in step.requests}
    found: dict[int, ToolResult] = {}
    for position, call in enumerate(calls):
        part = next(
            (
                one
                for one in left
                if isinstance(one, ToolResult | ToolResultPiece) and one.tool_call_id == call.tool_call_id
            ),
            None,
        )
        if part is not None:
            left.remove(part)
        if isinstance(part, ToolResult):
            found[position] = part
        elif position in step.started and call.tool_call_id not in asked:
            output = "" if part is None else part.result_delta
            found[position] = refusals.cut_short(call, refusals.LOST, "interrupted", output)
    return found


def _merge(pieces: Iterable[Piece]) -> list[Piece]:
    assembler = Assembler()
    for piece in pieces:
        assembler.add(piece)
    return [piece for _, piece in assembler.pieces()]
