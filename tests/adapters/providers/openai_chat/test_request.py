"""What is asked of a server of the chat-completions dialect, field by field."""

import base64
import json
from typing import Any

import pytest

from parley_daemon.adapters.providers.openai_chat.request import (
    COMPATIBLE,
    OPENAI,
    OPENROUTER,
    VERCEL,
    Flavour,
    build_body,
)
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError, InvalidRequestError
from parley_daemon.adapters.providers.shared.tools import GONE
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
from parley_daemon.core.records import ModelSettings, Role
from parley_daemon.ports.models import ModelRequest, PromptMessage
from parley_protocol.models.base import Wire
from parley_protocol.models.provider_options import (
    OpenAICompatOptions,
    OpenRouterOptions,
    OpenRouterRouting,
    RouterReasoning,
    VercelOptions,
    VercelRouting,
)

HI = PromptMessage("user", (Text("Hi"),))
YES = PromptMessage("assistant", (Text("Yes."),))


def body(
    *messages: PromptMessage, flavour: Flavour = COMPATIBLE, system: str | None = None, **settings: Any
) -> dict[str, Any]:
    request = ModelRequest("llama", messages or (HI,), system, ModelSettings(**settings))
    return json.loads(build_body(request, flavour, "local"))


def message(role: Role, *parts: Part) -> list[dict[str, Any]]:
    """Return what becomes of one message that another one follows."""
    if role == "user":
        return body(PromptMessage(role, parts), YES, HI)["messages"][:-2]
    return body(PromptMessage(role, parts), HI)["messages"][:-1]


def asked(*parts: Part) -> Any:
    """Return the content that a user message's parts become."""
    [sent] = message("user", *parts)
    assert sent["role"] == "user"
    return sent["content"]


def test_a_plain_question_is_the_smallest_body() -> None:
    assert body(system="Be brief.") == {
        "model": "llama",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


SETTINGS: dict[str, Any] = {
    "max_output_tokens": 100,
    "temperature": 0.0,
    "top_p": 0.5,
    "top_k": 40,
    "presence_penalty": -1.0,
    "frequency_penalty": 1.0,
    "stop": ("a", "b"),
    "seed": 7,
}
SHARED = {
    "temperature": 0.0,
    "top_p": 0.5,
    "presence_penalty": -1.0,
    "frequency_penalty": 1.0,
    "stop": ["a", "b"],
    "seed": 7,
}


def test_settings_become_the_dialects_fields() -> None:
    plain = body()
    assert body(**SETTINGS) == {**plain, **SHARED, "max_tokens": 100, "top_k": 40}
    known = {name: value for name, value in SETTINGS.items() if name != "top_k"}
    assert body(flavour=OPENAI, **known) == {**plain, **SHARED, "max_completion_tokens": 100}


def test_a_setting_that_a_provider_does_not_know_is_an_error() -> None:
    with pytest.raises(InvalidRequestError, match='local does not support the option "topK"'):
        body(flavour=OPENAI, top_k=40)


@pytest.mark.parametrize("option", ["instructions", "maxToolCalls", "reasoningSummary", "include"])
def test_an_option_of_the_other_dialect_is_an_error(option: str) -> None:
    with pytest.raises(InvalidRequestError, match=option):
        body(flavour=OPENAI, provider_options={"openai": {option: "x"}})


STRICT: dict[str, Any] = {
    "title": "A list, of words!",
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
ORDINARY: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def test_an_output_schema_has_a_name_and_is_strict() -> None:
    assert body(output_schema=STRICT)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "A_list_of_words_", "schema": STRICT, "strict": True},
    }


def test_an_output_schema_that_strict_ones_rules_refuse_is_asked_for_loosely() -> None:
    assert body(output_schema=ORDINARY)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": ORDINARY, "strict": False},
    }


@pytest.mark.parametrize(("schema", "strict"), [(STRICT, False), (ORDINARY, True)])
def test_whether_an_output_schema_is_strict_can_be_said(schema: dict[str, Any], strict: bool) -> None:
    options = {"openai": {"strictJsonSchema": strict}}
    sent = body(flavour=OPENAI, output_schema=schema, provider_options=options)
    assert sent["response_format"]["json_schema"]["strict"] is strict


def test_an_output_schema_that_is_not_enforced_is_told_in_the_system_prompt() -> None:
    options = {"openai": {"structuredOutputs": False}}
    sent = body(flavour=OPENAI, system="Be brief.", output_schema=ORDINARY, provider_options=options)
    assert sent["response_format"] == {"type": "json_object"}
    system, question = sent["messages"]
    assert (system["role"], question) == ("system", {"role": "user", "content": "Hi"})
    start, wish = system["content"].split("\n\n")
    said, schema = wish.split("\n")
    assert (start, json.loads(schema)) == ("Be brief.", ORDINARY)
    assert "JSON" in said
    [alone, _] = body(flavour=OPENAI, output_schema=ORDINARY, provider_options=options)["messages"]
    assert alone == {"role": "system", "content": wish}
    [unasked] = body(flavour=OPENAI, provider_options=options)["messages"]
    assert unasked == question


def names(options: type[Wire]) -> set[str]:
    """Return what the protocol calls the fields of a group of options, or of an object in one."""
    return {field.alias or name for name, field in options.model_fields.items()}


def test_compatible_servers_get_their_own_options_and_not_openais() -> None:
    own = {"user": "u", "reasoningEffort": "high", "extraHeaders": {"X": "y"}, "extraBody": {"x": 1}}
    assert own.keys() == names(OpenAICompatOptions)
    sent = body(provider_options={"openaiCompat": own, "openai": {"store": True}})
    assert sent == {**body(), "user": "u", "reasoning_effort": "high", "x": 1}


def test_openai_gets_its_own_options_under_its_own_names() -> None:
    options = {
        "openai": {"logitBias": {"5": -100}, "store": False},
        "openaiCompat": {"user": "u"},
    }
    sent = body(flavour=OPENAI, provider_options=options)
    assert sent == {**body(), "logit_bias": {"5": -100}, "store": False}


TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "description": GONE, "parameters": {"type": "object", "properties": {}}},
}


def test_openrouter_gets_its_options_with_underscores() -> None:
    options: dict[str, Any] = {
        "reasoning": {"enabled": True, "exclude": False, "maxTokens": 100, "effort": "low"},
        "includeUsage": True,
        "logitBias": {"5": 1},
        "logProbs": True,
        "parallelToolCalls": False,
        "user": "u",
        "provider": {
            "order": ["a"],
            "allowFallbacks": False,
            "requireParameters": True,
            "dataCollection": "deny",
            "only": ["a", "b"],
            "ignore": ["c"],
            "quantizations": ["fp8"],
            "sort": "price",
        },
        "extraBody": {"transforms": []},
    }
    assert options.keys() == names(OpenRouterOptions)
    assert options["reasoning"].keys() == names(RouterReasoning)
    assert options["provider"].keys() == names(OpenRouterRouting)
    assert body(flavour=OPENROUTER, provider_options={"openrouter": options}) == {
        **body(),
        "reasoning": {"enabled": True, "exclude": False, "max_tokens": 100, "effort": "low"},
        "usage": {"include": True},
        "logit_bias": {"5": 1},
        "logprobs": True,
        "user": "u",
        "provider": {
            "order": ["a"],
            "allow_fallbacks": False,
            "require_parameters": True,
            "data_collection": "deny",
            "only": ["a", "b"],
            "ignore": ["c"],
            "quantizations": ["fp8"],
            "sort": "price",
        },
        "transforms": [],
    }


def test_the_vercel_gateway_gets_its_routing_in_its_own_place() -> None:
    options: dict[str, Any] = {
        "reasoning": {"enabled": True, "exclude": False, "maxTokens": 100, "effort": "low"},
        "providerOptions": {"order": ["bedrock", "anthropic"], "models": ["a/b"]},
        "user": "u",
        "logitBias": {"5": 1},
        "logProbs": True,
        "topLogProbs": 3,
        "parallelToolCalls": True,
        "extraBody": {"x": 1},
    }
    assert options.keys() == names(VercelOptions)
    assert options["providerOptions"].keys() == names(VercelRouting)
    assert body(flavour=VERCEL, provider_options={"vercel": options}) == {
        **body(),
        "reasoning": {"enabled": True, "exclude": False, "max_tokens": 100, "effort": "low"},
        "providerOptions": {"gateway": {"order": ["bedrock", "anthropic"], "models": ["a/b"]}},
        "user": "u",
        "logit_bias": {"5": 1},
        "logprobs": True,
        "top_logprobs": 3,
        "x": 1,
    }


def test_an_extra_body_is_laid_over_the_fields_and_null_takes_one_out() -> None:
    extra = {"temperature": 1, "min_p": 0.1, "stream_options": None, "chat_template_kwargs": {"think": False}}
    sent = body(temperature=0.5, provider_options={"openaiCompat": {"extraBody": extra}})
    plain = body()
    del plain["stream_options"]
    assert sent == {**plain, "temperature": 1, "min_p": 0.1, "chat_template_kwargs": {"think": False}}


@pytest.mark.parametrize("stream", [False, None])
def test_how_to_stream_is_not_said_where_no_stream_is_asked_for(stream: bool | None) -> None:
    extra = {"stream": stream, "stream_options": {"include_usage": True}}
    for given in ({"stream": stream}, extra):
        sent = body(provider_options={"openaiCompat": {"extraBody": given}})
        asked = {"model": "llama", "messages": [{"role": "user", "content": "Hi"}]}
        assert sent == (asked if stream is None else {**asked, "stream": False})


def test_a_null_inside_of_an_extra_bodys_field_is_sent() -> None:
    extra = {"chat_template_kwargs": {"think": None}}
    assert body(provider_options={"openaiCompat": {"extraBody": extra}}) == {**body(), **extra}


def test_an_answer_has_one_bound() -> None:
    both: dict[str, Any] = {
        "max_output_tokens": 5,
        "provider_options": {"openai": {"maxCompletionTokens": 7}},
    }
    with pytest.raises(InvalidRequestError, match='"maxCompletionTokens" are the same option of local'):
        body(flavour=OPENAI, **both)
    assert body(**both)["max_tokens"] == 5  # the group of others says nothing here


def test_texts_of_one_message_are_one_string() -> None:
    assert asked(Text("One."), Text("Two.")) == "One.\n\nTwo."


def test_a_source_is_quoted_with_its_place_in_a_fence() -> None:
    source = Source("1", "file:///a/b.py", "b.py", "x = 1\ny = 2\n", 3, 4)
    assert asked(source, Text("Why?")) == "file:///a/b.py, lines 3-4:\n```\nx = 1\ny = 2\n```\n\nWhy?"


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [(None, None, ""), (3, 3, ", line 3"), (3, None, ", line 3"), (3, 9, ", lines 3-9")],
)
def test_a_sources_lines_are_named(start: int | None, end: int | None, shown: str) -> None:
    assert asked(Source("1", "file:///a", "a", "x", start, end)) == f"file:///a{shown}:\n```\nx\n```"


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    text = "```python\n````\n```"
    assert asked(Source("1", "file:///a", "a", text)) == f"file:///a:\n`````\n{text}\n`````"


def test_a_source_without_text_is_named() -> None:
    assert asked(Source("1", "file:///a", "a")) == "file:///a"


def test_images_go_as_urls_or_as_data() -> None:
    parts = (
        Text("What is it?"),
        File("image/png", data="aGk="),
        File("image/jpeg", url="https://e.org/i.jpg"),
    )
    assert asked(*parts) == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "https://e.org/i.jpg"}},
    ]


def test_text_files_go_as_text() -> None:
    data = base64.b64encode("ü = 1\n".encode()).decode()
    assert asked(File("text/x-python", data=data, title="a.py")) == "a.py (text/x-python):\n```\nü = 1\n```"
    assert asked(File("application/json", data="e30=")) == "A file (application/json):\n```\n{}\n```"


def test_other_files_go_as_what_they_are() -> None:
    assert asked(File("application/pdf", data="aGk=", title="a.pdf"), File("audio/wav", data="aGk=")) == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
    ]


def test_a_file_that_the_dialect_cannot_carry_is_mentioned_and_not_dropped() -> None:
    shown = "[File a.pdf https://e.org/a.pdf, application/pdf]"
    assert asked(File("application/pdf", url="https://e.org/a.pdf", title="a.pdf")) == shown
    assert message("assistant", File("application/pdf", url="https://e.org/a.pdf", title="a.pdf")) == [
        {"role": "assistant", "content": shown}
    ]


def test_a_text_file_that_is_no_base64_goes_as_it_is() -> None:
    assert asked(File("text/plain", data="a", title="t"))[0]["type"] == "file"


def test_an_answer_goes_back_without_its_reasoning_and_sources() -> None:
    parts = (Reasoning("hm", None, "sig"), Text("Yes."), Source("1", "https://e.org", "e"))
    assert message("assistant", *parts) == [{"role": "assistant", "content": "Yes."}]


def test_tool_calls_and_their_results_go_back_paired() -> None:
    call, other = ToolCall("a", "f", {"x": "ü"}), ToolCall("b", "g", '{"cut')
    results = (
        ToolResult("a", "f", {"ok": 1}, False, "ok"),
        ToolResult("b", "g", "The tool call was interrupted.", True, "interrupted"),
    )
    sent = body(PromptMessage("assistant", (Reasoning("hm"), call, other)), PromptMessage("tool", results))
    assert sent["messages"] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":"ü"}'}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
            "reasoning_content": "hm",
        },
        {"role": "tool", "tool_call_id": "a", "content": '{"ok":1}'},
        {"role": "tool", "tool_call_id": "b", "content": "Error: The tool call was interrupted."},
    ]


def test_system_messages_of_the_history_are_joined_to_the_first() -> None:
    """Many chat templates accept one system message, at the beginning."""
    rules = PromptMessage("system", (Text("Rhyme."), File("text/plain", "aGk=", title="notes")))
    more = PromptMessage("system", (Text(" "),))
    sent = body(rules, HI, YES, more, HI, system="Be brief.")["messages"]
    assert [one["role"] for one in sent] == ["system", "user", "assistant", "user"]
    assert sent[0]["content"].startswith("Be brief.\n\nRhyme.\n\nnotes (text/plain):")
    assert [one["role"] for one in body(HI, rules, HI)["messages"]] == ["system", "user"]


@pytest.mark.parametrize("flavour", [OPENAI, OPENROUTER, VERCEL])
def test_how_tools_are_called_is_said_only_beside_tools(flavour: Flavour) -> None:
    options: dict[str, Any] = {"parallelToolCalls": False}
    assert body(flavour=flavour, provider_options={flavour.group: options}) == body()


TOOL_FIELDS: list[dict[str, Any]] = [
    {"tools": [TOOL]},
    {"tools": []},
    {"tool_choice": "auto"},
    {"functions": [{}]},
    {"function_call": "auto"},
]


@pytest.mark.parametrize("flavour", [COMPATIBLE, OPENROUTER, VERCEL])
@pytest.mark.parametrize("extra", TOOL_FIELDS, ids=str)
def test_tools_in_a_stored_extra_body_are_refused(flavour: Flavour, extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        body(flavour=flavour, provider_options={flavour.group: {"extraBody": extra}})
    (name,) = extra
    assert f'Remove "{name}" from the settings.' in str(caught.value)


CALLED = (
    PromptMessage("assistant", (ToolCall("a", "f", {}),)),
    PromptMessage("tool", (ToolResult("a", "f", "x", False, "ok"),)),
    PromptMessage("assistant", (ToolCall("b", "f", {}),)),
    PromptMessage("tool", (ToolResult("b", "f", "x", False, "ok"),)),
    HI,
)


def asked_after_calls(flavour: Flavour, model: str, **options: Any) -> dict[str, Any]:
    settings = ModelSettings(provider_options={flavour.group: options})
    return json.loads(build_body(ModelRequest(model, CALLED, None, settings), flavour, "local"))


@pytest.mark.parametrize("flavour", [OPENROUTER, VERCEL])
def test_claude_behind_a_router_gets_the_tools_declared_that_were_called(flavour: Flavour) -> None:
    sent = asked_after_calls(flavour, "anthropic/claude-opus-4.1", parallelToolCalls=False)
    assert sent["tools"] == [TOOL]
    assert sent["tool_choice"] == "none"
    assert "parallel_tool_calls" not in sent
    without = {"tools": None, "tool_choice": None}
    assert "tools" not in asked_after_calls(flavour, "anthropic/claude-opus-4.1", extraBody=without)
    plain = ModelRequest("anthropic/claude-opus-4.1", (HI,))
    assert "tools" not in json.loads(build_body(plain, flavour, "local"))


@pytest.mark.parametrize(
    ("flavour", "model"), [(OPENROUTER, "openai/gpt-5"), (OPENAI, "claude"), (COMPATIBLE, "claude-opus-4-1")]
)
def test_others_are_told_of_no_tools(flavour: Flavour, model: str) -> None:
    assert not asked_after_calls(flavour, model).keys() & {"tools", "tool_choice"}


def test_messages_that_say_nothing_are_left_out() -> None:
    assert message("assistant", Reasoning("only thoughts")) == []
    assert message("user", Text(" \n")) == []


def test_users_messages_in_a_row_go_as_one() -> None:
    """A turn that failed, a summary, a steering message: many a server insists on roles that take turns."""
    later = PromptMessage("user", (Text("And this?"),))
    nothing = PromptMessage("user", (Text(" "),))
    assert body(YES, HI, nothing, later)["messages"][1:] == [{"role": "user", "content": "Hi\n\nAnd this?"}]
    image = PromptMessage("user", (File("image/png", data="aGk="),))
    [sent] = body(HI, image, later)["messages"]
    assert [block["type"] for block in sent["content"]] == ["text", "image_url", "text"]
    roles = [one["role"] for one in body(HI, later, YES, YES, HI, system="Be brief.")["messages"]]
    assert roles == ["system", "user", "assistant", "assistant", "user"]


@pytest.mark.parametrize("parts", [(), (Text(""),), (Text(" \n\t"),), (Reasoning("hm"),)])
def test_an_empty_prompt_is_refused_and_not_sent(parts: tuple[Part, ...]) -> None:
    with pytest.raises(EmptyPromptError):
        body(HI, PromptMessage("user", parts))


def test_no_message_at_all_is_an_empty_prompt() -> None:
    with pytest.raises(EmptyPromptError):
        build_body(ModelRequest("llama", (), "Be brief."), COMPATIBLE, "local")


def test_half_characters_in_a_history_do_not_make_the_chat_unusable() -> None:
    half = "a\ud83c"
    assert asked(Text(half + "\udf0d!" + half)) == "a🌍!a\ufffd"
    result = ToolResult("a", "f", {"x": half}, False, "ok")
    assert message("tool", result)[0]["content"] == '{"x": "a\ufffd"}'
