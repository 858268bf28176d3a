"""The same clientMessageId again gets the first answer and starts nothing."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from parley_daemon.core.parts import Text
from parley_daemon.engine.chats.acceptance import Acceptance
from tests.support.engine.rig import Rig, running

MINE = "mine-1"


async def answered(rig: Rig, chat_id: str) -> Acceptance:
    rig.model.answer = [Text("Yes.")]
    done = await rig.ask(chat_id, "one", client_message_id=MINE)
    (question, *_) = (await rig.snapshot(chat_id)).messages
    return Acceptance("started", done.ended.turn_id, message=question)


async def under_way(rig: Rig, chat_id: str) -> Acceptance:
    accepted = await rig.send(chat_id, "one", client_message_id=MINE)
    await rig.model.asked()
    return accepted


async def queued(rig: Rig, chat_id: str) -> Acceptance:
    await rig.send(chat_id, "zero")
    await rig.model.asked()
    return await rig.send(chat_id, "one", client_message_id=MINE)


Reach = Callable[[Rig, str], Awaitable[Acceptance]]


@pytest.mark.parametrize("reach", [answered, under_way, queued])
async def test_a_message_sent_twice_starts_once(rig: Rig, reach: Reach) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        first = await reach(rig, chat_id)
        await anyio.wait_all_tasks_blocked()
        heard = await rig.listen(chat_id)
        commits = len(rig.store.commits)
        assert await rig.send(chat_id, "one", client_message_id=MINE) == first
        assert await rig.send(chat_id, "one", when_busy="reject", client_message_id=MINE) == first
    assert len(rig.store.commits) == commits
    assert heard.published == []


@pytest.mark.parametrize("reach", [answered, under_way, queued])
async def test_a_message_sent_again_after_a_crash_starts_nothing(rig: Rig, reach: Reach) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        first = await reach(rig, chat_id)
        async with rig.restarted() as again:
            assert await again.send(chat_id, "one", client_message_id=MINE) == first
            await anyio.wait_all_tasks_blocked()
            assert again.model.calls == []


async def test_a_message_that_steers_is_waited_for_where_it_is_answered() -> None:
    with anyio.fail_after(30):
        async with running() as rig:
            chat_id = await rig.chat()
            await rig.send(chat_id, "zero")
            call = await rig.model.asked()
            first = await rig.send(chat_id, "one", "steer", client_message_id=MINE)
            assert await rig.send(chat_id, "one", "steer", client_message_id=MINE) == first
            rig.model.answer = [Text("Yes.")]
            await call.finish()
            await rig.wait(chat_id, first.turn_id)
            again = await rig.send(chat_id, "one", "steer", client_message_id=MINE)
    assert (again.turn_id, again.queued) == (first.turn_id, None)


async def test_a_queued_message_that_ran_meanwhile_answers_with_its_message(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        first = await queued(rig, chat_id)
        await rig.model.calls[0].finish()
        await (await rig.model.asked()).finish()
        await rig.wait(chat_id, first.turn_id)
        again = await rig.send(chat_id, "one", client_message_id=MINE)
    assert again.turn_id == first.turn_id
    assert again.message is not None
    assert again.message.client_message_id == MINE


async def test_the_same_message_from_many_at_once_starts_once(rig: Rig) -> None:
    answers: list[Acceptance] = []
    with anyio.fail_after(30):
        chat_id = await rig.chat()

        async def send() -> None:
            answers.append(await rig.send(chat_id, "one", client_message_id=MINE))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(send)
        (await rig.model.asked()).end()
    assert len({answer.turn_id for answer in answers}) == 1
    assert all(answer.message is not None for answer in answers)
    assert len(rig.model.calls) == 1


async def test_asking_again_waits_for_the_same_turn(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        outcomes: list[object] = []

        async def ask() -> None:
            outcomes.append((await rig.ask(chat_id, "one", client_message_id=MINE)).messages)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            call = await rig.model.asked()
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await call.finish("Yes.")
        past = await rig.ask(chat_id, "one", client_message_id=MINE)
    assert outcomes == [past.messages, past.messages]
    assert (past.ended.outcome, past.ended.stop_reason) == ("completed", "stop")


async def test_the_id_is_the_chats_own(rig: Rig) -> None:
    with anyio.fail_after(30):
        one, other = await rig.chat(), await rig.chat()
        first = await rig.send(one, "one", client_message_id=MINE)
        second = await rig.send(other, "one", client_message_id=MINE)
    assert first.turn_id != second.turn_id
