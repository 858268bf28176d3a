"""Creating, reading, listing and changing chats, live or stored."""

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.core.events import ChatChanged
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Chat, Context, ModelSettings, Status
from parley_daemon.engine.collection.new_chat import NewChat, RestoredMessage
from parley_daemon.engine.errors import ChatArchivedError, ChatNotFoundError
from parley_daemon.ports.store import ChatQuery, InvalidCursorError
from tests.support.engine.rig import ME, Rig


async def test_a_chat_is_durable_as_it_was_asked_for(rig: Rig) -> None:
    asked = NewChat(
        title="Mine",
        kind="agent",
        model="test:other",
        system_prompt="Be brief.",
        settings=ModelSettings(temperature=0.5),
        context=Context(("file:///r",)),
        metadata={"my": ["own", None]},
    )
    with anyio.fail_after(30):
        view = await rig.chats.create(asked)
        async with rig.restarted() as again:
            assert await again.view(view.chat.id) == view
    chat = view.chat
    assert (chat.title, chat.kind, chat.model, chat.system_prompt) == (
        *("Mine", "agent", "test:other", "Be brief."),
    )
    assert (chat.settings, chat.context, chat.metadata) == (asked.settings, asked.context, asked.metadata)
    assert (view.status, view.last_seq) == (Status.WAITING, 0)


async def test_a_chat_without_a_model_gets_the_default_one(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        assert (await rig.view(chat_id)).chat.model == "test:model"


async def test_a_restored_history_is_what_the_model_gets(rig: Rig) -> None:
    history = (
        RestoredMessage("user", (Text("one"),)),
        RestoredMessage("assistant", (Text("1"),), "test:other", "2020-01-01T00:00:00.000Z"),
    )
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history, system_prompt="Be brief.")
        await rig.send(chat_id, "two")
        request = (await rig.model.asked()).request
        assert [message.role for message in request.messages] == ["user", "assistant", "user"]
        assert request.system_prompt == "Be brief."
        async with rig.restarted() as again:
            messages = (await again.snapshot(chat_id)).messages
    assert [message.id for message in messages] == [1, 2, 3]
    assert [message.parent_id for message in messages] == [None, 1, 2]
    assert (messages[1].model, messages[1].created_at) == ("test:other", "2020-01-01T00:00:00.000Z")


async def test_a_child_knows_its_parent_and_root(rig: Rig) -> None:
    with anyio.fail_after(30):
        root = await rig.chat()
        child = await rig.chat(parent_chat_id=root)
        grandchild = await rig.chat(parent_chat_id=child)
        chat = (await rig.view(grandchild)).chat
        assert (chat.parent_chat_id, chat.root_chat_id) == (child, root)
        with pytest.raises(ChatNotFoundError):
            await rig.chat(parent_chat_id="nobody")


async def test_the_title_comes_from_the_first_message_unless_there_is_one(rig: Rig) -> None:
    with anyio.fail_after(30):
        rig.model.answer = [Text("Yes.")]
        untitled, titled = await rig.chat(), await rig.chat(title="Mine")
        heard = await rig.listen(untitled)
        for chat_id in (untitled, titled):
            await rig.ask(chat_id, "Why is the sky so very blue today?")
            await rig.ask(chat_id, "Another question")
        titles = [(await rig.view(chat_id)).chat.title for chat_id in (untitled, titled)]
    assert titles == ["Why is the sky so very…", "Mine"]
    (changed,) = heard.of(ChatChanged)
    assert (changed.chat.title, changed.status) == ("Why is the sky so very…", Status.PENDING)


async def test_a_list_shows_live_chats_as_they_are_now(rig: Rig) -> None:
    with anyio.fail_after(30):
        idle, busy = await rig.chat(), await rig.chat()
        await rig.send(busy)
        await (await rig.model.asked()).say("Hello")
        listed, cursor, total = await rig.chats.list(ChatQuery(ME))
        assert {view.chat.id: view.status for view in listed} == {idle: Status.WAITING, busy: Status.RUNNING}
        assert listed[0] == await rig.view(busy)
        assert (cursor, total) == (None, 2)
        async with rig.restarted() as again:
            listed, _, _ = await again.chats.list(ChatQuery(ME))
            assert {view.status for view in listed} == {Status.WAITING}


async def test_pages_of_a_list_show_every_chat_once(rig: Rig) -> None:
    with anyio.fail_after(30):
        chats = [await rig.chat() for _ in range(7)]
        seen: list[str] = []
        cursor = None
        while True:
            page, cursor, total = await rig.chats.list(ChatQuery(ME, cursor=cursor, limit=3))
            seen += [view.chat.id for view in page]
            assert total == 7
            if cursor is None:
                break
        assert seen == chats[::-1]
        with pytest.raises(InvalidCursorError):
            await rig.chats.list(ChatQuery(ME, cursor="not one of ours"))


@pytest.mark.parametrize("busy", [False, True])
async def test_a_change_is_told_and_durable(rig: Rig, busy: bool) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        if busy:
            await rig.send(chat_id)
            await (await rig.model.asked()).say("Hello")

        def change(chat: Chat) -> Chat:
            return replace(chat, title="New", system_prompt="Be brief.")

        view = await rig.update(chat_id, change)
        assert view.chat.title == "New"
        last = heard.of(ChatChanged)[-1]
        assert (last.chat.title, last.status, last.deleted) == ("New", view.status, False)
        async with rig.restarted() as again:
            assert (await again.view(chat_id)).chat.system_prompt == "Be brief."


async def test_changes_at_once_all_count(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(metadata={"n": 0})

        def count(chat: Chat) -> Chat:
            return replace(chat, metadata={"n": chat.metadata["n"] + 1})

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(rig.update, chat_id, count)
        assert (await rig.view(chat_id)).chat.metadata == {"n": 10}


async def test_another_model_counts_from_the_next_turn_on_and_for_this_chat_only(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id, other = await rig.chat(), await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        call = await rig.model.asked()
        await rig.set_model(chat_id, "test:other")
        await call.finish("1")
        await heard.ended()
        assert (await rig.snapshot(chat_id)).messages[-1].model == "test:model"
        assert (await rig.view(other)).chat.model == "test:model"
        await rig.send(chat_id, "two")
        await heard.until(lambda: heard.outline.count("TurnStarted") == 2)
        assert len(rig.model.calls) == 1


async def test_an_archived_chat_takes_no_messages(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.update(chat_id, lambda chat: replace(chat, archived=True))
        with pytest.raises(ChatArchivedError):
            await rig.send(chat_id)
        await rig.update(chat_id, lambda chat: replace(chat, archived=False))
        rig.model.answer = [Text("Yes.")]
        assert (await rig.ask(chat_id)).ended.outcome == "completed"


async def test_the_whole_active_history_goes_to_the_model(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        rig.model.answer = [Text("Yes.")]
        for number in range(3):
            await rig.ask(chat_id, f"q{number}")
        async with rig.restarted() as again:
            await again.send(chat_id, "q3")
            request = (await again.model.asked()).request
    assert [message.role for message in request.messages] == ["user", "assistant"] * 3 + ["user"]
    assert request.messages[-1].parts == (Text("q3"),)
