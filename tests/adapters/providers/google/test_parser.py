"""Every variant of the generateContent answer, from bytes to pieces."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.adapters.providers.google.parser import GoogleParser
from parley_daemon.adapters.providers.google.signatures import is_made_call_id
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, fold
from parley_daemon.core.records import Failure, Usage
from parley_daemon.ports.models import Chunk, Finish, ModelError, UsageReport

CALL = Call("google", "gemini-9", "https://g.test/v1beta/models/gemini-9:streamGenerateContent", has_key=True)
STOP = Finish("stop")

Json = dict[str, Any]


def event(*parts: Json, reason: str | None = None, **more: Any) -> Json:
    """Return a GenerateContentResponse; what is more stands in its candidate."""
    candidate: Json = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "modelVersion": "gemini-9", "responseId": "r"}


def sse(*events: Mapping[str, Any]) -> bytes:
    """Return a stream as Google sends it, with CRLF."""
    return b"".join([b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in events])


def texts(*given: str) -> bytes:
    return sse(*[event({"text": each}) for each in given])


END = sse(event(reason="STOP"))


def read(*reads: bytes) -> list[Chunk]:
    """Return the chunks of a response that came in these reads."""
    answer = ResponseReader(CALL, GoogleParser(CALL))
    chunks: list[Chunk] = []
    for data in reads:
        chunks += answer.feed(data)
        if answer.error:
            raise answer.error
    return chunks + answer.end()


def parts(*reads: bytes) -> tuple[Part, ...]:
    """Return the message that a response makes."""
    return fold([part for part in read(*reads) if not isinstance(part, UsageReport | Finish)])


def failure(*reads: bytes) -> Failure:
    with pytest.raises(ModelError) as caught:
        read(*reads)
    return caught.value.failure


# As gemini-3.1-flash-lite-preview sent it: its last part is empty and signed, usage is counted at the end.
RECORDED = [
    {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello!"}]}}],
        "usageMetadata": {"trafficType": "ON_DEMAND"},
        "modelVersion": "gemini-3.1-flash-lite-preview",
    },
    {
        "candidates": [{"content": {"role": "model", "parts": [{"text": " How can I help you today"}]}}],
        "usageMetadata": {"trafficType": "ON_DEMAND"},
    },
    {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "?"}]}}],
        "usageMetadata": {"trafficType": "ON_DEMAND"},
    },
    {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [{"text": "", "thoughtSignature": "AY89a18iOcFus5wr5bW5xN6zZ4aUiCyhgmg6"}],
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 1,
            "candidatesTokenCount": 9,
            "totalTokenCount": 10,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1}],
        },
    },
]


def test_a_recorded_stream_is_read() -> None:
    assert read(*[sse(each) for each in RECORDED]) == [
        Text("Hello!"),
        Text(" How can I help you today"),
        Text("?"),
        Reasoning("", None, "text:AY89a18iOcFus5wr5bW5xN6zZ4aUiCyhgmg6"),
        UsageReport(Usage(input_tokens=1, output_tokens=9, total_tokens=10)),
        STOP,
    ]


def test_text_of_one_read_is_one_piece() -> None:
    assert read(texts("Hel", "lo") + END) == [Text("Hello"), STOP]


def test_thoughts_are_reasoning() -> None:
    stream = sse(
        event({"text": "Let me ", "thought": True}),
        event({"text": "see.", "thought": True}),
        event({"text": "Yes."}),
    )
    assert parts(stream, END) == (Reasoning("Let me see."), Text("Yes."))
    assert parts(sse(event({"text": "hm", "thought": True}, {"text": "Yes."})), END) == (
        Reasoning("hm"),
        Text("Yes."),
    )


def test_a_signed_thought_keeps_its_signature() -> None:
    stream = sse(
        event({"text": "hm", "thought": True}),
        event({"text": "", "thought": True, "thoughtSignature": "sig"}),
        event({"text": "hm again", "thought": True}),
    )
    assert parts(stream, END) == (Reasoning("hm", None, "sig"), Reasoning("hm again"))


def test_the_signature_of_a_text_comes_right_behind_it() -> None:
    whole = sse(event({"text": "Yes.", "thoughtSignature": "sig"}, reason="STOP"))
    late = texts("Ye", "s.") + sse(event({"text": "", "thoughtSignature": "sig"}, reason="STOP"))
    assert parts(whole) == parts(late) == (Text("Yes."), Reasoning("", None, "text:sig"))


def call(name: str, id: str | None = None, args: Any = None, **more: Any) -> Json:
    fields = {"name": name, "id": id, "args": args}
    return {"functionCall": {key: value for key, value in fields.items() if value is not None}, **more}


def test_calls_come_whole_and_the_signature_right_before() -> None:
    stream = sse(
        event({"text": "hm", "thought": True}),
        event(call("f", "a", {"x": {"y": [1, 2.5, None]}}, thoughtSignature="sig"), call("f", "b", {})),
        event(reason="STOP"),
    )
    assert read(stream) == [
        Reasoning("hm", None, "functionCall:sig"),
        ToolCall("a", "f", {"x": {"y": [1, 2.5, None]}}),
        ToolCall("b", "f", {}),
        Finish("tool_calls"),
    ]


def test_calls_without_ids_get_one_each() -> None:
    found = parts(sse(event(call("f"), call("f")), event(call("g", None, {}))), END)
    ids = {part.tool_call_id for part in found if isinstance(part, ToolCall)}
    assert [part.args for part in found if isinstance(part, ToolCall)] == [{}, {}, {}]
    assert len(ids) == 3
    assert all(map(is_made_call_id, ids))


def test_calls_with_the_same_id_are_two_and_a_repeated_call_is_one() -> None:
    found = parts(sse(event(call("f", "1"), call("g", "1")), event(call("f", "1"))), END)
    calls = [part for part in found if isinstance(part, ToolCall)]
    assert [part.tool_name for part in calls] == ["f", "g"]
    assert len({part.tool_call_id for part in calls}) == 2


def test_a_reason_that_stands_for_none_ends_nothing() -> None:
    early = {
        "candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "FINISH_REASON_UNSPECIFIED"}]
    }
    assert failure(sse(early)).kind == "bad_stream"
    assert parts(sse(early), END) == (Text("a"),)


def test_text_and_calls_keep_their_order() -> None:
    assert parts(sse(event({"text": "a"}, call("f", "1"), {"text": "b"})), END) == (
        Text("a"),
        ToolCall("1", "f", {}),
        Text("b"),
    )


def test_a_call_is_seen_beside_an_empty_text() -> None:
    assert parts(sse(event({"text": "", **call("f", "1")})), END) == (ToolCall("1", "f", {}),)


def test_images_and_files_of_an_answer() -> None:
    stream = sse(
        event({"text": "Here:"}),
        event({"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "sig"}),
        event({"fileData": {"mimeType": "video/mp4", "fileUri": "https://g.test/v"}}),
        event({"inlineData": {"mimeType": "image/png", "data": "dGhvdWdodA=="}, "thought": True}),
        event({"inlineData": "odd"}),
    )
    assert parts(stream, END) == (
        Text("Here:"),
        Reasoning("", None, "inlineData:sig"),
        File("image/png", data="aGk="),
        File("video/mp4", url="https://g.test/v"),
    )


def test_what_the_answer_rests_on_is_told_once_at_the_end() -> None:
    grounding = {
        "webSearchQueries": ["q"],
        "groundingChunks": [
            {"web": {"uri": "https://a.test", "title": "a"}},
            {"retrievedContext": {"uri": "https://b.test", "title": "b", "text": "quoted"}},
            {"maps": {"uri": "https://c.test", "title": "c"}},
            {"image": {"sourceUri": "https://d.test", "imageUri": "https://d.test/i.png"}},
            {"web": {"title": "without an address"}},
            {},
        ],
    }
    cited = {"citationSources": [{"startIndex": 0, "endIndex": 9, "uri": "https://e.test", "license": "mit"}]}
    stream = sse(
        event({"text": "a"}, groundingMetadata=grounding),
        event({"text": "b"}, groundingMetadata=grounding, citationMetadata=cited),
        event({"text": "c"}, citationMetadata={"citations": [{"uri": "https://e.test"}]}),
    )
    assert read(stream, END) == [
        Text("abc"),
        Source("1", "https://a.test", "a"),
        Source("2", "https://b.test", "b", "quoted"),
        Source("3", "https://c.test", "c"),
        Source("4", "https://d.test", "https://d.test"),
        Source("5", "https://e.test", "https://e.test"),
        STOP,
    ]


def test_sources_of_an_odd_shape_do_not_spoil_the_answer() -> None:
    assert read(sse(event({"text": "a"}, groundingMetadata=[1], citationMetadata="x")), END) == [
        Text("a"),
        STOP,
    ]


def test_thoughts_are_part_of_the_output_and_tool_results_of_the_input() -> None:
    counted = {
        "promptTokenCount": 100,
        "toolUsePromptTokenCount": 11,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 300,
        "totalTokenCount": 431,
        "cachedContentTokenCount": 90,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
    }
    assert read(sse({**event({"text": "a"}, reason="STOP"), "usageMetadata": counted})) == [
        Text("a"),
        UsageReport(
            Usage(
                input_tokens=111,
                output_tokens=320,
                total_tokens=431,
                reasoning_tokens=300,
                cache_read_tokens=90,
            )
        ),
        STOP,
    ]


def usages(*reads: bytes) -> list[int | None]:
    return [one.usage.output_tokens for one in read(*reads) if isinstance(one, UsageReport)]


def test_usage_is_the_newest_one_and_not_told_with_every_word() -> None:
    def counted(count: int, **more: Any) -> bytes:
        return sse({**event({"text": "a"}, **more), "usageMetadata": {"candidatesTokenCount": count}})

    assert usages(*[counted(count) for count in range(1, 20)], counted(20, reason="STOP")) == [1, 17, 20]
    assert usages(counted(1) + counted(2), counted(3), END) == [2, 3]
    assert usages(sse({**event({"text": "a"}), "usageMetadata": {"totalTokenCount": "odd"}}), END) == []


def test_usage_is_told_before_a_failure() -> None:
    answer = ResponseReader(CALL, GoogleParser(CALL))
    answer.feed(texts("a"))
    failed = event(reason="MALFORMED_FUNCTION_CALL")
    chunks = answer.feed(sse({**failed, "usageMetadata": {"promptTokenCount": 7}}))
    assert answer.error is not None
    assert chunks == [UsageReport(Usage(input_tokens=7))]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"),
        ("FUNCTION_CALL", "tool_calls"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("LANGUAGE", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("ESCALATION", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("IMAGE_PROHIBITED_CONTENT", "content_filter"),
        ("IMAGE_RECITATION", "content_filter"),
        ("OTHER", "other"),
        ("IMAGE_OTHER", "other"),
        ("NO_IMAGE", "other"),
        ("TOO_MANY_TOOL_CALLS", "other"),
        ("A_NEW_ONE", "other"),
    ],
)
def test_reasons_of_the_end(reason: str, expected: str) -> None:
    assert read(texts("a"), sse(event(reason=reason)))[-1] == Finish(expected)  # pyright: ignore[reportArgumentType]  # one of them


@pytest.mark.parametrize(
    ("reason", "kind", "retryable"),
    [
        ("MALFORMED_FUNCTION_CALL", "bad_stream", True),
        ("UNEXPECTED_TOOL_CALL", "bad_stream", True),
        ("MALFORMED_RESPONSE", "bad_stream", True),
        ("MISSING_THOUGHT_SIGNATURE", "invalid_request", False),
        ("PUP_LIMITED_DISABLED", "auth", False),
    ],
)
def test_reasons_that_are_failures(reason: str, kind: str, retryable: bool) -> None:
    failed = failure(sse(event(reason=reason, finishMessage="Malformed function call: print(")))
    assert (failed.kind, failed.retryable) == (kind, retryable)
    assert failed.detail == f"{reason}: Malformed function call: print("
    assert "google" in failed.message
    assert failure(sse(event(reason=reason))).detail == reason


@pytest.mark.parametrize("reason", ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY"])
def test_a_prompt_that_is_blocked_is_a_failure(reason: str) -> None:
    blocked: Json = {
        "promptFeedback": {"blockReason": reason, "safetyRatings": []},
        "usageMetadata": {"promptTokenCount": 3},
    }
    for said in (sse(blocked), json.dumps(blocked).encode(), json.dumps([blocked]).encode()):
        failed = failure(said)
        assert (failed.kind, failed.retryable) == ("content_filter", False)
        assert failed.message == "The content filter of google refused this chat."
        assert failed.detail == reason


def test_a_prompt_that_is_not_blocked_goes_on() -> None:
    rated = {"promptFeedback": {"safetyRatings": [{"category": "x", "probability": "LOW"}]}}
    assert read(sse(rated), texts("a"), END) == [Text("a"), STOP]


def test_an_error_in_the_stream_is_a_failure() -> None:
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    answer = ResponseReader(CALL, GoogleParser(CALL))
    assert answer.feed(texts("a")) == [Text("a")]
    assert answer.feed(texts("b") + sse(error)) == [Text("b")]
    assert answer.error is not None
    failed = answer.error.failure
    assert (failed.kind, failed.status_code, failed.retryable) == ("overloaded", 503, True)
    assert failed.detail == "The model is overloaded."
    assert failure(sse({**event({"text": "c"}), **error})) == failed


def test_a_stream_that_ends_without_a_reason_is_bad() -> None:
    failed = failure(texts("a"))
    assert (failed.kind, failed.retryable) == ("bad_stream", True)
    assert failed.message == "google closed the stream before the answer was complete."
    assert failure(json.dumps(event({"text": "a"})).encode()).kind == "bad_stream"


def test_an_event_that_is_no_json_is_bad_and_quoted() -> None:
    failed = failure(b'data: {"candidates": [{\r\n\r\n')
    assert failed.kind == "bad_stream"
    assert failed.detail == '{"candidates": [{'


def test_signs_of_life_are_no_events() -> None:
    assert read(b": keep-alive\r\n\r\n", b"data: \r\n\r\n", texts("a"), END) == [Text("a"), STOP]


def test_other_candidates_are_not_mixed_in() -> None:
    two = {
        "candidates": [
            *event({"text": "a"})["candidates"],
            {"index": 1, "content": {"parts": [{"text": "b"}]}},
        ]
    }
    assert read(sse(two), sse(event({"text": "b"}, index=1)), END) == [Text("a"), STOP]


def test_half_characters_become_whole_or_are_replaced() -> None:
    stream = b"".join(
        b'data: {"candidates": [{"content": {"parts": [{"text": "%b"}]}}]}\r\n\r\n' % text
        for text in (b"a\\ud83c", b"\\udf0d!\\ud83c")
    )
    odd_call = b'{"functionCall": {"name": "f", "id": "1", "args": {"x\\ud83c": "\\ud83c"}}}'
    stream += b'data: {"candidates": [{"content": {"parts": [%b]}}]}\r\n\r\n' % odd_call
    assert parts(stream, END) == (Text("a🌍!"), ToolCall("1", "f", {"x\ufffd": "\ufffd"}), Text("\ufffd"))


EVENTS = [
    event({"text": "Let me ", "thought": True}),
    event({"text": "see…", "thought": True}),
    event({"text": "Grüße "}),
    event({"text": "🌍"}, citationMetadata={"citationSources": [{"uri": "https://a.test"}]}),
    event(call("f", "1", {"x": 1}, thoughtSignature="sig")),
    {**event(reason="STOP"), "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 5}},
]


def document() -> Json:
    """Return the same answer as generateContent gives it."""
    cited = {"citationSources": [{"uri": "https://a.test"}]}
    made = event(
        {"text": "Let me see…", "thought": True},
        {"text": "Grüße 🌍"},
        call("f", "1", {"x": 1}, thoughtSignature="sig"),
        reason="STOP",
        citationMetadata=cited,
    )
    return {**made, "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 5}}


def test_both_batch_forms_give_what_the_stream_does() -> None:
    streamed = read(sse(*EVENTS))
    for body in (
        json.dumps(document()),
        json.dumps(EVENTS),
        json.dumps(EVENTS, indent=2, ensure_ascii=False),
    ):
        data = body.encode()
        for at in (0, 1, 20, len(data) - 1):
            assert read(data[:at], data[at:]) == streamed


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'[{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]', "rate_limit"),
        (b'{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}', "auth"),
        (b'{"hello": "world"}', "bad_stream"),
        (b'{"candidates": [', "bad_stream"),
        (b'[{"candidates": []}', "bad_stream"),
        (b"[]", "bad_stream"),
        (b"{}", "bad_stream"),
    ],
)
def test_a_body_that_is_no_answer_is_an_error(body: bytes, kind: str) -> None:
    assert failure(body).kind == kind


def test_reading_any_split_of_the_bytes_gives_the_same_message() -> None:
    stream = sse(*EVENTS)
    whole = parts(stream)
    assert len(whole) == 5
    for at in range(len(stream) + 1):
        assert parts(stream[:at], stream[at:]) == whole


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), TEXTS), max_size=8),
    st.lists(st.integers(0, 3000), max_size=6),
    st.booleans(),
)
def test_the_message_does_not_depend_on_how_the_bytes_were_read(
    said: list[tuple[bool, str]], cuts: list[int], escaped: bool
) -> None:
    events = [event({"text": text, **({"thought": True} if thought else {})}) for thought, text in said]
    stream = b"".join(
        [b"data: " + json.dumps(each, ensure_ascii=escaped).encode() + b"\n\n" for each in events]
    )
    stream += END
    borders = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reads = [stream[start:end] for start, end in itertools.pairwise(borders)]
    assert parts(*reads) == parts(stream)
    expected: list[Reasoning | Text] = []
    for thought, text in said:
        kind = Reasoning if thought else Text
        if expected and type(expected[-1]) is kind:
            expected[-1] = kind(expected[-1].text + text)
        else:
            expected.append(kind(text))
    assert parts(stream) == tuple(expected)
