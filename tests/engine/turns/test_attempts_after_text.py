"""Once text of an answer has been shown, only few more attempts follow."""

import anyio
import pytest

from parley_daemon.core.events import Retrying
from parley_daemon.core.parts import Piece, Reasoning, Text
from parley_daemon.core.records import Failure, ModelSettings
from parley_daemon.engine.collection.new_chat import RestoredMessage
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.ports.models import ModelError
from tests.support.engine.rig import running
from tests.support.engine.scripted_model import ScriptedModel

AT_ONCE = RetryPolicy(first=0.0, spacing=0.0)
SECOND = "test:other"


async def test_two_more_attempts_follow_the_first_one_that_showed_text() -> None:
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            for said in (None, None, "one", None, "three"):
                call = await rig.model.asked()
                if said:
                    await call.say(said)
                call.fail()
            ended = await heard.ended()
            assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "three")]
    assert (ended.outcome, ended.timings.attempts) == ("failed", 5)
    assert ended.error is not None
    assert (ended.error.kind, ended.error.retryable) == ("overloaded", True)
    assert len(heard.of(Retrying)) == 4


@pytest.mark.parametrize(("piece", "attempts"), [(Reasoning("hm"), 8), (Text("Well"), 3)])
async def test_reasoning_is_no_text_of_an_answer(piece: Piece, attempts: int) -> None:
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            for _ in range(attempts):
                call = await rig.model.asked()
                await call.say(piece)
                call.fail()
            assert (await heard.ended()).timings.attempts == attempts


async def test_attempts_of_fallback_models_count_too() -> None:
    policy = RetryPolicy(first=0.0, spacing=0.0, fallback_attempts=2)
    with anyio.fail_after(30):
        async with running(retries=policy) as rig:
            other = rig.catalogue.models[SECOND]
            assert isinstance(other, ScriptedModel)
            chat_id = await rig.chat(settings=ModelSettings(fallback_models=(SECOND,)))
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            for _ in range(2):
                call = await rig.model.asked()
                await call.say("Half")
                call.fail()
            (await other.asked()).fail()
            ended = await heard.ended()
    assert (ended.outcome, ended.timings.attempts) == ("failed", 3)
    assert ended.error is not None
    assert ended.error.message.startswith(f"No model answered. The last one was {SECOND}")


async def test_an_attempt_with_a_shorter_history_counts_too() -> None:
    too_long = ModelError(Failure("context_length", "Too many tokens.", provider="test"))
    policy = RetryPolicy(first=0.0, attempts_after_text=0)
    past = (RestoredMessage("user", (Text("Before."),)), RestoredMessage("assistant", (Text("Yes."),)))
    with anyio.fail_after(30):
        async with running(retries=policy) as rig:
            chat_id = await rig.chat(messages=past)
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            call = await rig.model.asked()
            await call.say("Half")
            call.fail(too_long)
            ended = await heard.ended()
    assert (ended.outcome, ended.timings.attempts) == ("failed", 1)


async def test_the_next_answer_of_the_turn_begins_to_count_anew() -> None:
    policy = RetryPolicy(first=0.0, attempts_after_text=1)
    with anyio.fail_after(30):
        async with running(retries=policy) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            for said in ("One.", "Two."):
                call = await rig.model.asked()
                await call.say("Half")
                if said == "One.":
                    await rig.send(chat_id, "And this?", "steer")
                call.fail()
                await (await rig.model.asked()).finish(said)
            assert (await heard.ended()).outcome == "completed"
