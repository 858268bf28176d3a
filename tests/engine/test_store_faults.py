"""A store that fails: while it opens, at a send, at the end of a turn. Nothing told is lost."""

import logging

import anyio
import pytest

from parley_daemon.core.events import MessageAdded, TurnEnded
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.records import Status
from parley_daemon.engine.collection.new_chat import NewChat
from parley_daemon.engine.recovery import RETRY_SECONDS
from parley_daemon.ports.store import StoreTooNewError, StoreUnavailableError
from tests.support.engine.rig import Disk, Rig, running


async def unsaved_answer(rig: Rig) -> str:
    """Let a turn end while the store fails; return its chat."""
    chat_id = await rig.chat()
    heard = await rig.listen(chat_id)
    await rig.send(chat_id)
    call = await rig.model.asked()
    await call.say("Hello")
    rig.store.fail_next = 1
    await call.finish()
    ended = await heard.ended()
    assert ended.error is not None
    assert (ended.outcome, ended.error.kind) == ("failed", "internal")
    (answer,) = [one.message for one in heard.of(MessageAdded) if one.message.role == "assistant"]
    assert (plain_text(answer.content), answer.complete) == ("Hello", False)
    rig.detach(chat_id, heard)
    return chat_id


async def test_an_answer_that_cannot_be_saved_fails_its_turn_and_is_not_lost(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await unsaved_answer(rig)
        assert (await rig.view(chat_id)).status is Status.ERROR
        rig.model.answer = [Text("Yes.")]
        await rig.ask(chat_id, "again")
        expected = [("user", "Hi"), ("assistant", "Hello"), ("user", "again"), ("assistant", "Yes.")]
        assert await rig.history(chat_id) == expected
        async with rig.restarted() as again:
            assert await again.history(chat_id) == expected


async def test_an_unsaved_answer_is_shown_on_every_page(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await unsaved_answer(rig)
        for page in (
            await rig.snapshot(chat_id, limit=1),
            await rig.snapshot(chat_id, after=1),
            await rig.snapshot(chat_id, before=9, limit=1),
        ):
            assert [plain_text(message.content) for message in page.messages] == ["Hello"]


async def test_an_unsaved_answer_is_saved_by_any_later_change_of_the_chat(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await unsaved_answer(rig)
        await rig.set_model(chat_id, "test:other")
        async with rig.restarted() as again:
            assert await again.history(chat_id) == [("user", "Hi"), ("assistant", "Hello")]
            assert (await again.view(chat_id)).chat.model == "test:other"


async def test_an_unsaved_answer_is_saved_when_the_daemon_stops(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await unsaved_answer(rig)
        await rig.engine.stop()
        async with rig.restarted() as again:
            assert await again.history(chat_id) == [("user", "Hi"), ("assistant", "Hello")]
            assert (await again.view(chat_id)).status is Status.ERROR


async def test_an_unsaved_answer_does_not_leave_memory(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parley_daemon.engine.collection.registry.IDLE_CHATS_KEPT", 1)
    with anyio.fail_after(30):
        chat_id = await unsaved_answer(rig)
        for _ in range(70):
            await rig.chat()
        assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "Hello")]


async def test_after_a_crash_an_unsaved_answer_is_a_lost_turn(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await unsaved_answer(rig)
        async with rig.restarted() as again:
            view = await again.view(chat_id)
            assert view.status is Status.WAITING
            assert view.chat.last_error is not None
            assert view.chat.last_error.kind == "daemon_lost"
            assert (await again.history(chat_id))[0] == ("user", "Hi")


async def test_a_queue_does_not_go_on_while_answers_cannot_be_saved(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        call = await rig.model.asked()
        await rig.send(chat_id, "two")
        rig.store.fail_next = 1
        await call.finish("1")
        await heard.ended()
        await anyio.wait_all_tasks_blocked()
        assert (await rig.view(chat_id)).status is Status.ERROR
        assert rig.engine.running_turns == 0
        rig.model.answer = [Text("Yes.")]
        await rig.send(chat_id, "three")
        await heard.ended(3)
    asked = [text for role, text in await rig.history(chat_id) if role == "user"]
    assert asked == ["one", "two", "three"]
    assert [one.outcome for one in heard.of(TurnEnded)] == ["failed", "completed", "completed"]


async def test_a_message_that_cannot_be_taken_back_stays_in_the_queue(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.send(chat_id, "one")
        queued = await rig.send(chat_id, "two")
        rig.store.fail_next = 1
        with pytest.raises(StoreUnavailableError):
            await rig.interrupt(chat_id, queued.turn_id)
        assert [one.turn_id for one in (await rig.snapshot(chat_id)).queue] == [queued.turn_id]


async def test_a_store_that_cannot_be_opened_is_tried_again_after_a_while(disk: Disk) -> None:
    with anyio.fail_after(30):
        async with running(disk) as rig:
            rig.store.unopenable = True
            await rig.engine.open()  # ahead of the first call: a failure is not raised here
            for _ in range(3):
                with pytest.raises(StoreUnavailableError, match="disk is full"):
                    await rig.chat()
            assert rig.store.opened == 1
            rig.store.unopenable = False
            with pytest.raises(StoreUnavailableError):
                await rig.engine.count_chats()
            rig.clock.seconds += RETRY_SECONDS
            chat_id = await rig.chat()
            assert rig.store.opened == 2
            assert await rig.chats.ids() == (chat_id,)


async def test_many_first_calls_open_the_store_once(disk: Disk) -> None:
    with anyio.fail_after(30):
        async with running(disk) as rig:
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(rig.chats.create, NewChat())
            assert rig.store.opened == 1
            assert await rig.engine.count_chats() == 5


async def test_a_newer_store_is_refused_and_said_so(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(30), caplog.at_level(logging.ERROR):
        async with running(disk) as rig:
            rig.store.unopenable, rig.store.fault = True, StoreTooNewError("Update parleyd.")
            await rig.engine.open()
            with pytest.raises(StoreTooNewError, match="Update parleyd"):
                await rig.engine.count_chats()
    assert "Update parleyd." in caplog.text


async def test_a_recovery_that_fails_half_way_is_done_again(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = [await rig.chat() for _ in range(3)]
        for chat_id in chats:
            await rig.send(chat_id)
            await (await rig.model.asked()).say("Par")
        async with running(rig.disk.image(), clock=rig.clock) as again:
            again.store.fail_after = 1
            with pytest.raises(StoreUnavailableError):
                await again.engine.count_chats()
            again.clock.seconds += RETRY_SECONDS
            for chat_id in chats:
                assert (await again.view(chat_id)).chat.last_error is not None
                assert (await again.history(chat_id))[0] == ("user", "Hi")
            assert again.store.opened == 2
