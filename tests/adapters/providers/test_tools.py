"""Requests with tools, as each dialect sends them and as each API would take them."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError, InvalidRequestError
from parley_daemon.core.parts import File, Part, Reasoning, Text, ToolCall, ToolResult
from parley_daemon.core.prompts import prompt_entries
from parley_daemon.core.records import Message, ModelSettings, Role
from parley_daemon.ports.models import ModelRequest, PromptMemory, PromptMessage, ToolDeclaration
from tests.support.engine.records import a_message
from tests.support.examples import examples
from tests.support.providers.built_requests import DIALECT_OF, MODELS, build, make_model
from tests.support.providers.strict_requests import STRICT

PATH: dict[str, Any] = {"path": {"type": "string"}}
READ = ToolDeclaration("read_file", "Reads.", {"type": "object", "properties": PATH, "required": ["path"]})
RUN = ToolDeclaration(
    "run",
    "Runs a command.",
    {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
        "additionalProperties": False,
    },
)
IMAGE = {"type": "file", "mediaType": "image/png", "data": "aGk="}
ASK = PromptMessage("user", (Text("Why does it fail?"),))


def called(*parts: Part, result: Any = "ok", is_error: bool = False) -> tuple[PromptMessage, ...]:
    """Return an answer and the results of its calls."""
    calls = [part for part in parts if isinstance(part, ToolCall)]
    outcome = "failed" if is_error else "ok"
    results = [ToolResult(call.tool_call_id, call.tool_name, result, is_error, outcome) for call in calls]
    return (PromptMessage("assistant", parts), *[PromptMessage("tool", (one,)) for one in results])


def request(type: str, *messages: PromptMessage, **fields: Any) -> ModelRequest:
    return ModelRequest(MODELS[DIALECT_OF[type]], messages or (ASK,), "Be brief.", **fields)


async def sent(type: str, *messages: PromptMessage, **fields: Any) -> dict[str, Any]:
    """Return the body that a provider gets, which it would take."""
    body = await build(type, request(type, *messages, **fields))
    assert STRICT[DIALECT_OF[type]](body) == []
    return body


def names(type: str, body: dict[str, Any]) -> list[str]:
    tools: list[Any] = body.get("tools") or []
    match DIALECT_OF[type]:
        case "chat":
            return [tool["function"]["name"] for tool in tools]
        case "google":
            return [each["name"] for tool in tools for each in tool["functionDeclarations"]]
        case _:
            return [tool["name"] for tool in tools]


CHOICES: dict[str, dict[Any, Any]] = {
    "chat": {"auto": None, "none": "none", "required": "required"},
    "responses": {"auto": None, "none": "none", "required": "required"},
    "anthropic": {"auto": None, "none": {"type": "none"}, "required": {"type": "any"}},
    "google": {
        choice: {"functionCallingConfig": {"mode": mode}}
        for choice, mode in (("auto", "AUTO"), ("none", "NONE"), ("required", "ANY"))
    },
}


@pytest.mark.parametrize("type", DIALECT_OF)
async def test_tools_and_the_choice_among_them_are_sent_in_their_order(type: str) -> None:
    dialect = DIALECT_OF[type]
    for choice, expected in CHOICES[dialect].items():
        body = await sent(type, tools=(RUN, READ), tool_choice=choice)
        assert names(type, body) == ["run", "read_file"]
        assert body.get("toolConfig" if dialect == "google" else "tool_choice") == expected
    assert not {"tools", "tool_choice", "toolConfig"} & (await sent(type, tool_choice="none")).keys()


async def test_a_schema_that_is_closed_is_strict_where_that_is_known() -> None:
    responses = await sent("openai", tools=(RUN, READ))
    assert [tool["strict"] for tool in responses["tools"]] == [True, False]
    chat = await build("openai-compat", request("openai-compat", tools=(RUN, READ)))
    assert not any("strict" in tool["function"] for tool in chat["tools"])


@pytest.mark.parametrize("type", DIALECT_OF)
async def test_options_about_parallel_calls_are_sent_with_tools_only(type: str) -> None:
    groups = {"openai": "openai", "azure": "openai", "openrouter": "openrouter", "vercel": "vercel"}
    if DIALECT_OF[type] == "anthropic":
        options: dict[str, Any] = {"anthropic": {"disableParallelToolUse": True}}
    elif type in groups:
        options = {groups[type]: {"parallelToolCalls": False}}
    else:
        return
    chosen = ModelSettings(provider_options=options)
    with_tools = await sent(type, tools=(READ,), settings=chosen)
    if DIALECT_OF[type] == "anthropic":
        assert with_tools["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    else:
        assert with_tools["parallel_tool_calls"] is False
    assert not {"parallel_tool_calls", "tool_choice"} & (await sent(type, settings=chosen)).keys()


@pytest.mark.parametrize("type", DIALECT_OF)
async def test_tools_of_the_history_that_are_gone_cannot_be_called(type: str) -> None:
    body = await sent(type, ASK, *called(ToolCall("c1", "old.tool", {})), ASK, tools=(READ,))
    if DIALECT_OF[type] == "anthropic":
        assert names(type, body) == ["read_file", "old_tool"]
        assert "do not call it" in body["tools"][1]["description"]
    else:
        assert names(type, body) == ["read_file"]


@pytest.mark.parametrize("type", DIALECT_OF)
async def test_images_of_a_result_are_sent_in_the_form_of_the_api(type: str) -> None:
    content = [{"type": "text", "text": "A red dot."}, IMAGE]
    messages = (ASK, *called(ToolCall("c1", "read_file", {}), ToolCall("c2", "run", {}), result=content))
    body = await sent(type, *messages, tools=(READ, RUN))
    match DIALECT_OF[type]:
        case "chat":
            *_, first, second, files = body["messages"]
            assert first["role"] == second["role"] == "tool"
            assert first["content"].startswith("A red dot.")
            assert [block["type"] for block in files["content"]] == ["text", "image_url"] * 2
        case "responses":
            assert [block["type"] for block in body["input"][-1]["output"]] == ["input_text", "input_image"]
        case "anthropic":
            [first, second] = body["messages"][-1]["content"]
            assert [block["type"] for block in first["content"]] == ["text", "image"]
        case _:
            response = body["contents"][-1]["parts"][0]["functionResponse"]
            assert response["response"] == {"output": "A red dot."}
            assert response["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]
    failed = (ASK, *called(ToolCall("c1", "read_file", {}), result=content, is_error=True))
    assert "A red dot." in json.dumps(await sent(type, *failed, tools=(READ,)))


async def test_older_models_of_google_get_images_beside_the_results() -> None:
    messages = (ASK, *called(ToolCall("c1", "read_file", {}), result=[IMAGE]))
    body = await build("google", ModelRequest("gemini-2.5-pro", messages, tools=(READ,)))
    assert [next(iter(part)) for part in body["contents"][-1]["parts"]] == ["functionResponse", "inlineData"]


@pytest.mark.parametrize("type", DIALECT_OF)
async def test_a_file_that_no_result_can_hold_is_named(type: str) -> None:
    film = {"type": "file", "mediaType": "video/mp4", "data": "aGk=", "title": "film.mp4"}
    body = await sent(type, ASK, *called(ToolCall("c1", "read_file", {}), result=[film]), tools=(READ,))
    if DIALECT_OF[type] != "google":  # which takes videos
        assert "film.mp4" in json.dumps(body)


@pytest.mark.parametrize("type", DIALECT_OF)
async def test_one_bad_schema_does_not_spoil_the_request(type: str) -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"type": "object", "properties": {"x": deep}}
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(3_000)}}
    odd: list[Any] = [
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}},
        {"$ref": "https://example.org/schema"},
        {"anyOf": [{"required": ["a"]}, {"properties": {"a": {"type": "array"}}}]},
        {"type": "object", "properties": {"$odd name": {"const": 5}, "items": {"items": [{}, True]}}},
        {"type": "string", "enum": ["a", 1, None, ""], "x-own": 1},
        {"type": "object", "properties": {"n": {"exclusiveMinimum": True, "pattern": "(", "nullable": True}}},
        {"type": "object", "properties": [], "required": "all", "additionalProperties": {"not": {}}},
        {"allOf": [{"properties": {"a": {"enum": [""]}}}, {"$ref": "#"}], "if": {}, "then": {}},
        deep,
        wide,
        {},
    ]
    tools = tuple([ToolDeclaration(f"t{at}", "A tool.", schema) for at, schema in enumerate(odd)])
    body = await sent(type, tools=(*tools, READ))
    assert names(type, body) == [*[tool.name for tool in tools], "read_file"]


@pytest.mark.parametrize("type", DIALECT_OF)
async def test_tools_whose_names_become_the_same_stay_apart(type: str) -> None:
    tools = tuple([ToolDeclaration(name, "", {}) for name in ("a.b", "a_b", "a/b", "a.b")])
    body = await sent(type, tools=tools)
    assert len(set(names(type, body))) == 3


async def test_thinking_goes_on_only_where_the_turn_began_with_it() -> None:
    thinks = ModelSettings(provider_options={"anthropic": {"thinking": {"budgetTokens": 1024}}})
    own = called(Reasoning("hm", None, "sig"), ToolCall("c1", "run", {}))
    second = called(ToolCall("c2", "run", {}))
    body = await sent("anthropic", ASK, *own, *second, tools=(RUN,), settings=thinks, tool_choice="required")
    assert body["thinking"]["type"] == "enabled"
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "sig"}
    foreign = await sent("anthropic", ASK, *second, ASK, tools=(RUN,), settings=thinks)
    assert "thinking" not in foreign
    over = PromptMessage("assistant", (Text("Done."),))
    assert "thinking" in await sent("anthropic", ASK, *second, over, ASK, tools=(RUN,), settings=thinks)


async def test_a_cache_of_google_excludes_tools() -> None:
    cached = ModelSettings(provider_options={"google": {"cachedContent": "cachedContents/1"}})
    await sent("google", settings=cached)
    with pytest.raises(InvalidRequestError, match="cachedContent"):
        await sent("google", settings=cached, tools=(READ,))


async def test_an_output_schema_and_tools_of_an_older_google_model_go_into_the_prompt() -> None:
    schema = ModelSettings(output_schema={"type": "object"})
    for model, is_in_prompt in (("gemini-2.5-flash", True), ("gemini-3-pro", False)):
        body = await build("google", ModelRequest(model, (ASK,), settings=schema, tools=(READ,)))
        assert ("systemInstruction" in body) is is_in_prompt
        assert ("responseJsonSchema" in body.get("generationConfig", {})) is not is_in_prompt


async def test_mistral_gets_ids_of_nine_letters_and_no_question_behind_a_result() -> None:
    messages = (ASK, *called(ToolCall("call_long_and_odd", "run", {}), result=[IMAGE]), ASK)
    body = await build("openai-compat", ModelRequest("mistral-large", messages, tools=(RUN,)))
    _, answer, result, between, last = body["messages"]
    assert answer["tool_calls"][0]["id"] == result["tool_call_id"]
    assert len(result["tool_call_id"]) == 9
    assert result["tool_call_id"].isalnum()
    assert (between["role"], last["role"]) == ("assistant", "user")


# ------------------------------------------------- histories of any provider, to any provider

IDS = st.sampled_from(["call_1", "toolu_1", "a.b/c", "x" * 90, "", "functions.run:0"])
NAMES = st.sampled_from(["run", "old.tool", "", "9lives", "ü" * 70, "x" * 80, "read_file"])
RESULTS: st.SearchStrategy[Any] = st.sampled_from(
    ["ok", "", None, {"a": 1}, [1, "x"], [], [IMAGE], [{"type": "text", "text": "x"}, IMAGE]]
)
ARGS: st.SearchStrategy[Any] = st.sampled_from([{}, {"path": "x"}, [1], "text", '{"a": 1}', None, 5])
SIGNATURES = st.sampled_from([None, "sig", "functionCall:c2ln", "redacted:eA==", '{"id":"rs_1"}', "[{}]"])
OWN, OTHER = "p:own", "p:other"

answer_parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, st.sampled_from(["Hello", " ", ""])),
    st.builds(Reasoning, st.sampled_from(["hm", ""]), st.none(), SIGNATURES),
    st.builds(ToolCall, IDS, NAMES, ARGS),
    st.builds(File, st.just("image/png"), st.just("aGk=")),
)
question_parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, st.sampled_from(["Hi", ""])), st.builds(File, st.just("image/png"), st.just("aGk="))
)


@st.composite
def agent_histories(draw: st.DrawFn, max_size: int = 12) -> list[Message]:
    """Return the messages of an agent chat, cut anywhere and made by several models."""
    messages: list[Message] = []
    while len(messages) < draw(st.integers(0, max_size)):
        role: Role = draw(st.sampled_from(["user", "assistant", "assistant", "system"]))
        parts = question_parts if role == "user" else answer_parts
        if role == "system":
            parts = st.just(Text("Be kind."))
        content = tuple(draw(st.lists(parts, min_size=1, max_size=4)))
        model = draw(st.sampled_from([OWN, OTHER])) if role == "assistant" else None
        messages.append(a_message(len(messages) + 1, role=role, content=content, model=model))
        given_results = [
            ToolResult(part.tool_call_id, part.tool_name, draw(RESULTS), error, "failed" if error else "ok")
            for part in content
            if isinstance(part, ToolCall) and draw(st.integers(0, 5))
            for error in [draw(st.booleans())]
        ]
        if given_results:
            at = len(messages) + 1
            messages.append(a_message(at, role="tool", content=tuple(given_results)))
    return [*messages, a_message(100, "Go on.")] if draw(st.booleans()) else messages


def prompt(history: Sequence[Message]) -> tuple[PromptMessage, ...]:
    return tuple([PromptMessage(role, parts) for role, parts in prompt_entries(history, OWN)])


def signed(type: str, message: PromptMessage) -> PromptMessage:
    """Return a message whose reasoning is signed as the API does it, as only its own reasoning is sent."""
    own = {"chat": None, "anthropic": "sig", "responses": '{"id":"rs_1","encrypted_content":"e"}'}
    dialect = DIALECT_OF[type]
    parts = [
        replace(part, signature=own[dialect]) if isinstance(part, Reasoning) and dialect in own else part
        for part in message.parts
    ]
    return replace(message, parts=tuple(parts))


@pytest.mark.parametrize("type", ["openai", "openai-compat", "openrouter", "anthropic", "google"])
@given(history=agent_histories(), thinks=st.booleans(), gone=st.booleans())
@settings(max_examples=examples(60))
async def test_every_provider_takes_every_history(
    type: str, history: list[Message], thinks: bool, gone: bool
) -> None:
    messages = tuple([signed(type, message) for message in prompt(history)])
    options: dict[str, Any] = {"anthropic": {"thinking": {"budgetTokens": 1024}}} if thinks else {}
    chosen = ModelSettings(provider_options=options)
    if not messages or messages[-1].role == "assistant":
        return
    try:
        await sent(type, *messages, tools=() if gone else (RUN, READ), settings=chosen)
    except EmptyPromptError:
        assert all(isinstance(part, Text) and not part.text.strip() for part in messages[-1].parts) or (
            messages[-1].role == "system"
        )


STEPS = st.tuples(st.integers(1, 80), st.sampled_from([(), (RUN,), (ToolDeclaration("old.tool", "", {}),)]))


@pytest.mark.parametrize("type", ["openai", "openai-compat", "openrouter", "anthropic", "google"])
@given(history=agent_histories(40), steps=st.lists(STEPS, min_size=1, max_size=6))
@settings(max_examples=examples(60))
async def test_what_is_kept_of_a_prompt_is_what_would_be_built(
    type: str, history: list[Message], steps: list[tuple[int, tuple[ToolDeclaration, ...]]]
) -> None:
    """The requests of a chat that grows, is cut back and changes, with and without its memory."""
    memory = PromptMemory()
    whole = [PromptMessage("user", (Text("Hi"),))] * 8
    whole = [*[replace(one) for one in whole], *prompt(history)]
    model = make_model(type)
    for end, tools in steps:
        messages = tuple(whole[:end])
        if messages[-1].role == "assistant":
            messages = (*messages, ASK)
        plain = request(type, *messages, tools=tools)
        bodies: list[Any] = []
        for each in (plain, replace(plain, memory=memory)):
            try:
                bodies.append(json.loads((await model.dialect.build_request(each)).body))
            except EmptyPromptError:
                bodies.append(None)
        assert bodies[0] == bodies[1]
