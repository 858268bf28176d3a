"""`recovery = "retry"`: a lost turn is answered again once, whatever comes or breaks in between."""

from collections.abc import AsyncGenerator

import anyio
import pytest

from parley_daemon.core.parts import plain_text
from parley_daemon.core.records import Status
from parley_daemon.ports.store_writes import PutTurn
from tests.support.engine.records import a_turn
from tests.support.engine.rig import Disk, Rig, running
from tests.support.engine.scripted_model import ScriptedCall


@pytest.fixture
async def rig(disk: Disk) -> AsyncGenerator[Rig]:
    """An engine that answers lost turns again, as do those that come after it."""
    async with running(disk, recovery="retry") as rig:
        yield rig


async def lost_turn(rig: Rig, text: str = "Hi") -> str:
    """Begin a turn that will not end; return its chat."""
    chat_id = await rig.chat()
    await rig.send(chat_id, text)
    await (await rig.model.asked()).say("Half")
    return chat_id


def asked(call: ScriptedCall) -> list[str]:
    """Return what a model was sent."""
    return [plain_text(one.parts) for one in call.request.messages]


async def at_rest(rig: Rig, chat_id: str) -> list[str]:
    """Wait until a chat has nothing more to do; return what its messages say."""
    heard = await rig.listen(chat_id)
    while (await rig.view(chat_id)).status is not Status.WAITING:
        seen = len(heard.published)
        await heard.until(lambda seen=seen: len(heard.published) > seen)
    return [text for _, text in await rig.history(chat_id)]


async def test_who_comes_first_finds_every_lost_turn_under_way_again(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = [await lost_turn(rig, f"question {number}") for number in range(5)]
        async with rig.restarted() as after, anyio.create_task_group() as tasks:
            tasks.start_soon(after.engine.open)
            for chat_id in reversed(chats):
                assert (await after.send(chat_id, "next")).disposition == "queued"
            calls = [await after.model.asked() for _ in chats]
            assert [asked(call) for call in calls] == [[f"question {number}"] for number in range(5)]
            for call in calls:
                await call.finish("Whole")
            for _ in chats:
                await (await after.model.asked()).finish("Yes.")
            for number, chat_id in enumerate(chats):
                assert await at_rest(after, chat_id) == [f"question {number}", "Whole", "next", "Yes."]


async def test_a_message_that_steered_the_lost_turn_stays_in_the_history_and_is_answered(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "Count.")
        call = await rig.model.asked()
        await rig.send(chat_id, "Only to two.", "steer")
        await call.finish("One.")
        await (await rig.model.asked()).say("Tw")
        await heard.until(lambda: heard.text == "One.Tw")
        async with rig.restarted() as after:
            await after.engine.open()
            call = await after.model.asked()
            assert asked(call) == ["Count.", "One.", "Only to two."]
            await call.finish("Two.")
            assert await at_rest(after, chat_id) == ["Count.", "One.", "Only to two.", "Two."]


@pytest.mark.parametrize("commits", range(6))
async def test_a_crash_during_a_recovery_forgets_no_turn_and_answers_none_twice(
    rig: Rig, commits: int
) -> None:
    with anyio.fail_after(30):
        chats, disk = [await lost_turn(rig) for _ in range(3)], rig.disk
        async with rig.restarted() as halfway, anyio.create_task_group() as tasks:
            halfway.store.hold_after(commits)
            tasks.start_soon(halfway.engine.open)
            await halfway.store.waiting()
            disk = halfway.disk.image()
            halfway.store.release()
        async with rig.restarted(disk) as after:
            await after.engine.open()
            assert after.engine.running_turns == len(chats)
            for _ in chats:
                await (await after.model.asked()).finish("Whole")
            for chat_id in chats:
                assert await at_rest(after, chat_id) == ["Hi", "Whole"]
            assert len(after.model.calls) == len(chats)
            async with after.restarted() as calm:
                await calm.engine.open()
                assert calm.engine.running_turns == 0


async def test_a_turn_that_cannot_be_begun_again_is_over_once_the_chat_goes_on(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await lost_turn(rig)
        async with rig.restarted() as after:
            after.store.fail_after = 1  # the recovery's own commit
            await after.engine.open()
            assert (after.store.opened, after.engine.running_turns) == (1, 0)
            await after.ask_quickly(chat_id, "next", "Yes.")
            async with after.restarted() as third:
                await third.engine.open()
                assert third.engine.running_turns == 0
                shown = await at_rest(third, chat_id)
                assert [text for text in shown if text != "Half"] == ["Hi", "next", "Yes."]


async def test_two_lost_turns_of_a_chat_are_one_question_to_answer_again(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await lost_turn(rig)
        await rig.store.commit(PutTurn(a_turn("older", chat_id)))
        async with rig.restarted() as after:
            await after.engine.open()
            await (await after.model.asked()).finish("Whole")
            assert await at_rest(after, chat_id) == ["Hi", "Whole"]
            async with after.restarted() as third:
                await third.engine.open()
                assert third.engine.running_turns == 0
