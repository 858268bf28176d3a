"""Chats that come from elsewhere: as new ones, or merged into the one that is there."""

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.core.events import ChatChanged, HistoryReset, MessageAdded
from parley_daemon.core.parts import Text
from parley_daemon.core.records import AgentSettings, Message, ModelSettings, QueuedMessage, Status, Usage
from parley_daemon.engine.errors import ChatBusyError, ConflictError
from parley_daemon.ports.store import StoreUnavailableError, WholeChat
from tests.support.engine.records import a_chat, a_message, a_queued, a_turn
from tests.support.engine.rig import ME, Rig, Watcher, spoken


async def whole(rig: Rig, chat_id: str) -> WholeChat:
    return await rig.chats.read_whole(chat_id, max_bytes=10**6)


async def talked(rig: Rig, *questions: str, **fields: Any) -> str:
    """Create a chat in which these questions were answered "Yes."."""
    chat_id = await rig.chat(**fields)
    rig.model.answer = [Text("Yes.")]
    for question in questions:
        await rig.ask(chat_id, question, client_message_id=f"client {question}")
    rig.model.answer = None
    return chat_id


def further(given: WholeChat, *, after: int | None) -> WholeChat:
    """Return the chat with a question (10) and its answer (11) more, behind this message."""
    question = a_message(10, "more?", given.chat.id, parent_id=after, turn_id="new turn")
    answer = replace(a_message(11, "More.", given.chat.id, turn_id="new turn"), role="assistant")
    turn = a_turn("new turn", given.chat.id, outcome="completed", usage=Usage(1, 2, 3), user_message_id=10)
    return replace(
        given,
        chat=replace(given.chat, leaf_id=11, last_message_id=11),
        messages=(*given.messages, question, answer),
        turns=(*given.turns, turn),
    )


async def bring_in(rig: Rig, given: WholeChat, *, merge: bool = False) -> str:
    return (await rig.chats.import_chat(given, merge=merge)).chat.id


async def test_an_import_is_the_same_chat_under_new_ids(rig: Rig) -> None:
    watcher = Watcher()
    with anyio.fail_after(30):
        chat_id = await talked(rig, "one", "two", title="Plan", metadata={"a": 1})
        given = await whole(rig, chat_id)
        rig.engine.watchers.add(ME, watcher)
        copy_id = await bring_in(rig, given)
        copy = await whole(rig, copy_id)
        assert copy_id != chat_id
        assert copy.chat == replace(given.chat, id=copy_id, last_seq=0, reserved_seq=0)
        assert [replace(one, turn_id=None) for one in copy.messages] == [
            replace(one, chat_id=copy_id, turn_id=None) for one in given.messages
        ]
        assert not {turn.id for turn in copy.turns} & {turn.id for turn in given.turns}
        by_turn = [one.turn_id for one in copy.messages]
        assert by_turn == [copy.turns[0].id] * 2 + [copy.turns[1].id] * 2
        assert await whole(rig, chat_id) == given
        async with rig.restarted() as again:
            assert await whole(again, copy_id) == copy
    ((change, view),) = watcher.changes
    assert (change, view.chat.id, view.last_seq) == ("created", copy_id, 0)


async def test_the_tools_of_an_imported_chat_are_off(rig: Rig) -> None:
    settings = ModelSettings(agent=AgentSettings(mode="auto", max_steps=3))
    given = WholeChat(replace(a_chat("from.elsewhere"), settings=settings), queue=(
        replace(a_queued("q1", "from.elsewhere"), settings=settings),
    ))  # fmt: skip
    view = await rig.chats.import_chat(given, merge=False)
    assert view.chat.settings.agent == AgentSettings(max_steps=3)
    async with rig.chats.open(view.chat.id) as chat:
        (queued,) = (await chat.snapshot()).queue
    assert not queued.settings.agent.is_on


async def test_an_import_works_on_a_store_that_nobody_has_opened_yet(rig: Rig) -> None:
    given = WholeChat(a_chat(leaf_id=1, last_message_id=1), (a_message(1),))
    with anyio.fail_after(30):
        for merge in (False, True):
            assert await rig.history(await bring_in(rig, given, merge=merge)) == [("user", "hello")]


async def test_an_imported_chat_goes_on_where_it_ended(rig: Rig) -> None:
    with anyio.fail_after(30):
        copy_id = await bring_in(rig, await whole(rig, await talked(rig, "one")))
        first = await rig.send(copy_id, "again", client_message_id="client one")
        assert first.message is not None
        assert first.message.id == 1  # the client sent this once: it is answered with what became of it
        assert (await rig.wait(copy_id, first.turn_id)).ended.outcome == "completed"
        await rig.send(copy_id, "two")
        request = (await rig.model.asked()).request
        assert [message.role for message in request.messages] == ["user", "assistant", "user"]


async def test_an_imported_queue_waits_until_somebody_sends(rig: Rig) -> None:
    given = WholeChat(a_chat(), queue=(a_queued("q1"), a_queued("q2", client_message_id="mine")))
    with anyio.fail_after(30):
        copy_id = await bring_in(rig, given)
        snapshot = await rig.snapshot(copy_id)
        assert [one.content for one in snapshot.queue] == [one.content for one in given.queue]
        assert not {one.id for one in snapshot.queue} & {"q1", "q2"}
        assert (rig.engine.running_turns, snapshot.view.status) == (0, Status.WAITING)
        other_id = await bring_in(rig, given)
        rig.model.answer = [Text("Yes.")]
        heard = await rig.listen(copy_id)
        await rig.send(copy_id, "three")
        await heard.ended(3)
        asked = [text for role, text in await rig.history(copy_id) if role == "user"]
        assert asked == ["q1", "q2", "three"]
        assert len((await rig.snapshot(other_id)).queue) == 2


async def test_a_child_stays_below_its_parent_while_that_can_have_it(rig: Rig) -> None:
    with anyio.fail_after(30):
        root = await rig.chat()
        child = await rig.chat(parent_chat_id=root)
        given = await whole(rig, await rig.chat(parent_chat_id=child))

        async def place(given: WholeChat) -> tuple[str | None, str | None, bool]:
            chat = (await rig.view(await bring_in(rig, given))).chat
            return chat.parent_chat_id, chat.root_chat_id, chat.archived

        assert await place(given) == (child, root, False)
        await rig.chats.archive(root)
        assert await place(given) == (None, None, False)
        away = replace(given, chat=replace(given.chat, archived=True))
        assert await place(away) == (child, root, True)
        await rig.delete(child)
        assert await place(away) == (None, None, True)
        stranger = (await rig.engine.chats_of("somebody else").import_chat(given, merge=True)).chat
        assert (stranger.owner, stranger.parent_chat_id, stranger.id == given.chat.id) == (
            "somebody else",
            None,
            False,
        )


async def test_an_import_that_cannot_be_saved_is_not_there(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await talked(rig, "one")
        given = await whole(rig, chat_id)
        rig.store.fail_next = 1
        with pytest.raises(StoreUnavailableError):
            await bring_in(rig, given)
        assert await rig.chats.ids() == (chat_id,)


# ----------------------------------------------------------------------------- merging


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_merge_adds_what_is_missing_and_goes_on_with_the_branch(rig: Rig, in_memory: bool) -> None:
    with anyio.fail_after(30):
        chat_id = await talked(rig, "one", title="Mine")
        given = further(await whole(rig, chat_id), after=2)
        given = replace(given, chat=replace(given.chat, title="Theirs", system_prompt="Theirs"))
        async with rig.restarted() as fresh:
            there = rig if in_memory else fresh
            heard = await there.listen(chat_id)
            before = (await there.view(chat_id)).chat
            assert await bring_in(there, given, merge=True) == chat_id
            assert heard.outline == ["message user", "message assistant", "ChatChanged"]
            assert heard.seqs == [before.last_seq + number for number in (1, 2, 3)]
            assert await there.history(chat_id) == [
                ("user", "one"),
                ("assistant", "Yes."),
                ("user", "more?"),
                ("assistant", "More."),
            ]
            (changed,) = heard.of(ChatChanged)
            assert changed.chat.usage == before.usage.add(Usage(1, 2, 3))
            assert (changed.chat.title, changed.chat.system_prompt) == ("Mine", None)
            assert (changed.chat.leaf_id, changed.chat.last_message_id) == (11, 11)
            await there.send(chat_id, "and?")
            request = (await there.model.asked()).request
            assert len(request.messages) == 5
            assert spoken((await there.snapshot(chat_id)).messages)[-1] == ("user", "and?")
            assert (await there.snapshot(chat_id)).messages[-1].id == 12
        if in_memory:
            async with rig.restarted() as later:
                assert (await later.history(chat_id))[:4] == (await rig.history(chat_id))[:4]


async def test_merging_twice_is_merging_once(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await talked(rig, "one")
        given = further(await whole(rig, chat_id), after=2)
        await bring_in(rig, given, merge=True)
        once = await whole(rig, chat_id)
        heard = await rig.listen(chat_id)
        commits = len(rig.store.commits)
        for file in (given, once):
            await bring_in(rig, file, merge=True)
        assert await whole(rig, chat_id) == once
        assert heard.events == []
        assert len(rig.store.commits) == commits
        assert [turn.user_message_id for turn in once.turns] == [1, 10]
        assert {message.turn_id for message in once.messages} == {turn.id for turn in once.turns}


@pytest.mark.parametrize("after", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("rewound_to", [2, 4])
async def test_memory_and_listeners_know_of_a_merge_what_the_store_knows(
    rig: Rig, after: int | None, rewound_to: int
) -> None:
    """Wherever the new branch begins: beside what is shown, at its end, or where more was shown before."""
    with anyio.fail_after(30):
        chat_id = await talked(rig, "one", "two", "three")
        await rig.rewind(chat_id, rewound_to)
        given = further(await whole(rig, chat_id), after=after)
        before = list((await rig.snapshot(chat_id)).messages)
        heard = await rig.listen(chat_id)
        await bring_in(rig, given, merge=True)
        chat = (await rig.view(chat_id)).chat
        assert chat.leaf_id == (11 if after == rewound_to else rewound_to)
        stored = list((await rig.store.port.path(chat_id, chat.leaf_id)).messages)
        assert list((await rig.snapshot(chat_id)).messages) == stored
        shown = before
        for event in heard.events:
            match event:
                case HistoryReset(None):
                    shown = []
                case HistoryReset(kept):
                    shown = shown[: [message.id for message in shown].index(kept or 0) + 1]
                case MessageAdded(message):
                    shown = [*shown, message]
                case _:
                    assert isinstance(event, ChatChanged)
        assert shown == stored
        rig.model.answer = [Text("Yes.")]
        await rig.ask(chat_id, "and?")
        async with rig.restarted() as again:
            assert (await again.snapshot(chat_id)).messages == (await rig.snapshot(chat_id)).messages


async def test_a_branch_that_does_not_go_on_from_here_is_added_aside(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await talked(rig, "one", "two")
        given = further(await whole(rig, chat_id), after=2)
        heard = await rig.listen(chat_id)
        history = await rig.history(chat_id)
        await bring_in(rig, given, merge=True)
        assert heard.outline == ["HistoryReset", "message user", "message assistant", "ChatChanged"]
        assert await rig.history(chat_id) == history
        view = await rig.select(chat_id, 10)
        assert view.chat.leaf_id == 11
        assert [text for _, text in await rig.history(chat_id)] == ["one", "Yes.", "more?", "More."]


async def test_an_empty_chat_gets_all_of_it(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await bring_in(rig, further(await whole(rig, chat_id), after=None), merge=True)
        assert await rig.history(chat_id) == [("user", "more?"), ("assistant", "More.")]


def edited(message: Message) -> Message:
    return replace(message, content=(Text("Something else."),))


@pytest.mark.parametrize("clash", ["text", "parent", "client id", "queued client id"])
async def test_what_does_not_fit_is_a_conflict_and_changes_nothing(rig: Rig, clash: str) -> None:
    with anyio.fail_after(30):
        chat_id = await talked(rig, "one", "two")
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "three")
        call = await rig.model.asked()
        await rig.send(chat_id, "queued", client_message_id="queued")
        call.fail()
        await heard.ended()
        mine = await whole(rig, chat_id)
        given = further(mine, after=mine.chat.leaf_id)
        messages = list(given.messages)
        match clash:
            case "text":
                messages[1] = edited(messages[1])
            case "parent":
                messages[2] = replace(messages[2], parent_id=1)
            case "client id":
                messages[-2] = replace(messages[-2], client_message_id="client one")
            case _:
                messages[-2] = replace(messages[-2], client_message_id="queued")
        told = len(heard.events)
        with pytest.raises(ConflictError):
            await bring_in(rig, replace(given, messages=tuple(messages)), merge=True)
        assert await whole(rig, chat_id) == mine
        assert len(heard.events) == told
        assert await rig.chats.ids() == (chat_id,)


async def test_a_chat_with_a_turn_is_not_merged_into(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await talked(rig, "one")
        given = further(await whole(rig, chat_id), after=2)
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "two")
        call = await rig.model.asked()
        with pytest.raises(ChatBusyError):
            await bring_in(rig, given, merge=True)
        assert await rig.chats.ids() == (chat_id,)
        await call.finish("2")
        await heard.ended()
        await bring_in(rig, given, merge=True)
        assert (await rig.store.port.message(chat_id, 11)) is not None


async def test_a_turn_of_another_chat_is_never_overwritten(rig: Rig) -> None:
    """Ids in a file are whatever its author wrote, and ids of turns are unique over all chats."""
    with anyio.fail_after(30):
        other = await whole(rig, await talked(rig, "mine"))
        target = await talked(rig, "one")
        given = further(await whole(rig, target), after=2)
        stolen = replace(given.turns[-1], id=other.turns[0].id)
        given = replace(given, turns=(*given.turns[:-1], stolen))
        queue: tuple[QueuedMessage, ...] = (a_queued("q", turn_id=other.turns[0].id),)
        await bring_in(rig, given, merge=True)
        await bring_in(rig, replace(given, queue=queue))
        assert await whole(rig, other.chat.id) == other


async def test_without_the_chat_a_merge_is_an_import(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await talked(rig, "one")
        given = await whole(rig, chat_id)
        await rig.delete(chat_id)
        copy_id = await bring_in(rig, given, merge=True)
        assert copy_id != chat_id
        assert await rig.history(copy_id) == [("user", "one"), ("assistant", "Yes.")]


async def test_a_merge_that_cannot_be_saved_changes_nothing(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await talked(rig, "one")
        mine = await whole(rig, chat_id)
        given = further(mine, after=2)
        heard = await rig.listen(chat_id)
        rig.store.fail_next = 1
        with pytest.raises(StoreUnavailableError):
            await bring_in(rig, given, merge=True)
        assert await whole(rig, chat_id) == mine
        assert (await rig.history(chat_id), heard.events) == ([("user", "one"), ("assistant", "Yes.")], [])
        await bring_in(rig, given, merge=True)
        assert len(await rig.history(chat_id)) == 4
