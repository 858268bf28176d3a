"""Behind the turns: better titles, what tokens cost, and summaries that stand for long histories."""

import anyio
import pytest

from parley_daemon.core.compaction import count_tokens, split_text
from parley_daemon.core.events import ChatChanged, PreviewReset
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.core.pricing import Pricing, compute_cost
from parley_daemon.core.records import Failure, Message, Usage
from parley_daemon.core.titles import clean_title
from parley_daemon.engine.collection.new_chat import RestoredMessage
from parley_daemon.engine.errors import ChatBusyError, ConflictError
from parley_daemon.engine.turns.summarize import SummaryPolicy
from parley_daemon.ports.models import Finish, ModelError, UsageReport
from tests.support.engine.rig import Rig, running
from tests.support.engine.scripted_model import ScriptedCall, ScriptedModel

TOO_LONG = ModelError(Failure("context_length", "Too many tokens.", provider="test"))


def sent(call: ScriptedCall) -> list[str]:
    return [plain_text(one.parts) for one in call.request.messages]


def history(*texts: str) -> tuple[RestoredMessage, ...]:
    roles = ("user", "assistant")
    return tuple([RestoredMessage(roles[n % 2], (Text(text),)) for n, text in enumerate(texts)])


# ------------------------------------------------------------------------------- titles


@pytest.mark.parametrize(
    ("proposed", "title"),
    [
        ("Sorting in Rust", "Sorting in Rust"),
        ('  "Sorting in Rust."  ', "Sorting in Rust"),
        ("## **Sorting in Rust**\n\nBecause …", "Sorting in Rust"),
        ("Title: Sorting\n", "Sorting"),
        ("", None),
        ("\n \n", None),
        ("x" * 200, "x" * 79 + "…"),
    ],
)
def test_a_proposed_title_is_tidied_up(proposed: str, title: str | None) -> None:
    assert clean_title(proposed) == title


async def test_after_the_first_answer_a_model_gives_a_better_title_in_the_background() -> None:
    with anyio.fail_after(30):
        async with running(summaries=SummaryPolicy(titles=True)) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id, "How do I sort a vector of structs by two fields in Rust?")
            await (await rig.model.asked()).finish("With sort_by_key.")
            await heard.ended()
            call = await rig.model.asked()
            assert call.request.purpose == "title"
            assert "sort_by_key" in sent(call)[0]
            await call.finish('"Sorting structs in Rust"')
            await heard.until(lambda: [e.chat.title for e in heard.of(ChatChanged)][-1:] != [None])
            await heard.until(lambda: heard.of(ChatChanged)[-1].chat.title == "Sorting structs in Rust")
            await rig.ask_quickly(chat_id, "And in Go?")
            assert len(rig.model.calls) == 2  # no second title


async def test_a_title_that_a_person_gave_meanwhile_stays() -> None:
    with anyio.fail_after(30):
        async with running(summaries=SummaryPolicy(titles=True)) as rig:
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            await (await rig.model.asked()).finish("Yes.")
            call = await rig.model.asked()
            await rig.retitle(chat_id, "Mine")
            await call.finish("The model's")
            await call.closed.wait()
            await rig.ask_quickly(chat_id)
            assert (await rig.view(chat_id)).chat.title == "Mine"
            assert [e.chat.title for e in heard.of(ChatChanged)][-1] == "Mine"


async def test_the_configured_cheap_model_gives_titles_and_its_failure_is_nobodys_business() -> None:
    with anyio.fail_after(30):
        async with running(summaries=SummaryPolicy(titles=True, title_model="test:other")) as rig:
            other = rig.catalogue.models["test:other"]
            assert isinstance(other, ScriptedModel)
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            await rig.send(chat_id, "Hello there")
            await (await rig.model.asked()).finish("Yes.")
            (await other.asked()).fail()
            await heard.ended()
            done = await rig.ask_quickly(chat_id)
            assert done.ended.outcome == "completed"
            assert (await rig.view(chat_id)).chat.title == "Hello there"


# --------------------------------------------------------------------------------- cost


def test_cached_tokens_are_part_of_the_input_and_reasoning_part_of_the_output() -> None:
    prices = Pricing(10.0, 40.0, cache_read_per_million=1.0, cache_creation_per_million=20.0)
    used = Usage(1_000_000, 100_000, None, reasoning_tokens=90_000, cache_read_tokens=500_000)
    assert compute_cost(used, prices) == pytest.approx(5.0 + 0.5 + 4.0)
    assert compute_cost(Usage(1_000_000, 0), Pricing(10.0, 40.0)) == pytest.approx(10.0)
    assert compute_cost(Usage(cache_read_tokens=5), prices) is None


async def test_a_priced_model_says_what_each_answer_and_the_chat_cost(rig: Rig) -> None:
    with anyio.fail_after(30):
        rig.catalogue.pricing = Pricing(1_000_000.0, 2_000_000.0)
        chat_id = await rig.chat()
        for _ in range(2):
            await rig.ask_quickly(chat_id)
        snapshot = await rig.snapshot(chat_id)
    usage = snapshot.messages[-1].usage
    assert usage is not None
    assert usage.cost_usd == pytest.approx(3.0 + 10.0)
    assert snapshot.view.chat.usage.cost_usd == pytest.approx(26.0)


# --------------------------------------------------------------------------- compaction


def test_a_text_is_cut_into_pieces_that_are_the_whole() -> None:
    text = "".join([f"line {number}\n" for number in range(1000)]) + "x" * 5000
    cut = split_text(text, 700)
    assert "".join(cut) == text
    assert max(map(len, cut)) <= 700


async def test_a_summary_stands_for_what_came_before_and_the_history_stays_whole(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("1", "A1", "2", "A2"))
        compacted: list[Message] = []
        async with anyio.create_task_group() as tasks:

            async def compact() -> None:
                compacted.append(await rig.compact(chat_id))

            tasks.start_soon(compact)
            call = await rig.model.asked()
            assert call.request.purpose == "summary"
            assert "ASSISTANT:\nA2" in sent(call)[0]
            await call.finish("They counted to 2.")
        assert "They counted to 2." in plain_text(compacted[0].content)
        assert compacted[0].role == "user"
        await rig.send(chat_id, "3")
        call = await rig.model.asked()
        assert sent(call) == [plain_text(compacted[0].content), "3"]
        await call.finish("A3")
        assert [text for _, text in await rig.history(chat_id)][:4] == ["1", "A1", "2", "A2"]


async def test_a_summary_counts_only_on_branches_that_it_stands_for(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("1", "A1", "2", "A2"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.compact, chat_id)
            await (await rig.model.asked()).finish("Notes.")
        await rig.edit(chat_id, 3, "two")
        call = await rig.model.asked()
        assert sent(call) == ["1", "A1", "two"]
        await call.finish("A")
        async with rig.restarted() as after:
            await after.select(chat_id, 3)
            await after.send(chat_id, "3")
            assert sent(await after.model.asked())[1:] == ["3"]


async def test_a_summary_is_a_message_of_no_branch(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("1", "A1"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.compact, chat_id)
            await (await rig.model.asked()).finish("Notes.")
        done = await rig.ask_quickly(chat_id, "2")
        messages = (await rig.snapshot(chat_id)).messages
    assert [plain_text(one.content) for one in messages] == ["1", "A1", "2", "Yes."]
    assert all(len(one.siblings) <= 1 for one in messages)
    assert done.messages[0].id == messages[-1].id


async def test_there_must_be_something_to_compact_and_no_turn_under_way(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        with pytest.raises(ConflictError):
            await rig.compact(chat_id)
        await rig.send(chat_id)
        with pytest.raises(ChatBusyError):
            await rig.compact(chat_id)


async def test_when_the_provider_finds_the_context_too_long_the_turn_goes_on_after_a_summary(
    rig: Rig,
) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("1", "A1"))
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "2")
        call = await rig.model.asked()
        await call.say("A beginning that")
        call.fail(TOO_LONG)
        call = await rig.model.asked()
        assert call.request.purpose == "summary"
        assert "2" not in sent(call)[0].replace("A1", "")
        await call.finish("They said 1.")
        call = await rig.model.asked()
        assert sent(call)[1:] == ["2"]
        await call.finish("A2")
        ended = await heard.ended()
        assert ended.outcome == "completed"
        assert heard.of(PreviewReset)[0].reason == "context_length"
        assert [text for _, text in await rig.history(chat_id)] == ["1", "A1", "2", "A2"]


async def test_a_question_that_is_too_long_by_itself_fails_and_says_what_to_do(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "very long")
        (await rig.model.asked()).fail(TOO_LONG)
        ended = await heard.ended()
    assert ended.error is not None
    assert ended.error.kind == "context_length"


async def test_a_summary_that_fails_leaves_a_typed_error_and_a_chat_that_is_no_longer(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(messages=history("1", "A1"))
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "2")
        (await rig.model.asked()).fail(TOO_LONG)
        (await rig.model.asked()).fail(ModelError(Failure("auth", "No key.", provider="test")))
        ended = await heard.ended()
        assert ended.error is not None
        assert ended.error.kind == "context_length"
        assert "larger context" in ended.error.message
        assert [text for _, text in await rig.history(chat_id)] == ["1", "A1", "2"]


async def test_a_fifty_thousand_token_chat_goes_on_with_an_eight_thousand_token_model(rig: Rig) -> None:
    with anyio.fail_after(30):
        limit = 8_000
        rig.catalogue.context_limit = limit
        words = "word " * 800
        chat_id = await rig.chat(messages=history(*[f"{number} {words}" for number in range(50)]))
        heard = await rig.listen(chat_id)
        assert count_tokens((await rig.snapshot(chat_id)).messages) > 45_000
        await rig.send(chat_id, "What did we say?")
        summaries = 0
        while True:
            call = await rig.model.asked()
            assert sum(map(len, sent(call))) / 4 <= limit
            if call.request.purpose == "answer":
                break
            summaries += 1
            await call.finish(f"Notes after {summaries} pieces.")
        assert summaries > 5
        assert f"Notes after {summaries} pieces." in sent(call)[0]
        await call.finish("Words.")
        assert (await heard.ended()).outcome == "completed"


async def test_after_a_call_that_came_near_the_limit_the_history_is_compacted_behind_the_turn() -> None:
    with anyio.fail_after(30):
        async with running(summaries=SummaryPolicy(threshold=70)) as rig:
            rig.catalogue.context_limit = 1000
            chat_id = await rig.chat()
            heard = await rig.listen(chat_id)
            for number, used in ((1, 699), (2, 700)):
                await rig.send(chat_id, str(number))
                call = await rig.model.asked()
                await call.say("ok", UsageReport(Usage(used, 1, used + 1)), Finish("stop"))
                call.release(None)
                await heard.ended(number)
            call = await rig.model.asked()
            assert call.request.purpose == "summary"
            await call.finish("Notes.")
            await heard.until(lambda: heard.outline[-1] == "ChatChanged")
            await rig.send(chat_id, "3")
            assert sent(await rig.model.asked())[1:] == ["3"]
