"""Archiving and unarchiving: a chat with all chats below it, at once or not at all, against everything."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.core.events import ChatChanged
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Status
from parley_daemon.engine.chats.acceptance import Acceptance
from parley_daemon.engine.errors import (
    ChatArchivedError,
    ChatBusyError,
    ChatNotFoundError,
    ConflictError,
)
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.ports.store_writes import PutChat
from tests.support.engine.rig import ME, Rig, Watcher


async def family(rig: Rig) -> tuple[str, str, str]:
    """Create a chat, a child of it and a child of that."""
    root = await rig.chat()
    child = await rig.chat(parent_chat_id=root)
    return root, child, await rig.chat(parent_chat_id=child)


async def archived(rig: Rig, *chat_ids: str) -> list[bool]:
    return [(await rig.view(id)).chat.archived for id in chat_ids]


async def test_a_chat_goes_away_and_comes_back_with_all_below_it_in_one_commit(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = await family(rig)
        other = await rig.chat()
        for call, flag in ((rig.chats.archive, True), (rig.chats.unarchive, False)):
            before = len(rig.store.commits)
            assert (await call(chats[0])).chat.archived is flag
            assert await archived(rig, *chats, other) == [flag] * 3 + [False]
            assert len(rig.store.commits) == before + 1
            async with rig.restarted() as again:
                assert await archived(again, *chats, other) == [flag] * 3 + [False]


async def test_every_listener_and_watcher_of_the_family_is_told_once(rig: Rig) -> None:
    watcher = Watcher()
    with anyio.fail_after(30):
        chats = await family(rig)
        heard = [await rig.listen(id) for id in chats]
        rig.engine.watchers.add(ME, watcher)
        await rig.chats.archive(chats[0])
        await rig.chats.unarchive(chats[0])
    for recorder in heard:
        assert [event.chat.archived for event in recorder.of(ChatChanged)] == [True, False]
        assert recorder.seqs == [1, 2]
    told = [(change, view.chat.id, view.chat.archived) for change, view in watcher.changes]
    assert sorted(told) == sorted(("changed", id, flag) for id in chats for flag in (True, False))


async def test_archiving_a_child_takes_what_is_below_it_and_leaves_what_is_above(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = await family(rig)
        sibling = await rig.chat(parent_chat_id=chats[0])
        await rig.chats.archive(chats[1])
        assert await archived(rig, *chats, sibling) == [False, True, True, False]
        before = len(rig.store.commits)
        await rig.chats.archive(chats[0])
        assert await archived(rig, *chats, sibling) == [True] * 4
        (writes,) = rig.store.commits[before:]
        assert {write.chat.id for write in writes if isinstance(write, PutChat)} == {chats[0], sibling}
        await rig.chats.unarchive(chats[0])
        assert await archived(rig, *chats, sibling) == [False] * 4


async def test_a_grandchild_whose_parent_was_deleted_still_goes_with_its_root(rig: Rig) -> None:
    with anyio.fail_after(30):
        root, child, grandchild = await family(rig)
        await rig.delete(child)
        await rig.chats.archive(root)
        assert await archived(rig, root, grandchild) == [True, True]
        with pytest.raises(ConflictError):
            await rig.chats.unarchive(grandchild)
        await rig.delete(root)
        await rig.chats.unarchive(grandchild)
        assert await archived(rig, grandchild) == [False]


async def test_deleting_a_chat_leaves_its_children(rig: Rig) -> None:
    with anyio.fail_after(30):
        root, child, grandchild = await family(rig)
        await rig.delete(root)
        assert set(await rig.chats.ids()) == {child, grandchild}
        chat = (await rig.view(child)).chat
        assert (chat.parent_chat_id, chat.root_chat_id) == (root, root)
        rig.model.answer = [Text("Yes.")]
        assert (await rig.ask(child)).ended.outcome == "completed"


async def test_doing_it_twice_is_a_conflict(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        with pytest.raises(ConflictError):
            await rig.chats.unarchive(chat_id)
        await rig.chats.archive(chat_id)
        with pytest.raises(ConflictError):
            await rig.chats.archive(chat_id)
        assert await archived(rig, chat_id) == [True]


async def test_a_child_does_not_come_back_while_its_parent_is_away(rig: Rig) -> None:
    with anyio.fail_after(30):
        root, child, grandchild = await family(rig)
        await rig.chats.archive(root)
        for id in (child, grandchild):
            with pytest.raises(ConflictError):
                await rig.chats.unarchive(id)
        assert await archived(rig, root, child, grandchild) == [True] * 3


async def test_strangers_chats_are_not_found(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        for owner, id in (("somebody else", chat_id), (ME, "nobody")):
            chats = rig.engine.chats_of(owner)
            for call in (chats.archive, chats.unarchive):
                with pytest.raises(ChatNotFoundError):
                    await call(id)
        assert await archived(rig, chat_id) == [False]


async def test_an_archived_chat_takes_no_message_and_no_child(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = await family(rig)
        await rig.chats.archive(chats[0])
        for id in chats:
            with pytest.raises(ChatArchivedError):
                await rig.send(id)
            with pytest.raises(ChatArchivedError):
                await rig.chat(parent_chat_id=id)
        await rig.chats.unarchive(chats[0])
        rig.model.answer = [Text("Yes.")]
        assert (await rig.ask(chats[2])).ended.outcome == "completed"


@pytest.mark.parametrize("who", [0, 1, 2])
async def test_a_turn_anywhere_in_the_family_keeps_all_of_it(rig: Rig, who: int) -> None:
    with anyio.fail_after(30):
        chats = await family(rig)
        heard = await rig.listen(chats[who])
        await rig.send(chats[who])
        call = await rig.model.asked()
        with pytest.raises(ChatBusyError, match="turn under way"):
            await rig.chats.archive(chats[0])
        assert await archived(rig, *chats) == [False] * 3
        await call.finish("Yes.")
        await heard.ended()
        await rig.chats.archive(chats[0])
        assert await archived(rig, *chats) == [True] * 3


@pytest.mark.parametrize("afresh", [False, True], ids=["at once", "after a restart"])
async def test_messages_that_wait_in_a_failed_chat_are_put_away_and_run_once_it_is_back(
    rig: Rig, afresh: bool
) -> None:
    with anyio.fail_after(30):
        root, child, _ = await family(rig)
        heard = await rig.listen(child)
        await rig.send(child, "one")
        call = await rig.model.asked()
        second = await rig.send(child, "two")
        call.fail()
        await heard.ended()
        await rig.chats.archive(root)
        assert await archived(rig, root, child) == [True, True]
        async with rig.restarted() if afresh else nullcontext(rig) as later:
            view = await later.view(child)
            assert (view.status, view.chat.archived) == (Status.ERROR, True)
            assert [one.id for one in (await later.snapshot(child)).queue] == [queued_id(second)]
            with pytest.raises(ChatArchivedError):
                await later.send(child, "three")
            with pytest.raises(ChatArchivedError):
                await later.change_queue(child, lambda actor: actor.promote(queued_id(second)))
            await later.chats.unarchive(root)
            heard = await later.listen(child)
            await later.send(child, "three")
            for question in ("two", "three"):
                await (await later.model.asked()).finish(f"To {question}.")
            await heard.ended(2)
            answers = [text for role, text in await later.history(child) if role == "assistant"]
            assert answers == ["To two.", "To three."]


def queued_id(accepted: Acceptance) -> str:
    assert accepted.queued is not None
    return accepted.queued.id


async def test_a_failed_chat_can_be_archived_and_keeps_its_status(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        (await rig.model.asked()).fail()
        await heard.ended()
        assert (await rig.chats.archive(chat_id)).status is Status.ERROR


async def at_once(*calls: Callable[[], Awaitable[object]]) -> list[str]:
    """Run calls side by side; return what each came to, in their order."""
    outcomes = [""] * len(calls)

    async def run(number: int) -> None:
        try:
            await calls[number]()
            outcomes[number] = "done"
        except (ChatArchivedError, ChatBusyError, ChatNotFoundError, ConflictError) as error:
            outcomes[number] = type(error).__name__

    async with anyio.create_task_group() as tasks:
        for number in range(len(calls)):
            tasks.start_soon(run, number)
    return outcomes


@pytest.mark.parametrize("send_first", [True, False])
@pytest.mark.parametrize("gated", [True, False])
async def test_a_message_that_comes_meanwhile_wins_or_loses_whole(
    rig: Rig, send_first: bool, gated: bool
) -> None:
    """Neither may see the other half done: a turn in an archived chat must not be."""
    with anyio.fail_after(30):
        chats = await family(rig)

        async def gate() -> None:
            if gated:
                await rig.store.waiting(1)
                await anyio.wait_all_tasks_blocked()
                rig.store.release()

        if gated:
            rig.store.hold()
        calls = [lambda: rig.send(chats[2]), lambda: rig.chats.archive(chats[0])]
        outcomes = await at_once(*(calls if send_first else calls[::-1]), gate)
        sent, put_away = outcomes[:2] if send_first else outcomes[1::-1]
        assert (sent, put_away) in {("done", "ChatBusyError"), ("ChatArchivedError", "done")}
        assert await archived(rig, *chats) == [put_away == "done"] * 3
        assert rig.engine.running_turns == (sent == "done")
        assert len(await rig.history(chats[2])) == (sent == "done")


@pytest.mark.parametrize("create_first", [True, False])
async def test_a_child_that_is_made_meanwhile_is_archived_too_or_refused(
    rig: Rig, create_first: bool
) -> None:
    with anyio.fail_after(30):
        root, child, _ = await family(rig)
        calls = [lambda: rig.chat(parent_chat_id=child), lambda: rig.chats.archive(root)]
        rig.store.hold()

        async def gate() -> None:
            await rig.store.waiting(1)
            await anyio.wait_all_tasks_blocked()
            rig.store.release()

        outcomes = await at_once(*(calls if create_first else calls[::-1]), gate)
        assert outcomes.count("done") >= 2
        chats = await rig.chats.ids()
        assert len(chats) == (4 if outcomes[:2] == ["done", "done"] else 3)
        assert await archived(rig, *chats) == [True] * len(chats)


async def test_a_chat_whose_branch_is_about_to_change_is_not_archived(rig: Rig) -> None:
    """Between the end of the stopped turn and the beginning of the new one there is no turn for a moment."""
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.send(chat_id)
        await rig.model.asked()
        rig.store.hold()
        ending = anyio.Event()

        async def edit() -> None:
            await rig.edit(chat_id, 1, "Hm")

        async def release() -> None:
            await rig.store.waiting()  # the end of the stopped turn is about to be saved
            ending.set()
            await anyio.wait_all_tasks_blocked()
            await rig.store.port.descendants(chat_id)  # what archiving asks first is answered by now
            await anyio.wait_all_tasks_blocked()
            rig.store.release()

        async def archive() -> None:
            await ending.wait()
            await rig.chats.archive(chat_id)

        assert await at_once(edit, archive, release) == ["done", "ChatBusyError", "done"]
        assert await archived(rig, chat_id) == [False]
        assert [text for _, text in await rig.history(chat_id)] == ["Hm"]


async def test_parent_and_child_archived_at_once_do_not_wait_for_each_other(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = await family(rig)
        outcomes = await at_once(
            *[lambda id=id: rig.chats.archive(id) for id in (chats[2], chats[0], chats[1])]
        )
        assert outcomes.count("done") >= 1
        assert await archived(rig, *chats) == [True] * 3


async def test_a_child_that_is_deleted_meanwhile_is_no_hindrance(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = await family(rig)
        outcomes = await at_once(lambda: rig.delete(chats[1]), lambda: rig.chats.archive(chats[0]))
        assert outcomes == ["done", "done"]
        assert await archived(rig, chats[0], chats[2]) == [True, True]


async def test_when_it_cannot_be_saved_nothing_has_changed(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = await family(rig)
        heard = [await rig.listen(id) for id in chats]
        rig.store.fail_next = 1
        with pytest.raises(StoreUnavailableError):
            await rig.chats.archive(chats[0])
        assert await archived(rig, *chats) == [False] * 3
        assert [recorder.events for recorder in heard] == [[], [], []]
        await rig.chats.archive(chats[0])
        assert await archived(rig, *chats) == [True] * 3


async def test_a_caller_who_gives_up_leaves_memory_and_disk_the_same(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = await family(rig)
        rig.store.hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.chats.archive, chats[0])
            await rig.store.waiting()
            tasks.cancel_scope.cancel()
            rig.store.release()
        assert await archived(rig, *chats) == [True] * 3
        async with rig.restarted() as again:
            assert await archived(again, *chats) == [True] * 3


async def test_an_answer_that_could_not_be_saved_is_saved_along(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        rig.store.fail_next = 1
        await call.finish("Hello")
        await heard.ended()
        await rig.chats.archive(chat_id)
        async with rig.restarted() as again:
            assert await again.history(chat_id) == [("user", "Hi"), ("assistant", "Hello")]
            assert await archived(again, chat_id) == [True]


async def test_a_family_that_is_not_in_memory_is_archived_just_as_well(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = await family(rig)
        async with rig.restarted() as again:
            await again.chats.archive(chats[0])
            view = await again.view(chats[2])
            assert view.chat == replace(view.chat, archived=True)
            assert await archived(again, *chats) == [True] * 3
