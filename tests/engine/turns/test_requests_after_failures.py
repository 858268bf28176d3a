"""What the model gets after turns that failed: the question, once, and no more with every failure."""

import anyio
import pytest

from parley_daemon.core.parts import plain_text
from parley_daemon.core.records import Failure
from parley_daemon.ports.models import ModelError
from tests.support.engine.rig import Recorder, Rig
from tests.support.engine.scripted_model import ScriptedCall

REFUSALS: dict[str, Failure] = {
    "a limit": Failure("rate_limit", "Too fast.", provider="test", status_code=429),
    "no money": Failure("usage_limit", "No credit.", provider="test", status_code=402),
    "a wrong key": Failure("auth", "Wrong key.", provider="test", status_code=401),
    "a fault": Failure("overloaded", "It broke.", provider="test", status_code=500, retryable=True),
    "no way there": Failure("network", "Unknown host.", provider="test", retryable=True),
    "a chat too long": Failure("context_length", "Too long.", provider="test", status_code=400),
}


def sent(call: ScriptedCall) -> list[tuple[str, str]]:
    """Return what a model was sent as (role, text)."""
    return [(one.role, plain_text(one.parts)) for one in call.request.messages]


async def fail(rig: Rig, heard: Recorder, failure: Failure, count: int) -> list[tuple[str, str]]:
    """Let the call of turn number `count` fail before it said anything; return what was sent."""
    call = await rig.model.asked()
    call.fail(ModelError(failure))
    assert (await heard.ended(count)).outcome == "failed"
    return sent(call)


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_question_that_is_tried_again_is_the_same_request_each_time(rig: Rig, refusal: str) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "Why?")
        requests = [await fail(rig, heard, REFUSALS[refusal], 1)]
        for number in range(2, 5):
            await rig.retry(chat_id)
            requests.append(await fail(rig, heard, REFUSALS[refusal], number))
        await rig.retry(chat_id)
        await (await rig.model.asked()).finish("Because.")
        assert (await heard.ended(5)).outcome == "completed"
    assert requests == [[("user", "Why?")]] * 4
    assert await rig.history(chat_id) == [("user", "Why?"), ("assistant", "Because.")]


async def test_a_question_that_is_sent_again_word_by_word_goes_out_once(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        requests: list[list[tuple[str, str]]] = []
        for number in range(1, 5):
            await rig.send(chat_id, "Why?")
            requests.append(await fail(rig, heard, REFUSALS["a fault"], number))
        assert len(await rig.history(chat_id)) == 4, "what was said stays in the history"
    assert requests == [[("user", "Why?")]] * 4


async def test_another_question_after_a_failure_goes_out_behind_the_one_without_an_answer(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "Why?")
        await fail(rig, heard, REFUSALS["a fault"], 1)
        await rig.send(chat_id, "Try again.")
        assert sent(await rig.model.asked()) == [("user", "Why?"), ("user", "Try again.")]


async def test_what_is_said_twice_and_was_answered_goes_out_twice(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.ask_quickly(chat_id, "Go on.", "1")
        await rig.send(chat_id, "Go on.")
        call = await rig.model.asked()
        await rig.send(chat_id, "More!", "steer")
        await rig.send(chat_id, "More!", "steer")
        await call.finish("2")
        after = sent(await rig.model.asked())
    assert sent(call) == [("user", "Go on."), ("assistant", "1"), ("user", "Go on.")]
    assert after[-2:] == [("user", "More!"), ("user", "More!")]


async def test_a_failure_outlives_a_restart_and_the_question_is_answered_then(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "Why?")
        await fail(rig, heard, REFUSALS["a wrong key"], 1)
        async with rig.restarted() as after:
            view = await after.view(chat_id)
            assert (view.status, view.chat.last_error) == ("error", REFUSALS["a wrong key"])
            listening = await after.listen(chat_id)
            await after.retry(chat_id)
            call = await after.model.asked()
            assert sent(call) == [("user", "Why?")]
            assert (await after.view(chat_id)).chat.last_error is None
            await call.finish("Because.")
            assert (await listening.ended()).outcome == "completed"
            assert await after.history(chat_id) == [("user", "Why?"), ("assistant", "Because.")]
