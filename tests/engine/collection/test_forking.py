"""Forks: the path to a message as a chat of its own; the source does not notice."""

import asyncio

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from msgspec.structs import replace

from parley_daemon.adapters.memory.state import MemoryState
from parley_daemon.adapters.memory.store import MemoryStore
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Chat, Context, ForkOrigin, ModelSettings, Usage
from parley_daemon.engine.collection.new_chat import RestoredMessage
from parley_daemon.engine.errors import ChatNotFoundError, MessageNotFoundError
from parley_daemon.ports.store import StoreUnavailableError, WholeChat
from parley_daemon.ports.store_writes import AddMessage, PutChat
from tests.support.engine.drawn_records import every_field
from tests.support.engine.records import a_chat, a_message
from tests.support.engine.rig import ME, Disk, Rig, Watcher, running, spoken
from tests.support.engine.scripted_tools import ROOT, ScriptedTool, asked, call, respond, results, start
from tests.support.engine.toolbox import GivenToolbox


def history(*texts: str) -> tuple[RestoredMessage, ...]:
    return tuple([RestoredMessage("user", (Text(text),)) for text in texts])


async def whole(rig: Rig, chat_id: str) -> WholeChat:
    """Return all that is on disk of a chat."""
    found = await rig.store.port.whole_chat(chat_id)
    assert found is not None
    return found


async def test_a_fork_is_the_same_conversation_under_a_new_id(rig: Rig) -> None:
    with anyio.fail_after(30):
        asked = {
            "title": "Plan",
            "kind": "agent",
            "model": "test:other",
            "system_prompt": "Be brief.",
            "settings": ModelSettings(temperature=0.5),
            "context": Context(("file:///r",)),
            "metadata": {"mine": [1]},
        }
        source_id = await rig.chat(**asked, messages=history("one", "two"))
        source = (await rig.view(source_id)).chat
        view = await rig.chats.fork(source_id, None)
        expected = replace(
            source,
            id=view.chat.id,
            title="Plan (fork)",
            title_is_automatic=False,
            forked_from=ForkOrigin(source_id, 2),
            created_at=view.chat.created_at,
            updated_at=view.chat.updated_at,
        )
        assert view.chat == expected
        assert view.chat.id != source_id
        assert view.last_seq == 0
        assert await rig.history(view.chat.id) == [("user", "one"), ("user", "two")]
        async with rig.restarted() as again:
            assert await again.view(view.chat.id) == view
            assert await again.history(view.chat.id) == [("user", "one"), ("user", "two")]


async def test_messages_are_numbered_anew_and_belong_to_no_turn(rig: Rig) -> None:
    with anyio.fail_after(30):
        source_id = await rig.chat()
        rig.model.answer = [Text("Yes.")]
        for text in ("one", "two"):
            await rig.ask(source_id, text, client_message_id=text, origin="nvim")
        before = await whole(rig, source_id)
        fork = (await rig.chats.fork(source_id, 3)).chat
        copies = (await rig.snapshot(fork.id)).messages
        assert [(one.id, one.parent_id, one.turn_id, one.client_message_id) for one in copies] == [
            (1, None, None, None),
            (2, 1, None, None),
            (3, 2, None, None),
        ]
        originals = (await rig.snapshot(source_id)).messages
        for copy, original in zip(copies, originals, strict=False):
            same = replace(original, chat_id=fork.id, turn_id=None, client_message_id=None, siblings=())
            assert copy == same
        assert fork.usage == Usage()
        assert (fork.last_message_id, fork.leaf_id) == (3, 3)
        assert await whole(rig, source_id) == before


async def test_a_fork_at_each_message_has_the_same_beginning(rig: Rig) -> None:
    with anyio.fail_after(30):
        texts = [f"m{number}" for number in range(1, 21)]
        source_id = await rig.chat(messages=history(*texts))
        before = await whole(rig, source_id)
        for number in range(1, 21):
            fork = await rig.chats.fork(source_id, number)
            assert await rig.history(fork.chat.id) == [("user", text) for text in texts[:number]]
        assert await whole(rig, source_id) == before


async def test_a_message_of_any_branch_can_be_forked(rig: Rig) -> None:
    with anyio.fail_after(30):
        await rig.engine.open()
        trunk = [a_message(1, "root"), a_message(2, "left"), a_message(4, "left leaf", parent_id=2)]
        aside = [a_message(3, "right", parent_id=1), a_message(7, "right leaf", parent_id=3)]
        chat = a_chat(leaf_id=4, last_message_id=7)
        await rig.store.commit(PutChat(chat), *map(AddMessage, (*trunk, *aside)))
        shown = await rig.chats.fork("c1", None)
        other = await rig.chats.fork("c1", 7)
        messages = (await rig.snapshot(other.chat.id)).messages
        assert spoken(messages) == [("user", "root"), ("user", "right"), ("user", "right leaf")]
        assert [message.id for message in messages] == [1, 2, 3]
        assert other.chat.forked_from == ForkOrigin("c1", 7)
        assert [text for _, text in await rig.history(shown.chat.id)] == ["root", "left", "left leaf"]
        assert (await rig.view("c1")).chat.leaf_id == 4


async def test_a_fork_of_a_streaming_chat_has_the_question_and_no_part_of_the_answer(rig: Rig) -> None:
    with anyio.fail_after(30):
        source_id = await rig.chat()
        heard = await rig.listen(source_id)
        await rig.send(source_id, "one")
        call = await rig.model.asked()
        await call.say("Half an ")
        await rig.send(source_id, "queued")
        told = len(heard.events)
        fork = (await rig.chats.fork(source_id, None)).chat
        assert await rig.history(fork.id) == [("user", "one")]
        snapshot = await rig.snapshot(fork.id)
        assert (snapshot.preview, snapshot.queue, str(snapshot.view.status)) == (None, (), "waiting")
        assert len(heard.events) == told
        await call.say("answer")
        rig.model.answer = [Text("Yes.")]
        assert (await rig.ask(fork.id, "and now?")).ended.outcome == "completed"
        await call.finish()
        await heard.ended(2)
        assert (await rig.history(source_id))[:2] == [("user", "one"), ("assistant", "Half an answer")]


async def test_a_copy_of_a_paused_chat_has_a_result_for_each_call() -> None:
    edit = ScriptedTool("edit", "edit")
    async with running(toolbox=GivenToolbox(edit, roots=(ROOT,))) as rig:
        source_id, heard = await start(rig, "ask")
        await (await rig.model.asked()).finish(call("edit", "1"), call("edit", "2"), reason="tool_calls")
        request = await asked(heard)
        fork = (await rig.chats.fork(source_id, None)).chat
        file = await rig.chats.read_whole(source_id, max_bytes=10**6)
        copy = (await rig.chats.import_chat(file, merge=False)).chat
        for other in (fork, copy):
            messages = (await rig.snapshot(other.id)).messages
            assert [one.role for one in messages] == ["user", "assistant", "tool"]
            assert [outcome for *_, outcome in results(messages)] == ["interrupted", "interrupted"]
            assert other.leaf_id == other.last_message_id == messages[-1].id
            await rig.send(other.id, "And now?")
            asking = await rig.model.asked()
            assert [one.role for one in asking.request.messages][-3:] == ["tool", "tool", "user"]
            await asking.finish("Done.")
        await respond(rig, source_id, request, "deny")
        await respond(rig, source_id, await asked(heard, 2), "deny")
        await (await rig.model.asked()).finish("Done.")
        await heard.ended()
        found = results((await rig.snapshot(source_id)).messages)
        assert [outcome for *_, outcome in found] == ["denied", "denied"]
        merged = (await rig.chats.import_chat(file, merge=True)).chat
        assert merged.leaf_id == (await rig.view(source_id)).chat.leaf_id


async def test_a_fork_goes_on_by_itself_with_the_whole_path(rig: Rig) -> None:
    with anyio.fail_after(30):
        source_id = await rig.chat(messages=history("one", "two", "three"), system_prompt="Be brief.")
        fork = (await rig.chats.fork(source_id, 2)).chat
        await rig.send(fork.id, "other")
        call = await rig.model.asked()
        texts = [part.text for m in call.request.messages for part in m.parts if isinstance(part, Text)]
        assert texts == ["one", "two", "other"]
        assert call.request.system_prompt == "Be brief."
        await call.finish("Yes.")
        assert [text for _, text in await rig.history(source_id)] == ["one", "two", "three"]


@pytest.mark.parametrize("message_id", [0, 3, 99])
async def test_a_message_that_is_not_there_is_not_found(rig: Rig, message_id: int) -> None:
    with anyio.fail_after(30):
        source_id = await rig.chat(messages=history("one", "two"))
        with pytest.raises(MessageNotFoundError):
            await rig.chats.fork(source_id, message_id)
        with pytest.raises(ChatNotFoundError):
            await rig.engine.chats_of("somebody else").fork(source_id, 1)
        assert await rig.chats.ids() == (source_id,)


async def test_a_chat_without_messages_has_nothing_to_fork(rig: Rig) -> None:
    with anyio.fail_after(30):
        with pytest.raises(MessageNotFoundError, match="nothing to fork"):
            await rig.chats.fork(await rig.chat(), None)


async def test_a_fork_of_an_archived_child_is_neither(rig: Rig) -> None:
    with anyio.fail_after(30):
        root = await rig.chat()
        child = await rig.chat(parent_chat_id=root, messages=history("one"))
        await rig.chats.archive(root)
        chat = (await rig.chats.fork(child, None)).chat
        assert (chat.archived, chat.parent_chat_id, chat.root_chat_id) == (False, None, None)
        rig.model.answer = [Text("Yes.")]
        assert (await rig.ask(chat.id)).ended.outcome == "completed"


async def test_an_untitled_fork_gets_its_title_from_its_first_question(rig: Rig) -> None:
    with anyio.fail_after(30):
        source_id = await rig.chat(messages=history("one"))
        fork = (await rig.chats.fork(source_id, None)).chat
        assert (fork.title, fork.title_is_automatic) == (None, True)
        again = (await rig.chats.fork(fork.id, None)).chat
        rig.model.answer = [Text("Yes.")]
        await rig.ask(again.id, "A new thought")
        assert (await rig.view(again.id)).chat.title == "A new thought"
        assert again.forked_from == ForkOrigin(fork.id, 1)


async def test_forks_of_forks_are_counted(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(title="Plan", messages=history("one"))
        titles: list[str | None] = []
        for _ in range(3):
            chat: Chat = (await rig.chats.fork(chat_id, None)).chat
            chat_id = chat.id
            titles.append(chat.title)
        assert titles == ["Plan (fork)", "Plan (fork 2)", "Plan (fork 3)"]


async def test_watchers_are_told_of_the_fork_alone(rig: Rig) -> None:
    watcher = Watcher()
    with anyio.fail_after(30):
        source_id = await rig.chat(messages=history("one"))
        rig.engine.watchers.add(ME, watcher)
        view = await rig.chats.fork(source_id, None)
    assert watcher.changes == [("created", view)]


async def test_a_fork_that_cannot_be_saved_is_not_there(rig: Rig) -> None:
    watcher = Watcher()
    with anyio.fail_after(30):
        source_id = await rig.chat(messages=history("one"))
        rig.engine.watchers.add(ME, watcher)
        rig.store.fail_next = 1
        with pytest.raises(StoreUnavailableError):
            await rig.chats.fork(source_id, None)
        assert await rig.chats.ids() == (source_id,)
    assert watcher.changes == []


async def test_an_answer_that_could_not_be_saved_is_part_of_the_fork(rig: Rig) -> None:
    with anyio.fail_after(30):
        source_id = await rig.chat()
        heard = await rig.listen(source_id)
        await rig.send(source_id)
        call = await rig.model.asked()
        rig.store.fail_next = 1
        await call.finish("Hello")
        await heard.ended()
        fork = (await rig.chats.fork(source_id, None)).chat
        assert await rig.history(fork.id) == [("user", "Hi"), ("assistant", "Hello")]


COPIED = {"kind", "model", "system_prompt", "settings", "context", "metadata", "found_tools"}
OWN = {
    *("id", "owner", "created_at", "updated_at", "title", "title_is_automatic", "forked_from"),
    *("last_message_id", "leaf_id"),
}
AT_THE_DEFAULT = {
    *("status", "last_error", "parent_chat_id", "root_chat_id", "archived", "pinned", "usage"),
    *("last_seq", "reserved_seq", "spawned_by", "child_count", "diff_status"),
}


def test_each_field_of_a_chat_is_copied_to_a_fork_or_is_left_out_on_purpose() -> None:
    undecided = set(Chat.__struct_fields__) - COPIED - OWN - AT_THE_DEFAULT
    assert not undecided, f"decide whether a fork has these fields of its source: {undecided}"


@settings(
    max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
@given(source=every_field(Chat, id="c1", owner=ME, leaf_id=1, last_message_id=1))
def test_a_fork_has_the_copied_fields_of_its_source_and_no_others(source: Chat) -> None:
    async def fork() -> Chat:
        state = MemoryState()
        await MemoryStore(state).commit(PutChat(source), AddMessage(a_message(1)))
        async with running(Disk(state)) as rig:
            return (await rig.chats.fork("c1", None)).chat

    made = asyncio.run(fork())
    for name in COPIED:
        assert getattr(made, name) == getattr(source, name), name
    for field in msgspec.structs.fields(Chat):
        if field.name in AT_THE_DEFAULT:
            assert getattr(made, field.name) != getattr(source, field.name), field.name
