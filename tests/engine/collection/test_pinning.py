"""Pinning: a mark on a chat that changes nothing else of it."""

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.core.events import ChatChanged
from parley_daemon.core.records import Chat, Status
from parley_daemon.engine.chats.feed.snapshot import ChatView
from parley_daemon.engine.errors import ChatNotFoundError
from parley_daemon.ports.store import ChatQuery, StoreUnavailableError
from tests.support.engine.rig import ME, Rig, Watcher


async def pin(rig: Rig, chat_id: str, *, pinned: bool = True) -> ChatView:
    """Pin or unpin a chat."""
    async with rig.chats.open(chat_id) as chat:
        return await chat.pin(pinned=pinned)


async def stored(rig: Rig, chat_id: str) -> Chat:
    """Return a chat's record as another process reads it."""
    async with rig.restarted() as again:
        return (await again.view(chat_id)).chat


async def test_a_chat_is_pinned_and_unpinned_and_nothing_else_of_it_changes(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(title="Plan")
        before = (await rig.view(chat_id)).chat
        assert not before.pinned
        for pinned in (True, False):
            view = await pin(rig, chat_id, pinned=pinned)
            expected = replace(before, pinned=pinned, last_seq=view.chat.last_seq)
            assert replace(view.chat, reserved_seq=before.reserved_seq) == expected
            assert await stored(rig, chat_id) == view.chat


async def test_listeners_and_watchers_hear_of_each_change_and_of_nothing_else(rig: Rig) -> None:
    watcher = Watcher()
    with anyio.fail_after(30):
        chat_id, other = await rig.chat(), await rig.chat(parent_chat_id=None)
        child = await rig.chat(parent_chat_id=chat_id)
        heard, unmoved = await rig.listen(chat_id), [await rig.listen(other), await rig.listen(child)]
        rig.engine.watchers.add(ME, watcher)
        commits = len(rig.store.commits)
        for pinned in (False, True, True, False, False):
            assert (await pin(rig, chat_id, pinned=pinned)).chat.pinned is pinned
        assert len(rig.store.commits) == commits + 2
    assert [event.chat.pinned for event in heard.of(ChatChanged)] == [True, False]
    assert heard.seqs == [1, 2]
    assert [recorder.seqs for recorder in unmoved] == [[], []]
    told = [(change, view.chat.id, view.chat.pinned) for change, view in watcher.changes]
    assert told == [("changed", chat_id, True), ("changed", chat_id, False)]


async def test_pinning_keeps_the_place_of_a_chat_in_the_list(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = [await rig.chat() for _ in range(3)]
        await pin(rig, chats[0])
        listed, _, _ = await rig.chats.list(ChatQuery(ME))
        assert [view.chat.id for view in listed] == chats[::-1]
        listed, _, total = await rig.chats.list(ChatQuery(ME, pinned=True))
        assert ([view.chat.id for view in listed], total) == ([chats[0]], 1)


async def test_a_busy_chat_is_pinned_and_its_turn_goes_on(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        accepted = await rig.send(chat_id)
        call = await rig.model.asked()
        view = await pin(rig, chat_id)
        assert view.status in (Status.PENDING, Status.RUNNING)
        assert view.chat.pinned
        await call.finish()
        assert (await rig.wait(chat_id, accepted.turn_id)).ended.outcome == "completed"
        assert (await stored(rig, chat_id)).pinned
        assert (await rig.view(chat_id)).chat.pinned


async def test_an_archived_chat_is_pinned_and_keeps_that_when_it_is_unarchived(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.chats.archive(chat_id)
        assert (await pin(rig, chat_id)).chat.archived
        assert (await rig.chats.unarchive(chat_id)).chat.pinned
        await rig.chats.archive(chat_id)
        assert not (await pin(rig, chat_id, pinned=False)).chat.pinned


async def test_a_fork_is_not_pinned_and_a_copy_is(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.ask_quickly(chat_id)
        await pin(rig, chat_id)
        assert not (await rig.chats.fork(chat_id, None)).chat.pinned
        whole = await rig.chats.read_whole(chat_id, max_bytes=10**6)
        assert (await rig.chats.import_chat(whole, merge=False)).chat.pinned
        unpinned = replace(whole, chat=replace(whole.chat, pinned=False))
        assert (await rig.chats.import_chat(unpinned, merge=True)).chat.pinned


async def test_a_deleted_chat_cannot_be_pinned(rig: Rig) -> None:
    chat_id = await rig.chat()
    async with rig.chats.open(chat_id) as chat:
        await rig.delete(chat_id)
        with pytest.raises(ChatNotFoundError):
            await chat.pin(pinned=True)


async def test_a_pin_that_cannot_be_stored_has_not_happened(rig: Rig) -> None:
    chat_id = await rig.chat()
    heard = await rig.listen(chat_id)
    rig.store.broken = True
    with pytest.raises(StoreUnavailableError):
        await pin(rig, chat_id)
    rig.store.broken = False
    assert not (await rig.view(chat_id)).chat.pinned
    assert heard.seqs == []
    assert (await pin(rig, chat_id)).chat.pinned
