"""Malformed tool calls of a history, as each dialect sends them back."""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest

from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.adapters.providers.shared.call_history import fit_id, fit_name, read_arguments
from parley_daemon.core.parts import Part, Text, ToolCall, ToolResult
from parley_daemon.core.prompts import prompt_entries
from parley_daemon.core.records import Message
from parley_daemon.ports.models import ModelRequest, PromptMessage

DIALECTS = ("openai", "openai-compat", "openrouter", "vercel", "anthropic", "google", "bedrock", "azure")
LONG = "call-" + "x" * 80


def history(*calls: ToolCall, results: bool = True) -> tuple[PromptMessage, ...]:
    """Return a history with an answer that makes these calls, as the engine builds it for a request."""

    def message(id: int, role: Any, *parts: Part) -> Message:
        return Message(id, "c", None, None, role, parts, "2026-01-01T00:00:00.000Z")

    given = [ToolResult(call.tool_call_id, call.tool_name, "ok", False, "ok") for call in calls]
    stored = [
        message(1, "user", Text("Hi")),
        message(2, "assistant", *calls),
        *([message(3, "tool", *given)] if results else []),
        message(4, "user", Text("Go on.")),
    ]
    return tuple([PromptMessage(role, parts) for role, parts in prompt_entries(stored)])


async def sent(type: str, messages: tuple[PromptMessage, ...], model: str = "claude-4") -> Any:
    access = Access("p", "https://api.example.org", "key", environment={"AWS_REGION": "eu-west-1"})
    made = TYPES[type].make_model(access)
    assert isinstance(made, HttpModel)
    return json.loads((await made.dialect.build_request(ModelRequest(model, messages))).body)


def objects(value: object) -> Iterator[dict[str, Any]]:
    """Yield every object in a body."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        yield fields
        for each in fields.values():
            yield from objects(each)
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            yield from objects(each)


def calls_in(body: object) -> Iterator[tuple[str, str, object]]:
    """Yield id, name and arguments of each call in a body, whatever its dialect."""
    for fields in objects(body):
        if fields.get("type") == "function" and "id" in fields:
            yield fields["id"], fields["function"]["name"], json.loads(fields["function"]["arguments"])
        elif fields.get("type") == "function_call":
            yield fields["call_id"], fields["name"], json.loads(fields["arguments"])
        elif fields.get("type") == "tool_use":
            yield fields["id"], fields["name"], fields["input"]
        elif "functionCall" in fields:
            call = fields["functionCall"]
            yield call.get("id", ""), call["name"], call["args"]


def results_in(body: object) -> Iterator[str]:
    """Yield the ids that the results in a body answer."""
    for fields in objects(body):
        if fields.get("role") == "tool":
            yield fields["tool_call_id"]
        elif fields.get("type") == "function_call_output":
            yield fields["call_id"]
        elif fields.get("type") == "tool_result":
            yield fields["tool_use_id"]
        elif "functionResponse" in fields:
            yield fields["functionResponse"].get("id", "")


ODD_ARGUMENTS = ['{"path": "a', "", "not json", '"text"', [1], 7, None, True, "[" * 10_000]
ODD_NAMES = ["", " ", "my tool", "a.b/c:d", "größe", "x" * 300, "1st", "-"]


@pytest.mark.parametrize("type", DIALECTS)
async def test_arguments_go_back_as_an_object(type: str) -> None:
    calls = [ToolCall(f"c{n}", "f", args) for n, args in enumerate(ODD_ARGUMENTS)]
    whole = [ToolCall("whole", "f", {"a": 1}), ToolCall("twice", "f", '{"a": 1}')]
    found = {id: args for id, _, args in calls_in(await sent(type, history(*calls, *whole)))}
    assert len(found) == len(calls) + 2
    assert all(isinstance(args, dict) for args in found.values())
    assert found["whole"] == found["twice"] == {"a": 1}


@pytest.mark.parametrize("type", DIALECTS)
async def test_names_are_made_fit(type: str) -> None:
    calls = [ToolCall(f"c{n}", name, {}) for n, name in enumerate(ODD_NAMES)]
    names = [name for _, name, _ in calls_in(await sent(type, history(*calls)))]
    longest = 128 if type in ("anthropic", "bedrock") else 64
    first = r"[A-Za-z_]" if type == "google" else r"[A-Za-z0-9_-]"
    assert all(re.fullmatch(rf"{first}[A-Za-z0-9_-]{{0,{longest - 1}}}", name) for name in names), names
    assert names[0] == "tool"


@pytest.mark.parametrize("type", DIALECTS)
async def test_each_call_has_an_id_of_its_own_and_one_result(type: str) -> None:
    ids = ["same", "same", "", "", " ", LONG, LONG + "y", "call-without-id-" + "0" * 32]
    calls = [ToolCall(id, "f", {}) for id in ids]
    for results in (True, False):
        body = await sent(type, history(*calls, results=results))
        found = [id for id, _, _ in calls_in(body)]
        assert len(found) == len(ids)
        assert list(results_in(body)) == found
        if type != "google":
            assert len(set(found)) == len(ids)
            assert all(id.strip() for id in found)
        if type in ("openai", "azure"):
            assert max(map(len, found)) <= 64


async def test_ids_are_short_enough_for_openais_chat_completions() -> None:
    access = Access("p", "https://api.example.org", "key", options={"api": "chat"})
    model = TYPES["openai"].make_model(access)
    assert isinstance(model, HttpModel)
    request = ModelRequest("gpt-4o", history(ToolCall(LONG, "f", {}), ToolCall("a", "f", {})))
    body = json.loads((await model.dialect.build_request(request)).body)
    first, second = [id for id, _, _ in calls_in(body)]
    assert (len(first), second) == (40, "a")
    assert list(results_in(body)) == [first, second]


def test_what_is_fit_stays_as_it_is() -> None:
    assert fit_name("get_weather-2") == "get_weather-2"
    assert fit_id("functions.f:0", 40) == "functions.f:0"
    assert fit_id(LONG, 40) == fit_id(LONG, 40) != fit_id(LONG + "y", 40)
    assert read_arguments({"a": 1}) == {"a": 1}
