"""Requests that a server refuses for a field that the dialect adds on its own."""

import json
from typing import Any

import pytest

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.adapters.providers.shared.own_fields import OwnFields
from parley_daemon.core.parts import File, Reasoning, Text, ToolCall, ToolResult
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.models import ModelRequest, PromptMessage
from tests.support.providers.chat_model import HELLO, STOP, Open, ask, failure, question
from tests.support.providers.dialect_events import DIALECTS
from tests.support.providers.script import Script, raw, status
from tests.support.providers.server import FakeProvider, fake_provider

EXTRA = "Extra inputs are not permitted"
NAMING = {
    "pydantic": {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": EXTRA}]},
    "pydantic in a message": {
        "object": "error",
        "message": {"detail": [{"loc": ["body", "stream_options", "include_usage"], "msg": EXTRA}]},
    },
    "the deeper field": {"error": {"message": "include_usage is not supported"}},
    "a sentence": {"error": {"message": "Unrecognized request argument supplied: stream_options"}},
    "a parameter": {"error": {"message": "Not supported.", "param": "stream_options"}},
    "go": {"message": 'json: unknown field "stream_options"'},
    "camel case": {"error": "Unknown name: streamOptions"},
    "text": "unknown field `stream_options`, expected one of `model`, `messages`",
}


@pytest.mark.parametrize("code", [400, 422])
@pytest.mark.parametrize("body", NAMING.values(), ids=NAMING)
async def test_a_field_that_nobody_has_set_is_left_out_and_that_is_remembered(
    open_model: Open, body: object, code: int
) -> None:
    async with fake_provider((status(code, body),), HELLO, HELLO) as server:
        model = open_model(server)
        assert await ask(model) == [Text("Hello"), STOP]
        assert await ask(model, question("More")) == [Text("Hello"), STOP]
        sent = [request.json for request in server.requests]
    assert ["stream_options" in each for each in sent] == [True, False, False]
    assert [each["stream"] for each in sent] == [True, True, True]
    assert model.refused_fields == ("stream_options",)


async def test_several_fields_in_one_error_and_one_after_the_other(open_model: Open) -> None:
    both = status(400, {"error": "unknown fields 'stream' and 'stream_options'"})
    async with fake_provider((both,), (status(200, {"choices": [{"message": {"content": "a"}}]}),)) as server:
        model = open_model(server)
        assert await ask(model) == [Text("a"), STOP]
        assert not server.requests[1].json.keys() & {"stream", "stream_options"}
    assert set(model.refused_fields) == {"stream_options", "stream (llama)"}
    first, second = (
        status(422, {"message": f"'{name}' is unknown"}) for name in ("stream_options", "stream")
    )
    async with fake_provider((first,), (second,), HELLO) as server:
        assert await ask(open_model(server)) == [Text("Hello"), STOP]
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "The model cannot stream this input. See the tools and the store."}},
        {"error": {"message": "temperature is not supported", "param": "temperature"}},
        {"detail": [{"loc": ["body", "messages"], "msg": "bad", "input": {"stream_options": {"a": 1}}}]},
        {"error": {"message": "failed to read the input stream"}},
        "",
    ],
)
async def test_an_error_that_names_no_such_field_is_not_repeated(open_model: Open, body: object) -> None:
    async with fake_provider((status(400, body),)) as server:
        model = open_model(server)
        assert (await failure(model)).kind == "invalid_request"
        assert len(server.requests) == 1
    assert model.refused_fields == ()


async def test_a_field_that_a_person_has_set_is_sent(open_model: Open) -> None:
    options = {"openaiCompat": {"extraBody": {"stream_options": {"include_usage": False}}}}
    refusal = status(422, NAMING["go"])
    async with fake_provider((refusal,), (refusal,)) as server:
        model = open_model(server)
        failed = await failure(model, question(provider_options=options))
        assert failed.status_code == 422
        assert "stream_options" in (failed.detail or "")
        assert len(server.requests) == 1
    assert model.refused_fields == ()


async def test_a_field_that_was_left_out_in_vain_is_sent_again(open_model: Open) -> None:
    refusal = status(422, NAMING["go"])
    async with fake_provider((refusal,), (refusal,), HELLO) as server:
        model = open_model(server)
        assert (await failure(model)).status_code == 422
        assert len(server.requests) == 2
        assert await ask(model) == [Text("Hello"), STOP]
        assert "stream_options" in server.requests[2].json
    assert model.refused_fields == ()
    async with fake_provider((refusal,), (status(503, "busy"),), HELLO) as server:
        model = open_model(server)
        assert (await failure(model)).kind == "overloaded"
        assert await ask(model) == [Text("Hello"), STOP]


async def test_other_statuses_are_not_repeated(open_model: Open) -> None:
    for code in (401, 404, 413, 429, 500):
        async with fake_provider((status(code, NAMING["go"]),)) as server:
            await failure(open_model(server))
            assert len(server.requests) == 1


async def test_a_check_shows_what_is_left_out() -> None:
    listed = status(200, {"data": [{"id": "llama"}]})
    async with fake_provider((status(422, NAMING["go"]),), HELLO, (listed,)) as server:
        config = ProviderConfig("x", "openai-compat", f"{server.origin}/v1")
        catalogue = ConfiguredCatalogue([config], [ModelConfig("x:llama")])
        try:
            async for _ in catalogue.resolve("x:llama").model.stream(question()):
                pass
            told = await catalogue.check("x")
        finally:
            await catalogue.aclose()
    assert told is not None
    assert (told.ok, told.omitted_fields) == (True, ("stream_options",))


# ------------------------------------------------------------------------------- dialects


PICTURE = File("image/png", "aGk=")
SIGNED = Reasoning("hm", None, '{"id":"rs","encrypted_content":"x"}')
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
CHAT = (
    PromptMessage("user", (Text("Hi"), PICTURE)),
    PromptMessage("assistant", (SIGNED, ToolCall("c1", "f", {}))),
    PromptMessage("tool", (ToolResult("c1", "f", "ok", False, "ok"),)),
    PromptMessage("user", (Text("Go on."),)),
)
FIELDS: list[tuple[str, dict[str, str], str, str]] = [
    ("openai-compat", {}, "stream_options", "llama"),
    ("openai-compat", {}, "stream", "llama"),
    ("openai-compat", {}, "strict", "llama"),
    ("openrouter", {}, "tools", "claude-4"),
    ("openrouter", {}, "tool_choice", "claude-4"),
    ("vercel", {}, "tools", "claude-4"),
    ("openai", {}, "store", "gpt-5"),
    ("openai", {}, "include", "gpt-5"),
    ("openai", {}, "detail", "gpt-5"),
    ("openai", {}, "strict", "gpt-5"),
    ("openai", {}, "stream", "gpt-5"),
    ("openai", {"api": "chat"}, "stream_options", "gpt-5"),
    ("anthropic", {}, "cache_control", "claude-4"),
    ("anthropic", {}, "tools", "claude-4"),
    ("anthropic", {}, "tool_choice", "claude-4"),
    ("anthropic", {}, "stream", "claude-4"),
    ("google", {}, "id", "gemini"),
    ("google", {}, "thoughtSignature", "gemini"),
    ("azure", {}, "store", "my-gpt-5"),
]


def model_of(type: str, options: dict[str, str], server: FakeProvider) -> HttpModel:
    origin = server.origin if type == "azure" else server.base_url
    model = TYPES[type].make_model(Access("local", origin, "a-key", options=options))
    assert isinstance(model, HttpModel)
    return model


def answer_of(type: str, options: dict[str, str]) -> Script:
    known = {"azure": "openai", "openrouter": "openai-compat", "vercel": "openai-compat"}
    name = "openai-compat" if options else known.get(type, type)
    dialect = next(each for each in DIALECTS if each.type == name)
    return [raw(dialect.text('{"a": "b"}') + dialect.reason + dialect.end)]


@pytest.mark.parametrize(("type", "options", "field", "model_name"), FIELDS)
async def test_each_dialect_leaves_out_what_it_added(
    type: str, options: dict[str, str], field: str, model_name: str
) -> None:
    refusal = status(400, {"error": {"message": f'Unknown name "{field}" at the request.'}})
    async with fake_provider((refusal,), answer_of(type, options), answer_of(type, options)) as server:
        model = model_of(type, options, server)
        settings = ModelSettings(output_schema=SCHEMA)
        try:
            for _ in range(2):
                await ask(model, ModelRequest(model_name, CHAT, settings=settings))
        finally:
            await model.aclose()
        bodies = [json.dumps(request.json) for request in server.requests]
    assert [f'"{field}":' in body for body in bodies] == [True, False, False]
    assert len(model.refused_fields) == 1


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("body.store: extra", {"store"}),
        ("store: Extra inputs are not permitted", {"store"}),
        ("Unknown parameter: store.", {"store"}),
        ("Unknown parameter: 'store'.", {"store"}),
        ("store = true is not supported", {"store"}),
        ("messages.0.content.1.cache_control: Extra inputs", {"cache_control"}),
        ("The app store is closed", set[str]()),
        ("restore: no", set[str]()),
        ("my_cache_control", set[str]()),
    ],
)
def test_a_field_must_be_named_as_one(said: str, found: set[str]) -> None:
    fields = OwnFields("store", "cache_control")
    for body in (said, json.dumps({"error": {"message": said}}), json.dumps([{"msg": said}])):
        assert fields.find_named(body.encode(), "m") == found
    assert fields.find_named(b"[" * 100_000, "m") == frozenset()
