"""Answers that have to fit a schema: which are taken, what becomes of the others, and where the value is."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from parley_daemon.core.events import MessageAdded, Retrying, TurnEnded
from parley_daemon.core.parts import Reasoning, Text, ToolCall, plain_text
from parley_daemon.core.records import Failure, ModelSettings, Status
from parley_daemon.engine.chats.acceptance import TurnDone
from parley_daemon.engine.turns.retry import RetryPolicy
from parley_daemon.ports.models import ModelError, StopReason
from parley_daemon.ports.schemas import SchemaViolation
from tests.support.engine.rig import InProcessSchemas, Rig, running

COLOUR = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
ASKED = ModelSettings(output_schema=COLOUR)
RED = {"name": "red"}


async def answered(rig: Rig, *said: Any, reason: StopReason = "stop", schema: Any = COLOUR) -> TurnDone:
    """Ask for what fits a schema, let the model say this, and return what the turn came to."""
    chat_id = await rig.chat(settings=ModelSettings(output_schema=schema))
    with anyio.fail_after(30):
        accepted = await rig.send(chat_id)
        await (await rig.model.asked()).finish(*said, reason=reason)
        return await rig.wait(chat_id, accepted.turn_id)


@pytest.mark.parametrize(
    "text",
    [
        '{"name":"red"}',
        '\n  {"name": "red"}\n\n',
        '```json\n{"name": "red"}\n```',
        '```\n{"name": "red"}\n```\n',
        '```JSON\r\n{"name": "red"}\r\n```',
        '```{"name": "red"}```',
        'Here it is:\n\n```json\n{"name": "red"}\n```\nI hope that helps.',
    ],
)
async def test_json_is_taken_as_it_is_and_out_of_a_fence(rig: Rig, text: str) -> None:
    done = await answered(rig, text)
    assert (done.ended.outcome, done.output) == ("completed", RED)
    assert [plain_text(one.content) for one in done.messages] == [text]


async def test_json_that_holds_a_fence_is_taken_out_of_its_own(rig: Rig) -> None:
    done = await answered(rig, '\n```json\n{"name": "```js\\nx\\n```"}\n```\n')
    assert done.output == {"name": "```js\nx\n```"}


@pytest.mark.parametrize(("text", "outcome"), [('{"name":"red"}', "completed"), ("Red.", "failed")])
async def test_a_schema_of_the_models_own_counts_as_one_of_the_chat(
    rig: Rig, text: str, outcome: str
) -> None:
    rig.catalogue.settings = ASKED
    chat_id = await rig.chat()
    with anyio.fail_after(30):
        accepted = await rig.send(chat_id)
        await (await rig.model.asked()).finish(text)
        done = await rig.wait(chat_id, accepted.turn_id)
    assert (done.ended.outcome, done.output) == (outcome, RED if outcome == "completed" else None)


async def test_what_the_model_thought_is_no_part_of_the_value(rig: Rig) -> None:
    done = await answered(rig, Reasoning('Maybe {"name": 1}?'), '{"name": ', '"red"}')
    assert done.output == RED


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("[1, 2.5, true]", [1, 2.5, True]),
        ('"x"', "x"),
        (str(2**80), 2**80),
        ('{"a": {"b": []}}', {"a": {"b": []}}),
    ],
)
async def test_any_value_of_json_can_be_asked_for(rig: Rig, text: str, value: Any) -> None:
    done = await answered(rig, text, schema={})
    assert (done.ended.outcome, done.output) == ("completed", value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Red.", "it is not JSON"),
        ("", "it is not JSON"),
        ('{"name": "red"', "it is not JSON"),
        ('{"name": "red"} or so', "it is not JSON"),
        ('{"name": NaN}', "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ('```json\n{"name": "a"}\n```\n```json\n{"name": "b"}\n```', "it is not JSON"),
        ('{"name": 7}', "name must be a string"),
        ('{"nome": "red"}', 'it lacks "name"'),
        ("[]", "it must be an object"),
    ],
)
async def test_an_answer_that_does_not_fit_fails_the_turn_and_stays_in_the_history(
    rig: Rig, text: str, problem: str
) -> None:
    done = await answered(rig, Reasoning("hm"), text)
    ended = done.ended
    message = f"The answer does not fit the output schema: {problem}."
    assert ended.error == Failure("bad_stream", message, provider="test", retryable=True)
    assert (ended.outcome, ended.stop_reason, done.output) == ("failed", "stop", None)
    (kept,) = done.messages
    assert (plain_text(kept.content), kept.complete) == (text, True)
    assert ended.usage is not None  # it was paid for


async def test_everybody_who_listens_gets_the_value_also_when_resuming(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(settings=ASKED)
        heard = await rig.listen(chat_id)
        rig.model.answer = [Text('{"name": "red"}')]
        await rig.send(chat_id)
        assert (await heard.ended()).output == RED
        rig.model.answer = [Text('{"name": "blue"}')]
        await rig.retry(chat_id)
        assert (await heard.ended(2)).output == {"name": "blue"}
        attachment, _ = await rig.attach(chat_id, after_seq=0)
        resumed = [one.event.output for one in attachment.missed if isinstance(one.event, TurnEnded)]
    assert resumed == [RED, {"name": "blue"}]


async def test_it_is_not_asked_for_again_by_itself_nor_of_another_model() -> None:
    settings = ModelSettings(output_schema=COLOUR, fallback_models=("test:other",))
    with anyio.fail_after(30):
        async with running(retries=RetryPolicy(attempts=8, first=0.0)) as rig:
            chat_id = await rig.chat(settings=settings)
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            await (await rig.model.asked()).finish("Red.")
            ended = await heard.ended()
            assert (ended.outcome, ended.timings.attempts) == ("failed", 1)
            assert heard.of(Retrying) == []
            view = await rig.view(chat_id)
            assert view.status is Status.ERROR
            await rig.retry(chat_id)
            await (await rig.model.asked()).finish('{"name": "red"}')
            assert (await heard.ended(2)).outcome == "completed"
            siblings = heard.of(MessageAdded)[-1].message.siblings
    assert len(siblings) == 2


async def test_an_answer_that_was_cut_at_its_limit_says_so(rig: Rig) -> None:
    done = await answered(rig, '{"name": "re', reason="length")
    assert done.ended.error is not None
    assert (done.ended.error.kind, done.ended.error.retryable) == ("bad_stream", False)
    assert "maxOutputTokens" in done.ended.error.message
    done = await answered(rig, '{"name": "red"}', reason="length")
    assert done.output == RED


async def test_a_refusal_says_so(rig: Rig) -> None:
    done = await answered(rig, "I cannot help with that.", reason="content_filter")
    assert done.ended.error is not None
    assert (done.ended.error.kind, done.ended.error.retryable) == ("content_filter", False)
    assert done.ended.error.message == "test refused to answer, so there is no JSON for the output schema."


async def test_an_answer_that_asks_for_a_tool_is_not_the_one_that_has_to_fit(rig: Rig) -> None:
    done = await answered(rig, ToolCall("1", "look", {}), reason="tool_calls")
    assert (done.ended.outcome, done.output) == ("completed", None)


async def test_without_a_schema_there_is_no_value(rig: Rig) -> None:
    done = await answered(rig, '{"name": "red"}', schema=None)
    assert (done.ended.outcome, done.output) == ("completed", None)


async def test_a_schema_of_one_turn_goes_before_the_chats(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(settings=ASKED)
        rig.model.answer = [Text("[1]")]
        done = await rig.ask(chat_id, settings=ModelSettings(output_schema={"type": "array"}))
    assert done.output == [1]


async def test_a_schema_that_is_none_fails_the_turn_and_says_why(rig: Rig) -> None:
    """Over the wire none comes in but by an import."""
    done = await answered(rig, "{}", schema={"type": "thing"})
    assert done.ended.error is not None
    assert done.ended.error.kind == "invalid_request"
    assert done.ended.error.message.startswith('The schema is not valid: type must be "array"')


async def test_the_value_is_still_there_when_the_same_message_is_asked_again_after_a_restart(
    rig: Rig,
) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(settings=ASKED)
        rig.model.answer = [Text('{"name": "red"}')]
        first = await rig.ask(chat_id, client_message_id="c1")
        async with rig.restarted() as after:
            accepted = await after.send(chat_id, client_message_id="c1")
            again = await after.wait(chat_id, accepted.turn_id)
    assert first.output == again.output == RED


async def test_the_answer_to_each_message_that_steers_has_to_fit_and_the_last_one_is_the_value(
    rig: Rig,
) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(settings=ASKED)
        accepted = await rig.send(chat_id)
        call = await rig.model.asked()
        await rig.send(chat_id, "and now?", when_busy="steer")
        await call.finish('{"name": "red"}')
        await (await rig.model.asked()).finish('{"name": "blue"}')
        done = await rig.wait(chat_id, accepted.turn_id)
    assert done.output == {"name": "blue"}
    assert len([one for one in done.messages if one.role == "assistant"]) == 2


async def test_a_turn_that_is_interrupted_has_no_value(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(settings=ASKED)
        accepted = await rig.send(chat_id)
        await (await rig.model.asked()).say('{"name": "red"}')
        await rig.interrupt(chat_id)
        done = await rig.wait(chat_id, accepted.turn_id)
    assert (done.ended.outcome, done.ended.error, done.output) == ("interrupted", None, None)


async def test_an_interrupt_does_not_wait_for_a_check() -> None:
    class Endless(InProcessSchemas):
        def __init__(self) -> None:
            self.begun = anyio.Event()

        async def check_value(self, schema: Mapping[str, Any], value: Any) -> SchemaViolation | None:
            self.begun.set()
            await anyio.sleep_forever()

    endless = Endless()
    with anyio.fail_after(30):
        async with running(schemas=endless) as rig:
            chat_id = await rig.chat(settings=ASKED)
            heard = await rig.listen(chat_id)
            await rig.send(chat_id)
            await (await rig.model.asked()).finish('{"name": "red"}')
            await endless.begun.wait()
            await rig.interrupt(chat_id)
            assert (await heard.ended()).outcome == "interrupted"
            assert await rig.history(chat_id) == [("user", "Hi"), ("assistant", '{"name": "red"}')]


async def test_a_failed_call_is_told_as_what_it_is(rig: Rig) -> None:
    with anyio.fail_after(30):
        chat_id = await rig.chat(settings=ASKED)
        accepted = await rig.send(chat_id)
        failure = Failure("auth", "No.", provider="test")
        (await rig.model.asked()).fail(ModelError(failure))
        done = await rig.wait(chat_id, accepted.turn_id)
    assert done.ended.error == failure
