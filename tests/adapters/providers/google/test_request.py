"""What is asked of Google's API, field by field, and where."""

import base64
import json
from typing import Any

import pytest

from parley_daemon.adapters.providers.google.dialect import GoogleGenerate
from parley_daemon.adapters.providers.google.messages import UNSIGNED
from parley_daemon.adapters.providers.google.parser import GoogleParser
from parley_daemon.adapters.providers.google.request import (
    CATEGORIES,
    OPTIONS,
    SETTINGS,
    build_body,
)
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError, InvalidRequestError
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult, fold
from parley_daemon.core.records import ModelSettings, Role
from parley_daemon.ports.models import Finish, ModelRequest, PromptMessage, UsageReport
from parley_protocol.models.provider_options import GoogleOptions

HI = PromptMessage("user", (Text("Hi"),))
ASKED = {"role": "user", "parts": [{"text": "Hi"}]}

Json = dict[str, Any]


def body(*messages: PromptMessage, system: str | None = None, **settings: Any) -> Json:
    request = ModelRequest("gemini-9", messages or (HI,), system, ModelSettings(**settings))
    return json.loads(build_body(request, "google"))


def message(role: Role, *parts: Part) -> list[Json]:
    """Return what becomes of one message between two others."""
    return body(HI, PromptMessage(role, parts), HI)["contents"][1:-1]


def asked(*parts: Part) -> list[Json]:
    """Return the parts that a user message's become."""
    [sent] = message("user", *parts)
    assert sent["role"] == "user"
    return sent["parts"]


def answered(*parts: Part) -> list[Json]:
    """Return the parts that an answer's become."""
    [sent] = message("assistant", *parts)
    assert sent["role"] == "model"
    return sent["parts"]


def test_a_plain_question_is_the_smallest_body() -> None:
    assert body() == {"contents": [ASKED]}


def test_instructions_have_a_place_of_their_own_wherever_they_came() -> None:
    late = PromptMessage("system", (Text("In verse."),))
    assert body(HI, late, HI, system="Be brief.") == {
        "systemInstruction": {"parts": [{"text": "Be brief.\n\nIn verse."}]},
        "contents": [ASKED, ASKED],
    }


SETTING: dict[str, tuple[str, Any]] = {
    "maxOutputTokens": ("max_output_tokens", 100),
    "temperature": ("temperature", 0.0),
    "topP": ("top_p", 0.5),
    "topK": ("top_k", 40),
    "presencePenalty": ("presence_penalty", -1.0),
    "frequencyPenalty": ("frequency_penalty", 1.0),
    "stop": ("stop", ("a", "b")),
    "seed": ("seed", 7),
}


def test_every_common_setting_reaches_its_field() -> None:
    assert SETTING.keys() == SETTINGS.keys()
    assert body(**dict(SETTING.values()))["generationConfig"] == {
        "maxOutputTokens": 100,
        "temperature": 0.0,
        "topP": 0.5,
        "topK": 40,
        "presencePenalty": -1.0,
        "frequencyPenalty": 1.0,
        "stopSequences": ["a", "b"],
        "seed": 7,
    }


def options(**given: Any) -> Json:
    """Return what is in the body because of these options."""
    sent = body(provider_options={"google": given, "openai": {"store": True}})
    del sent["contents"]
    return sent


THINKING = {"thinkingBudget": 0, "includeThoughts": True}
SAFETY = [{"category": CATEGORIES[1], "threshold": "BLOCK_NONE"}, {"category": "NEW", "threshold": "OFF"}]


@pytest.mark.parametrize(
    ("option", "value", "sent"),
    [
        ("thinkingConfig", THINKING, {"generationConfig": {"thinkingConfig": THINKING}}),
        ("cachedContent", "cachedContents/a", {"cachedContent": "cachedContents/a"}),
        ("safetySettings", SAFETY, {"safetySettings": SAFETY}),
        (
            "threshold",
            "BLOCK_ONLY_HIGH",
            {"safetySettings": [{"category": one, "threshold": "BLOCK_ONLY_HIGH"} for one in CATEGORIES]},
        ),
    ],
)
def test_every_option_reaches_its_field(option: str, value: Any, sent: Json) -> None:
    assert options(**{option: value}) == sent


def test_the_protocols_options_and_the_tables_are_the_same() -> None:
    known = {field.alias for field in GoogleOptions.model_fields.values()}
    assert known == {*OPTIONS, "threshold"}


def test_a_threshold_is_for_the_categories_that_have_none() -> None:
    sent = options(threshold="OFF", safetySettings=SAFETY)["safetySettings"]
    others = [{"category": one, "threshold": "OFF"} for one in CATEGORIES if one != CATEGORIES[1]]
    assert sent == SAFETY + others


def test_settings_and_options_share_one_configuration() -> None:
    sent = body(temperature=1.0, provider_options={"google": {"thinkingConfig": THINKING}})
    assert sent["generationConfig"] == {"temperature": 1.0, "thinkingConfig": THINKING}


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(InvalidRequestError, match='google does not support the option "store"'):
        options(store=True)


def test_an_output_schema_is_sent_as_json_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
    assert body(output_schema=schema)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }


def test_texts_and_quotes_of_one_message_are_one_part() -> None:
    source = Source("1", "file:///a/b.py", "b.py", "x = 1\n", 3, 3)
    assert asked(Text("Why?"), source, Text("")) == [
        {"text": "Why?\n\nfile:///a/b.py, line 3:\n```\nx = 1\n```"}
    ]


def test_files_go_as_data_or_as_their_address() -> None:
    data = base64.b64encode(b"x = 1\n").decode()
    assert asked(
        Text("Look:"),
        File("image/png", data="aGk="),
        File("text/x-python", data=data, title="a.py"),
        Text("And:"),
        File("application/pdf", url="https://e.test/a.pdf"),
        File("audio/wav", url="data:audio/wav;base64,aGk="),
    ) == [
        {"text": "Look:"},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"text": "a.py (text/x-python):\n```\nx = 1\n```\n\nAnd:"},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://e.test/a.pdf"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}},
    ]


def test_thoughts_go_back_with_their_own_signature() -> None:
    assert answered(Reasoning("hm", None, "sig"), Reasoning("hm again"), Text("Yes.")) == [
        {"text": "hm", "thought": True, "thoughtSignature": "sig"},
        {"text": "hm again", "thought": True},
        {"text": "Yes."},
    ]


def test_a_texts_signature_goes_back_on_the_text() -> None:
    assert answered(Text("Yes."), Reasoning("", None, "text:sig")) == [
        {"text": "Yes.", "thoughtSignature": "sig"}
    ]


def test_a_signature_without_a_text_goes_back_on_an_empty_one() -> None:
    parts = (ToolCall("1", "f", {}), Reasoning("", None, "text:sig"))
    assert answered(*parts)[1] == {"text": "", "thoughtSignature": "sig"}
    parts = (Text("a"), Reasoning("", None, "text:one"), Reasoning("", None, "text:two"))
    assert answered(*parts) == [
        {"text": "a", "thoughtSignature": "one"},
        {"text": "", "thoughtSignature": "two"},
    ]


def test_the_first_call_goes_back_signed() -> None:
    one, two = ToolCall("1", "f", {"x": "ü"}), ToolCall("2", "g", {})
    calls: list[Json] = [
        {"functionCall": {"id": "1", "name": "f", "args": {"x": "ü"}}},
        {"functionCall": {"id": "2", "name": "g", "args": {}}},
    ]
    signature = Reasoning("", None, "functionCall:sig")
    assert answered(signature, one, two) == [{**calls[0], "thoughtSignature": "sig"}, calls[1]]
    assert answered(one, signature, two)[1] == {**calls[1], "thoughtSignature": "sig"}
    assert answered(Text("a"), one, two)[1:] == [{**calls[0], "thoughtSignature": UNSIGNED}, calls[1]]


def test_a_signature_whose_part_is_gone_goes_nowhere() -> None:
    signature = Reasoning("", None, "inlineData:sig")
    assert answered(signature, Text("a"), File("image/png", data="aGk=")) == [
        {"text": "a"},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
    ]


def test_calls_without_ids_of_their_own_go_back_without() -> None:
    fold_ = GoogleParser(Call("google", "m", "https://g.test"))
    fold_.feed_document(b'{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}}]}')
    [made] = [part for part in fold_.take() if isinstance(part, ToolCall)]
    result = ToolResult(made.tool_call_id, "f", {"ok": 1}, False, "ok")
    assert body(HI, PromptMessage("assistant", (made,)), PromptMessage("tool", (result,)))["contents"] == [
        ASKED,
        {
            "role": "model",
            "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": UNSIGNED}],
        },
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": {"ok": 1}}}}]},
    ]


def test_results_of_one_answer_go_back_together() -> None:
    calls = PromptMessage("assistant", (ToolCall("a", "f", {}), ToolCall("b", "g", '{"cut')))
    results = (
        PromptMessage("tool", (ToolResult("a", "f", [1, "ü"], False, "ok"),)),
        PromptMessage("tool", (ToolResult("b", "g", "Interrupted.", True, "interrupted"),)),
    )
    [_, model, given, last] = body(HI, calls, *results, HI)["contents"]
    assert model["parts"][1] == {"functionCall": {"id": "b", "name": "g", "args": {"value": '{"cut'}}}
    assert given == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "a", "name": "f", "response": {"output": [1, "ü"]}}},
            {"functionResponse": {"id": "b", "name": "g", "response": {"error": "Interrupted."}}},
        ],
    }
    assert last == ASKED


def test_images_of_an_answer_go_back_signed_and_its_sources_do_not() -> None:
    parts = (
        Text("Here:"),
        Reasoning("", None, "inlineData:sig"),
        File("image/png", data="aGk="),
        Source("1", "https://e.test", "e"),
    )
    assert answered(*parts) == [
        {"text": "Here:"},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "sig"},
    ]


@pytest.mark.parametrize(
    "parts",
    [
        [{"text": "hm", "thought": True}, {"text": "Yes.", "thoughtSignature": "sig"}],
        [{"text": "hm", "thought": True, "thoughtSignature": "a"}, {"text": "Yes."}],
        [
            {"text": "hm", "thought": True},
            {"functionCall": {"id": "1", "name": "f", "args": {}}, "thoughtSignature": "a"},
            {"functionCall": {"id": "2", "name": "f", "args": {}}},
            {"functionCall": {"id": "3", "name": "f", "args": {}}, "thoughtSignature": "c"},
            {"text": "", "thoughtSignature": "d"},
        ],
        [
            {"text": "Two:", "thoughtSignature": "a"},
            {"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "b"},
            {"inlineData": {"mimeType": "image/png", "data": "aG8="}, "thoughtSignature": "c"},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://g.test/v"}, "thoughtSignature": "d"},
        ],
        [{"text": "a", "thoughtSignature": "a"}, {"text": "b", "thoughtSignature": "b"}],
    ],
)
def test_what_a_model_said_goes_back_as_it_came(parts: list[Json]) -> None:
    reader = GoogleParser(Call("google", "m", "https://g.test"))
    answer = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}
    assert reader.feed_document(json.dumps(answer).encode())
    said = fold([one for one in reader.finish() if not isinstance(one, Finish | UsageReport)])
    assert answered(*said) == parts


def test_messages_that_say_nothing_are_left_out() -> None:
    assert message("assistant", Reasoning("only thoughts")) == []
    assert message("user", Text(" \n")) == []


@pytest.mark.parametrize("parts", [(), (Text(""),), (Text(" \n\t"),), (Reasoning("hm"),)])
def test_an_empty_prompt_is_refused_and_not_sent(parts: tuple[Part, ...]) -> None:
    with pytest.raises(EmptyPromptError):
        body(HI, PromptMessage("user", parts))


def test_half_characters_do_not_make_the_chat_unusable() -> None:
    assert asked(Text("a\ud83c\udf0d!\ud83c")) == [{"text": "a🌍!\ufffd"}]


@pytest.mark.parametrize(
    ("base_url", "model", "expected"),
    [
        ("https://g.test", "gemini-9", "https://g.test/v1beta/models/gemini-9:streamGenerateContent?alt=sse"),
        ("https://g.test/", "models/m", "https://g.test/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("https://g.test/v1beta", "m", "https://g.test/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("https://g.test/v1beta/models", "m", "https://g.test/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("https://g.test/v1alpha/", "m", "https://g.test/v1alpha/models/m:streamGenerateContent?alt=sse"),
        ("http://h:1/gemini", "m", "http://h:1/gemini/v1beta/models/m:streamGenerateContent?alt=sse"),
        (
            "https://g.test",
            "tunedModels/a",
            "https://g.test/v1beta/tunedModels/a:streamGenerateContent?alt=sse",
        ),
        ("https://g.test?a=b", "m", "https://g.test/v1beta/models/m:streamGenerateContent?a=b&alt=sse"),
        ("https://g.test", "a?b#c", "https://g.test/v1beta/models/a%3Fb%23c:streamGenerateContent?alt=sse"),
    ],
)
async def test_the_models_name_is_part_of_the_address(base_url: str, model: str, expected: str) -> None:
    question = await GoogleGenerate("google", base_url).build_request(ModelRequest(model, (HI,)))
    assert question.url == expected
    assert question.headers == {}
