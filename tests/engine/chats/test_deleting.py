"""Deleting chats: what runs is ended, who listens or waits is told, nothing is left."""

import contextlib

import anyio
import pytest

from parley_daemon.core.events import ChatChanged, TurnEnded
from parley_daemon.core.parts import Text
from parley_daemon.engine.errors import ChatNotFoundError, ConflictError
from parley_daemon.ports.store import StoreUnavailableError
from tests.support.engine.rig import ME, Rig, Watcher


async def test_a_deleted_chat_is_gone(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id, other = await rig.chat(), await rig.chat()
        await rig.delete(chat_id)
        assert await rig.chats.ids() == (other,)
        for call in (rig.snapshot, rig.send, rig.interrupt, rig.attach):
            with pytest.raises(ChatNotFoundError):
                await call(chat_id)
        with pytest.raises(ChatNotFoundError):
            await rig.delete(chat_id)
        async with rig.restarted() as again:
            assert await again.chats.ids() == (other,)


async def test_deleting_during_a_turn_ends_it_and_tells_listeners_last(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        call = await rig.model.asked()
        await rig.send(chat_id, "two")
        await call.say("Hello")
        await rig.delete(chat_id)
        await call.closed.wait()
        await anyio.wait_all_tasks_blocked()
    assert [ended.outcome for ended in heard.of(TurnEnded)] == ["interrupted"]
    last = heard.events[-1]
    assert isinstance(last, ChatChanged)
    assert (last.deleted, last.chat.archived) == (True, True)
    assert heard.seqs == list(range(1, len(heard.seqs) + 1))
    assert len(rig.model.calls) == 1
    assert rig.engine.running_turns == 0


async def test_two_deletions_at_once_delete_once(rig: Rig) -> None:
    refused: list[Exception] = []
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)

        async def delete() -> None:
            try:
                await rig.delete(chat_id)
            except ChatNotFoundError as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(delete)
            tasks.start_soon(delete)
    assert len(refused) == 1
    assert [event.deleted for event in heard.of(ChatChanged)][-1:] == [True]
    assert sum(event.deleted for event in heard.of(ChatChanged)) == 1


async def test_a_chat_that_cannot_be_deleted_stays_usable(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        await (await rig.model.asked()).finish("Yes.")
        await heard.ended()
        rig.store.broken = True
        with pytest.raises(StoreUnavailableError):
            await rig.delete(chat_id)
        rig.store.broken = False
        rig.model.answer = [Text("Still here.")]
        assert (await rig.ask(chat_id)).ended.outcome == "completed"


async def test_a_message_that_comes_while_a_chat_is_deleted_is_refused_or_keeps_the_chat(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.send(chat_id)
        outcomes: list[str] = []

        async def delete() -> None:
            try:
                await rig.delete(chat_id)
                outcomes.append("deleted")
            except ConflictError:
                outcomes.append("kept")

        async def send() -> None:
            try:
                await rig.send(chat_id, "two")
                outcomes.append("accepted")
            except ChatNotFoundError:
                outcomes.append("refused")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(delete)
            tasks.start_soon(send)
        ids = await rig.chats.ids()
    assert ("deleted" in outcomes) == (ids == ())
    assert len(outcomes) == 2


async def test_watchers_hear_of_every_chat_of_their_owner(rig: Rig) -> None:
    watcher, stranger = Watcher(), Watcher()
    with anyio.fail_after(30):
        rig.engine.watchers.add(ME, watcher)
        rig.engine.watchers.add(ME, watcher)
        rig.engine.watchers.add("somebody else", stranger)
        one, other = await rig.chat(title="T"), await rig.chat(title="T")
        rig.model.answer = [Text("Yes.")]
        await rig.ask(one)
        await rig.set_model(other, "test:other")
        await rig.delete(one)
        rig.engine.watchers.remove(ME, watcher)
        await rig.delete(other)
    told = [(change, view.chat.id) for change, view in watcher.changes]
    assert told[:2] == [("created", one), ("created", other)]
    assert told[-2:] == [("changed", other), ("deleted", one)]
    of_one = [str(view.status) for _, view in watcher.changes if view.chat.id == one]
    assert of_one == ["waiting", "pending", "running", "waiting", "waiting"]
    assert stranger.changes == []


async def test_taking_a_message_back_while_its_chat_is_deleted_does_not_bring_the_chat_back(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.send(chat_id)
        await rig.model.asked()
        queued = await rig.send(chat_id, "waits")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.delete, chat_id)

            async def take_back() -> None:
                with contextlib.suppress(ChatNotFoundError, ConflictError):
                    await rig.interrupt(chat_id, queued.turn_id)

            for _ in range(20):
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(take_back)
        assert await rig.engine.count_chats() == 0
