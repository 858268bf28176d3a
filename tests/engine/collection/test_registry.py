"""Which chats are in memory: one actor a chat, the unused ones go, and nobody notices."""

import anyio
import pytest

from parley_daemon.core.parts import Text
from parley_daemon.engine.collection.registry import IDLE_CHATS_KEPT
from parley_daemon.engine.errors import ChatNotFoundError
from tests.support.engine.rig import Disk, Recorder, Rig, running


async def test_idle_chats_leave_memory_and_come_back_as_they_were(rig: Rig) -> None:
    with anyio.fail_after(30):
        rig.model.answer = [Text("Yes.")]
        chats = [await rig.chat(title=f"T{number}") for number in range(2 * IDLE_CHATS_KEPT + 5)]
        for chat_id in chats:
            await rig.ask(chat_id, f"to {chat_id}")
        for chat_id in chats:
            assert await rig.history(chat_id) == [("user", f"to {chat_id}"), ("assistant", "Yes.")]
            view = await rig.view(chat_id)
            again, _ = await rig.attach(chat_id, after_seq=view.last_seq)
            assert again.snapshot is None
        assert await rig.chats.ids() == tuple(chats)


async def test_chats_in_use_stay_in_memory_however_many_they_are() -> None:
    with anyio.fail_after(30):
        async with running(max_running_turns=1000) as rig:
            chats = [await rig.chat() for _ in range(IDLE_CHATS_KEPT + 20)]
            heard: dict[str, Recorder] = {chat_id: await rig.listen(chat_id) for chat_id in chats}
            rig.model.answer = [Text("Yes.")]
            for chat_id in chats:
                await rig.ask(chat_id)
            for recorder in heard.values():
                assert recorder.text == "Yes."
                assert recorder.seqs == list(range(1, len(recorder.seqs) + 1))


async def test_a_chat_loaded_while_all_others_are_busy_has_one_actor(disk: Disk) -> None:
    with anyio.fail_after(30):
        async with running(disk, max_running_turns=1000) as before:
            late = await before.chat()
        async with running(disk, clock=before.clock, max_running_turns=1000) as rig:
            for _ in range(IDLE_CHATS_KEPT):
                await rig.send(await rig.chat())
            async with anyio.create_task_group() as tasks:
                rig.store.hold()
                tasks.start_soon(rig.send, late, "one")
                await rig.store.waiting()
                tasks.start_soon(rig.send, late, "two")
                await anyio.wait_all_tasks_blocked()
                rig.store.release()
            snapshot = await rig.snapshot(late)
    assert [message.role for message in snapshot.messages] == ["user"]
    assert len(snapshot.queue) == 1


async def test_many_calls_at_once_load_a_chat_once(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        async with rig.restarted() as again:
            async with anyio.create_task_group() as tasks:
                for text in ("one", "two", "three"):
                    tasks.start_soon(again.send, chat_id, text)
            assert len(again.model.calls) == 1
            assert len((await again.snapshot(chat_id)).queue) == 2


async def test_somebody_elses_chat_is_not_there(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        for owner in ("somebody else", ""):
            chats = rig.engine.chats_of(owner)
            with pytest.raises(ChatNotFoundError):
                async with chats.open(chat_id):
                    raise AssertionError("it was opened")
            assert chats.get_loaded(chat_id) is None
            assert await chats.ids() == ()
        with pytest.raises(ChatNotFoundError):
            await rig.view("no such chat")
