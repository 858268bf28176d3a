"""Answers without content, and a model that goes on after it has said why it finished."""

import anyio

from parley_daemon.core.events import Retrying
from parley_daemon.core.parts import Source, Text
from parley_daemon.core.records import Failure
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.ports.models import EmptyAnswerError, Finish
from tests.support.engine.rig import Rig, running

EMPTY = EmptyAnswerError(Failure("bad_stream", "Nothing came.", provider="test", retryable=True))
AT_ONCE = RetryPolicy(attempts=5, first=0.0)


async def test_an_empty_answer_is_asked_for_once_more() -> None:
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            (await rig.model.asked()).fail(EMPTY)
            await (await rig.model.asked()).finish("Yes.")
            assert (await heard.ended()).outcome == "completed"
            assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "Yes.")]


async def test_the_second_empty_answer_of_a_turn_fails_it_whatever_came_between() -> None:
    with anyio.fail_after(30):
        async with running(retries=AT_ONCE) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            (await rig.model.asked()).fail(EMPTY)
            (await rig.model.asked()).fail()
            (await rig.model.asked()).fail(EMPTY)
            ended = await heard.ended()
            assert len(heard.of(Retrying)) == 2
    assert ended.error is not None
    assert (ended.outcome, ended.error.kind, ended.error.message) == ("failed", "bad_stream", "Nothing came.")


async def test_text_after_a_finish_takes_the_finish_back(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("All ", Finish("stop"))
        await call.say("of ", Finish("stop"))
        await call.say("it.", Finish("length"))
        call.end()
        ended = await heard.ended()
        assert (ended.outcome, ended.stop_reason) == ("completed", "length")
        assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "All of it.")]


async def test_an_answer_that_stops_after_a_finish_that_was_none_has_failed(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("All ", Finish("stop"))
        await call.say("of")
        call.end()
        ended = await heard.ended()
    assert ended.error is not None
    assert (ended.outcome, ended.error.kind) == ("failed", "bad_stream")


async def test_sources_after_a_finish_leave_it_as_it_is(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say(Text("Yes."), Finish("stop"))
        await call.say(Source("1", "https://e.org", "E"))
        call.end()
        assert (await heard.ended()).outcome == "completed"
