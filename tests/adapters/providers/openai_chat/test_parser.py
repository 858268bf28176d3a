"""Every variant of the chat-completions answer, from bytes to pieces."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_chat.parser import ChatParser
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import (
    File,
    Part,
    Piece,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallPiece,
    fold,
)
from parley_daemon.core.records import Failure, Usage
from parley_daemon.ports.models import Chunk, Finish, ModelError, UsageReport
from tests.support.providers.script import chunk

KEY = "sk-canary-0123456789"
CALL = Call("local", "llama", "http://127.0.0.1:8080/v1/chat/completions", (KEY,), has_key=True)
DONE = b"data: [DONE]\n\n"
STOP = Finish("stop")


def sse(*events: Mapping[str, Any]) -> bytes:
    return b"".join([b"data: " + json.dumps(event).encode() + b"\n\n" for event in events])


def deltas(*fields: Mapping[str, Any]) -> bytes:
    return sse(*[chunk(each) for each in fields])


END = sse(chunk(reason="stop")) + DONE


def read(*reads: bytes) -> list[Chunk]:
    """Return the chunks of a response that came in these reads."""
    answer = ResponseReader(CALL, ChatParser(CALL))
    chunks: list[Chunk] = []
    for data in reads:
        chunks += answer.feed(data)
        if answer.error:
            raise answer.error
        if answer.is_done:
            break
    return chunks + answer.end()


def parts(*reads: bytes) -> tuple[Part, ...]:
    """Return the message that a response makes."""
    return fold([part for part in read(*reads) if not isinstance(part, UsageReport | Finish)])


def failure(*reads: bytes) -> Failure:
    with pytest.raises(ModelError) as caught:
        read(*reads)
    return caught.value.failure


def test_text_of_one_read_is_one_piece() -> None:
    assert read(deltas({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}), END) == [
        Text("Hello"),
        STOP,
    ]


def test_each_read_is_a_batch_of_its_own() -> None:
    answer = ResponseReader(CALL, ChatParser(CALL))
    assert answer.feed(deltas({"content": "a"})) == [Text("a")]
    assert answer.feed(deltas({"content": "b"}, {"content": "c"})) == [Text("bc")]


def test_a_comment_is_a_sign_of_life_and_nothing_else() -> None:
    answer = ResponseReader(CALL, ChatParser(CALL))
    for sign in (b": keep-alive\n\n", b"\n\n", b"\r\n", b"data: \n\n", b"data:\n\n"):
        assert answer.feed(sign) == []
        assert answer.error is None
    assert answer.feed(deltas({"content": "a"})) == [Text("a")]


def test_reading_any_split_of_the_bytes_gives_the_same_message() -> None:
    stream = deltas({"reasoning": "hm…"}, {"content": "Grüße 🌍"}) + END
    whole = parts(stream)
    assert whole == (Reasoning("hm…"), Text("Grüße 🌍"))
    for at in range(len(stream) + 1):
        assert parts(stream[:at], stream[at:]) == whole


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_comes_in_a_string_field(field: str) -> None:
    stream = deltas({"content": None, field: "Let me "}, {"content": "", field: "see."}, {"content": "Yes."})
    assert parts(stream, END) == (Reasoning("Let me see."), Text("Yes."))


def test_reasoning_that_comes_in_two_fields_at_once_is_shown_once() -> None:
    stream = deltas({"reasoning": "a", "reasoning_content": "a"}, {"content": "b"})
    assert parts(stream, END) == (Reasoning("a"), Text("b"))


def test_reasoning_details_bring_text_summary_and_signature() -> None:
    stream = deltas(
        {"reasoning_details": [{"type": "reasoning.text", "text": "a", "signature": None}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "b"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "", "signature": "sig"}]},
        {"content": "c"},
    )
    assert parts(stream, END) == (Reasoning("ab", None, "sig"), Text("c"))


def test_reasoning_details_beside_a_reasoning_string_only_add_the_signature() -> None:
    details = [{"type": "reasoning.text", "text": "a", "signature": "sig"}]
    assert parts(deltas({"reasoning": "a", "reasoning_details": details}), END) == (
        Reasoning("a", None, "sig"),
    )


def test_content_may_be_a_list_of_thinking_and_text() -> None:
    stream = deltas(
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]},
        {"content": [{"type": "thinking", "thinking": "b", "signature": "sig"}]},
        {"content": [{"type": "text", "text": "c"}, {"type": "reference", "reference_ids": [1]}]},
        {"content": "d"},
    )
    assert parts(stream, END) == (Reasoning("ab", None, "sig"), Text("cd"))


def test_an_inline_think_tag_is_reasoning_wherever_the_chunks_are_cut() -> None:
    text = "\n<think>\nLess < more </thin> ok\n</think>\n\nThe <think> answer."
    expected = (Reasoning("\nLess < more </thin> ok\n"), Text("The <think> answer."))
    for size in range(1, len(text) + 1):
        cut = [{"content": text[at : at + size]} for at in range(0, len(text), size)]
        assert parts(deltas(*cut), END) == expected
        assert parts(*[deltas(each) for each in cut], END) == expected


def test_a_closing_think_tag_whose_thoughts_came_apart_is_no_part_of_the_answer() -> None:
    text = "\n</think>\n\nThe </think> answer."
    for size in range(1, len(text) + 1):
        cut = [{"content": text[at : at + size]} for at in range(0, len(text), size)]
        assert parts(deltas(*cut), END) == (Text("The </think> answer."),)
        thought = (Reasoning("hm"), Text("The </think> answer."))
        assert parts(deltas({"reasoning": "hm"}, *cut), END) == thought
    assert parts(batch({"content": text})) == (Text("The </think> answer."),)


@pytest.mark.parametrize(
    "text", ["<thin", "</think", "hm</think>", "<", "  ", "<p>hi</p>", "a <think>b</think>", "<thinking>"]
)
def test_text_that_only_looks_like_a_think_tag_stays_text(text: str) -> None:
    assert parts(deltas(*[{"content": letter} for letter in text]), END) == (Text(text),)


def test_an_unclosed_think_tag_is_reasoning_to_the_end() -> None:
    assert parts(deltas({"content": "<think>so </thi"}), END) == (Reasoning("so </thi"),)


def test_a_refusal_is_text_and_says_at_its_end_that_it_is_one() -> None:
    refused = Finish("content_filter")
    assert read(deltas({"refusal": "I can"}, {"refusal": "not."}), END) == [Text("I cannot."), refused]
    item = {"type": "refusal", "refusal": "No."}
    assert read(deltas({"content": [item]}), END) == [Text("No."), refused]
    cut = deltas({"refusal": "I can"}), sse(chunk(reason="length"))
    assert read(*cut) == [Text("I can"), Finish("length")]


def image(url: object) -> dict[str, Any]:
    return {"type": "image_url", "image_url": url}


PNG = image({"url": "data:image/png;base64,aGk="})


def test_images_are_files_where_they_came() -> None:
    stream = deltas(
        {"content": "Here"}, {"content": " it is", "images": [PNG]}, {"content": "And", "images": None}
    )
    whole = (Text("Here it is"), File("image/png", data="aGk="), Text("And"))
    assert parts(stream, END) == whole
    assert parts(*[event + b"\n\n" for event in stream.split(b"\n\n") if event], END) == whole
    assert parts(batch({"content": "", "images": [PNG, PNG]})) == (whole[1], whole[1])


def test_an_image_may_be_an_item_of_the_content() -> None:
    assert parts(deltas({"content": [{"type": "text", "text": "a"}, PNG]}), END) == (
        Text("a"),
        File("image/png", data="aGk="),
    )


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("DATA:Image/JPEG;name=x;base64,a%2Bk=", File("image/jpeg", data="a+k=")),
        ("data:image/svg+xml,%3Csvg/%3E", File("image/svg+xml", data="PHN2Zy8+")),
        ("data:;base64,aGk=", File("image/png", data="aGk=")),
        ("https://h.org/a/Cat.JPG?w=1", File("image/jpeg", url="https://h.org/a/Cat.JPG?w=1")),
        ("https://h.org/cat.webp", File("image/webp", url="https://h.org/cat.webp")),
        ("https://h.org/image/7", File("image/png", url="https://h.org/image/7")),
        ("https://h.org/\ud83d", File("image/png", url="https://h.org/\ufffd")),
    ],
)
def test_an_image_is_data_or_an_address(url: str, file: File) -> None:
    for shape in (url, {"url": url, "detail": "high"}):
        assert parts(deltas({"content": "", "images": [image(shape)]}), END) == (file,)


@pytest.mark.parametrize(
    "images", ["odd", {}, [1], [{}], [image(None)], [image("data:,")], [image("/a.png")]]
)
def test_images_that_are_none_spoil_nothing(images: object) -> None:
    assert parts(deltas({"content": "a"}, {"content": "b", "images": images}), END) == (Text("ab"),)


def call(index: int | str | None, id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": id, "type": "function", "function": function}


def tools(*calls: dict[str, Any]) -> bytes:
    return deltas(*[{"tool_calls": [each]} for each in calls])


A, B = ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {})


TOOL_STREAMS = {
    "usual": tools(
        call(0, "a", "f", ""), call(0, None, None, '{"x":'), call(0, "", "", " 1}"), call(1, "b", "g", "")
    ),
    "interleaved": tools(
        call(0, "a", "f", '{"x":'),
        call(1, "b", "g", "{"),
        call(0, None, None, "1}"),
        call(1, None, None, "}"),
    ),
    "all at once": deltas({"tool_calls": [call(0, "a", "f", '{"x": 1}'), call(1, "b", "g", "{}")]}),
    "no index": tools(
        call(None, "a", "f", '{"x":'), call(None, None, None, "1}"), call(None, "b", "g", "{}")
    ),
    "no index, ids repeated": tools(
        call(None, "a", "f", '{"x":'),
        call(None, "a", "f", "1}"),
        call(None, "b", None, ""),
        call(None, "b", "g", ""),
    ),
    "always index 0": tools(call(0, "a", "f", '{"x": 1}'), call(0, "b", "g", "{}")),
    "index as text": tools(
        call("0", "a", "f", '{"x":'), call("0", None, None, "1}"), call("1", "b", "g", "")
    ),
    "always index 0, ids repeated": tools(
        call(0, "a", "f", '{"x":'), call(0, "a", "f", " 1}"), call(0, "a", "f", ""), call(0, "b", "g", "{}")
    ),
    "ids that change": tools(call(0, "a", "f", '{"x":'), call(0, "other", None, "1}"), call(1, "b", "g", "")),
    "arguments as objects": tools(
        {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}, {"id": "b", "function": {"name": "g"}}
    ),
}


@pytest.mark.parametrize("stream", TOOL_STREAMS.values(), ids=TOOL_STREAMS)
def test_tool_calls_end_as_calls_with_their_arguments(stream: bytes) -> None:
    chunks = read(stream, sse(chunk(reason="tool_calls")), DONE)
    assert chunks[-3:] == [A, B, Finish("tool_calls")]
    assert fold([part for part in chunks[:-1] if isinstance(part, Piece)]) == (A, B)


def test_tool_calls_stream_their_arguments_before() -> None:
    stream = tools(call(0, "a", "f", ""), call(0, None, None, '{"x":'), call(0, None, None, "1}"))
    reads = [stream[: stream.index(b"\n\n") + 2], stream[stream.index(b"\n\n") + 2 :]]
    assert read(*reads, END)[:2] == [ToolCallPiece("a", "f", ""), ToolCallPiece("a", "f", '{"x":1}')]


def test_calls_without_ids_get_ids_of_their_own() -> None:
    chunks = read(tools(call(None, None, "f", "{}"), call(None, None, "g", "{}")), END)
    calls = [each for each in chunks if isinstance(each, ToolCall)]
    assert [each.tool_name for each in calls] == ["f", "g"]
    assert len({each.tool_call_id for each in calls}) == 2


def called(*reads: bytes) -> list[tuple[str, object]]:
    """Return name and arguments of each call that a response makes."""
    end = () if reads[0].startswith(b"{") else (END,)
    found = [each for each in read(*reads, *end) if isinstance(each, ToolCall)]
    assert len({each.tool_call_id for each in found}) == len(found)
    return [(each.tool_name, each.args) for each in found]


def test_calls_without_ids_that_all_have_one_index_are_told_apart() -> None:
    first, second = call(0, None, "f", '{"x":1}'), call(0, None, "f", '{"y":2}')
    for reads in ([tools(first, second)], [tools(first), tools(second)]):
        assert called(*reads) == [("f", {"x": 1}), ("f", {"y": 2})]
    pieces = tools(first, call(0, "", "g", ""), call(0, "", None, '{"y":'), call(0, "", None, "2}"))
    assert called(pieces) == [("f", {"x": 1}), ("g", {"y": 2})]


def test_a_name_that_is_repeated_begins_no_call() -> None:
    for more in ('{"y":2}}', "", " "):
        stream = tools(call(0, None, "f", '{"x":' if "y" in more else "{}"), call(0, None, "f", more))
        assert len(called(stream)) == 1
    assert called(tools(call(0, None, None, "{}"), call(0, None, "f", ""))) == [("f", {})]


@pytest.mark.parametrize("index", ["first", "", 1.5, {}, "9" * 5000])
def test_an_index_that_is_none_spoils_nothing(index: Any) -> None:
    assert called(tools(call(index, "a", "f", '{"x":'), call(index, "a", None, "1}"))) == [("f", {"x": 1})]


def test_the_older_form_of_a_call_is_a_call() -> None:
    function = {"name": "f", "arguments": '{"x":'}
    stream = deltas(
        {"content": "Well", "function_call": None},
        {"content": "", "function_call": function},
        {"function_call": {"arguments": "1}"}},
    )
    chunks = read(stream, sse(chunk(reason="function_call")), DONE)
    assert chunks[-1] == Finish("tool_calls")
    assert [part for part in chunks if isinstance(part, Text)] == [Text("Well")]
    assert called(stream) == [("f", {"x": 1})]
    whole = {"content": None, "function_call": {"name": "f", "arguments": '{"x":1}'}}
    assert called(batch(whole, "function_call")) == [("f", {"x": 1})]


@pytest.mark.parametrize("odd", ["", [], {}, {"name": "", "arguments": ""}, {"name": 1}])
def test_an_older_form_of_a_call_that_is_none_spoils_nothing(odd: object) -> None:
    assert read(deltas({"content": "a"}, {"content": "b", "function_call": odd}), END) == [Text("ab"), STOP]


def test_a_call_in_both_forms_is_one_call() -> None:
    function = {"name": "f", "arguments": "{}"}
    both = {"tool_calls": [{"index": 0, "id": "a", "function": function}], "function_call": function}
    assert called(deltas(both)) == [("f", {})]


def test_calls_that_share_an_id_are_told_apart() -> None:
    chunks = read(tools(call(0, "same", "f", "{}"), call(1, "same", "g", "{}")), END)
    assert len({each.tool_call_id for each in chunks if isinstance(each, ToolCall)}) == 2


def test_arguments_that_are_no_json_stay_a_string() -> None:
    chunks = read(tools(call(0, "a", "f", '{"x": ')), sse(chunk(reason="length")), DONE)
    assert chunks[-2:] == [ToolCall("a", "f", '{"x": '), Finish("length")]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("STOP", "stop"),
        ("eos", "stop"),
        ("abort", "other"),
    ],
)
def test_finish_reasons_are_mapped(said: str, meant: str) -> None:
    finish = read(sse(chunk({"content": "a"}), chunk(reason=said)), DONE)[-1]
    assert isinstance(finish, Finish)
    assert finish.reason == meant


def test_an_answer_with_tool_calls_that_says_stop_stopped_for_them() -> None:
    assert read(tools(call(0, "a", "f", "{}")), END)[-1] == Finish("tool_calls")


def test_usage_comes_in_an_event_without_choices() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    stream = deltas({"content": "a"}) + sse(chunk(reason="stop"), {"choices": [], "usage": usage}) + DONE
    assert read(stream)[1:] == [
        UsageReport(Usage(10, 20, 30, reasoning_tokens=7, cache_read_tokens=4)),
        STOP,
    ]


def test_usage_without_details_or_total_is_what_it_says() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": None}
    assert read(sse({**chunk(reason="stop"), "usage": usage}), DONE) == [UsageReport(Usage(1, 2, 3)), STOP]


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        "many",
        {"prompt_tokens": "x"},
        {"prompt_tokens": None},
        {"prompt_tokens": float("nan")},
        {"prompt_tokens": float("inf"), "completion_tokens": -float("inf")},
        {"prompt_tokens": 1e300},
        {"completion_tokens": -1},
    ],
)
def test_missing_or_odd_usage_spoils_nothing(usage: object) -> None:
    assert read(sse({**chunk({"content": "a"}, "stop"), "usage": usage}), DONE) == [Text("a"), STOP]


@pytest.mark.parametrize(
    ("usage", "read_as"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": []}, Usage(5, 2, 7)),
        ({"prompt_tokens": 5, "completion_tokens": "2", "total_tokens": 7}, Usage(5, None, 7)),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": "?"}},
            Usage(5, cache_read_tokens=3),
        ),
        (
            {"completion_tokens": 2, "completion_tokens_details": "none", "reasoning_tokens": 1},
            Usage(None, 2, reasoning_tokens=1),
        ),
    ],
)
def test_an_odd_field_of_the_usage_spoils_only_itself(usage: object, read_as: Usage) -> None:
    assert read(sse({**chunk(reason="stop"), "usage": usage}), DONE) == [UsageReport(read_as), STOP]


@pytest.mark.parametrize(
    ("total", "thought", "output"), [(135, 94, 103), (41, 8, 9), (135, 0, 9), (None, 94, 9), (200, 94, 9)]
)
def test_reasoning_that_is_counted_apart_is_a_part_of_the_output(
    total: int | None, thought: int, output: int
) -> None:
    usage = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": total,
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
    told = UsageReport(Usage(32, output, total or 41, reasoning_tokens=thought))
    assert read(sse({**chunk(reason="stop"), "usage": usage}), DONE) == [told, STOP]


@pytest.mark.parametrize(
    ("said", "dollars"),
    [
        ({"cost": 0.0012}, 0.0012),
        ({"cost": 0}, 0.0),
        ({"cost": 0.5, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.5}}, 0.5),
        ({"cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": 10}}, 10.5),
        ({"cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, 0.5),
        ({"cost": 0.5, "is_byok": True, "cost_details": []}, 0.5),
    ],
)
def test_what_a_router_says_that_a_call_has_cost_is_kept(said: Mapping[str, Any], dollars: float) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, **said}
    assert read(sse({**chunk(reason="stop"), "usage": usage}), DONE)[0] == UsageReport(
        Usage(1, 2, 3, cost_usd=dollars)
    )


@pytest.mark.parametrize("cost", [None, "0.5", True, {"total_cost": 0.5}, -1, float("nan"), float("inf")])
def test_a_cost_that_is_no_number_is_none(cost: object) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost": cost}
    assert read(sse({**chunk(reason="stop"), "usage": usage}), DONE)[0] == UsageReport(Usage(1, 2, 3))


def test_running_usage_is_reported_at_most_once_a_read() -> None:
    first, second = ({**chunk({"content": "a"}), "usage": {"completion_tokens": n}} for n in (1, 2))
    assert read(sse(first, second), END) == [Text("aa"), UsageReport(Usage(output_tokens=2)), STOP]


def test_empty_choices_and_null_deltas_are_no_answer_and_no_error() -> None:
    odd: list[dict[str, Any]] = [
        {"choices": []},
        {"choices": None},
        {"choices": [{"delta": None}]},
        {"type": "ping"},
    ]
    assert read(sse(*odd), deltas({"content": "a"}), END) == [Text("a"), STOP]


def test_only_the_first_of_several_choices_is_read() -> None:
    second = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}]}
    assert read(sse(second), deltas({"content": "a"}), END) == [Text("a"), STOP]


def test_unknown_fields_are_ignored() -> None:
    event = {**chunk({"content": "a", "new": [1]}), "x_groq": {"id": 1}, "timings": {"t": 0.5}}
    assert read(sse(event), END) == [Text("a"), STOP]


def test_a_content_of_null_as_a_word_is_text() -> None:
    assert parts(deltas({"content": "null"}, {"content": " [DONE]"}), END) == (Text("null [DONE]"),)


def test_annotations_and_citations_are_sources_at_the_end_each_once() -> None:
    one, two, three = ("https://example.org/1", "https://example.org/2", "https://example.org/3")
    stream = sse(
        {**chunk({"content": "See "}), "citations": [one]},
        {**chunk({"content": "here."}), "citations": [one, {"url": two, "title": "Two"}]},
        chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": three, "title": "3"}}]}),
        chunk({"annotations": [{"type": "url_citation", "url": three}, "odd", {"type": "file"}]}),
    )
    assert parts(stream, END) == (
        Text("See here."),
        Source("1", one, one),
        Source("2", two, "Two"),
        Source("3", three, "3"),
    )


def test_the_end_mark_alone_is_an_end() -> None:
    assert read(deltas({"content": "a"}), DONE) == [Text("a"), STOP]


def test_a_finish_reason_alone_is_an_end() -> None:
    assert read(deltas({"content": "a"}), sse(chunk(reason="length"))) == [Text("a"), Finish("length")]


def test_half_an_event_behind_the_finish_reason_spoils_nothing() -> None:
    usage = sse({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    stream = deltas({"content": "a"}) + sse(chunk(reason="stop"))
    for at in range(len(usage) - len("\n\n")):
        assert read(stream, usage[:at]) == [Text("a"), STOP]
    assert failure(deltas({"content": "a"}), usage[:-5]).kind == "bad_stream"


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert read(deltas({"content": "a"}), END.removesuffix(b"\n\n" + DONE)) == [Text("a"), STOP]


def test_nothing_is_read_after_the_end_mark() -> None:
    assert read(deltas({"content": "a"}) + END + b"data: {broken\n\n") == [Text("a"), STOP]


def test_a_stream_without_end_mark_and_reason_is_bad_stream() -> None:
    failed = failure(deltas({"content": "a"}))
    assert (failed.kind, failed.retryable, failed.provider) == ("bad_stream", True, "local")
    assert failed.message == "local closed the stream before the answer was complete."


def test_an_empty_response_is_bad_stream() -> None:
    assert failure().kind == "bad_stream"
    assert failure(b"\n").kind == "bad_stream"


def test_a_response_that_is_no_stream_is_bad_stream_with_what_came() -> None:
    failed = failure(b"model is loading\n")
    assert (failed.kind, failed.detail) == ("bad_stream", "model is loading")


def test_malformed_json_is_bad_stream_with_the_event_quoted_and_cut() -> None:
    failed = failure(deltas({"content": "a"}), b'data: {"choices": [' + b"x" * 2000 + b"\n\n")
    assert (failed.kind, failed.retryable) == ("bad_stream", True)
    assert failed.detail is not None
    assert failed.detail.startswith('{"choices": [xxx')
    assert len(failed.detail) == 500


def test_an_event_of_another_shape_is_bad_stream() -> None:
    for event in (b'{"choices": 3}', b'{"choices": [{"delta": "text"}]}', b"[1]", b"7", b"[" * 100_000):
        assert failure(b"data: " + event + b"\n\n", END).kind == "bad_stream"


def test_what_came_before_a_bad_event_in_the_same_read_is_kept() -> None:
    answer = ResponseReader(CALL, ChatParser(CALL))
    assert answer.feed(deltas({"content": "a"}) + b"data: {bad\n\n") == [Text("a")]
    assert answer.error is not None


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert parts(b'data: {"choices":[{"delta":{"content":"a\xffb"}}]}\n\n', END) == (Text("a\ufffdb"),)


def test_not_a_number_outside_the_answer_spoils_nothing() -> None:
    assert parts(b'data: {"choices":[{"delta":{"content":"a"},"logprobs":NaN}]}\n\n', END) == (Text("a"),)


@pytest.mark.parametrize("field", ["content", "reasoning_content"])
def test_a_character_that_is_split_into_escapes_of_two_events_is_whole(field: str) -> None:
    halves = [
        b'data: {"choices":[{"delta":{"%b":"%b"}}]}\n\n' % (field.encode(), x)
        for x in (b"a\\ud83c", b"\\udf0db")
    ]
    kind = Text if field == "content" else Reasoning
    assert parts(b"".join(halves), END) == (kind("a🌍b"),)
    assert parts(*halves, END) == (kind("a🌍b"),)


def test_half_a_character_is_replaced_and_never_leaves_as_it_came() -> None:
    half = b'data: {"choices":[{"delta":{"content":"a\\ud83c"}}]}\n\n'
    assert parts(half, END) == (Text("a\ufffd"),)
    assert parts(half, deltas({"content": "b"}), END) == (Text("a\ufffdb"),)


@pytest.mark.parametrize(
    "event",
    [
        chunk({"annotations": [{"url_citation": {"url": "https://x.org/\ud83d", "title": "cut \ud83d"}}]}),
        {**chunk(), "citations": [{"url": "https://x.org", "content": "\ude00 cut"}, "https://y.org/\ud83d"]},
        chunk({"tool_calls": [{"index": 0, "id": "\ud83d", "function": {"name": "f\ud83d"}}]}),
        chunk({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"\ud83d": "\ud83d"}}}]}),
        chunk({"content": [{"type": "thinking", "thinking": "t", "signature": "s\ud83d"}]}),
        {**chunk(), "usage": {"prompt_tokens": 1, "\ud83d": 1}},
    ],
    ids=["annotation", "citations", "name of a call", "arguments", "signature", "usage"],
)
def test_half_a_character_beside_the_text_costs_nothing_of_the_answer(event: Mapping[str, Any]) -> None:
    chunks = read(deltas({"content": "Hello "}) + sse(event) + deltas({"content": "world"}), END)
    assert "".join([part.text for part in chunks if isinstance(part, Text)]) == "Hello world"
    assert repr(chunks).encode()
    assert "\\ud83d" not in repr(chunks)
    assert len(chunks) > 2


def test_half_a_character_in_a_call_continues_the_same_call() -> None:
    first = {"id": "a\ud83d", "function": {"name": "f\ud83d", "arguments": "{"}}
    more = {"id": "a\ud83d", "function": {"arguments": "}"}}
    assert parts(deltas({"tool_calls": [first]}, {"tool_calls": [more]}), END) == (
        ToolCall("a\ufffd", "f\ufffd", {}),
    )


def test_half_a_character_in_an_error_is_replaced() -> None:
    assert failure(sse({"error": {"message": "cut \ud83d", "code": 429}})).detail == "cut \ufffd"


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        ({"message": "Overloaded", "type": "overloaded_error"}, "overloaded", True),
        ({"message": "slow down", "code": 429}, "rate_limit", True),
        ({"message": "x", "code": "rate_limit_exceeded"}, "rate_limit", True),
        ({"message": "upstream", "code": 502, "metadata": {"raw": "gone"}}, "network", True),
        ({"message": "maximum context length is 10", "code": 400}, "context_length", False),
        ({"message": "no", "type": "insufficient_quota", "code": 429}, "usage_limit", False),
        ({"message": "bad", "type": "invalid_request_error"}, "invalid_request", False),
        ({"message": "who?", "type": "authentication_error"}, "auth", False),
        ("CUDA out of memory", "overloaded", True),
    ],
)
def test_an_error_inside_the_stream_is_an_error(error: object, kind: str, retryable: bool) -> None:
    failed = failure(deltas({"content": "a"}), sse({"error": error}), END)
    assert (failed.kind, failed.retryable) == (kind, retryable)


def test_errors_inside_the_stream_come_in_other_shapes_too() -> None:
    for event in (
        sse({"object": "error", "message": "m", "code": 429}),
        sse({"type": "error", "message": "m", "code": 429}),
        b'event: error\ndata: {"message": "m", "code": 429}\n\n',
        sse({**chunk({"content": ""}, "error"), "error": {"code": 429, "message": "m"}}),
    ):
        failed = failure(deltas({"content": "a"}), event, END)
        assert (failed.kind, failed.detail, failed.status_code) == ("rate_limit", "m", 429)


def test_a_stream_that_finishes_with_error_failed() -> None:
    assert failure(sse(chunk(reason="error")), DONE).kind == "overloaded"


def test_a_choice_may_have_the_error() -> None:
    error = {"code": 429, "message": f"Rate limited for {KEY}, retry after 3 s"}
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "error": error}
    for body in (
        deltas({"content": "a"}) + sse({"choices": [choice]}) + DONE,
        batch({"content": "a"}, "error").replace(
            b'"index"', b'"error": %b, "index"' % json.dumps(error).encode()
        ),
    ):
        failed = failure(body)
        assert (failed.kind, failed.retryable, failed.retry_after_ms) == ("rate_limit", True, 3000)
        assert failed.status_code == 429
        assert KEY not in repr(failed)


def test_an_answer_for_which_there_was_no_room_is_worth_another_try() -> None:
    for body in (
        deltas({"content": "a"}) + sse(chunk(reason="insufficient_system_resource")) + DONE,
        batch({"content": "a"}, "insufficient_system_resource"),
    ):
        failed = failure(body)
        assert (failed.kind, failed.retryable) == ("overloaded", True)
        assert failed.detail == "insufficient_system_resource"


def test_an_error_inside_the_stream_shows_no_key() -> None:
    failed = failure(sse({"error": {"message": f"Incorrect API key provided: {KEY}", "code": 401}}))
    assert failed.kind == "auth"
    assert KEY not in repr(failed)


def batch(message: Mapping[str, Any], reason: str | None = "stop", **fields: Any) -> bytes:
    return json.dumps(
        {"choices": [{"index": 0, "message": message, "finish_reason": reason}], **fields}
    ).encode()


def test_a_plain_json_answer_gives_what_the_stream_would() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    body = batch({"content": "Hi 🌍", "reasoning": "hm", "tool_calls": calls}, "tool_calls", usage=usage)
    message = {"reasoning": "hm", "content": "Hi 🌍", "tool_calls": [{**calls[0], "index": 0}]}
    stream = sse({**chunk(message, "tool_calls"), "usage": usage}) + DONE
    for at in (0, 1, 20, len(body) - 1):
        assert read(body[:at], body[at:]) == read(stream)
    assert read(b"\xef\xbb\xbf\r\n  " + body)[0] == Reasoning("hm")


def test_a_whole_answer_may_come_in_one_event() -> None:
    body = batch(
        {"role": "assistant", "content": "Hi", "tool_calls": [call(None, "a", "f", "{}")]}, "tool_calls"
    )
    event = b"data: " + body + b"\n\n"
    assert read(event, DONE) == read(body)
    assert read(deltas({"role": "assistant", "content": ""}), event, DONE) == read(body)


@pytest.mark.parametrize(
    "before",
    [{"content": "Hi"}, {"reasoning": "Hi"}, {"tool_calls": [call(0, "a", "f", "")]}, {"images": [PNG]}],
)
def test_a_whole_answer_behind_what_has_streamed_is_not_told_again(before: Mapping[str, Any]) -> None:
    again = b"data: " + batch({"content": "Hi"}) + b"\n\n"
    assert read(deltas(before), again, DONE) == read(deltas(before), END)


def test_a_plain_json_answer_without_reason_is_complete() -> None:
    assert read(batch({"content": "<think>a</think>b"}, None)) == [Reasoning("a"), Text("b"), STOP]


def test_a_plain_json_answer_that_is_cut_is_bad_stream() -> None:
    assert failure(batch({"content": "a"})[:-5]).kind == "bad_stream"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error": {"message": "m", "code": 429}}', "rate_limit"),
        (b'{"error": "model is overloaded"}', "overloaded"),
        (b'{"detail": "rate limit"}', "rate_limit"),
        (b'{"code": 401, "msg": "invalid token"}', "auth"),
        (b'[{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]', "rate_limit"),
        (b'{"choices": []}', "bad_stream"),
        (b'{"hello": "world"}', "bad_stream"),
        (b"[]", "bad_stream"),
    ],
)
def test_a_plain_json_body_that_is_no_answer_is_an_error(body: bytes, kind: str) -> None:
    assert failure(body).kind == kind


def test_a_web_page_is_bad_stream_and_names_the_address() -> None:
    failed = failure(b"<!DOCTYPE html><html><head><title>Router login</title></head><body>Hi</body></html>")
    assert failed.kind == "bad_stream"
    assert failed.message == (
        "http://127.0.0.1:8080/v1/chat/completions answers with a web page; check base_url."
    )
    assert failed.detail == "Router login: Hi"


def test_an_event_or_answer_that_is_too_large_is_bad_stream() -> None:
    for data in (b"data: " + b"x" * 2000, batch({"content": "x" * 2000})):
        answer = ResponseReader(CALL, ChatParser(CALL), max_bytes=1000)
        answer.feed(data)
        assert answer.error is not None
        assert "too large" in answer.error.failure.message


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["content", "reasoning"]), TEXTS), max_size=8),
    st.lists(st.integers(0, 3000), max_size=6),
    st.booleans(),
)
def test_the_message_does_not_depend_on_how_the_bytes_were_read(
    said: list[tuple[str, str]], cuts: list[int], escaped: bool
) -> None:
    events = [json.dumps(chunk({name: text}), ensure_ascii=escaped).encode() for name, text in said]
    stream = b"".join([b"data: " + event + b"\n\n" for event in events]) + END
    borders = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reads = [stream[start:end] for start, end in itertools.pairwise(borders)]
    assert parts(*reads) == parts(stream)
    # Each kind keeps its own order; blanks before the answer may come after the reasoning that follows them.
    for name, kind in (("content", Text), ("reasoning", Reasoning)):
        came = "".join([part.text for part in parts(stream) if isinstance(part, kind)])
        assert came == "".join([text for given, text in said if given == name])
