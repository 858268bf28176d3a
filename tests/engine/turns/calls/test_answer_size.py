"""The size of an answer is limited: what came before is kept, and the message says what happened."""

from collections.abc import Sequence

import anyio
import pytest

from parley_daemon.core.events import MessagePart
from parley_daemon.core.parts import (
    File,
    Piece,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallPiece,
    fold,
    plain_text,
)
from parley_daemon.engine.turns.calls.answer_size import PIECE_CHARACTERS, AnswerMeter, divide
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.ports.models import AnswerLimits
from tests.support.engine.rig import Rig, running

LIMITS = AnswerLimits(size=1000, call_size=100, calls=3, parts=8)


def admitted(*pieces: Piece, limits: AnswerLimits = LIMITS) -> tuple[list[Piece], str | None]:
    """Return what a meter keeps of these pieces, and which limit they crossed."""
    meter, kept = AnswerMeter(limits), list[Piece]()
    for index, piece in enumerate(pieces):
        one = meter.admit(piece)
        if one is not None:
            kept.append(one)
            meter.count_part(index)
        if meter.exceeded is not None:
            break
    return kept, meter.exceeded


def test_an_answer_up_to_the_limit_is_admitted() -> None:
    pieces = [Text("a" * 400), Reasoning("b" * 500), File("image/png", "c" * 91), Text("")]
    assert admitted(*pieces) == (pieces, None)


@pytest.mark.parametrize(
    ("piece", "kept"),
    [
        (Text("b" * 700), [Text("b" * 400)]),
        (Text("é" * 700), [Text("é" * 200)]),
        (Text("🌍" * 700), [Text("🌍" * 100)]),
        (Text("\ud800" * 700), [Text("?" * 400)]),
        (Reasoning("b" * 700), [Reasoning("b" * 400)]),
        (File("image/png", "b" * 700), []),
        (Source("1", "u" * 700, ""), []),
        (Source("1", "u", "t", "x" * 700), []),
    ],
)
def test_of_a_text_that_crosses_the_limit_the_beginning_is_kept(piece: Piece, kept: Sequence[Piece]) -> None:
    first = Text("a" * 600)
    found, exceeded = admitted(first, piece)
    assert found == [first, *kept]
    assert exceeded is not None
    assert exceeded.startswith("is larger than 1,000 bytes")


def test_arguments_of_one_call_are_limited_however_they_come() -> None:
    half = ToolCallPiece("1", "run", "x" * 60)
    assert admitted(half, half)[0] == [half]
    assert "arguments larger than 100 bytes" in (admitted(half, half)[1] or "")
    assert admitted(half, ToolCallPiece("2", "run", "x" * 60))[1] is None
    assert "arguments larger than 100 bytes" in (admitted(ToolCall("1", "run", "x" * 120))[1] or "")
    complete = ToolCall("1", "run", "x" * 60)
    assert admitted(half, complete)[1] is None, "the arguments of a complete call are not counted twice"


def test_the_number_of_calls_is_limited_also_when_they_have_the_same_id() -> None:
    calls = [ToolCall("1", "run", {})] * 4
    assert admitted(*calls) == (calls[:3], "has more than 3 tool calls")
    pieces = [ToolCallPiece(str(n % 3), "run", "x") for n in range(9)]
    assert admitted(*pieces, limits=AnswerLimits(calls=3)) == (pieces, None)


def test_a_long_name_counts_with_every_piece() -> None:
    """It is sent with every piece, so it could make a small answer large."""
    piece = ToolCallPiece("1", "n" * 1500, "")
    assert admitted(piece, piece, piece)[1] is not None


def test_the_number_of_parts_is_limited() -> None:
    assert admitted(*[Text("x")] * 9)[1] == "has more than 8 parts"
    assert admitted(*[Text("x")] * 8)[1] is None


def test_a_long_piece_is_divided_into_short_ones_with_the_same_fold() -> None:
    text = "x" * (2 * PIECE_CHARACTERS + 1)
    pieces = (Text(text), Reasoning(text, "title", "signed"), ToolCallPiece("1", "run", text), Text("short"))
    divided = [each for piece in pieces for each in divide(piece)]
    assert [len(each.text) for each in divided[:3] if isinstance(each, Text)] == [131072, 131072, 1]
    assert fold([*divided, ToolCall("1", "run", 1)]) == fold([*pieces, ToolCall("1", "run", 1)])
    assert len(divided) == 10


async def failed_at_the_limit(rig: Rig, *pieces: Piece) -> str:
    """Let an answer exceed a limit; return the message. What was streamed is what is stored."""
    chat_id = await rig.chat()
    heard = await rig.listen(chat_id)
    await rig.send(chat_id)
    call = await rig.model.asked()
    call.release(pieces)
    with anyio.fail_after(30):
        ended = await heard.ended()
        await call.closed.wait()
    assert (ended.outcome, ended.timings.attempts) == ("failed", 1)
    assert ended.error is not None
    assert (ended.error.kind, ended.error.retryable) == ("limit", False)
    answer = (await rig.snapshot(chat_id)).messages[-1]
    assert (answer.role, answer.complete) == ("assistant", False)
    assert answer.content == fold([event.piece for event in heard.of(MessagePart)])
    assert plain_text(answer.content)
    return ended.error.message


async def test_a_turn_that_exceeds_a_limit_fails_and_keeps_what_came() -> None:
    async with running(answer_limits=AnswerLimits(size=1000, calls=2, parts=4)) as rig:
        message = await failed_at_the_limit(rig, Text("a" * 900), Text("b" * 900))
        assert message == (
            "The answer of test is larger than 1,000 bytes, the limit that answer_mib in the configuration"
            " sets. What came before is kept."
        )
        calls = [ToolCall(str(n), "run", {}) for n in range(3)]
        message = await failed_at_the_limit(rig, Text("I call."), *calls)
        assert message == "The answer of test has more than 2 tool calls. What came before is kept."
        parts = [Text("Hm."), *[File("image/png", "eA==")] * 5]
        assert "more than 4 parts" in await failed_at_the_limit(rig, *parts)


async def test_a_piece_as_large_as_an_answer_reaches_listeners_in_small_events() -> None:
    async with running() as rig:
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("before ", "x" * 1_000_000, " after")
        await call.finish()
        await heard.ended()
        assert heard.text == f"before {'x' * 1_000_000} after"
        assert max(len(str(event)) for event in heard.of(MessagePart)) < PIECE_CHARACTERS + 500
        answer = (await rig.snapshot(chat_id)).messages[-1]
        assert plain_text(answer.content) == heard.text


async def test_each_attempt_has_the_whole_limit() -> None:
    policy = RetryPolicy(attempts=2, first=0)
    async with running(answer_limits=AnswerLimits(size=1000), retries=policy) as rig:
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        first = await rig.model.asked()
        await first.say("a" * 900)
        first.fail()
        second = await rig.model.asked()
        await second.finish("b" * 900)
        assert (await heard.ended()).outcome == "completed"
