"""Messages to a busy chat: their order, their bound, refusals, and what a failure leaves."""

import gc

import anyio
import pytest

from parley_daemon.core.commands import QUEUE_LIMIT
from parley_daemon.core.events import QueueUpdated
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.records import Status
from parley_daemon.engine.chats.acceptance import TurnWaiter
from parley_daemon.engine.errors import ChatBusyError, ConflictError, QueueFullError
from tests.support.engine.rig import Rig
from tests.support.engine.scripted_model import ScriptedModel


async def waiting(rig: Rig, chat_id: str) -> list[str]:
    return [plain_text(one.content) for one in (await rig.snapshot(chat_id)).queue]


async def test_queued_messages_run_one_after_the_other_in_their_order(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        texts = [f"q{number}" for number in range(10)]
        accepted = [await rig.send(chat_id, text) for text in texts]
        assert [one.message is not None for one in accepted] == [True] + [False] * 9
        for text in texts:
            call = await rig.model.asked()
            assert call.prompt == text
            await call.finish(f"answer to {text}")
        await heard.ended(10)
    history = await rig.history(chat_id)
    assert history[::2] == [("user", text) for text in texts]
    assert history[1::2] == [("assistant", f"answer to {text}") for text in texts]
    turns = [message.turn_id for message in (await rig.snapshot(chat_id)).messages if message.role == "user"]
    assert turns == [one.turn_id for one in accepted]


async def test_many_clients_at_once_are_queued_and_each_runs_once(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        rig.model.answer = [Text("Yes.")]
        texts = {f"q{number}" for number in range(QUEUE_LIMIT)}
        async with anyio.create_task_group() as tasks:
            for text in texts:
                tasks.start_soon(rig.send, chat_id, text)
        await heard.ended(len(texts))
    asked = [text for role, text in await rig.history(chat_id) if role == "user"]
    assert sorted(asked) == sorted(texts)


async def test_a_full_queue_refuses_and_goes_on(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        for number in range(QUEUE_LIMIT + 1):
            await rig.send(chat_id, f"q{number}")
        with pytest.raises(QueueFullError) as refused:
            await rig.send(chat_id, "too many")
        assert refused.value.limit == QUEUE_LIMIT
        assert len(await waiting(rig, chat_id)) == QUEUE_LIMIT
        await (await rig.model.asked()).finish("0")
        await rig.model.asked()
        await rig.send(chat_id, "fits again")
    assert (await waiting(rig, chat_id))[-1] == "fits again"


async def test_who_does_not_want_to_wait_is_refused(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.send(chat_id)
        heard = await rig.listen(chat_id)
        with pytest.raises(ChatBusyError):
            await rig.send(chat_id, "now!", when_busy="reject")
    assert (await waiting(rig, chat_id), heard.published) == ([], [])


async def test_a_failure_leaves_the_queue_and_the_next_send_runs_its_head(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        for text in ("one", "two", "three"):
            await rig.send(chat_id, text)
        (await rig.model.asked()).fail()
        await heard.ended()
        await anyio.wait_all_tasks_blocked()
        assert len(rig.model.calls) == 1
        assert await waiting(rig, chat_id) == ["two", "three"]
        assert (await rig.view(chat_id)).status is Status.ERROR
        accepted = await rig.send(chat_id, "four")
        assert accepted.queued is not None
        for text in ("two", "three", "four"):
            call = await rig.model.asked()
            assert call.prompt == text
            await call.finish()
        await heard.ended(4)
    assert (await rig.view(chat_id)).chat.last_error is None


async def test_a_failure_with_a_full_queue_does_not_end_the_chat(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        for number in range(QUEUE_LIMIT + 1):
            await rig.send(chat_id, f"q{number}")
        (await rig.model.asked()).fail()
        await heard.ended()
        await rig.send(chat_id, "last")
        assert (await rig.model.asked()).prompt == "q1"
    assert len(await waiting(rig, chat_id)) == QUEUE_LIMIT


async def test_every_change_of_the_queue_is_told_whole(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        call = await rig.model.asked()
        two = await rig.send(chat_id, "two")
        await rig.send(chat_id, "three")
        await rig.interrupt(chat_id, two.turn_id)
        await call.finish()
        await heard.until(lambda: len(heard.of(QueueUpdated)) == 4)
    shown = [[plain_text(one.content) for one in event.queue] for event in heard.of(QueueUpdated)]
    assert shown == [["two"], ["two", "three"], ["three"], []]


async def test_a_queued_message_keeps_its_own_model_and_settings(rig: Rig) -> None:
    other = rig.catalogue.models["test:other"]
    assert isinstance(other, ScriptedModel)
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.send(chat_id, "one")
        await rig.send(chat_id, "two", model="test:other")
        await (await rig.model.asked()).finish()
        assert (await other.asked()).prompt == "two"


async def test_a_queued_message_whose_model_is_gone_runs_with_the_chats(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        await rig.send(chat_id, "two", model="test:other")
        del rig.catalogue.models["test:other"]
        await (await rig.model.asked()).finish()
        await (await rig.model.asked()).finish("2")
        await heard.ended(2)
    (*_, answer) = (await rig.snapshot(chat_id)).messages
    assert answer.model == "test:model"


async def test_a_waiter_of_a_queued_message_is_told_when_the_chat_is_deleted(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        first = await rig.send(chat_id, "one")
        queued = await rig.send(chat_id, "two")
        outcomes: list[str] = []

        async def wait(turn_id: str) -> None:
            try:
                outcomes.append((await rig.wait(chat_id, turn_id)).ended.outcome)
            except ConflictError:
                outcomes.append("taken back")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, first.turn_id)
            tasks.start_soon(wait, queued.turn_id)
            await anyio.wait_all_tasks_blocked()
            await rig.delete(chat_id)
    assert sorted(outcomes) == ["interrupted", "taken back"]


async def test_whoever_stops_waiting_for_a_stuck_message_leaves_nothing_behind(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        call = await rig.model.asked()
        queued = await rig.send(chat_id, "two")
        call.fail()
        await heard.ended()
        for _ in range(10):
            with anyio.move_on_after(0):
                await rig.wait(chat_id, queued.turn_id)
        rig.detach(chat_id, heard)
    gc.collect()
    left = [one for one in gc.get_objects() if isinstance(one, TurnWaiter) and one.turn_id == queued.turn_id]
    assert len(left) <= 1  # the last one's traceback may hold it a while
