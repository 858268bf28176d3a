"""Failed calls are tried again where that helps: after which wait, how often, and what clients are told."""

from itertools import pairwise

import anyio
import pytest

from parley_daemon.core.events import MessageAdded, PreviewReset, Retrying, TurnEnded
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.records import Failure, FailureKind
from parley_daemon.engine.turns.retry import Retries, RetryPolicy
from parley_daemon.ports.models import ModelError
from tests.support.engine.rig import Rig, running

AT_ONCE = RetryPolicy(attempts=3, first=0.0)
LATER = RetryPolicy(first=3600.0)


MODEL = "test:model"


def delay(retries: Retries, failed: Failure, attempt: int, now: float, model: str = MODEL) -> float | None:
    """The seconds to wait; the place of the wait is kept."""
    wait = retries.plan(model, failed, attempt, now)
    return None if wait is None else wait.seconds


def failure(kind: FailureKind = "network", *, retryable: bool = True, after: int | None = None) -> Failure:
    return Failure(kind, "It failed.", provider="test", retryable=retryable, retry_after_ms=after)


# ------------------------------------------------------------------------------- waits


def test_the_wait_doubles_up_to_a_minute() -> None:
    retries = Retries(RetryPolicy(attempts=20), spread=lambda: 0.0)
    waits = [delay(retries, failure(), attempt, 0.0) for attempt in range(1, 10)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("spread", "wait"), [(-1.0, 0.8), (1.0, 1.2)])
def test_the_wait_is_spread_by_a_fifth(spread: float, wait: float) -> None:
    assert delay(Retries(spread=lambda: spread), failure(), 1, 0.0) == pytest.approx(wait)


@pytest.mark.parametrize(("asked", "wait"), [(17_000, 17.0), (10, 1.0), (300_000, 300.0), (300_001, None)])
def test_a_provider_that_asks_for_a_longer_wait_gets_it_or_the_turn_ends(
    asked: int, wait: float | None
) -> None:
    retries = Retries(spread=lambda: 0.0)
    assert delay(retries, failure("rate_limit", after=asked), 1, 0.0) == wait


def test_what_is_not_retryable_is_not_tried_again_and_neither_is_the_last_attempt() -> None:
    retries = Retries(RetryPolicy(attempts=2))
    assert delay(retries, failure(retryable=False), 1, 0.0) is None
    assert delay(retries, failure(), 1, 0.0) is not None
    assert delay(retries, failure(), 2, 0.0) is None


def test_chats_that_a_provider_sent_away_together_do_not_come_back_together() -> None:
    retries = Retries()
    waits = [delay(retries, failure("rate_limit", after=3_000), 1, 100.0) for _ in range(20)]
    times = sorted(wait for wait in waits if wait is not None)
    assert times[0] >= 3.0
    assert min(later - sooner for sooner, later in pairwise(times)) >= 0.199
    other = Failure("rate_limit", "", provider="other", retryable=True, retry_after_ms=3_000)
    assert delay(retries, other, 1, 100.0, "other:model") == 3.0


# ------------------------------------------------------------------------------- turns


async def test_a_failed_attempt_is_voided_and_the_next_one_counts() -> None:
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            call = await rig.model.asked()
            await call.say("A first, broken ans")
            call.fail()
            call = await rig.model.asked()
            await call.finish("The answer.")
            ended = await heard.ended()
            message = heard.of(MessageAdded)[-1].message
    assert heard.outline[5:] == [
        "part",
        "Retrying",
        "PreviewReset",
        "part",
        "message assistant",
        "status waiting",
        "TurnEnded",
    ]
    assert ended.outcome == "completed"
    assert ended.timings.attempts == 2
    assert plain_text(message.content) == "The answer."
    assert heard.of(PreviewReset)[0].message_id == message.id
    (told,) = heard.of(Retrying)
    assert (told.attempt, told.error.kind) == (1, "overloaded")


async def test_an_attempt_that_brought_nothing_needs_no_voiding() -> None:
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            (await rig.model.asked()).fail()
            await (await rig.model.asked()).finish("Yes.")
            await heard.ended()
    assert heard.of(PreviewReset) == []
    assert len(heard.of(Retrying)) == 1


async def test_after_the_last_attempt_the_turn_fails_and_keeps_what_that_one_brought() -> None:
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            for number in range(1, 4):
                call = await rig.model.asked()
                await call.say(f"attempt {number}")
                call.fail()
            ended = await heard.ended()
            assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "attempt 3")]
    assert ended.outcome == "failed"
    assert ended.error is not None
    assert ended.timings.attempts == 3
    assert [one.attempt for one in heard.of(Retrying)] == [1, 2]


async def test_what_cannot_be_helped_fails_at_once() -> None:
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            (await rig.model.asked()).fail(ModelError(failure("auth", retryable=False)))
            ended = await heard.ended()
    assert (ended.outcome, ended.timings.attempts) == ("failed", 1)
    assert heard.of(Retrying) == []


async def test_an_interrupt_in_a_back_off_is_served_at_once_and_keeps_the_partial() -> None:
    with anyio.fail_after(30):
        async with running(retries=LATER) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            call = await rig.model.asked()
            await call.say("Half")
            call.fail()
            await heard.until(lambda: heard.of(Retrying))
            assert heard.of(Retrying)[0].delay_ms > 60_000 * 0.7
            await rig.interrupt(chat_id)
            ended = await heard.ended()
            assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "Half")]
            await rig.ask_quickly(chat_id, "next")
    assert ended.outcome == "interrupted"


async def test_a_crash_in_a_second_attempt_leaves_nothing_of_the_first() -> None:
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            call = await rig.model.asked()
            await call.say("void ")
            call.fail()
            call = await rig.model.asked()
            await call.say("what counts")
            await heard.until(lambda: "what counts" in heard.text)
            async with rig.restarted() as after:
                assert await after.history(chat_id) == [("user", "Hi"), ("assistant", "what counts")]


async def test_with_recovery_retry_a_lost_turn_is_answered_again_beside_its_partial() -> None:
    with anyio.fail_after(30):
        async with running(recovery="retry") as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id, "Hi")
            await (await rig.model.asked()).say("Half")
            await heard.until(lambda: heard.text == "Half")
            async with rig.restarted() as after:
                await after.engine.open()
                call = await after.model.asked()
                assert [plain_text(one.parts) for one in call.request.messages] == ["Hi"]
                listening = await after.listen(chat_id)
                await call.finish("Whole")
                await listening.ended()
                messages = (await after.snapshot(chat_id)).messages
    assert [plain_text(one.content) for one in messages] == ["Hi", "Whole"]
    assert len(messages[1].siblings) == 2


async def test_with_recovery_retry_the_question_that_joined_last_is_answered_again() -> None:
    with anyio.fail_after(30):
        async with running(recovery="retry") as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id, "Hi")
            call = await rig.model.asked()
            await rig.send(chat_id, "And this?", "steer")
            await call.finish("Hello.")
            await heard.until(lambda: "And this?" in str(heard.of(MessageAdded)))
            async with rig.restarted() as after:
                await after.engine.open()
                call = await after.model.asked()
    assert [plain_text(one.parts) for one in call.request.messages] == ["Hi", "Hello.", "And this?"]


async def test_twenty_chats_with_one_provider_all_get_their_answer_after_a_limit(rig: Rig) -> None:
    policy = RetryPolicy(first=0.0, spacing=0.0)
    with anyio.fail_after(30):
        async with running(retries=policy) as rig:
            chats = [await rig.chat() for _ in range(20)]
            heard = [await rig.listen(chat_id) for chat_id in chats]
            for chat_id in chats:
                await rig.send(chat_id)
            for _ in chats:
                (await rig.model.asked()).fail(ModelError(failure("rate_limit", after=0)))
            rig.model.answer = [Text("Yes.")]
            for one in heard:
                assert (await one.ended()).outcome == "completed"
            assert all(len(one.of(TurnEnded)) == 1 for one in heard)
