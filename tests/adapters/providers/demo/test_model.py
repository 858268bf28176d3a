"""The demo model: its answers, and the commands at the start of prompts."""

import json
import math
import sys
from typing import Any, get_args

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.adapters.json_schema.rules import check_schema, check_value
from parley_daemon.adapters.providers.demo.model import DemoModel
from parley_daemon.core.parts import Piece, Reasoning, Source, Text, plain_text
from parley_daemon.core.records import FailureKind, ModelSettings, Usage
from parley_daemon.ports.models import (
    Batch,
    Chunk,
    Finish,
    ModelError,
    ModelRequest,
    PromptMessage,
    UsageReport,
)


def question(*prompts: str) -> ModelRequest:
    """Return the request for the last of these questions of a chat."""
    messages: list[PromptMessage] = []
    for prompt in prompts:
        messages += [PromptMessage("user", (Text(prompt),)), PromptMessage("assistant", (Text("…"),))]
    return ModelRequest("demo", tuple(messages[:-1]))


async def ask(*prompts: str) -> list[Chunk]:
    with anyio.fail_after(30):
        return [part async for batch in DemoModel(pace=0).stream(question(*prompts)) for part in batch]


async def text(*prompts: str) -> str:
    return plain_text([part for part in await ask(*prompts) if isinstance(part, Text)])


async def test_the_default_answer_has_reasoning_text_a_source_and_usage() -> None:
    chunks = await ask("What is a daemon?")
    kinds = [type(part) for part in chunks]
    assert list(dict.fromkeys(kinds)) == [Reasoning, Text, Source, UsageReport, Finish]
    usage, finish = chunks[-2:]
    reasoning, output = kinds.count(Reasoning), len(chunks) - 2
    assert usage == UsageReport(Usage(5, output, 5 + output, reasoning_tokens=reasoning))
    assert finish == Finish("stop")


async def test_it_says_that_it_is_the_demo_and_no_real_model() -> None:
    for prompt in ("Hi", "help", "/error"):
        texts: list[Text] = []
        with anyio.fail_after(30):
            try:
                async for batch in DemoModel(pace=0).stream(question(prompt)):
                    texts += [part for part in batch if isinstance(part, Text)]
            except ModelError:
                pass  # of /error
        assert "parleyd demo" in plain_text(texts).replace("**", "")
    assert "not a real model" in await text("Hi")


async def test_the_answer_quotes_the_question_so_that_chats_look_different() -> None:
    assert "> What is\n" not in await text("What is\na daemon?")
    assert "> What is a daemon?" in await text("What is\na daemon?")
    assert "> " + "x" * 119 + "…" in await text("x" * 1000)


async def test_the_same_prompt_gets_the_same_answer() -> None:
    assert await ask("one", "two") == await ask("one", "two")
    assert await ask("one") != await ask("two")
    assert await ask("one") != await ask("one", "one")


async def test_the_default_answer_comes_at_reading_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(anyio, "sleep", note)
    async for _ in DemoModel().stream(question("What is a daemon?")):
        pass
    assert 25 <= len(waits) / sum(waits) <= 40
    assert 3 <= sum(waits) <= 4.5
    total, waits = sum(waits), []
    async for _ in DemoModel(pace=0.5).stream(question("What is a daemon?")):
        pass
    assert math.isclose(sum(waits), total / 2)


@pytest.mark.parametrize("prompt", ["help", "Help", "/help", " /help please "])
async def test_help_names_every_command(prompt: str) -> None:
    answer = await text(prompt)
    for command in ("/long [n]", "/tokens [n]", "/slow [n]", "/fast", "/error [kind]", "/stall"):
        assert command in answer


async def test_long_sends_the_given_number_of_words() -> None:
    assert len((await text("/long 500")).split()) == 500
    assert len((await text("/long")).split()) == 2000


async def test_tokens_are_numbered() -> None:
    chunks = await ask("/tokens 3")
    assert chunks[:3] == [Text("1 "), Text("2 "), Text("3 ")]
    assert len((await text("/tokens")).split()) == 100


async def test_slow_sends_one_piece_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(anyio, "sleep", note)
    async for _ in DemoModel().stream(question("/slow")):
        pass
    assert waits == [1.0] * 20


@pytest.mark.parametrize("prompt", ["/fast", "/fast /long 3000", "/fast What is a daemon?"])
async def test_fast_does_not_pause(prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: set[float] = set()

    async def note(seconds: float) -> None:
        waits.add(seconds)

    monkeypatch.setattr(anyio, "sleep", note)
    async for _ in DemoModel().stream(question(prompt)):
        pass
    assert waits == {0.0}


@pytest.mark.parametrize("kind", get_args(FailureKind))
async def test_error_fails_with_the_given_kind(kind: FailureKind) -> None:
    pieces: list[Piece | object] = []
    with anyio.fail_after(30), pytest.raises(ModelError) as caught:
        async for batch in DemoModel(pace=0).stream(question(f"/error {kind}")):
            pieces += batch
    assert 3 <= len(pieces) <= 20
    assert caught.value.failure.kind == kind
    assert caught.value.failure.provider == "demo"


async def test_error_without_a_kind_is_a_retryable_overload() -> None:
    with pytest.raises(ModelError) as caught:
        await ask("/error")
    assert (caught.value.failure.kind, caught.value.failure.retryable) == ("overloaded", True)


async def test_error_with_an_unknown_kind_is_answered_with_the_known_kinds() -> None:
    answer = await text("/error flood")
    assert "flood" in answer
    assert "rate_limit" in answer


async def test_stall_sends_some_pieces_and_then_nothing_until_it_is_cancelled() -> None:
    batches: list[Batch] = []
    with anyio.move_on_after(0.05) as scope:
        async for batch in DemoModel(pace=0).stream(question("/stall")):
            batches.append(batch)  # noqa: PERF401 - is cancelled in the midst
    assert scope.cancelled_caught
    assert len(batches) > 3


async def test_an_unknown_command_is_answered_like_any_other_prompt() -> None:
    assert "> /dance now" in await text("/dance now")


async def test_an_empty_chat_is_answered() -> None:
    with anyio.fail_after(30):
        batches = [batch async for batch in DemoModel(pace=0).stream(ModelRequest("demo", ()))]
    assert batches[-1][-1] == Finish("stop")


async def test_it_loads_no_modules_and_can_be_used_after_aclose() -> None:
    model, loaded = DemoModel(pace=0), set(sys.modules)
    await model.warm()
    await model.aclose()
    assert set(sys.modules) == loaded
    batches = [batch async for batch in model.stream(ModelRequest("demo", ()))]
    assert batches[-1][-1] == Finish("stop")


COUNTED = {"value": {"type": "integer"}}
BOTH = [{"properties": {"a": {"type": "null"}}, "required": ["a"]}, {"required": ["b"]}]
NAMED: dict[str, Any] = {
    "$defs": {"n": {"type": "string", "minLength": 9}},
    "properties": {"a": {"$ref": "#/$defs/n"}},
}
CHAIN = {"type": "object", "properties": {"next": {"$ref": "#"}, **COUNTED}, "required": ["value"]}
BRANCH = {"anyOf": [{"$ref": "#/$defs/t"}, {"type": "null"}]}
TREE = {"$defs": {"t": {"type": "object", "properties": {"left": BRANCH}}}, "$ref": "#/$defs/t"}
SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a", "c"]},
    {"type": "array", "items": {"type": "number", "minimum": 2.5}, "minItems": 3},
    {"type": "array", "prefixItems": [{"const": 1}, {"enum": ["x"]}], "items": False, "minItems": 2},
    {"type": "integer", "minimum": 7, "maximum": 7},
    {"type": "integer", "exclusiveMinimum": 7, "multipleOf": 5},
    {"type": "integer", "maximum": -4},
    {"type": "integer", "exclusiveMaximum": 0, "multipleOf": 3},
    {"type": "string", "minLength": 30, "maxLength": 31},
    {"type": "string", "maxLength": 2},
    {"type": ["null", "string"]},
    {"type": "boolean"},
    {"default": [3], "type": "array"},
    {"examples": [{"a": 1}]},
    {"anyOf": [{"type": "string", "minLength": 3}, {"type": "null"}]},
    {"allOf": BOTH, "type": "object"},
    NAMED,
    CHAIN,
    TREE,
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
async def test_an_output_schema_is_answered_with_a_value_that_fits(schema: dict[str, Any]) -> None:
    assert check_schema(schema) is None
    request = replace(question("Say something."), settings=ModelSettings(output_schema=schema))
    with anyio.fail_after(30):
        chunks = [part async for batch in DemoModel(pace=0).stream(request) for part in batch]
    value = json.loads(plain_text([part for part in chunks if isinstance(part, Text)]))
    assert check_value(schema, value) is None
    assert chunks[-1] == Finish("stop")


async def test_a_command_takes_precedence_over_an_output_schema() -> None:
    request = replace(question("/tokens 2"), settings=ModelSettings(output_schema={"type": "object"}))
    with anyio.fail_after(30):
        chunks = [part async for batch in DemoModel(pace=0).stream(request) for part in batch]
    assert plain_text([part for part in chunks if isinstance(part, Text)]) == "1 2 "
