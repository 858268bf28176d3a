"""In which order a chat tells what happens, at both ends of a turn and in between."""

import anyio
import pytest

from parley_daemon.core.events import MessageAdded, MessagePart, TurnEnded, TurnStarted
from parley_daemon.core.parts import Reasoning, Text
from parley_daemon.core.records import Failure, Status, Usage
from parley_daemon.engine.chats.acceptance import Acceptance, Draft
from parley_daemon.ports.models import ModelError
from tests.support.engine.rig import Rig

BEGIN = ["message user", "ChatChanged", "status pending", "TurnStarted", "status running"]
END = ["message assistant", "status waiting", "TurnEnded"]


async def test_a_turn_from_its_question_to_its_end(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        accepted = await rig.send(chat_id, "Why?")
        call = await rig.model.asked()
        await call.say(Reasoning("Hm. "))
        await call.say("Because", " so")
        await call.finish(".")
        ended = await heard.ended()
    assert heard.outline == [*BEGIN, "part", "part", "part", "part", *END]
    assert heard.seqs == list(range(1, len(heard.seqs) + 1))
    (started,) = heard.of(TurnStarted)
    question, answer = [one.message for one in heard.of(MessageAdded)]
    assert started == TurnStarted(accepted.turn_id, question.id, "test:model")
    assert accepted.message == question
    assert answer.parent_id == question.id
    assert answer.content == (Reasoning("Hm. "), Text("Because so."))
    assert {part.message_id for part in heard.of(MessagePart)} == {answer.id}
    assert [part.index for part in heard.of(MessagePart)] == [0, 1, 1, 1]
    assert ended.outcome == "completed"
    assert ended.stop_reason == "stop"
    assert ended.usage == Usage(3, 5, 8, context_limit=4096)
    assert ended.timings.attempts == 1


async def test_the_answer_to_a_send_comes_before_every_event_of_its_turn(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        heard_before: list[int] = []

        def accepted(_: Acceptance) -> None:
            heard_before.append(len(heard.published))

        rig.model.answer = [Text("At once.")]
        await rig.send_draft(chat_id, Draft((Text("Hi"),)), "queue", accepted)
        await heard.ended()
    assert heard_before == [0]


async def test_a_failed_turn_tells_its_error_before_the_status(rig: Rig) -> None:
    failure = Failure("auth", "The key is wrong.", provider="test", status_code=401)
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("Par")
        call.fail(ModelError(failure))
        ended = await heard.ended()
    assert heard.outline == [*BEGIN, "part", "message assistant", "ErrorRaised", "status error", "TurnEnded"]
    assert (ended.outcome, ended.error) == ("failed", failure)
    view = await rig.view(chat_id)
    assert (view.status, view.chat.last_error) == (Status.ERROR, failure)
    (_, answer) = (await rig.snapshot(chat_id)).messages
    assert (answer.content, answer.complete) == ((Text("Par"),), False)


async def test_a_turn_that_said_nothing_adds_no_message(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        (await rig.model.asked()).fail()
        await heard.ended()
    assert heard.outline == [*BEGIN, "ErrorRaised", "status error", "TurnEnded"]
    assert await rig.history(chat_id) == [("user", "Hi")]


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_interrupted_turn_ends_in_the_same_order(rig: Rig, at_once: bool) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        if not at_once:
            await call.say("Par")
        await heard.until(lambda: "status running" in heard.outline)
        await rig.interrupt(chat_id)
        await heard.ended()
    said = [] if at_once else ["part"]
    kept = [] if at_once else ["message assistant"]
    stopping = "status interrupting"
    assert heard.outline == [*BEGIN, *said, stopping, *kept, "status waiting", "TurnEnded"]


async def test_the_next_of_the_queue_is_told_after_the_end_of_the_one_before(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(title="T")
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        await rig.send(chat_id, "two")
        await (await rig.model.asked()).finish("1")
        await (await rig.model.asked()).finish("2")
        await heard.ended(2)
    assert heard.outline == [
        *("message user", "status pending", "QueueUpdated", "TurnStarted", "status running", "part"),
        *("message assistant", "status pending", "TurnEnded"),
        *("message user", "QueueUpdated", "TurnStarted", "status running", "part"),
        *("message assistant", "status waiting", "TurnEnded"),
    ]


async def test_whoever_reacts_to_the_end_of_a_turn_is_served(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        rig.model.answer = [Text("Yes.")]
        for number in range(1, 4):
            accepted = await rig.send(chat_id, when_busy="reject")
            assert accepted.message is not None
            await heard.ended(number)
    assert len(heard.of(TurnEnded)) == 3


async def test_two_listeners_hear_the_same(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        one, other = await rig.listen(chat_id), await rig.listen(chat_id)
        rig.model.answer = [Reasoning("Hm."), Text("Yes.")]
        await rig.ask(chat_id)
    assert one.published == other.published
    assert len(one.published) > 5
