"""Chats that are too long, and summaries where turns or the summaries themselves fail: nobody is stuck."""

import anyio
import pytest

from parley_daemon.core.events import ChatChanged, Retrying, TurnEnded
from parley_daemon.core.parts import plain_text
from parley_daemon.core.records import Failure, Status, Usage
from parley_daemon.core.refusals import ADVICE_ON_LENGTH
from parley_daemon.engine.collection.new_chat import RestoredMessage
from parley_daemon.engine.errors import ConflictError
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.engine.turns.summarize import SummaryPolicy
from parley_daemon.ports.models import Finish, ModelError, UsageReport
from tests.engine.turns.test_titles_and_compaction import TOO_LONG, history, sent
from tests.support.engine.rig import Rig, running
from tests.support.engine.scripted_model import ScriptedCall

OVERLOADED = ModelError(Failure("overloaded", "Busy.", provider="test"))


async def summary_asked(rig: Rig) -> ScriptedCall:
    """Return the next call, which asks for a summary."""
    call = await rig.model.asked()
    assert call.request.purpose == "summary"
    return call


async def compact(rig: Rig, chat_id: str, notes: str = "Notes.") -> ScriptedCall:
    """Compact a chat by hand; return the call for the summary."""
    calls: list[ScriptedCall] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rig.compact, chat_id)
        calls.append(await summary_asked(rig))
        await calls[0].finish(notes)
    return calls[0]


# ---------------------------------------------------------- the question is always asked


async def test_a_question_without_an_answer_is_not_summarised_but_asked(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("1", "A1", "2", "A2"))
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "What now?")
        (await rig.model.asked()).fail(OVERLOADED)
        await heard.ended()
        assert "What now?" not in sent(await compact(rig, chat_id))[0]
        await rig.retry(chat_id)
        assert sent(await rig.model.asked())[1:] == ["What now?"]


async def test_a_summary_behind_a_turn_leaves_the_next_question_alone() -> None:
    with anyio.fail_after(30):
        async with running(summaries=SummaryPolicy(threshold=0)) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id, "1")
            call = await rig.model.asked()
            await rig.send(chat_id, "2")
            await call.finish("A1")
            calls = [await rig.model.asked(), await rig.model.asked()]
            (question,) = [one for one in calls if one.request.purpose == "answer"]
            (notes,) = [one for one in calls if one.request.purpose == "summary"]
            changes = len(heard.of(ChatChanged))
            await notes.finish("Notes.")
            await heard.until(lambda: len(heard.of(ChatChanged)) > changes)
            question.fail(OVERLOADED)
            await heard.ended(2)
            await rig.retry(chat_id)
            assert sent(await rig.model.asked())[-1] == "2"


async def test_a_question_that_a_summary_has_passed_is_asked_when_one_comes_back_to_it(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("1", "A1"))
        heard = await rig.listen(chat_id)
        first = await rig.send(chat_id, "2")
        (await rig.model.asked()).fail(OVERLOADED)
        await heard.ended()
        await rig.send(chat_id, "3")
        (await rig.model.asked()).fail(TOO_LONG)
        await (await summary_asked(rig)).finish("They said 1 and 2.")
        call = await rig.model.asked()
        assert sent(call)[1:] == ["3"]
        call.fail(OVERLOADED)
        await heard.ended(2)
        await rig.retry(chat_id)
        call = await rig.model.asked()
        assert sent(call)[1:] == ["3"], "the summary counts for the question behind it"
        await call.finish("A3")
        await heard.ended(3)
        assert first.message is not None
        await rig.retry(chat_id, first.message.id)
        assert sent(await rig.model.asked())[-1] == "2"


# ------------------------------------------------------------- too long, and what to do


async def test_a_long_message_that_was_restored_is_summarised_like_any_other(rig: Rig) -> None:
    with anyio.fail_after(30):
        rig.catalogue.context_limit = 1000
        chat_id = await rig.chat(messages=(RestoredMessage("user", history("word " * 2000)[0].content),))
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "How many words?")
        while (call := await rig.model.asked()).request.purpose == "summary":
            await call.finish("Two thousand words.")
        assert "Two thousand words." in sent(call)[0]
        assert sent(call)[1:] == ["How many words?"]
        await call.finish("2,000.")
        assert (await heard.ended()).outcome == "completed"


@pytest.mark.parametrize("before", [(), ("1", "A1")], ids=["the question alone", "a short history before it"])
async def test_a_question_that_stays_too_long_fails_soon_and_says_what_to_do(
    rig: Rig, before: tuple[str, ...]
) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history(*before))
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "very long")
        calls = 0
        while not heard.of(TurnEnded):
            with anyio.move_on_after(0.2):
                call = await rig.model.asked()
                calls += 1
                if call.request.purpose == "summary":
                    await call.finish("Notes.")
                else:
                    call.fail(TOO_LONG)
                    await call.closed.wait()
        (ended,) = heard.of(TurnEnded)
        assert calls <= 3
        assert ended.error is not None
        assert (ended.error.kind, ended.error.retryable) == ("context_length", False)
        advice = "Use a model with a larger context, or begin a new chat." if before else ADVICE_ON_LENGTH
        assert ended.error.message == f"Too many tokens. {advice}"
        assert (await rig.ask_quickly(chat_id, "short")).ended.outcome == "completed"


async def test_failed_turns_do_not_make_a_long_chat_longer(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("1", "A1"))
        heard = await rig.listen(chat_id)
        asked: list[list[str]] = []
        for number in range(1, 4):
            await rig.send(chat_id, "2")
            call = await rig.model.asked()
            asked.append(sent(call))
            call.fail(TOO_LONG)
            (await summary_asked(rig)).fail(OVERLOADED)
            ended = await heard.ended(number)
            assert ended.error is not None
            assert ended.error.kind == "context_length"
    assert asked == [["1", "A1", "2"]] * 3


# ------------------------------------------------------------- summaries that do not come


@pytest.mark.parametrize("how", ["says nothing", "takes too long", "is cut off"])
async def test_a_summary_that_does_not_come_fails_the_turn_that_needs_it(how: str) -> None:
    with anyio.fail_after(30):
        async with running(summaries=SummaryPolicy(summary_seconds=0.05)) as rig:
            chat_id = await rig.chat(messages=history("1", "A1"))
            heard = await rig.listen(chat_id)
            await rig.send(chat_id, "2")
            (await rig.model.asked()).fail(TOO_LONG)
            call = await summary_asked(rig)
            match how:
                case "says nothing":
                    await call.finish(" \n")
                case "is cut off":
                    await call.say("Not")
                    call.end()
                case _:
                    pass
            ended = await heard.ended()
            await call.closed.wait()
            assert ended.error is not None
            assert ended.error.kind == "context_length"
            assert "larger context" in ended.error.message
            assert (await rig.ask_quickly(chat_id, "3")).ended.outcome == "completed"
            assert [text for _, text in await rig.history(chat_id)] == ["1", "A1", "2", "3", "Yes."]


async def test_a_summary_that_fails_by_chance_is_tried_again_and_listeners_know() -> None:
    with anyio.fail_after(30):
        async with running(retries=RetryPolicy(attempts=3, first=0.0, spacing=0.0)) as rig:
            chat_id = await rig.chat(messages=history("1", "A1"))
            heard = await rig.listen(chat_id)
            await rig.send(chat_id, "2")
            (await rig.model.asked()).fail(TOO_LONG)
            for _ in range(2):
                (await summary_asked(rig)).fail()
            await (await summary_asked(rig)).finish("Notes.")
            call = await rig.model.asked()
            assert "Notes." in sent(call)[0]
            await call.finish("Yes.")
            assert (await heard.ended()).outcome == "completed"
            assert [one.error.kind for one in heard.of(Retrying)] == ["overloaded"] * 2


async def test_a_summary_that_is_too_long_is_not_asked_for_again_with_the_same_text(rig: Rig) -> None:
    rig.catalogue.context_limit = None
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("word " * 2000, "A1"))
        await rig.send(chat_id, "2")
        (await rig.model.asked()).fail(TOO_LONG)
        whole = await summary_asked(rig)
        whole.fail(TOO_LONG)
        half = await summary_asked(rig)
        assert len(half.prompt) < 0.6 * len(whole.prompt)


async def test_an_interrupt_while_the_history_is_summarised_ends_the_turn_at_once(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("1", "A1"))
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "2")
        (await rig.model.asked()).fail(TOO_LONG)
        call = await summary_asked(rig)
        await call.say("Half of the no")
        await rig.interrupt(chat_id)
        assert (await heard.ended()).outcome == "interrupted"
        await call.closed.wait()
        assert (await rig.ask_quickly(chat_id, "3")).ended.outcome == "completed"


async def test_compacting_that_is_given_up_or_fails_changes_nothing(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("1", "A1"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.compact, chat_id)
            await summary_asked(rig)
            tasks.cancel_scope.cancel()
        await rig.model.calls[0].closed.wait()
        commits = len(rig.store.commits)
        async with anyio.create_task_group() as tasks:

            async def refused() -> None:
                with pytest.raises(ModelError):
                    await rig.compact(chat_id)

            tasks.start_soon(refused)
            (await summary_asked(rig)).fail(OVERLOADED)
        assert len(rig.store.commits) == commits
        await rig.send(chat_id, "2")
        assert sent(await rig.model.asked()) == ["1", "A1", "2"]


@pytest.mark.parametrize("threshold", [0, 100])
async def test_a_threshold_of_nothing_compacts_after_every_call_and_one_of_a_hundred_never(
    threshold: int,
) -> None:
    with anyio.fail_after(30):
        async with running(summaries=SummaryPolicy(threshold=threshold)) as rig:
            rig.catalogue.context_limit = 100
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            for number in (1, 2):
                await rig.send(chat_id, str(number))
                call = await rig.model.asked()
                used = Usage(100, 1, 101) if threshold else Usage(0, 1, 1)
                await call.say("ok", UsageReport(used), Finish("stop"))
                call.release(None)
                await heard.ended(number)
                if not threshold:
                    changes = len(heard.of(ChatChanged))
                    await (await summary_asked(rig)).finish("Notes.")
                    await heard.until(lambda seen=changes: len(heard.of(ChatChanged)) > seen)
            await anyio.wait_all_tasks_blocked()
            assert len(rig.model.calls) == (2 if threshold else 4)
            assert (await rig.view(chat_id)).status is Status.WAITING


async def test_nothing_but_questions_is_nothing_to_summarise(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        for number in (1, 2):
            await rig.send(chat_id, f"q{number}")
            (await rig.model.asked()).fail(OVERLOADED)
            await heard.ended(number)
        with pytest.raises(ConflictError):
            await rig.compact(chat_id)
        assert plain_text((await rig.snapshot(chat_id)).messages[-1].content) == "q2"
