"""Messages that a provider refuses: marked, left out of later requests, and answered again when wanted."""

from typing import Any

import anyio
import pytest

from parley_daemon.core.events import ErrorRaised, HistoryReset, MessageAdded, Retrying
from parley_daemon.core.parts import File, Part, Reasoning, Text, plain_text
from parley_daemon.core.records import Failure, Message
from parley_daemon.core.refusals import ADVICE
from parley_daemon.engine.chats.acceptance import Acceptance, Draft
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.ports.models import ModelError
from tests.support.engine.rig import Rig, running
from tests.support.engine.scripted_model import ScriptedCall

IMAGE = File("image/png", data="AAAA")
NO_IMAGES = Failure("invalid_request", "No images.", "This model has no image input", "test", 400)
FILTERED = Failure("content_filter", "The content filter of test refused this chat.", None, "test", 400)
TOO_LARGE = Failure("invalid_request", "The request is too large.", "Too large", "test", 413)
REFUSALS = {"an image": NO_IMAGES, "a filter": FILTERED, "a size": TOO_LARGE}


def sent(call: ScriptedCall) -> list[str]:
    """Return the texts that a model was sent, with files as their types."""
    return [
        "+".join([part.media_type if isinstance(part, File) else plain_text([part]) for part in one.parts])
        for one in call.request.messages
    ]


async def send(rig: Rig, chat_id: str, *content: Part | str, **draft: Any) -> Acceptance:
    answers: list[Acceptance] = []
    parts = tuple([Text(one) if isinstance(one, str) else one for one in content])
    await rig.send_draft(chat_id, Draft(parts, **draft), "queue", answers.append)
    return answers[0]


async def refuse(rig: Rig, chat_id: str, failure: Failure, *content: Part | str) -> list[str]:
    """Send a message that the model refuses; return what it was sent."""
    accepted = await send(rig, chat_id, *content)
    call = await rig.model.asked()
    call.fail(ModelError(failure))
    done = await rig.wait(chat_id, accepted.turn_id)
    assert done.ended.outcome == "failed"
    return sent(call)


async def answer(rig: Rig, chat_id: str, *content: Part | str) -> list[str]:
    """Send a message that the model answers with "Yes."; return what it was sent."""
    accepted = await send(rig, chat_id, *content)
    call = await rig.model.asked()
    await call.finish("Yes.")
    assert (await rig.wait(chat_id, accepted.turn_id)).ended.outcome == "completed"
    return sent(call)


async def messages(rig: Rig, chat_id: str) -> tuple[Message, ...]:
    return (await rig.snapshot(chat_id)).messages


async def marked(rig: Rig, chat_id: str) -> list[int]:
    return [one.id for one in await messages(rig, chat_id) if one.refused is not None]


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refused_message_is_marked_and_left_out_of_later_requests(rig: Rig, name: str) -> None:
    failure = REFUSALS[name]
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await answer(rig, chat_id, "Hi")
        heard = await rig.listen(chat_id)
        assert await refuse(rig, chat_id, failure, "Look: " * 9, IMAGE) == [
            "Hi",
            "Yes.",
            "Look: " * 9 + "+image/png",
        ]
        *_, shown = await messages(rig, chat_id)
        (raised,) = heard.of(ErrorRaised)
        assert raised.error == shown.refused == (await rig.view(chat_id)).chat.last_error
        assert raised.error.message == f"{failure.message} {ADVICE}"
        assert heard.of(HistoryReset) == [HistoryReset(2)]
        assert [one.message.refused for one in heard.of(MessageAdded)] == [None, raised.error]
        assert await answer(rig, chat_id, "Go on.") == ["Hi", "Yes.", "Go on."]
        async with rig.restarted() as after:
            assert await marked(after, chat_id) == [3]
            assert (await answer(after, chat_id, "And now?"))[:3] == ["Hi", "Yes.", "Go on."]


async def test_a_refused_message_that_is_retried_is_sent_and_marked_again_only_if_it_is_refused_again(
    rig: Rig,
) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await refuse(rig, chat_id, NO_IMAGES, "Look", IMAGE)
        heard = await rig.listen(chat_id)
        await rig.retry(chat_id)
        assert await marked(rig, chat_id) == []
        call = await rig.model.asked()
        assert sent(call) == ["Look+image/png"]
        call.fail(ModelError(NO_IMAGES))
        await heard.ended()
        assert await marked(rig, chat_id) == [1]
        await rig.retry(chat_id, 1)
        await (await rig.model.asked()).finish("A cat.")
        await heard.ended(2)
        assert await marked(rig, chat_id) == []
        resets = [one for one in heard.events if isinstance(one, HistoryReset)]
        assert len(resets) == 3
        async with rig.restarted() as after:
            assert await marked(after, chat_id) == []
            assert await answer(after, chat_id, "And?") == ["Look+image/png", "A cat.", "And?"]


async def test_a_refused_message_in_the_middle_can_be_retried_and_its_mark_is_that_of_all_branches(
    rig: Rig,
) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await refuse(rig, chat_id, FILTERED, "Bad")
        await answer(rig, chat_id, "Good")
        await rig.retry(chat_id, 1)
        await rig.model.asked()
        accepted = await rig.retry(chat_id, 1)  # another client, at the same time
        await (await rig.model.asked()).finish("Well.")
        await rig.wait(chat_id, accepted.turn_id)
        assert await rig.history(chat_id) == [("user", "Bad"), ("assistant", "Well.")]
        await rig.select(chat_id, 3)
        assert await marked(rig, chat_id) == []


async def test_the_edited_message_is_sent_and_the_refused_one_keeps_its_mark(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await refuse(rig, chat_id, FILTERED, "Bad")
        accepted = await rig.edit(chat_id, 1, "Better")
        call = await rig.model.asked()
        assert sent(call) == ["Better"]
        await call.finish("Yes.")
        await rig.wait(chat_id, accepted.turn_id)
        assert await marked(rig, chat_id) == []
        await rig.rewind(chat_id, 1)
        assert await marked(rig, chat_id) == [1]


async def test_a_partial_answer_to_a_refused_message_goes_with_it(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        accepted = await send(rig, chat_id, "Bad")
        call = await rig.model.asked()
        await call.say("Half")
        call.fail(ModelError(FILTERED))
        await rig.wait(chat_id, accepted.turn_id)
        assert await answer(rig, chat_id, "Good") == ["Good"]
        assert [text for _, text in await rig.history(chat_id)] == ["Bad", "Half", "Good", "Yes."]


async def test_a_question_that_a_filter_leaves_without_any_answer_is_refused_without_a_failure(
    rig: Rig,
) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        accepted = await send(rig, chat_id, "Bad")
        await (await rig.model.asked()).finish(Reasoning("Hm."), reason="content_filter")
        done = await rig.wait(chat_id, accepted.turn_id)
        assert (done.ended.outcome, done.ended.stop_reason) == ("completed", "content_filter")
        assert await marked(rig, chat_id) == [1]
        assert await answer(rig, chat_id, "Good") == ["Good"]


async def test_only_the_message_that_steers_is_marked_when_the_others_were_answered(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        accepted = await send(rig, chat_id, "Hi")
        call = await rig.model.asked()
        await rig.send(chat_id, "Bad", when_busy="steer")
        await call.finish("Hello.")
        (await rig.model.asked()).fail(ModelError(FILTERED))
        await rig.wait(chat_id, accepted.turn_id)
        assert await marked(rig, chat_id) == [3]
        assert await answer(rig, chat_id, "Good") == ["Hi", "Hello.", "Good"]


async def test_images_that_another_model_has_seen_are_not_sent_to_one_that_refuses_them(rig: Rig) -> None:
    """Nothing is marked: the model that takes images gets them again."""
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await answer(rig, chat_id, "Look", IMAGE)
        heard = await rig.listen(chat_id)
        accepted = await send(rig, chat_id, "And?")
        (await rig.model.asked()).fail(ModelError(NO_IMAGES))
        call = await rig.model.asked()
        note = "[A file of the type image/png, which is not sent to this model.]"
        assert sent(call) == [f"Look+{note}", "Yes.", "And?"]
        await call.finish("Yes.")
        assert (await rig.wait(chat_id, accepted.turn_id)).ended.outcome == "completed"
        assert [(one.delay_ms, one.error) for one in heard.of(Retrying)] == [(0, NO_IMAGES)]
        assert (await answer(rig, chat_id, "So?"))[0] == f"Look+{note}", "it is asked once"
        assert await marked(rig, chat_id) == []
        await refuse(rig, chat_id, NO_IMAGES, "And this?", IMAGE)
        assert await marked(rig, chat_id) == [7]


async def test_an_earlier_question_that_no_model_has_accepted_is_marked_when_it_is_to_blame(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        accepted = await send(rig, chat_id, "Bad")
        await rig.model.asked()
        await rig.interrupt(chat_id)
        await rig.wait(chat_id, accepted.turn_id)
        accepted = await send(rig, chat_id, "Cut off")
        await (await rig.model.asked()).finish("Hal", reason="content_filter")
        await rig.wait(chat_id, accepted.turn_id)
        accepted = await send(rig, chat_id, "Good")
        (await rig.model.asked()).fail(ModelError(FILTERED))
        call = await rig.model.asked()
        assert sent(call) == ["Good"]
        await call.finish("Yes.")
        assert (await rig.wait(chat_id, accepted.turn_id)).ended.outcome == "completed"
        assert await marked(rig, chat_id) == [1, 3]
        assert await answer(rig, chat_id, "And?") == ["Good", "Yes.", "And?"]


async def test_reasoning_that_is_not_accepted_is_left_out(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        accepted = await send(rig, chat_id, "Hi")
        await (await rig.model.asked()).finish(Reasoning("Hm.", signature="x"), "Hello.")
        await rig.wait(chat_id, accepted.turn_id)
        accepted = await send(rig, chat_id, "And?")
        invalid = Failure("invalid_request", "No.", "Invalid `signature` in `thinking` block", "test", 400)
        first = await rig.model.asked()
        first.fail(ModelError(invalid))
        second = await rig.model.asked()
        assert any(isinstance(part, Reasoning) for part in first.request.messages[1].parts)
        assert second.request.messages[1].parts == (Text("Hello."),)
        await second.finish("Yes.")
        assert (await rig.wait(chat_id, accepted.turn_id)).ended.outcome == "completed"


@pytest.mark.parametrize(
    "failure",
    [
        Failure("invalid_request", "No.", "Unsupported value: 'temperature'", "test", 400),
        Failure("auth", "Wrong key.", provider="test", status_code=401),
        Failure("overloaded", "Busy.", provider="test", status_code=503, retryable=True),
    ],
    ids=["a setting", "a key", "a load"],
)
async def test_a_message_that_is_not_to_blame_is_not_marked(rig: Rig, failure: Failure) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await refuse(rig, chat_id, failure, "Why?")
        assert await marked(rig, chat_id) == []
        assert (await rig.view(chat_id)).chat.last_error == failure
        assert await answer(rig, chat_id, "Again?") == ["Why?", "Again?"]


async def test_what_a_fallback_model_refuses_is_sent_to_the_chosen_one_again() -> None:
    with anyio.fail_after(30):
        async with running(retries=RetryPolicy(attempts=1)) as rig:
            rig.catalogue.fallback_models = ("test:other",)
            other: Any = rig.catalogue.models["test:other"]
            chat_id = await rig.chat()
            accepted = await send(rig, chat_id, "Look", IMAGE)
            (await rig.model.asked()).fail()
            (await other.asked()).fail(ModelError(NO_IMAGES))
            assert (await rig.wait(chat_id, accepted.turn_id)).ended.outcome == "failed"
            assert await marked(rig, chat_id) == []
            assert await answer(rig, chat_id, "And?") == ["Look+image/png", "And?"]


async def test_files_that_a_server_reports_as_its_own_failure_are_not_tried_again() -> None:
    broken = Failure("overloaded", "It failed.", "image input is not supported", "test", 500, retryable=True)
    with anyio.fail_after(30):
        async with running(retries=RetryPolicy(attempts=8, first=0.0)) as rig:
            chat_id = await rig.chat()
            await refuse(rig, chat_id, broken, "Look", IMAGE)
            (message,) = await messages(rig, chat_id)
            assert message.refused is not None
            assert (message.refused.kind, message.refused.retryable) == ("invalid_request", False)
            assert "image input is not supported" in message.refused.message


async def test_summaries_titles_forks_and_copies_know_of_refused_messages(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await refuse(rig, chat_id, FILTERED, "Bad")
        await answer(rig, chat_id, "Good")
        async with rig.chats.open(chat_id) as chat:
            question, _ = await chat.summaries.first_exchange()
        assert plain_text(question.content) == "Good"
        fork = (await rig.chats.fork(chat_id, None)).chat.id
        assert await marked(rig, fork) == [1]
        whole = await rig.chats.read_whole(chat_id, max_bytes=10**6)
        copy = (await rig.chats.import_chat(whole, merge=False)).chat.id
        assert await marked(rig, copy) == [1]
        accepted = await rig.retry(chat_id, 1)
        await (await rig.model.asked()).finish("Well.")
        await rig.wait(chat_id, accepted.turn_id)
        merged = await rig.chats.import_chat(whole, merge=True)
        assert merged.chat.id == chat_id
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.compact, fork)
            call = await rig.model.asked()
            assert "Good" in call.prompt
            assert "Bad" not in call.prompt
            await call.finish("Notes.")
