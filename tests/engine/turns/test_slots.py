"""Many chats at once, and no more than so many turns: the rest wait in fair order."""

import anyio
import pytest

from parley_daemon.core.parts import Text
from parley_daemon.core.records import Status
from tests.support.engine.rig import Recorder, running


async def test_turns_wait_for_a_slot_in_the_order_in_which_they_came() -> None:
    with anyio.fail_after(30):
        async with running(max_running_turns=2) as rig:
            chats = [await rig.chat() for _ in range(10)]
            for number, chat_id in enumerate(chats):
                await rig.send(chat_id, f"q{number}")
            await anyio.wait_all_tasks_blocked()
            assert [call.prompt for call in rig.model.calls] == ["q0", "q1"]
            assert rig.engine.running_turns == 10
            statuses = [(await rig.view(chat_id)).status for chat_id in chats]
            assert statuses == [Status.RUNNING] * 2 + [Status.PENDING] * 8
            for number in range(10):
                call = await rig.model.asked()
                assert call.prompt == f"q{number}"
                await call.finish()
                await anyio.wait_all_tasks_blocked()
                assert len(rig.model.calls) == min(number + 3, 10)


async def test_a_chat_with_a_queue_does_not_go_before_others() -> None:
    with anyio.fail_after(30):
        async with running(max_running_turns=1) as rig:
            busy, other = await rig.chat(), await rig.chat()
            for text in ("b0", "b1", "b2"):
                await rig.send(busy, text)
            await rig.send(other, "o0")
            order: list[str] = []
            for _ in range(4):
                call = await rig.model.asked()
                order.append(call.prompt)
                await call.finish()
    assert order == ["b0", "o0", "b1", "b2"]


@pytest.mark.parametrize("outcome", ["fails", "is interrupted"])
async def test_every_end_of_a_turn_gives_its_slot_free(outcome: str) -> None:
    with anyio.fail_after(30):
        async with running(max_running_turns=1) as rig:
            chat_id, other = await rig.chat(), await rig.chat()
            await rig.send(chat_id)
            call = await rig.model.asked()
            await rig.send(other, "next")
            if outcome == "fails":
                call.fail()
            else:
                await rig.interrupt(chat_id)
            assert (await rig.model.asked()).prompt == "next"


async def test_a_turn_says_how_long_it_waited() -> None:
    with anyio.fail_after(30):
        async with running(max_running_turns=1) as rig:
            one, other = await rig.chat(), await rig.chat()
            heard = await rig.listen(other)
            await rig.send(one)
            await rig.send(other)
            rig.clock.seconds += 3
            await (await rig.model.asked()).finish()
            call = await rig.model.asked()
            rig.clock.seconds += 2
            await call.say("x")
            rig.clock.seconds += 1
            await call.finish()
            timings = (await heard.ended()).timings
    assert (timings.queued_ms, timings.first_part_ms, timings.total_ms) == (3000, 2000, 6000)


async def test_the_timings_of_a_turn_with_two_answers_are_those_of_its_first_slot_and_part() -> None:
    with anyio.fail_after(30):
        async with running(max_running_turns=1) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            call = await rig.model.asked()
            rig.clock.seconds += 2
            await call.say("x")
            await rig.send(chat_id, "And this?", "steer")
            rig.clock.seconds += 5
            await call.finish()
            call = await rig.model.asked()
            await call.finish("y")
            timings = (await heard.ended()).timings
    assert (timings.queued_ms, timings.first_part_ms, timings.total_ms) == (0, 2000, 7000)


async def test_two_hundred_chats_stream_at_once_without_mixing() -> None:
    with anyio.fail_after(30):
        async with running() as rig:
            rig.model.answer = [Text("Yes, "), Text("I do.")]
            heard: dict[str, Recorder] = {}
            for _ in range(200):
                chat_id = await rig.chat()
                heard[chat_id] = await rig.listen(chat_id)
            async with anyio.create_task_group() as tasks:
                for chat_id in heard:
                    tasks.start_soon(rig.ask, chat_id, f"to {chat_id}")
            for chat_id, recorder in heard.items():
                history = await rig.history(chat_id)
                assert history == [("user", f"to {chat_id}"), ("assistant", "Yes, I do.")]
                assert recorder.text == "Yes, I do."
                assert recorder.seqs == list(range(1, len(recorder.seqs) + 1))
