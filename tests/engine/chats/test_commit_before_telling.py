"""Nobody hears of anything that a crash could take back: first the commit, then answer, events, state."""

import anyio
import pytest

from parley_daemon.core.events import TurnEnded
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Status
from parley_daemon.engine.chats.acceptance import Acceptance, Draft
from parley_daemon.engine.errors import ChatBusyError
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.ports.store_writes import AddMessage, PutTurn
from tests.support.engine.rig import Recorder, Rig


async def test_nothing_of_a_send_is_told_before_its_commit(rig: Rig) -> None:
    chat_id = await rig.chat()
    heard = await rig.listen(chat_id)
    answers: list[Acceptance] = []
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            draft = Draft((Text("Hi"),))
            tasks.start_soon(rig.send_draft, chat_id, draft, "queue", answers.append)
            await rig.store.waiting()
            call = await rig.model.asked()  # asking the model ahead is fine, telling is not
            said = call.release([Text("Hello")])
            await anyio.wait_all_tasks_blocked()
            assert heard.published == []
            assert answers == []
            snapshot = await rig.snapshot(chat_id)
            assert (snapshot.view.status, snapshot.messages) == (Status.WAITING, ())
            assert snapshot.preview is None
            rig.store.release()
            await said.wait()
            await call.finish()
            await heard.ended()
    assert len(answers) == 1
    assert heard.text == "Hello"
    assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", "Hello")]


async def test_nothing_of_an_end_is_told_before_its_commit(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("Hello")
        told = len(heard.published)
        rig.store.hold()
        await call.finish()
        await rig.store.waiting()
        snapshot = await rig.snapshot(chat_id)
        assert snapshot.view.status is Status.RUNNING
        assert snapshot.preview is not None
        assert [message.role for message in snapshot.messages] == ["user"]
        assert len(heard.published) == told
        rig.store.release()
        await heard.ended()
    (last,) = rig.store.commits[-1:]
    assert {AddMessage, PutTurn} <= {type(write) for write in last}


@pytest.mark.parametrize("when_busy", ["queue", "reject"])
async def test_two_sends_at_once_never_both_start(rig: Rig, when_busy: str) -> None:
    chat_id = await rig.chat()
    answers: list[Acceptance] = []
    refused: list[ChatBusyError] = []

    async def send(text: str) -> None:
        try:
            answers.append(await rig.send(chat_id, text, "queue" if when_busy == "queue" else "reject"))
        except ChatBusyError as error:
            refused.append(error)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            for text in ("one", "two", "three"):
                tasks.start_soon(send, text)
            await rig.store.waiting()
            await anyio.wait_all_tasks_blocked()
            assert len(rig.model.calls) == 1
            rig.store.release()
    assert len([answer for answer in answers if answer.message]) == 1
    assert len([answer for answer in answers if answer.queued]) == (2 if when_busy == "queue" else 0)
    assert len(refused) == (0 if when_busy == "queue" else 2)
    assert len(rig.model.calls) == 1


async def test_a_send_that_cannot_be_committed_leaves_no_trace(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        rig.store.hold()
        rig.store.broken = True
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                with pytest.raises(StoreUnavailableError):
                    await rig.send(chat_id)

            tasks.start_soon(send)
            call = await rig.model.asked()
            call.release([Text("never told")])
            await rig.store.waiting()
            rig.store.release()
            await call.closed.wait()
        assert heard.published == []
        assert (await rig.view(chat_id)).status is Status.WAITING
        assert rig.engine.running_turns == 0
        rig.store.broken = False
        await rig.send(chat_id, "again")
        await (await rig.model.asked()).finish("Yes.")
        await heard.ended()
    assert await rig.history(chat_id) == [("user", "again"), ("assistant", "Yes.")]
    assert heard.seqs == list(range(1, len(heard.seqs) + 1))


async def test_a_model_that_breaks_before_a_commit_that_fails_leaves_no_task(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        rig.store.hold()
        rig.store.broken = True
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                with pytest.raises(StoreUnavailableError):
                    await rig.send(chat_id)

            tasks.start_soon(send)
            call = await rig.model.asked()
            call.fail(RuntimeError("a fault of the adapter"))
            await anyio.wait_all_tasks_blocked()
            rig.store.release()
        await anyio.wait_all_tasks_blocked()
    assert not [task for task in anyio.get_running_tasks() if (task.name or "").startswith("turn ")]


async def test_whoever_attaches_between_the_commit_and_the_first_part_gets_no_text_twice(rig: Rig) -> None:
    chat_id = await rig.chat()
    late = Recorder()
    previews: list[object] = []

    async def attach() -> None:
        attachment = await rig.attach_sink(chat_id, late)
        assert attachment.snapshot is not None
        previews.append(attachment.snapshot.preview)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            draft = Draft((Text("Hi"),))

            def accepted(_: Acceptance) -> None:  # right after the commit, before the turn's own task goes on
                tasks.start_soon(attach)

            tasks.start_soon(rig.send_draft, chat_id, draft, "queue", accepted)
            call = await rig.model.asked()
            call.release([Text("Hello")])
            await anyio.wait_all_tasks_blocked()
            rig.store.release()
            await call.finish(" again")
            await late.ended()
    assert previews == [None]
    assert late.text == "Hello again"


async def test_an_interrupt_before_the_first_part_keeps_only_what_was_streamed(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        async with anyio.create_task_group() as tasks:
            rig.store.hold()

            def accepted(_: Acceptance) -> None:
                tasks.start_soon(rig.interrupt, chat_id)

            tasks.start_soon(rig.send_draft, chat_id, Draft((Text("Hi"),)), "queue", accepted)
            call = await rig.model.asked()
            call.release([Text("Hello")])
            await anyio.wait_all_tasks_blocked()
            rig.store.release()
        await heard.ended()
    kept = [text for role, text in await rig.history(chat_id) if role == "assistant"]
    assert "".join(kept) == heard.text


@pytest.mark.parametrize("step", ["send", "finish"])
async def test_a_caller_who_gives_up_during_a_commit_leaves_memory_and_disk_equal(
    rig: Rig, step: str
) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            tasks.start_soon(rig.send, chat_id)
            await rig.store.waiting()
            if step == "send":
                tasks.cancel_scope.cancel()
            rig.store.release()
        await (await rig.model.asked()).finish("Yes.")
        ended = await heard.ended()
        assert ended.outcome == "completed"
        async with rig.restarted() as again:
            assert await again.history(chat_id) == await rig.history(chat_id)


async def test_a_chat_whose_creation_was_given_up_is_either_there_or_not(rig: Rig) -> None:
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            tasks.start_soon(rig.chat)
            await rig.store.waiting()
            tasks.cancel_scope.cancel()
            rig.store.release()
        for chat_id in await rig.chats.ids():
            assert (await rig.view(chat_id)).status is Status.WAITING


async def test_a_deletion_that_was_given_up_during_its_commit_is_carried_out(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            tasks.start_soon(rig.delete, chat_id)
            await rig.store.waiting()
            tasks.cancel_scope.cancel()
            rig.store.release()
        assert heard.outline == ["ChatChanged"]
        assert await rig.chats.ids() == ()
    assert heard.of(TurnEnded) == []
