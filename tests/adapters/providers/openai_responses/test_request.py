"""What is asked of OpenAI's responses API, field by field."""

import base64
import json
from typing import Any

import pytest

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_chat.request import OPENAI
from parley_daemon.adapters.providers.openai_chat.request import build_body as build_chat_body
from parley_daemon.adapters.providers.openai_responses.parser import ResponsesParser
from parley_daemon.adapters.providers.openai_responses.request import build_body
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError, InvalidRequestError
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import File, Part, Piece, Reasoning, Source, Text, ToolCall, ToolResult, fold
from parley_daemon.core.records import ModelSettings, Role
from parley_daemon.ports.models import ModelRequest, PromptMessage
from parley_protocol.models.provider_options import OpenAIOptions
from tests.support.providers.responses_script import Answer

HI = PromptMessage("user", (Text("Hi"),))
THINKER = "gpt-5.1-codex"
SIGNATURE = '{"id":"rs_1","encrypted_content":"gAAA","summary":[1,2]}'


def body(
    *messages: PromptMessage, model: str = "gpt-4o", system: str | None = None, **settings: Any
) -> dict[str, Any]:
    request = ModelRequest(model, messages or (HI,), system, ModelSettings(**settings))
    return json.loads(build_body(request, "openai"))


def with_options(**options: Any) -> dict[str, Any]:
    """Return what these options of the provider add to a plain body."""
    plain = body()
    sent = body(provider_options={"openai": options, "openaiCompat": {"user": "not ours"}})
    assert sent.keys() >= plain.keys()
    return {name: value for name, value in sent.items() if plain.get(name) != value}


def message(role: Role, *parts: Part, **more: Any) -> list[dict[str, Any]]:
    """Return the items that become of one message that another one follows."""
    return body(PromptMessage(role, parts), HI, **more)["input"][:-1]


def asked(*parts: Part) -> Any:
    """Return the content that a user message's parts become."""
    [sent] = message("user", *parts)
    assert sent["role"] == "user"
    return sent["content"]


def test_a_plain_question_is_the_smallest_body_and_is_not_stored() -> None:
    assert body(system="Be brief.") == {
        "model": "gpt-4o",
        "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream": True,
        "store": False,
    }


def test_settings_become_the_apis_fields() -> None:
    sent = body(max_output_tokens=100, temperature=0.0, top_p=0.5)
    assert sent == {**body(), "max_output_tokens": 100, "temperature": 0.0, "top_p": 0.5}


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ({"top_k": 40}, "topK"),
        ({"presence_penalty": 1.0}, "presencePenalty"),
        ({"frequency_penalty": 1.0}, "frequencyPenalty"),
        ({"stop": ("a",)}, "stop"),
        ({"seed": 7}, "seed"),
    ],
)
def test_a_setting_that_the_api_does_not_know_is_an_error(setting: dict[str, Any], name: str) -> None:
    with pytest.raises(
        InvalidRequestError, match=rf'openai \(responses API\) does not support the option "{name}"'
    ):
        body(**setting)


# Every option of the group: its value, and what is sent for it in either of the two APIs; None: an error.
OPTIONS: dict[str, tuple[Any, dict[str, Any] | None, dict[str, Any] | None]] = {
    "instructions": ("Be kind.", {"instructions": "Be kind."}, None),
    "logitBias": ({"5": -100}, None, {"logit_bias": {"5": -100}}),
    "logProbs": (True, {"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
    "topLogProbs": (3, {"top_logprobs": 3, "include": ["message.output_text.logprobs"]}, {"top_logprobs": 3}),
    "maxToolCalls": (4, {"max_tool_calls": 4}, None),
    "parallelToolCalls": (False, {}, {}),  # refused beside no tools
    "user": ("u", {"user": "u"}, {"user": "u"}),
    "reasoningEffort": (
        "high",
        {"reasoning": {"effort": "high"}, "include": ["reasoning.encrypted_content"]},
        {"reasoning_effort": "high"},
    ),
    "reasoningSummary": (
        "auto",
        {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]},
        None,
    ),
    "maxCompletionTokens": (50, {"max_output_tokens": 50}, {"max_completion_tokens": 50}),
    "textVerbosity": ("low", {"text": {"verbosity": "low"}}, {"verbosity": "low"}),
    "prediction": ({"type": "content"}, None, {"prediction": {"type": "content"}}),
    "store": (True, {"store": True}, {"store": True}),
    "metadata": ({"k": "v"}, {"metadata": {"k": "v"}}, {"metadata": {"k": "v"}}),
    "promptCacheKey": ("c", {"prompt_cache_key": "c"}, {"prompt_cache_key": "c"}),
    "safetyIdentifier": ("s", {"safety_identifier": "s"}, {"safety_identifier": "s"}),
    "serviceTier": ("flex", {"service_tier": "flex"}, {"service_tier": "flex"}),
    "include": (["x.y"], {"include": ["x.y"]}, None),
    # These two say how an output schema is sent; without one they change nothing.
    "structuredOutputs": (False, {}, {}),
    "strictJsonSchema": (False, {}, {}),
}


def test_the_table_has_every_option_of_the_protocol() -> None:
    names = {field.alias or name for name, field in OpenAIOptions.model_fields.items()}
    assert names == OPTIONS.keys()


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_reaches_its_field_in_the_responses_api_or_is_an_error(name: str) -> None:
    value, sent, _ = OPTIONS[name]
    if sent is None:
        with pytest.raises(InvalidRequestError, match=name):
            with_options(**{name: value})
    else:
        assert with_options(**{name: value}) == sent


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_reaches_its_field_in_chat_completions_or_is_an_error(name: str) -> None:
    value, _, sent = OPTIONS[name]

    def chat(**options: Any) -> dict[str, Any]:
        settings = ModelSettings(provider_options={"openai": options})
        return json.loads(build_chat_body(ModelRequest("gpt-4o", (HI,), None, settings), OPENAI, "openai"))

    if sent is None:
        with pytest.raises(InvalidRequestError, match=name):
            chat(**{name: value})
    else:
        assert chat(**{name: value}) == {**chat(), **sent}


def test_all_options_fit_together() -> None:
    known = {name: value for name, (value, sent, _) in OPTIONS.items() if sent is not None}
    sent = body(temperature=1.0, provider_options={"openai": known})
    assert sent["reasoning"] == {"effort": "high", "summary": "auto"}
    assert sent["include"] == ["x.y", "message.output_text.logprobs", "reasoning.encrypted_content"]
    assert sent["max_output_tokens"] == 50


def test_an_answer_has_one_bound() -> None:
    options = {"openai": {"maxCompletionTokens": 7}}
    with pytest.raises(InvalidRequestError, match='"maxOutputTokens" and "maxCompletionTokens" are the same'):
        body(max_output_tokens=5, provider_options=options)


STRICT: dict[str, Any] = {
    "title": "A list, of words!",
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
ORDINARY: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("schema", "options", "name", "strict"),
    [
        (STRICT, {}, "A_list_of_words_", True),
        (STRICT, {"strictJsonSchema": False}, "A_list_of_words_", False),
        (ORDINARY, {}, "answer", False),
        (ORDINARY, {"strictJsonSchema": True}, "answer", True),
    ],
)
def test_an_output_schema_is_strict_where_it_can_be_or_is_said_to_be(
    schema: dict[str, Any], options: dict[str, Any], name: str, strict: bool
) -> None:
    given = {"openai": {**options, "textVerbosity": "low"}}
    assert body(output_schema=schema, provider_options=given)["text"] == {
        "verbosity": "low",
        "format": {"type": "json_schema", "name": name, "schema": schema, "strict": strict},
    }


def test_an_output_schema_that_is_not_enforced_is_told_in_the_input() -> None:
    options = {"openai": {"structuredOutputs": False, "textVerbosity": "low"}}
    sent = body(system="Be brief.", output_schema=ORDINARY, provider_options=options)
    assert sent["text"] == {"verbosity": "low", "format": {"type": "json_object"}}
    system, question = sent["input"]
    assert question == {"role": "user", "content": "Hi"}
    start, wish = system["content"].split("\n\n")
    said, schema = wish.split("\n")
    assert (system["role"], start, json.loads(schema)) == ("system", "Be brief.", ORDINARY)
    assert "JSON" in said


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("o1", True),
        ("o3-mini", True),
        ("o4-mini-2025-04-16", True),
        ("gpt-5", True),
        ("gpt-5.1-codex", True),
        ("openai/gpt-6-mini", True),
        ("codex-mini-latest", True),
        ("gpt-5-chat-latest", False),
        ("gpt-4o", False),
        ("gpt-4.1", False),
        ("gpt-oss-120b", False),
        ("gpt-3.5-turbo", False),
        ("my-deployment", False),
    ],
)
def test_encrypted_reasoning_is_asked_of_models_that_have_it(model: str, thinks: bool) -> None:
    include = ["reasoning.encrypted_content"] if thinks else None
    assert body(model=model).get("include") == include


def test_texts_of_one_message_are_one_string() -> None:
    source = Source("1", "file:///a/b.py", "b.py", "x = 1\n", 3, 4)
    assert asked(source, Text("Why?")) == "file:///a/b.py, lines 3-4:\n```\nx = 1\n```\n\nWhy?"


def test_images_go_as_urls_or_as_data() -> None:
    parts = (
        Text("What is it?"),
        File("image/png", data="aGk="),
        File("image/jpeg", url="https://e.org/i.jpg"),
    )
    assert asked(*parts) == [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
        {"type": "input_image", "image_url": "https://e.org/i.jpg", "detail": "auto"},
    ]


def test_files_go_as_data_or_as_urls_and_texts_as_text() -> None:
    data = base64.b64encode("ü = 1\n".encode()).decode()
    assert asked(
        File("application/pdf", data="aGk=", title="a.pdf"),
        File("application/pdf", url="https://e.org/a.pdf", title="a.pdf"),
        File("text/x-python", data=data, title="a.py"),
        File("text/plain", data="a", title="no base64"),
    ) == [
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
        {"type": "input_file", "file_url": "https://e.org/a.pdf"},
        {"type": "input_text", "text": "a.py (text/x-python):\n```\nü = 1\n```"},
        {"type": "input_file", "filename": "no base64", "file_data": "data:text/plain;base64,a"},
    ]


def test_a_file_that_the_api_cannot_carry_is_mentioned_and_not_dropped() -> None:
    assert asked(File("audio/wav", data="aGk=", title="a.wav")) == "[File a.wav, audio/wav]"
    assert message("assistant", File("image/png", data="aGk=", title="Cat")) == [
        {"role": "assistant", "content": "[File Cat, image/png]"}
    ]


def test_an_answer_goes_back_in_its_order_without_its_sources() -> None:
    parts = (
        Reasoning("a\n\nbc", None, SIGNATURE),
        Text("One."),
        Source("1", "https://e.org", "e"),
        Text("Two."),
        ToolCall("call_a", "f", {"x": "ü"}),
        Reasoning("", None, '{"id":"rs_2","encrypted_content":"gBBB"}'),
        Text("Three."),
    )
    assert message("assistant", *parts) == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "encrypted_content": "gAAA",
            "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "bc"}],
        },
        {"role": "assistant", "content": "One.\n\nTwo."},
        {"type": "function_call", "call_id": "call_a", "name": "f", "arguments": '{"x":"ü"}'},
        {"type": "reasoning", "id": "rs_2", "encrypted_content": "gBBB", "summary": []},
        {"role": "assistant", "content": "Three."},
    ]


@pytest.mark.parametrize(
    "answer",
    [
        Answer().reasoning("**A**\n\nb", "c\n\nd", encrypted="gAAA").message("Yes.").ended(),
        Answer().reasoning(encrypted="gAAA").calls(("call_a", "f", ["{}"])).ended(),
        Answer().reasoning(thoughts=["Hm.", "So."]).message("Yes.").ended(),
        Answer().reasoning("s", thoughts=["t"], encrypted="gAAA").message("Yes.").ended(),
    ],
    ids=["summaries", "nothing shown", "plain thoughts", "both"],
)
def test_reasoning_goes_back_as_the_item_that_it_came_as(answer: Answer) -> None:
    call = Call("openai", "gpt-5", "https://api.openai.test/v1/responses")
    reader = ResponseReader(call, ResponsesParser(call))
    chunks = [*reader.feed(answer.stream), *reader.end()]
    parts = fold([chunk for chunk in chunks if isinstance(chunk, Piece)])
    [came] = [item for item in answer.output if item["type"] == "reasoning"]
    sent = message("assistant", *parts)[0]
    assert sent == {name: value for name, value in came.items() if value is not None}


def test_reasoning_of_an_api_that_stores_goes_back_without_its_id() -> None:
    options = {"openai": {"store": True}}
    [item, _] = message(
        "assistant", Reasoning("a\n\nbc", None, SIGNATURE), Text("x"), provider_options=options
    )
    assert "id" not in item
    assert item["encrypted_content"] == "gAAA"


@pytest.mark.parametrize("signature", [None, "", "EqQBCgIYAhIM", "{}", '{"id": 3}', '{"x":' + "[" * 100_000])
def test_reasoning_without_a_signature_of_this_api_is_left_out(signature: str | None) -> None:
    assert message("assistant", Reasoning("hm", None, signature), Text("x")) == [
        {"role": "assistant", "content": "x"}
    ]


def test_reasoning_whose_text_is_not_what_was_signed_goes_back_in_one_piece() -> None:
    [item, _] = message("assistant", Reasoning("before\n\na\n\nbc", None, SIGNATURE), Text("x"))
    assert item["summary"] == [{"type": "summary_text", "text": "before\n\na\n\nbc"}]
    assert item["encrypted_content"] == "gAAA"


def test_system_messages_of_the_history_are_joined_to_the_first() -> None:
    rules = PromptMessage("system", (Text("Rhyme."),))
    sent = body(HI, rules, HI, system="Be brief.")["input"]
    assert [one["content"] for one in sent] == ["Be brief.\n\nRhyme.", "Hi", "Hi"]
    assert [one["role"] for one in sent] == ["system", "user", "user"]


def test_reasoning_that_led_to_nothing_is_left_out() -> None:
    thought = Reasoning("a\n\nbc", None, SIGNATURE)
    assert message("assistant", Text("x"), thought, thought) == [{"role": "assistant", "content": "x"}]
    assert message("assistant", thought) == []


def test_the_results_of_calls_go_back_under_their_ids() -> None:
    results = (
        ToolResult("a", "f", {"ok": 1}, False, "ok"),
        ToolResult("b", "g", "The tool call was interrupted.", True, "interrupted"),
    )
    calls = PromptMessage("assistant", (ToolCall("a", "f", {}), ToolCall("b", "g", '{"cut')))
    assert body(HI, calls, PromptMessage("tool", results))["input"][1:] == [
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": '{"ok":1}'},
        {"type": "function_call_output", "call_id": "b", "output": "Error: The tool call was interrupted."},
    ]


@pytest.mark.parametrize("parts", [(), (Text(""),), (Text(" \n\t"),), (Reasoning("hm"),)])
def test_an_empty_prompt_is_refused_and_not_sent(parts: tuple[Part, ...]) -> None:
    with pytest.raises(EmptyPromptError):
        body(HI, PromptMessage("user", parts))


def test_half_characters_in_a_history_do_not_make_the_chat_unusable() -> None:
    half = "a\ud83c"
    assert asked(Text(half + "\udf0d!" + half)) == "a🌍!a\ufffd"
