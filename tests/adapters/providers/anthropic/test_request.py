"""What is asked of Anthropic's models, field by field."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from parley_daemon.adapters.providers.anthropic.dialect import AnthropicMessages
from parley_daemon.adapters.providers.anthropic.request import build_body, default_max_tokens
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError, InvalidRequestError
from parley_daemon.adapters.providers.shared.tools import GONE
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult
from parley_daemon.core.prompts import prompt_entries
from parley_daemon.core.records import Message, ModelSettings, Role
from parley_daemon.ports.models import ModelRequest, PromptMessage, Purpose
from parley_protocol.models.provider_options import AnthropicOptions
from tests.support.engine.pairing_rules import anthropic_body_faults
from tests.support.engine.records import a_message
from tests.support.engine.strategies import blank, histories

HI = PromptMessage("user", (Text("Hi"),))
MARK = {"type": "ephemeral"}


def body(
    *messages: PromptMessage,
    system: str | None = None,
    purpose: Purpose = "title",
    model: str = "claude",
    **settings: Any,
) -> dict[str, Any]:
    """Return a request's body; one that is not for an answer, without marks, unless it says so."""
    request = ModelRequest(model, messages or (HI,), system, ModelSettings(**settings), purpose)
    return json.loads(build_body(request, "anthropic"))


def said(role: Role, *parts: Part, **settings: Any) -> list[dict[str, Any]]:
    """Return what becomes of one message between two of a person's."""
    *_, message, _ = body(HI, PromptMessage(role, parts), HI, **settings)["messages"]
    assert message["role"] == role
    return message["content"]


def shown(*parts: Part) -> list[dict[str, Any]]:
    """Return what becomes of a person's message."""
    [message] = body(PromptMessage("user", parts))["messages"]
    return message["content"]


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


async def test_a_plain_question_is_the_smallest_body() -> None:
    dialect = AnthropicMessages("anthropic", "https://api.anthropic.com")
    request = ModelRequest("claude", (HI,), "Be brief.", purpose="title")
    question = await dialect.build_request(request)
    assert question.url == "https://api.anthropic.com/v1/messages"
    assert json.loads(question.body) == {
        "model": "claude",
        "max_tokens": 32_000,
        "system": [text("Be brief.")],
        "messages": [{"role": "user", "content": [text("Hi")]}],
        "stream": True,
    }


def test_settings_become_the_dialects_fields() -> None:
    settings: dict[str, Any] = {
        "max_output_tokens": 100,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 40,
        "stop": ("a", "b"),
    }
    fields = {"max_tokens": 100, "temperature": 0.0, "top_p": 0.5, "top_k": 40, "stop_sequences": ["a", "b"]}
    assert body(**settings) == {**body(), **fields}


@pytest.mark.parametrize(
    ("setting", "name"),
    [("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty"), ("seed", "seed")],
)
def test_a_setting_that_the_api_does_not_know_is_an_error(setting: str, name: str) -> None:
    settings: dict[str, Any] = {setting: 1}
    with pytest.raises(InvalidRequestError, match=f'anthropic does not support the option "{name}"'):
        body(**settings)


OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"sendReasoning": True}, {}),
    ({"effort": "xhigh"}, {"output_config": {"effort": "xhigh"}}),
    ({"disableParallelToolUse": True}, {}),  # refused beside no tools
    (
        {"thinking": {"budgetTokens": 2048}},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 34_048},
    ),
    ({"thinking": None, "effort": None, "sendReasoning": None, "disableParallelToolUse": None}, {}),
]


def test_the_options_tried_are_those_of_the_protocol() -> None:
    names = {field.alias or name for name, field in AnthropicOptions.model_fields.items()}
    tried = {name for options, _ in OPTIONS for name, value in options.items() if value is not None}
    assert tried == names


@pytest.mark.parametrize(("options", "fields"), OPTIONS)
def test_each_option_reaches_its_field(options: dict[str, Any], fields: dict[str, Any]) -> None:
    given = {"anthropic": options, "openai": {"store": True}}
    assert body(provider_options=given) == {**body(), **fields}


def test_an_option_that_the_api_does_not_know_is_an_error() -> None:
    with pytest.raises(InvalidRequestError, match="reasoningEffort"):
        body(provider_options={"anthropic": {"reasoningEffort": "high"}})


@pytest.mark.parametrize(
    ("model", "plain", "thinking"),
    [
        ("claude-opus-5-5", 32_000, 42_000),
        ("claude-sonnet-4-6", 32_000, 42_000),
        ("claude-opus-4-5-20251101", 32_000, 42_000),
        ("claude-sonnet-4-20250514", 32_000, 42_000),
        ("claude-opus-4-1", 32_000, 32_000),
        ("claude-opus-4-1-20250805", 32_000, 32_000),
        ("us.anthropic.claude-opus-4-20250514-v1:0", 32_000, 32_000),
        ("claude-3-7-sonnet-20250219", 32_000, 42_000),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", 8192, 10_001),
        ("claude-3-haiku-20240307", 4096, 10_001),
        ("anthropic.claude-v2:1", 4096, 10_001),
        ("kimi-k3", 32_000, 42_000),
    ],
)
def test_an_answer_without_a_bound_gets_one_that_the_model_takes(
    model: str, plain: int, thinking: int
) -> None:
    assert (default_max_tokens(model, None), default_max_tokens(model, 10_000)) == (plain, thinking)
    assert body(model=model)["max_tokens"] == plain


@pytest.mark.parametrize(
    ("model", "most"),
    [("claude-opus-5-5", 128_000), ("claude-haiku-4-5", 64_000), ("claude-sonnet-4-0", 64_000)],
)
def test_thinking_and_answer_together_stay_below_what_the_model_can_write(model: str, most: int) -> None:
    assert default_max_tokens(model, most - 1000) == most
    assert default_max_tokens(model, most) == most + 1  # what the API thinks of it, it says itself


def test_a_budget_has_to_leave_room_for_an_answer() -> None:
    options = {"anthropic": {"thinking": {"budgetTokens": 2000}}}
    assert body(max_output_tokens=2001, provider_options=options)["max_tokens"] == 2001
    message = (
        r"thinking.budgetTokens \(2,000\) must be less than maxOutputTokens \(2,000\), which includes it"
    )
    with pytest.raises(InvalidRequestError, match=message):
        body(max_output_tokens=2000, provider_options=options)


def test_thoughts_go_back_first_signed_as_they_came() -> None:
    thoughts = (Reasoning("hm", None, "sig"), Reasoning("", None, "redacted:c2VjcmV0"))
    sent = said("assistant", *thoughts, Text("Yes."))
    assert sent == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
        text("Yes."),
    ]
    for send in (True, None):
        options = {"anthropic": {"sendReasoning": send}}
        assert said("assistant", *thoughts, Text("Yes."), provider_options=options) == sent


def test_thoughts_stay_here_where_that_is_wanted() -> None:
    options = {"anthropic": {"sendReasoning": False}}
    parts = (Reasoning("hm", None, "sig"), Text("Yes."))
    assert said("assistant", *parts, provider_options=options) == [text("Yes.")]


def test_thoughts_without_a_signature_are_not_sent() -> None:
    assert said("assistant", Reasoning("hm"), Text("Yes.")) == [text("Yes.")]


def test_an_answer_of_thoughts_and_sources_alone_is_left_out() -> None:
    parts = (Reasoning("hm", None, "sig"), Source("1", "https://a.test", "A"))
    sent = body(HI, PromptMessage("assistant", parts), HI)
    assert sent["messages"] == [{"role": "user", "content": [text("Hi"), text("Hi")]}]


CALLS = PromptMessage(
    "assistant", (Text("Let me look."), ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {}))
)


def test_all_results_of_an_answer_are_in_the_one_message_behind_it() -> None:
    results = [
        PromptMessage("tool", (ToolResult("a", "f", "done", False, "ok"),)),
        PromptMessage("tool", (ToolResult("b", "g", {"why": "no"}, True, "failed"),)),
    ]
    sent = body(HI, CALLS, *results, HI)["messages"]
    assert sent[1:] == [
        {
            "role": "assistant",
            "content": [
                text("Let me look."),
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "done"},
                {"type": "tool_result", "tool_use_id": "b", "content": '{"why":"no"}', "is_error": True},
                text("Hi"),
            ],
        },
    ]


def stub(name: str) -> dict[str, Any]:
    return {"name": name, "description": GONE, "input_schema": {"type": "object"}}


@pytest.mark.parametrize("options", [{}, {"disableParallelToolUse": True}])
def test_tools_that_were_called_are_declared_and_cannot_be_called(options: dict[str, Any]) -> None:
    more = PromptMessage("assistant", (ToolCall("c", "g", {}), ToolCall("d", "my.tool", {})))
    sent = body(HI, CALLS, HI, more, HI, provider_options={"anthropic": options})
    assert sent["tools"] == [stub("f"), stub("g"), stub("my_tool")]
    assert sent["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("model", "can_be_told"),
    [
        ("claude-opus-4-1", True),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", True),
        ("eu.anthropic.claude-opus-4-6-v1:0", True),
        ("arn:aws:bedrock:eu-central-1:1:application-inference-profile/abc", True),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", False),
        ("claude-3-haiku-20240307", False),
        ("anthropic.claude-v2:1", False),
    ],
)
def test_models_that_refuse_to_be_told_not_to_call_are_not_told(model: str, can_be_told: bool) -> None:
    sent = body(HI, CALLS, HI, model=model)
    assert sent["tools"] == [stub("f"), stub("g")]
    assert ("tool_choice" in sent) is can_be_told


def test_a_result_that_says_nothing_has_no_content() -> None:
    result = PromptMessage("tool", (ToolResult("a", "f", " ", False, "ok"),))
    call = PromptMessage("assistant", (ToolCall("a", "f", {}),))
    assert body(HI, call, result)["messages"][-1]["content"] == [{"type": "tool_result", "tool_use_id": "a"}]


@pytest.mark.parametrize("args", ["{", None, [1], 5, True])
def test_arguments_that_are_no_object_become_an_empty_one(args: object) -> None:
    assert said("assistant", ToolCall("a", "f", args))[0]["input"] == {}


def test_other_makers_ids_and_names_are_made_fit_and_stay_apart() -> None:
    calls = [ToolCall("a.1", "my.tool", {}), ToolCall("a_1", "my.tool", {}), ToolCall("a/1", "", {})]
    results = [
        PromptMessage("tool", (ToolResult(call.tool_call_id, "", "x", False, "ok"),)) for call in calls
    ]
    sent = body(HI, PromptMessage("assistant", tuple(calls)), *results)["messages"]
    assert [block["id"] for block in sent[1]["content"]] == ["a_1-ec8d7113", "a_1", "a_1-f5964052"]
    assert [block["tool_use_id"] for block in sent[2]["content"]] == ["a_1-ec8d7113", "a_1", "a_1-f5964052"]
    assert [block["name"] for block in sent[1]["content"]] == ["my_tool", "my_tool", "tool"]


def test_neighbours_of_one_side_are_one_message() -> None:
    answers = [PromptMessage("assistant", (Text(each),)) for each in "ab"]
    assert body(HI, HI, *answers, HI)["messages"] == [
        {"role": "user", "content": [text("Hi"), text("Hi")]},
        {"role": "assistant", "content": [text("a"), text("b")]},
        {"role": "user", "content": [text("Hi")]},
    ]


def test_a_chat_that_the_assistant_begins_is_told_so() -> None:
    sent = body(PromptMessage("assistant", (Text("May I help?"),)), HI)["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"] == [text("(The assistant begins.)")]


def test_what_the_system_says_in_between_goes_to_the_top() -> None:
    sent = body(HI, PromptMessage("system", (Text("Be kind."),)), HI, system="Be brief.")
    assert sent["system"] == [text("Be brief."), text("Be kind.")]
    assert sent["messages"] == [{"role": "user", "content": [text("Hi"), text("Hi")]}]
    assert "system" not in body(system=" ")


IMAGE = {"type": "base64", "media_type": "image/png", "data": "aGk="}


@pytest.mark.parametrize(
    ("file", "block"),
    [
        (File("image/png", "aGk=", None, "a.png"), {"type": "image", "source": IMAGE}),
        (
            File("image/jpg", "aGk="),
            {"type": "image", "source": {**IMAGE, "media_type": "image/jpeg"}},
        ),
        (
            File("image/png", None, "https://a.test/a.png"),
            {"type": "image", "source": {"type": "url", "url": "https://a.test/a.png"}},
        ),
        (
            File("application/pdf", "aGk=", None, "a.pdf"),
            {
                "type": "document",
                "source": {**IMAGE, "media_type": "application/pdf"},
                "title": "a.pdf",
            },
        ),
        (
            File("application/pdf", None, "https://a.test/a.pdf"),
            {"type": "document", "source": {"type": "url", "url": "https://a.test/a.pdf"}},
        ),
        (
            File("text/x-python", base64.b64encode(b"x = 1\n").decode(), None, "a.py"),
            text("a.py (text/x-python):\n```\nx = 1\n```"),
        ),
        (File("audio/wav", "aGk=", None, "a.wav"), text("[File a.wav, audio/wav]")),
        (File("image/png", None, "file:///a.png"), text("[File file:///a.png, image/png]")),
        (File("text/plain", None, "https://a.test/a.txt"), text("[File https://a.test/a.txt, text/plain]")),
    ],
)
def test_files_are_images_documents_text_or_a_mention(file: File, block: dict[str, Any]) -> None:
    assert shown(Text("Look:"), file) == [text("Look:"), block]
    title = " ".join(filter(None, (file.title, file.url))) or "without a name"
    assert said("assistant", file) == [text(f"[File {title}, {file.media_type}]")]


def test_quoted_sources_are_text_and_blank_text_is_nothing() -> None:
    source = Source("1", "file:///a.py", "a.py", "x = 1", 3, 4)
    assert shown(Text(" \n"), source) == [text("file:///a.py, lines 3-4:\n```\nx = 1\n```")]
    assert said("assistant", Text(""), Source("1", "https://a.test", "A"), Text("a")) == [text("a")]


@pytest.mark.parametrize(
    "messages",
    [
        (PromptMessage("user", (Text(" "),)),),
        (HI, PromptMessage("user", ())),
        (PromptMessage("system", (Text("Be brief."),)),),
        (),
    ],
)
def test_an_empty_prompt_is_an_error(messages: tuple[PromptMessage, ...]) -> None:
    with pytest.raises(EmptyPromptError):
        build_body(ModelRequest("claude", messages), "anthropic")


def marked(sent: dict[str, Any]) -> list[tuple[str, int]]:
    """Return where the marks for the prompt cache are, by message and block."""
    places = [("system", sent.get("system", []))]
    places += [(str(at), message["content"]) for at, message in enumerate(sent["messages"])]
    return [
        (place, at) for place, blocks in places for at, block in enumerate(blocks) if "cache_control" in block
    ]


def test_the_prompt_cache_is_marked_at_the_ends_of_the_system_prompt_and_the_last_two_messages() -> None:
    answer = PromptMessage("assistant", (Text("a"), Text("b")))
    more = PromptMessage("system", (Text("Be kind."),))
    sent = body(HI, answer, HI, answer, HI, more, HI, system="Be brief.", purpose="answer")
    assert marked(sent) == [("system", 1), ("3", 1), ("4", 1)]
    assert sent["messages"][-1]["content"][-1] == {**text("Hi"), "cache_control": MARK}
    assert marked(body(purpose="answer")) == [("0", 0)]


def test_thoughts_cannot_be_marked() -> None:
    cut = PromptMessage("assistant", (Text("a"), Reasoning("hm", None, "sig")))
    assert marked(body(HI, cut, HI, purpose="answer")) == [("1", 0), ("2", 0)]


@pytest.mark.parametrize("purpose", ["title", "summary"])
def test_what_nobody_goes_on_from_is_not_written_to_the_cache(purpose: Purpose) -> None:
    assert marked(body(HI, system="Be brief.", purpose=purpose)) == []


def test_an_output_schema_is_a_format_beside_the_effort() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    options = {"anthropic": {"effort": "low"}}
    assert body(output_schema=schema, provider_options=options)["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}},
    }


# -------------------------------------------------------------------------- any history

MODEL = "anthropic:claude"
QUESTION = a_message(100, "Go on.")


@given(histories(), st.booleans())
def test_any_history_makes_a_request_that_the_api_takes(messages: list[Message], sends: bool) -> None:
    own = [replace(message, model=MODEL) for message in messages]  # so that its reasoning goes back
    entries = prompt_entries([*own, QUESTION], MODEL)
    prompt = tuple([PromptMessage(role, parts) for role, parts in entries])
    options = {"anthropic": {"sendReasoning": sends}}
    sent = body(*prompt, system="Be brief.", purpose="answer", provider_options=options)
    assert anthropic_body_faults(sent) == []
    blocks = [block for one in [sent["system"], *[m["content"] for m in sent["messages"]]] for block in one]
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    for message in messages:
        for part in message.content:
            if isinstance(part, Text) and not blank(part) and message.role != "tool":
                assert part.text in texts


def test_the_checks_of_a_body_find_what_the_api_refuses() -> None:
    good = body(HI, CALLS, PromptMessage("tool", (ToolResult("a", "f", "x", False, "ok"),)))
    assert anthropic_body_faults(good)  # one result is missing
    result = {"type": "tool_result", "tool_use_id": "b"}
    good["messages"][2]["content"].append(result)
    assert anthropic_body_faults(good) == []
    faults: list[tuple[tuple[Any, ...], object]] = [
        ((1, "role"), "user"),
        ((0, "role"), "assistant"),
        ((1, "content", 1, "id"), "a.b"),
        ((1, "content", 1, "input"), []),
        ((2, "content", 0, "tool_use_id"), "c"),
        ((0, "content", 0, "text"), " "),
    ]
    for path, wrong in faults:
        bad = json.loads(json.dumps(good))
        place = bad["messages"]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = wrong
        assert anthropic_body_faults(bad), path
    for tools in ([], [stub("f")], [stub("f"), stub("g"), stub("g")]):
        assert anthropic_body_faults({**good, "tools": tools})
    assert anthropic_body_faults({**body(), "tool_choice": {"type": "none"}})
    thoughts = {"type": "thinking", "thinking": "hm", "signature": "sig", "cache_control": MARK}
    good["messages"][1]["content"].insert(0, thoughts)
    assert anthropic_body_faults(good)
