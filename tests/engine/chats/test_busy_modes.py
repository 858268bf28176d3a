"""A message to a busy chat: queue, steer, interrupt, reject; and changing what waits."""

import anyio
import pytest

from parley_daemon.core.commands import WhenBusy
from parley_daemon.core.events import MessageAdded, QueueUpdated, TurnEnded
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.records import Status
from parley_daemon.engine.chats.acceptance import Acceptance
from parley_daemon.engine.errors import ChatBusyError, ConflictError, NotQueuedError
from tests.support.engine.rig import Rig, running


async def waiting(rig: Rig, chat_id: str) -> list[str]:
    return [plain_text(one.content) for one in (await rig.snapshot(chat_id)).queue]


def queued_id(accepted: Acceptance) -> str:
    assert accepted.queued is not None
    return accepted.queued.id


@pytest.mark.parametrize("when_busy", ["queue", "steer", "interrupt", "reject"])
async def test_an_idle_chat_starts_whatever_was_wanted_for_a_busy_one(rig: Rig, when_busy: WhenBusy) -> None:
    chat_id = await rig.chat()
    accepted = await rig.send(chat_id, "Hi", when_busy)
    assert accepted.disposition == "started"
    assert accepted.message is not None


@pytest.mark.parametrize(
    ("when_busy", "disposition"),
    [("queue", "queued"), ("steer", "steered"), ("interrupt", "interrupting")],
)
async def test_the_disposition_says_what_became_of_a_message(
    rig: Rig, when_busy: WhenBusy, disposition: str
) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        first = await rig.send(chat_id, "first")
        await rig.model.asked()
        accepted = await rig.send(chat_id, "second", when_busy)
    assert accepted.disposition == disposition
    assert accepted.message is None
    assert accepted.queued is not None
    assert (accepted.turn_id == first.turn_id) == (when_busy == "steer")


async def test_rejecting_leaves_everything_as_it_was(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.send(chat_id)
        heard = await rig.listen(chat_id)
        with pytest.raises(ChatBusyError):
            await rig.send(chat_id, "not now", "reject")
        assert heard.of(QueueUpdated) == []
        assert await waiting(rig, chat_id) == []


async def test_an_interrupting_message_comes_after_the_partial_answer(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "first")
        await (await rig.model.asked()).say("Half an ans")
        await rig.send(chat_id, "second", "interrupt")
        call = await rig.model.asked()
        await call.finish("whole")
        await heard.ended(2)
        assert [plain_text(one.parts) for one in call.request.messages] == ["first", "Half an ans", "second"]
    assert [one.outcome for one in heard.of(TurnEnded)] == ["interrupted", "completed"]
    assert await rig.history(chat_id) == [
        ("user", "first"),
        ("assistant", "Half an ans"),
        ("user", "second"),
        ("assistant", "whole"),
    ]


async def test_interrupting_goes_through_the_queue_in_its_order(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "first")
        await rig.model.asked()
        await rig.send(chat_id, "queued before")
        await rig.send(chat_id, "impatient", "interrupt")
        for text in ("queued before", "impatient"):
            call = await rig.model.asked()
            assert call.prompt == text
            await call.finish("ok")
        await heard.ended(3)


async def test_a_steering_message_joins_the_turn_after_the_call_that_runs(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        first = await rig.send(chat_id, "Tell me a story.")
        call = await rig.model.asked()
        await call.say("Once upon")
        await rig.send(chat_id, "later", "queue")
        await rig.send(chat_id, "With a dragon!", "steer")
        await rig.send(chat_id, "And a knight!", "steer")
        assert await waiting(rig, chat_id) == ["With a dragon!", "And a knight!", "later"]
        await call.finish(" a time.")
        call = await rig.model.asked()
        assert [plain_text(one.parts) for one in call.request.messages] == [
            "Tell me a story.",
            "Once upon a time.",
            "With a dragon!",
            "And a knight!",
        ]
        await call.finish("A dragon came.")
        await heard.ended()
        call = await rig.model.asked()
        assert call.prompt == "later"
        await call.finish("Yes?")
        await heard.ended(2)
        done = await rig.wait(chat_id, first.turn_id)
    assert heard.of(TurnEnded)[0].turn_id == first.turn_id
    assert done.ended.usage is not None
    turns = {plain_text(one.message.content): one.turn_id for one in heard.of(MessageAdded)}
    assert turns["With a dragon!"] == turns["A dragon came."] == first.turn_id
    assert [text for role, text in await rig.history(chat_id) if role == "assistant"] == [
        "Once upon a time.",
        "A dragon came.",
        "Yes?",
    ]


async def test_a_steered_turn_returns_all_of_its_answers_and_the_usage_of_all_calls(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        first = await rig.send(chat_id)
        call = await rig.model.asked()
        await rig.send(chat_id, "more", "steer")
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                done = await rig.wait(chat_id, first.turn_id)
                assert [plain_text(one.content) for one in done.messages] == ["one", "two"]
                assert done.ended.usage is not None
                assert done.ended.usage.output_tokens == 10
                assert [one.usage.output_tokens for one in done.messages if one.usage] == [5, 5]

            tasks.start_soon(wait)
            await call.finish("one")
            await (await rig.model.asked()).finish("two")


@pytest.mark.parametrize("end", ["interrupt", "fail"])
async def test_a_message_that_could_not_steer_waits_for_its_own_turn(rig: Rig, end: str) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("Half")
        await rig.send(chat_id, "steer me", "steer")
        if end == "interrupt":
            await rig.interrupt(chat_id)
        else:
            call.fail()
            await heard.ended()
            assert await waiting(rig, chat_id) == ["steer me"]
            await rig.send(chat_id, "next")
        call = await rig.model.asked()
        assert call.prompt == "steer me"
        await call.finish("ok")


async def test_a_crash_keeps_the_order_that_steering_and_promoting_gave_the_queue() -> None:
    with anyio.fail_after(30):
        async with running() as rig:
            chat_id = await rig.chat()
            await rig.send(chat_id)
            await rig.model.asked()
            await rig.send(chat_id, "a")
            await rig.send(chat_id, "b")
            await rig.send(chat_id, "steers", "steer")
            async with rig.restarted() as after:
                assert await waiting(after, chat_id) == ["steers", "a", "b"]
                assert after.model.calls == []


async def test_a_waiting_message_can_be_rewritten_and_that_is_what_the_model_gets(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        id = queued_id(await rig.send(chat_id, "tpyo"))
        await rig.send(chat_id, "behind")
        assert await rig.change_queue(chat_id, lambda chat: chat.edit(id, (Text("typo"),))) == [
            "typo",
            "behind",
        ]
        assert [plain_text(one.content) for one in heard.of(QueueUpdated)[-1].queue] == ["typo", "behind"]
        await call.finish("ok")
        assert (await rig.model.asked()).prompt == "typo"


async def test_a_removed_message_does_not_run_and_who_waits_for_it_is_told(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        accepted = await rig.send(chat_id, "never mind")
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(ConflictError):
                    await rig.wait(chat_id, accepted.turn_id)

            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            assert await rig.change_queue(chat_id, lambda chat: chat.remove(queued_id(accepted))) == []
        await call.finish("ok")
        await heard.ended()
    assert (await rig.view(chat_id)).status is Status.WAITING
    assert len(rig.model.calls) == 1


async def test_a_promoted_message_runs_next_and_interrupts_the_turn(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        await (await rig.model.asked()).say("Half")
        await rig.send(chat_id, "a")
        id = queued_id(await rig.send(chat_id, "b"))
        await rig.change_queue(chat_id, lambda chat: chat.promote(id))
        for text in ("b", "a"):
            call = await rig.model.asked()
            assert call.prompt == text
            await call.finish("ok")
        await heard.ended(3)
    assert [one.outcome for one in heard.of(TurnEnded)] == ["interrupted", "completed", "completed"]


async def test_promoting_wakes_a_chat_whose_last_turn_failed(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await rig.send(chat_id, "a")
        id = queued_id(await rig.send(chat_id, "b"))
        call.fail()
        await heard.ended()
        assert await rig.change_queue(chat_id, lambda chat: chat.promote(id)) == ["a"]
        assert (await rig.model.asked()).prompt == "b"


async def test_what_is_not_in_the_queue_cannot_be_changed(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.send(chat_id)
        id = queued_id(await rig.send(chat_id, "once"))
        await rig.change_queue(chat_id, lambda chat: chat.remove(id))
        for change in ("remove", "promote"):
            with pytest.raises(NotQueuedError):
                await rig.change_queue(chat_id, lambda chat, name=change: getattr(chat, name)(id))
        with pytest.raises(NotQueuedError):
            await rig.change_queue(chat_id, lambda chat: chat.edit(id, (Text("late"),)))


async def test_a_message_that_comes_while_the_branch_of_a_resting_chat_changes_runs_then() -> None:
    with anyio.fail_after(30):
        async with running() as rig:  # in memory, where a read takes no time, the order is certain
            chat_id = await rig.chat()
            await rig.ask_quickly(chat_id, "1")
            async with anyio.create_task_group() as tasks:
                rig.store.hold()
                tasks.start_soon(rig.retitle, chat_id, "Everybody waits for this commit")
                await rig.store.waiting()
                tasks.start_soon(rig.rewind, chat_id, 1)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(rig.send, chat_id, "2")
                await anyio.wait_all_tasks_blocked()
                rig.store.release()
            call = await rig.model.asked()
    assert [plain_text(one.parts) for one in call.request.messages] == ["1", "2"]
