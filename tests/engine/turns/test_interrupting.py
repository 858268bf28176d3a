"""A turn is interrupted at any moment: it ends once, what was streamed is kept, the chat is free at once."""

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from parley_daemon.core.events import MessageAdded, TurnEnded
from parley_daemon.core.parts import Reasoning, Text, ToolCallPiece
from parley_daemon.core.records import Status
from parley_daemon.engine.errors import ConflictError
from parley_daemon.engine.turns import run
from parley_daemon.engine.turns.calls import deadlines
from parley_daemon.engine.turns.retry import RetryPolicy
from tests.support.engine.rig import Recorder, Rig, running
from tests.support.engine.rig import limits as limits_of
from tests.support.engine.scripted_model import ScriptedCall


async def before_the_first_part(rig: Rig, chat_id: str, heard: Recorder) -> None:
    await rig.send(chat_id)
    await rig.model.asked()
    await heard.until(lambda: "status running" in heard.outline)


async def while_streaming(rig: Rig, chat_id: str, heard: Recorder) -> None:
    await rig.send(chat_id)
    call = await rig.model.asked()
    await call.say(Reasoning("Hm."))
    await call.say("Hel", "lo")


async def with_a_piece_on_its_way(rig: Rig, chat_id: str, heard: Recorder) -> None:
    await while_streaming(rig, chat_id, heard)
    rig.model.calls[-1].release([Text(" never told")])


async def right_after_the_send(rig: Rig, chat_id: str, heard: Recorder) -> None:
    await rig.send(chat_id)


async def with_a_tool_call_half_said(rig: Rig, chat_id: str, heard: Recorder) -> None:
    await while_streaming(rig, chat_id, heard)
    await rig.model.calls[-1].say(ToolCallPiece("c", "run", '{"pa'))


Phase = Callable[[Rig, str, Recorder], Awaitable[None]]
PHASES: list[Phase] = [
    right_after_the_send,
    before_the_first_part,
    while_streaming,
    with_a_piece_on_its_way,
    with_a_tool_call_half_said,
]


@pytest.mark.parametrize("reach", PHASES)
async def test_an_interrupt_ends_the_turn_and_keeps_what_was_streamed(rig: Rig, reach: Phase) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await reach(rig, chat_id, heard)
        view = await rig.interrupt(chat_id)
        assert view.status is Status.INTERRUPTING
        ended = await heard.ended()
        assert (ended.outcome, ended.error, ended.stop_reason) == ("interrupted", None, None)
        assert rig.engine.running_turns == 0
        kept = [one.message for one in heard.of(MessageAdded) if one.message.role == "assistant"]
        assert "".join([text for role, text in await rig.history(chat_id) if role != "user"]) == heard.text
        assert all(not message.complete for message in kept)
        again = await rig.send(chat_id, "again", when_busy="reject")
        assert again.message is not None
        while (call := await rig.model.asked()).prompt != "again":
            await call.closed.wait()
        await call.finish("Yes.")
        await heard.ended(2)
    assert [one.outcome for one in heard.of(TurnEnded)] == ["interrupted", "completed"]
    assert heard.seqs == list(range(1, len(heard.seqs) + 1))


async def test_a_turn_that_waits_for_a_slot_can_be_interrupted() -> None:
    with anyio.fail_after(30):
        async with running(max_running_turns=1) as rig:
            first, second = await rig.chat(), await rig.chat()
            heard = await rig.listen(second)
            await rig.send(first)
            await rig.model.asked()
            await rig.send(second)
            assert (await rig.view(second)).status is Status.PENDING
            await rig.interrupt(second)
            ended = await heard.ended()
            assert (ended.outcome, ended.timings.attempts) == ("interrupted", 0)
            assert "TurnStarted" not in heard.outline
            assert await rig.history(second) == [("user", "Hi")]
            assert len(rig.model.calls) == 1
            await rig.send(second, "again")
            await rig.model.calls[0].finish("one")
            await (await rig.model.asked()).finish("two")
            await heard.ended(2)


async def test_an_interrupt_while_the_send_is_committed_takes_effect_after_it(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            tasks.start_soon(rig.send, chat_id)
            await rig.store.waiting()
            tasks.start_soon(rig.interrupt, chat_id)
            await anyio.wait_all_tasks_blocked()
            rig.store.release()
        assert (await heard.ended()).outcome == "interrupted"
    assert await rig.history(chat_id) == [("user", "Hi")]


async def test_an_interrupt_while_the_answer_is_committed_comes_too_late(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            await call.finish("Yes.")
            await rig.store.waiting()
            tasks.start_soon(rig.interrupt, chat_id)
            await anyio.wait_all_tasks_blocked()
            rig.store.release()
        assert (await heard.ended()).outcome == "completed"
        assert len(heard.of(TurnEnded)) == 1
        assert (await rig.interrupt(chat_id)).status is Status.WAITING


async def test_a_turn_that_fails_while_it_is_being_stopped_is_interrupted(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        call = await rig.model.asked()
        await call.say("Half")
        async with anyio.create_task_group() as tasks:
            rig.store.hold()
            tasks.start_soon(rig.send, chat_id, "two", "interrupt")
            await rig.store.waiting()
            call.fail()
            await call.closed.wait()
            await anyio.wait_all_tasks_blocked()
            rig.store.release()
        ended = await heard.ended()
        assert (ended.outcome, ended.error) == ("interrupted", None)
        await (await rig.model.asked()).finish("Yes.")
        await heard.ended(2)
    expected = [("user", "one"), ("assistant", "Half"), ("user", "two"), ("assistant", "Yes.")]
    assert await rig.history(chat_id) == expected


async def test_interrupting_twice_ends_the_turn_once(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id)
        call = await rig.model.asked()
        await call.say("Hello")
        await rig.interrupt(chat_id)
        await rig.interrupt(chat_id)
        await heard.ended()
        await rig.interrupt(chat_id)
        await anyio.wait_all_tasks_blocked()
    assert heard.outline.count("status interrupting") == 1
    assert len(heard.of(TurnEnded)) == 1


async def test_after_an_interrupt_the_queue_goes_on_behind_the_partial_answer(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        call = await rig.model.asked()
        await rig.send(chat_id, "two")
        await call.say("Par")
        await rig.interrupt(chat_id)
        call = await rig.model.asked()
        assert [message.role for message in call.request.messages] == ["user", "assistant", "user"]
        await call.finish("Yes.")
        await heard.ended(2)
    expected = [("user", "one"), ("assistant", "Par"), ("user", "two"), ("assistant", "Yes.")]
    assert await rig.history(chat_id) == expected


async def test_only_the_turn_that_is_meant_is_interrupted(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        first = await rig.send(chat_id, "one")
        call = await rig.model.asked()
        await call.finish("1")
        await heard.ended()
        await rig.send(chat_id, "two")
        await rig.interrupt(chat_id, first.turn_id)
        call = await rig.model.asked()
        await call.finish("2")
        assert (await heard.ended(2)).outcome == "completed"


async def test_interrupting_a_turn_that_waits_in_the_queue_takes_its_message_back(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "one")
        call = await rig.model.asked()
        queued = await rig.send(chat_id, "two")
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(ConflictError):
                    await rig.wait(chat_id, queued.turn_id)

            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await rig.interrupt(chat_id, queued.turn_id)
        assert (await rig.snapshot(chat_id)).queue == ()
        await call.finish("1")
        await heard.ended()
    assert await rig.history(chat_id) == [("user", "one"), ("assistant", "1")]


async def hang(rig: Rig, chat_id: str) -> ScriptedCall:
    await rig.send(chat_id)
    call = await rig.model.asked()
    call.hang_in_cleanup()
    await call.say("Hello")
    return call


async def test_a_model_that_does_not_go_away_does_not_keep_its_turn(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "CLEANUP_SECONDS", 0.02)
    monkeypatch.setattr(run, "CLEANUP_SECONDS", 0.02)
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        call = await hang(rig, chat_id)
        await rig.interrupt(chat_id)
        assert (await heard.ended()).outcome == "interrupted"
        rig.model.answer = [Text("Yes.")]
        assert (await rig.ask(chat_id, "again")).ended.outcome == "completed"
        call.cleanup.set()
        await anyio.wait_all_tasks_blocked()
    assert await rig.history(chat_id) == [
        *(("user", "Hi"), ("assistant", "Hello"), ("user", "again"), ("assistant", "Yes."))
    ]


async def test_a_model_that_does_not_go_away_does_not_keep_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CLEANUP_SECONDS", 0.02)
    with anyio.fail_after(30):
        async with running(max_running_turns=1) as rig:
            chat_id, other = await rig.chat(), await rig.chat()
            heard = await rig.listen(chat_id)
            call = await hang(rig, chat_id)
            await rig.interrupt(chat_id)
            await heard.ended()
            rig.model.answer = [Text("Yes.")]
            assert (await rig.ask(other)).ended.outcome == "completed"
            call.cleanup.set()


async def test_a_model_that_hangs_past_its_time_limit_is_given_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "CLEANUP_SECONDS", 0.02)
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, settings=limits_of(idle_ms=20))
        call = await rig.model.asked()
        call.hang_in_cleanup()
        await call.say("Hello")
        ended = await heard.ended()
        assert ended.error is not None
        assert (ended.outcome, ended.error.kind) == ("failed", "stream_idle")
        call.cleanup.set()


async def test_a_model_that_was_given_up_is_not_asked_again_for_a_turn_that_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadlines, "CLEANUP_SECONDS", 0.02)
    with anyio.fail_after(30):
        async with running(retries=RetryPolicy(attempts=3, first=0.0)) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id, settings=limits_of(idle_ms=20))
            call = await rig.model.asked()
            call.hang_in_cleanup()
            await call.say("Hello")
            await heard.ended()
            call.cleanup.set()
            await anyio.wait_all_tasks_blocked()
            assert len(rig.model.calls) == 1
            assert isinstance(heard.events[-1], TurnEnded)


async def test_interrupts_at_every_step_of_a_turn_leave_nothing_running(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        rig.model.answer = [Text("Yes.")]
        for number in range(1, 121):
            await rig.send(chat_id)
            for _ in range(number % 40):
                await anyio.lowlevel.checkpoint()
            await rig.interrupt(chat_id)
            await heard.ended(number)
        await anyio.wait_all_tasks_blocked()
    assert rig.engine.running_turns == 0
    assert not [task for task in anyio.get_running_tasks() if (task.name or "").startswith("turn ")]
    assert {one.outcome for one in heard.of(TurnEnded)} == {"interrupted", "completed"}
