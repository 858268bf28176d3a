"""`totalMs` bounds a whole turn, whatever it waits for."""

import anyio
import pytest

from parley_daemon.core.events import Retrying, TurnEnded
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Failure, ModelSettings, Status, Timeouts
from parley_daemon.engine.collection.new_chat import RestoredMessage
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.ports.models import ModelError
from tests.support.engine.rig import Recorder, Rig, limits, running
from tests.support.engine.scripted_model import ScriptedModel

TOTAL = 300  # milliseconds
SECOND = "test:other"
LATER = RetryPolicy(first=3600.0)
AT_ONCE = RetryPolicy(first=0.0, spacing=0.0)
TOO_LONG = ModelError(Failure("context_length", "Too many tokens.", provider="test"))


def expect_timeout(ended: TurnEnded) -> str:
    """Check that a turn ended at its limit; return the message."""
    assert ended.error is not None
    assert (ended.outcome, ended.error.kind, ended.error.retryable) == ("failed", "timeout", False)
    assert "0.3 s (totalMs)" in ended.error.message
    return ended.error.message


async def ask(rig: Rig, **chat: object) -> tuple[str, Recorder]:
    chat_id = await rig.chat(**chat)
    heard = await rig.listen(chat_id)
    await rig.send(chat_id, settings=limits(total_ms=TOTAL))
    return chat_id, heard


async def test_a_back_off_that_the_limit_does_not_allow_is_not_begun() -> None:
    with anyio.fail_after(30):
        async with running(retries=LATER) as rig:
            chat_id, heard = await ask(rig)
            call = await rig.model.asked()
            await call.say("Half")
            call.fail()
            ended = await heard.ended()
            assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "Half")]
            await rig.ask_quickly(chat_id, "next")
    assert "The test's model is overloaded." in expect_timeout(ended)
    assert heard.of(Retrying) == []


async def test_many_quick_attempts_end_at_the_limit() -> None:
    policy = RetryPolicy(attempts=10**6, first=0.01, longest=0.01, spacing=0.0)
    with anyio.fail_after(30):
        async with running(retries=policy) as rig:
            _, heard = await ask(rig)
            async with anyio.create_task_group() as tasks:

                async def fail_all() -> None:
                    while True:
                        (await rig.model.asked()).fail()

                tasks.start_soon(fail_all)
                expect_timeout(await heard.ended())
                tasks.cancel_scope.cancel()


async def test_an_attempt_that_begins_late_ends_at_the_limit_of_the_turn() -> None:
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            _, heard = await ask(rig)
            (await rig.model.asked()).fail()
            call = await rig.model.asked()  # which says nothing
            expect_timeout(await heard.ended())
            await call.closed.wait()


async def test_a_fallback_model_has_what_is_left_of_the_limit() -> None:
    with anyio.fail_after(30):
        async with running(retries=RetryPolicy(fallback_attempts=1)) as rig:
            rig.catalogue.times = {SECOND: Timeouts(1, 60_000, 60_000, 60_000)}
            other = rig.catalogue.models[SECOND]
            assert isinstance(other, ScriptedModel)
            _, heard = await ask(rig, settings=ModelSettings(fallback_models=(SECOND,)))
            (await rig.model.asked()).fail()
            await other.asked()
            expect_timeout(await heard.ended())


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_summary_ends_at_the_limit(hangs: bool) -> None:
    past = (RestoredMessage("user", (Text("Before."),)), RestoredMessage("assistant", (Text("Yes."),)))
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            _, heard = await ask(rig, messages=past)
            (await rig.model.asked()).fail(TOO_LONG)
            call = await rig.model.asked()
            assert call.request.purpose == "summary"
            if hangs:
                call.hang_in_cleanup()
            expect_timeout(await heard.ended())
            call.cleanup.set()


async def test_waiting_for_a_slot_counts() -> None:
    with anyio.fail_after(30):
        async with running(max_running_turns=1) as rig:
            await rig.send(await rig.chat())
            first = await rig.model.asked()
            chat_id, heard = await ask(rig)
            ended = await heard.ended()
            expect_timeout(ended)
            assert ended.timings.attempts == 0
            assert (await rig.view(chat_id)).status is Status.ERROR
            await first.finish("Yes.")
            await rig.ask_quickly(chat_id, "next")


async def test_a_message_that_joins_the_turn_has_what_is_left_of_the_limit() -> None:
    with anyio.fail_after(30):
        async with running() as rig:
            chat_id, heard = await ask(rig)
            call = await rig.model.asked()
            await rig.send(chat_id, "And this?", "steer")
            await call.finish("Yes.")
            await rig.model.asked()
            expect_timeout(await heard.ended())
            said = [text for role, text in await rig.history(chat_id) if role == "assistant"]
    assert said == ["Yes."]


async def test_the_limit_of_the_configuration_is_one_of_the_turn() -> None:
    with anyio.fail_after(30):
        async with running(retries=LATER) as rig:
            rig.catalogue.timeouts = Timeouts(1, 60_000, 60_000, TOTAL)
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            (await rig.model.asked()).fail()
            expect_timeout(await heard.ended())


async def test_a_wait_that_fits_into_the_limit_is_waited_for() -> None:
    with anyio.fail_after(30):
        async with running(retries=RetryPolicy(first=0.01)) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id, settings=limits(total_ms=60_000))
            (await rig.model.asked()).fail()
            await (await rig.model.asked()).finish("Yes.")
            assert (await heard.ended()).outcome == "completed"
