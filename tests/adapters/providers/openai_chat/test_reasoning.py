"""The reasoning details of the routers: kept with the answer, and sent back as they came."""

import json
from typing import Any

import pytest

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
from parley_daemon.adapters.providers.openai_chat.parser import ChatParser
from parley_daemon.adapters.providers.openai_chat.reasoning import read_details
from parley_daemon.adapters.providers.openai_chat.request import (
    COMPATIBLE,
    OPENAI,
    OPENROUTER,
    VERCEL,
    Flavour,
    build_body,
)
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import Part, Reasoning, Text, ToolCall, ToolResult, fold
from parley_daemon.ports.models import Finish, ModelRequest, PromptMessage, UsageReport
from tests.support.providers.script import chunk

CALL = Call("openrouter", "anthropic/claude", "https://openrouter.ai/api/v1/chat/completions")
HI = PromptMessage("user", (Text("Hi"),))

Json = dict[str, Any]


def streamed(*deltas: Json) -> tuple[Part, ...]:
    """Return the message that these deltas make."""
    answer = ResponseReader(CALL, ChatParser(CALL, keeps_details=True))
    data = [json.dumps(event) for event in (*map(chunk, deltas), chunk(reason="stop"))]
    chunks = [one for each in data for one in answer.feed(f"data: {each}\n\n".encode())]
    return fold([one for one in chunks + answer.end() if not isinstance(one, Finish | UsageReport)])


def batch(message: Json) -> tuple[Part, ...]:
    answer = ResponseReader(CALL, ChatParser(CALL, keeps_details=True))
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    answer.feed(json.dumps(body).encode())
    return fold([one for one in answer.end() if not isinstance(one, Finish | UsageReport)])


def sent_back(*parts: Part, flavour: Flavour = OPENROUTER) -> Json:
    """Return the message that an answer becomes in the next request."""
    request = ModelRequest("m", (PromptMessage("assistant", parts), HI))
    return json.loads(build_body(request, flavour, "openrouter"))["messages"][0]


def detail(type: str, **fields: Any) -> Json:
    return {"type": f"reasoning.{type}", **fields}


CLAUDE = {"format": "anthropic-claude-v1", "index": 0}
GPT = {"format": "openai-responses-v1", "index": 0}

SIGNED = [detail("text", text="Let me see.", signature="sig", **CLAUDE)]
REDACTED = [*SIGNED, detail("encrypted", data="blob", format="anthropic-claude-v1", index=1)]
SUMMARY = [detail("summary", summary="**Hm**", **GPT), detail("encrypted", data="gAAA", id="rs_1", **GPT)]
TWO = [*SIGNED, detail("text", text="And so.", signature="gis", format="anthropic-claude-v1", index=1)]


@pytest.mark.parametrize(
    ("deltas", "details", "texts"),
    [
        (
            [
                {"reasoning": "Let me ", "reasoning_details": [detail("text", text="Let me ", **CLAUDE)]},
                {"reasoning": "see.", "reasoning_details": [detail("text", text="see.", **CLAUDE)]},
                {"reasoning_details": [detail("text", signature="sig", **CLAUDE)]},
            ],
            SIGNED,
            ["Let me see."],
        ),
        ([{"reasoning": "Let me see.", "reasoning_details": REDACTED}], REDACTED, ["Let me see.", ""]),
        (
            [
                {"reasoning": "**H", "reasoning_details": [detail("summary", summary="**H", **GPT)]},
                {"reasoning": "m**", "reasoning_details": [detail("summary", summary="m**", **GPT)]},
                {"reasoning": None, "reasoning_details": [SUMMARY[1]]},
            ],
            SUMMARY,
            ["**Hm**"],
        ),
        ([{"reasoning_details": [each]} for each in TWO], TWO, ["Let me see.", "And so."]),
        ([{"reasoning": "hm"}, {"reasoning_details": [SUMMARY[1]]}], [SUMMARY[1]], ["hm"]),
    ],
)
def test_signed_details_come_back_as_they_were(
    deltas: list[Json], details: list[Json], texts: list[str]
) -> None:
    parts = streamed(*deltas, {"content": "Yes."})
    assert [part.text for part in parts if isinstance(part, Reasoning)] == texts
    for router in (OPENROUTER, VERCEL):
        sent = sent_back(*parts, flavour=router)
        assert sent == {"role": "assistant", "content": "Yes.", "reasoning_details": details}


@pytest.mark.parametrize("details", [SIGNED, REDACTED, SUMMARY, TWO])
def test_a_whole_answer_is_kept_as_the_streamed_one(details: list[Json]) -> None:
    said = "".join([each.get("text") or each.get("summary") or "" for each in details])
    parts = batch({"content": "Yes.", "reasoning": said, "reasoning_details": details})
    assert parts == streamed(*[{"reasoning_details": [each]} for each in details], {"content": "Yes."})
    assert sent_back(*parts)["reasoning_details"] == details


def test_details_come_back_beside_tool_calls() -> None:
    encrypted = detail("encrypted", data="blob", id="call_1", format="google-gemini-v1", index=0)
    call = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}
    parts = streamed(
        {"reasoning_details": [detail("text", text="hm", format="google-gemini-v1", index=0)]},
        {"content": "Well."},
        {"tool_calls": [call], "reasoning_details": [encrypted]},
    )
    assert [part for part in parts if isinstance(part, Text | ToolCall)] == [
        Text("Well."),
        ToolCall("call_1", "f", {}),
    ]
    sent = sent_back(*parts)
    assert sent["tool_calls"][0]["id"] == "call_1"
    assert sent["reasoning_details"] == [encrypted]


@pytest.mark.parametrize(("flavour", "keeps"), [(OPENROUTER, True), (VERCEL, True), (COMPATIBLE, False)])
def test_the_details_of_routers_are_kept_and_of_no_other_server(flavour: Flavour, keeps: bool) -> None:
    fold = ChatCompletions("x", "https://x.test", flavour).parser(CALL)
    fold.feed([json.dumps(chunk({"reasoning": "hm", "reasoning_details": REDACTED})).encode()])
    kept = [each for one in fold.take() if isinstance(one, Reasoning) for each in read_details(one)]
    assert kept == (REDACTED if keeps else [])


def test_a_text_is_not_kept_twice() -> None:
    [thought] = [part for part in streamed({"reasoning_details": SIGNED}) if isinstance(part, Reasoning)]
    assert thought.text == "Let me see."
    assert "Let me see." not in (thought.signature or "")


def test_what_was_not_signed_does_not_come_back() -> None:
    parts = streamed(
        {"reasoning_details": [detail("text", text="hm", format="unknown", index=0)]}, {"content": "Yes."}
    )
    assert parts == (Reasoning("hm"), Text("Yes."))
    assert sent_back(*parts) == {"role": "assistant", "content": "Yes."}


@pytest.mark.parametrize("flavour", [OPENAI, COMPATIBLE])
def test_no_other_server_gets_reasoning_back(flavour: Flavour) -> None:
    parts = streamed({"reasoning_details": REDACTED}, {"content": "Yes."})
    assert sent_back(*parts, flavour=flavour) == {"role": "assistant", "content": "Yes."}


@pytest.mark.parametrize("signature", ["sig", "{}", "[1]", '{"a', "null"])
def test_a_signature_of_another_kind_is_not_sent(signature: str) -> None:
    assert sent_back(Reasoning("hm", None, signature), Text("Yes.")) == {
        "role": "assistant",
        "content": "Yes.",
    }


def test_half_characters_in_details_are_replaced() -> None:
    [thought, _] = streamed({"reasoning_details": [detail("encrypted", data="a\ud83c")]}, {"content": "Yes."})
    assert sent_back(thought, Text("Yes."))["reasoning_details"] == [detail("encrypted", data="a\ufffd")]


def test_a_tools_result_follows_its_call_and_its_thoughts() -> None:
    parts = (*streamed({"reasoning_details": SIGNED}), ToolCall("1", "f", {}))
    result = PromptMessage("tool", (ToolResult("1", "f", "ok", False, "ok"),))
    request = ModelRequest("m", (HI, PromptMessage("assistant", parts), result))
    [_, answer, _] = json.loads(build_body(request, OPENROUTER, "openrouter"))["messages"]
    assert answer["reasoning_details"] == SIGNED
    assert answer["tool_calls"][0]["id"] == "1"
