"""Edit, retry, rewind, select: messages as a tree of which one path is shown, and nothing said is deleted."""

from typing import cast

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.core.events import (
    ChatChanged,
    HistoryReset,
    MessageAdded,
    QueueUpdated,
    StatusChanged,
    TurnEnded,
    TurnStarted,
)
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.records import Status
from parley_daemon.engine.errors import (
    ChatArchivedError,
    MessageNotFoundError,
    NotAUserMessageError,
)
from tests.support.engine.rig import Recorder, Rig
from tests.support.engine.scripted_model import ScriptedModel


async def told(rig: Rig, *texts: str) -> str:
    """Return a chat with so many questions, each answered with "A" and its text."""
    chat_id = await rig.chat()
    for text in texts:
        rig.model.answer = [Text(f"A{text}")]
        await rig.ask(chat_id, text)
    rig.model.answer = None
    return chat_id


async def ids(rig: Rig, chat_id: str) -> list[int]:
    return [one.id for one in (await rig.snapshot(chat_id)).messages]


async def texts(rig: Rig, chat_id: str) -> list[str]:
    return [text for _, text in await rig.history(chat_id)]


async def answer(rig: Rig, heard: Recorder, text: str, count: int = 1) -> None:
    await (await rig.model.asked()).finish(text)
    await heard.ended(count)


async def test_a_retried_question_gets_a_second_answer_beside_the_first(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1", "2")
        heard = await rig.listen(chat_id)
        accepted = await rig.retry(chat_id)
        call = await rig.model.asked()
        assert [plain_text(one.parts) for one in call.request.messages] == ["1", "A1", "2"]
        await call.finish("better")
        await heard.ended()
    assert accepted.message is not None
    assert plain_text(accepted.message.content) == "2"
    assert heard.outline[:5] == [
        "HistoryReset",
        "ChatChanged",
        "status pending",
        "TurnStarted",
        "status running",
    ]
    assert heard.of(HistoryReset) == [HistoryReset(3)]
    assert await texts(rig, chat_id) == ["1", "A1", "2", "better"]
    messages = (await rig.snapshot(chat_id)).messages
    assert messages[-1].siblings == (4, messages[-1].id)
    assert heard.of(MessageAdded)[-1].message == messages[-1]


async def test_any_earlier_question_can_be_answered_again_by_another_model(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1", "2")
        heard = await rig.listen(chat_id)
        await rig.retry(chat_id, 1, "test:other")
        other = cast("ScriptedModel", rig.catalogue.models["test:other"])
        call = await other.asked()
        assert call.prompt == "1"
        await call.finish("other")
        await heard.ended()
    assert heard.of(TurnStarted)[0].model == "test:other"
    assert await texts(rig, chat_id) == ["1", "other"]


async def test_retrying_after_a_failure_adds_no_question_and_resets_nothing(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "1")
        (await rig.model.asked()).fail()
        await heard.ended()
        await rig.retry(chat_id)
        await answer(rig, heard, "now", 2)
    assert await texts(rig, chat_id) == ["1", "now"]
    assert heard.of(HistoryReset) == []
    assert [one.outcome for one in heard.of(TurnEnded)] == ["failed", "completed"]


async def test_a_failed_retry_leaves_the_old_answer_to_be_selected(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1")
        heard = await rig.listen(chat_id)
        await rig.retry(chat_id)
        (await rig.model.asked()).fail()
        await heard.ended()
        assert await texts(rig, chat_id) == ["1"]
        await rig.select(chat_id, 2)
    assert await texts(rig, chat_id) == ["1", "A1"]
    assert (await rig.view(chat_id)).status is Status.ERROR


async def test_an_edited_question_is_a_sibling_of_the_old_one(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1", "2", "3")
        heard = await rig.listen(chat_id)
        accepted = await rig.edit(chat_id, 3, "two")
        call = await rig.model.asked()
        assert [plain_text(one.parts) for one in call.request.messages] == ["1", "A1", "two"]
        await call.finish("Atwo")
        await heard.ended()
    assert heard.outline[:4] == ["HistoryReset", "message user", "ChatChanged", "status pending"]
    assert heard.of(HistoryReset) == [HistoryReset(2)]
    assert accepted.message is not None
    assert accepted.message.siblings == (3, accepted.message.id)
    assert await texts(rig, chat_id) == ["1", "A1", "two", "Atwo"]
    await rig.select(chat_id, 3)
    assert await texts(rig, chat_id) == ["1", "A1", "2", "A2", "3", "A3"]
    assert (await rig.snapshot(chat_id)).messages[2].siblings == (3, accepted.message.id)


async def test_the_first_question_can_be_edited(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1")
        heard = await rig.listen(chat_id)
        await rig.edit(chat_id, 1, "one")
        await answer(rig, heard, "Aone")
    assert heard.of(HistoryReset) == [HistoryReset(None)]
    assert await texts(rig, chat_id) == ["one", "Aone"]


async def test_editing_clears_the_queue_and_tells_it(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1")
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "2")
        await rig.model.asked()
        await rig.send(chat_id, "waits")
        await rig.edit(chat_id, 1, "one")
        await answer(rig, heard, "Aone", 2)
    assert heard.of(QueueUpdated)[-1].queue == ()
    assert await texts(rig, chat_id) == ["one", "Aone"]
    assert (await rig.snapshot(chat_id)).queue == ()


@pytest.mark.parametrize("how", ["edit", "retry", "rewind", "select"])
async def test_a_running_turn_is_ended_first_and_its_partial_stays_on_its_branch(rig: Rig, how: str) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1")
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "2")
        call = await rig.model.asked()
        await call.say("Half")
        match how:
            case "edit":
                await rig.edit(chat_id, 1, "one")
            case "retry":
                await rig.retry(chat_id, 1)
            case "rewind":
                await rig.rewind(chat_id, 1)
            case _:
                await rig.select(chat_id, 1)
        await call.closed.wait()
        assert heard.of(TurnEnded)[0].outcome == "interrupted"
        kinds = [type(event) for event in heard.events]
        if how != "select":
            assert kinds.index(TurnEnded) < kinds.index(HistoryReset)
        if how in ("edit", "retry"):
            await answer(rig, heard, "new", 2)
    shown = {
        "edit": ["one", "new"],
        "retry": ["1", "new"],
        "rewind": ["1"],
        "select": ["1", "A1", "2", "Half"],
    }
    assert await texts(rig, chat_id) == shown[how]
    await rig.select(chat_id, 2)
    assert await texts(rig, chat_id) == ["1", "A1", "2", "Half"]


async def test_rewinding_and_selecting_say_what_is_shown_then(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1", "2")
        heard = await rig.listen(chat_id)
        view = await rig.rewind(chat_id, 2)
        assert view.chat.leaf_id == 2
        assert heard.outline == ["HistoryReset", "ChatChanged"]
        assert await texts(rig, chat_id) == ["1", "A1"]
        await rig.select(chat_id, 1)
        assert heard.outline[2:] == ["HistoryReset", "message user", "message assistant", "ChatChanged"]
        assert await texts(rig, chat_id) == ["1", "A1", "2", "A2"]
        await rig.select(chat_id, 1)
    assert len(heard.of(ChatChanged)) == 2


async def test_after_rewinding_the_next_message_is_a_sibling_of_what_followed(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1", "2")
        heard = await rig.listen(chat_id)
        await rig.rewind(chat_id, 2)
        sent = await rig.send(chat_id, "another 2")
        await answer(rig, heard, "A")
    assert sent.message is not None
    assert sent.message.siblings == (3, sent.message.id)


async def test_the_queue_goes_on_after_a_turn_was_stopped_for_a_rewind(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1")
        await rig.send(chat_id, "2")
        await rig.model.asked()
        await rig.send(chat_id, "waits")
        await rig.rewind(chat_id, 2)
        call = await rig.model.asked()
        assert [plain_text(one.parts) for one in call.request.messages] == ["1", "A1", "waits"]


async def test_branches_survive_a_restart(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1", "2")
        heard = await rig.listen(chat_id)
        await rig.edit(chat_id, 1, "one")
        await answer(rig, heard, "Aone")
        async with rig.restarted() as after:
            assert await texts(after, chat_id) == ["one", "Aone"]
            await after.select(chat_id, 1)
            assert await texts(after, chat_id) == ["1", "A1", "2", "A2"]
            first = (await after.snapshot(chat_id)).messages[0]
            assert len(first.siblings) == 2
            sent = await after.send(chat_id, "3")
            assert sent.message is not None
            assert sent.message.siblings == ()


@pytest.mark.parametrize("message_id", [2, 99])
async def test_only_user_messages_that_exist_can_be_edited_or_retried(rig: Rig, message_id: int) -> None:
    chat_id = await told(rig, "1")
    heard = await rig.listen(chat_id)
    wrong = NotAUserMessageError if message_id == 2 else MessageNotFoundError
    with pytest.raises(wrong):
        await rig.edit(chat_id, message_id, "x")
    with pytest.raises(wrong):
        await rig.retry(chat_id, message_id)
    with pytest.raises(MessageNotFoundError):
        await rig.rewind(chat_id, 99)
    with pytest.raises(MessageNotFoundError):
        await rig.select(chat_id, 99)
    assert heard.events == []
    assert (await rig.ask_quickly(chat_id)).ended.outcome == "completed"


async def test_an_empty_chat_has_nothing_to_retry(rig: Rig) -> None:
    with pytest.raises(MessageNotFoundError):
        await rig.retry(await rig.chat())


async def test_a_wrong_edit_does_not_disturb_the_turn_that_runs(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1")
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "2")
        call = await rig.model.asked()
        for wrong in (rig.edit(chat_id, 99, "x"), rig.retry(chat_id, 99), rig.rewind(chat_id, 99)):
            with pytest.raises(MessageNotFoundError):
                await wrong
        await call.finish("undisturbed")
        assert (await heard.ended()).outcome == "completed"


async def test_who_gives_an_edit_up_while_the_turn_is_stopped_leaves_a_chat_that_goes_on(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1")
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "2")
        call = await rig.model.asked()
        call.hang_in_cleanup()
        await rig.send(chat_id, "waits")
        async with anyio.create_task_group() as editing:
            editing.start_soon(rig.edit, chat_id, 1, "one")
            await heard.until(lambda: Status.INTERRUPTING in [e.status for e in heard.of(StatusChanged)])
            editing.cancel_scope.cancel()
        call.cleanup.set()
        assert (await rig.model.asked()).prompt == "waits"
    assert heard.of(HistoryReset) == []


async def test_many_edits_at_once_run_one_after_the_other_and_each_is_a_sibling(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await told(rig, "1")
        heard = await rig.listen(chat_id)
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(rig.edit, chat_id, 1, f"edit {number}")
        await rig.interrupt(chat_id)
        await heard.ended(5)
    first = (await rig.snapshot(chat_id)).messages[0]
    assert len(first.siblings) == 6
    begun = [one for one in heard.of(StatusChanged) if one.status is Status.PENDING]
    assert len(begun) == 5


async def test_an_archived_chat_keeps_its_branch(rig: Rig) -> None:
    chat_id = await told(rig, "1")
    await rig.update(chat_id, lambda chat: replace(chat, archived=True))
    for refused in (rig.edit(chat_id, 1, "x"), rig.retry(chat_id), rig.rewind(chat_id, 1)):
        with pytest.raises(ChatArchivedError):
            await refused
