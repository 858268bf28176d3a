"""The parser of chat completions: reads, ends of streams, and answers without streaming."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.adapters.providers.openai_chat.parser import ChatParser
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import (
    Reasoning,
    Source,
    Text,
)
from parley_daemon.ports.models import Finish
from tests.support.providers.chat_parsing import (
    CALL,
    DONE,
    END,
    PNG,
    STOP,
    batch,
    call,
    deltas,
    failure,
    parts,
    read,
    sse,
)
from tests.support.providers.script import chunk


def test_text_of_one_read_is_one_piece() -> None:
    assert read(deltas({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}), END) == [
        Text("Hello"),
        STOP,
    ]


def test_each_read_is_a_batch_of_its_own() -> None:
    answer = ResponseReader(CALL, ChatParser(CALL))
    assert answer.feed(deltas({"content": "a"})) == [Text("a")]
    assert answer.feed(deltas({"content": "b"}, {"content": "c"})) == [Text("bc")]


def test_a_comment_gives_no_chunks() -> None:
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


def test_a_refusal_is_text_and_its_finish_is_content_filter() -> None:
    refused = Finish("content_filter")
    assert read(deltas({"refusal": "I can"}, {"refusal": "not."}), END) == [Text("I cannot."), refused]
    item = {"type": "refusal", "refusal": "No."}
    assert read(deltas({"content": [item]}), END) == [Text("No."), refused]
    cut = deltas({"refusal": "I can"}), sse(chunk(reason="length"))
    assert read(*cut) == [Text("I can"), Finish("length")]


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
        ("something_new", "other"),
    ],
)
def test_finish_reasons_are_mapped(said: str, meant: str) -> None:
    finish = read(sse(chunk({"content": "a"}), chunk(reason=said)), DONE)[-1]
    assert isinstance(finish, Finish)
    assert finish.reason == meant


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


def test_the_word_null_as_content_is_text() -> None:
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


def test_the_end_mark_alone_completes_an_answer() -> None:
    assert read(deltas({"content": "a"}), DONE) == [Text("a"), STOP]


def test_a_finish_reason_alone_completes_an_answer() -> None:
    assert read(deltas({"content": "a"}), sse(chunk(reason="length"))) == [Text("a"), Finish("length")]


def test_half_an_event_after_the_finish_reason_is_ignored() -> None:
    usage = sse({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    stream = deltas({"content": "a"}) + sse(chunk(reason="stop"))
    for at in range(len(usage) - len("\n\n")):
        assert read(stream, usage[:at]) == [Text("a"), STOP]
    assert failure(deltas({"content": "a"}), usage[:-5]).kind == "bad_stream"


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert read(deltas({"content": "a"}), END.removesuffix(b"\n\n" + DONE)) == [Text("a"), STOP]


def test_nothing_is_read_after_the_end_mark() -> None:
    assert read(deltas({"content": "a"}) + END + b"data: {broken\n\n") == [Text("a"), STOP]


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
def test_a_whole_answer_after_streamed_parts_is_ignored(before: Mapping[str, Any]) -> None:
    again = b"data: " + batch({"content": "Hi"}) + b"\n\n"
    assert read(deltas(before), again, DONE) == read(deltas(before), END)


def test_a_plain_json_answer_without_reason_is_complete() -> None:
    assert read(batch({"content": "<think>a</think>b"}, None)) == [Reasoning("a"), Text("b"), STOP]


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
