"""Every variant of the Anthropic messages answer, from bytes to pieces."""

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.adapters.providers.anthropic.parser import AnthropicParser
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import Part, Piece, Reasoning, Source, Text, ToolCall, ToolCallPiece, fold
from parley_daemon.core.pricing import Pricing, compute_cost
from parley_daemon.core.records import Failure, Usage
from parley_daemon.ports.models import Chunk, Finish, ModelError, StopReason, UsageReport
from tests.support.providers.anthropic_script import (
    answer,
    begin,
    delta,
    end,
    named,
    start,
    stop,
    text,
    thinking,
    tool,
)

KEY = "sk-ant-canary-0123456789"
CALL = Call("anthropic", "claude", "https://api.anthropic.com/v1/messages", (KEY,), has_key=True)
STOP = Finish("stop")


def read(*reads: bytes) -> list[Chunk]:
    """Return the chunks of a response that came in these reads."""
    reader = ResponseReader(CALL, AnthropicParser(CALL))
    chunks: list[Chunk] = []
    for data in reads:
        chunks += reader.feed(data)
        if reader.error:
            raise reader.error
        if reader.is_done:
            break
    return chunks + reader.end()


def pieces(*reads: bytes) -> list[Piece]:
    return [chunk for chunk in read(*reads) if not isinstance(chunk, UsageReport | Finish)]


def parts(*reads: bytes) -> tuple[Part, ...]:
    """Return the message that a response makes."""
    return fold(pieces(*reads))


def used(*reads: bytes) -> Usage:
    """Return the usage that was told last."""
    return [chunk.usage for chunk in read(*reads) if isinstance(chunk, UsageReport)][-1]


def failure(*reads: bytes) -> Failure:
    with pytest.raises(ModelError) as caught:
        read(*reads)
    return caught.value.failure


def test_text_of_one_read_is_one_piece() -> None:
    assert read(answer(text("Hel", "lo"))) == [
        Text("Hello"),
        UsageReport(Usage(10, 5, 15)),
        STOP,
    ]


def test_each_read_is_a_batch_of_its_own() -> None:
    reader = ResponseReader(CALL, AnthropicParser(CALL))
    assert reader.feed(named(begin())) == [UsageReport(Usage(10, 1, 11))]
    assert reader.feed(named(*text("a", "b")[:-1])) == [Text("ab")]
    assert reader.feed(named(delta(0, "text_delta", text="c"))) == [Text("c")]


def test_a_ping_is_a_sign_of_life_and_nothing_else() -> None:
    reader = ResponseReader(CALL, AnthropicParser(CALL))
    for sign in (named({"type": "ping"}), b": keep-alive\n\n", b"data: [DONE]\n\n", b"data:\n\n"):
        assert reader.feed(sign) == []
        assert reader.error is None
        assert not reader.is_done


RICH = answer(
    thinking("hm", "…"),
    text("Grüße ", "🌍", index=1),
    tool("toolu_1", "look", '{"wo": "', 'Köln"}', index=2),
    tool("toolu_2", "look", index=3),
    reason="tool_use",
)


def test_reading_any_split_of_the_bytes_gives_the_same_message() -> None:
    whole = (
        Reasoning("hm…", None, "sig"),
        Text("Grüße 🌍"),
        ToolCall("toolu_1", "look", {"wo": "Köln"}),
        ToolCall("toolu_2", "look", {}),
    )
    for at in range(len(RICH) + 1):
        assert parts(RICH[:at], RICH[at:]) == whole
    assert parts(*[RICH[at : at + 1] for at in range(len(RICH))]) == whole


def test_events_need_no_names_and_lines_may_end_in_crlf() -> None:
    plain = b"".join([line + b"\r\n" for line in RICH.split(b"\n") if not line.startswith(b"event")])
    assert parts(plain) == parts(RICH)


def test_a_signature_ends_its_thoughts() -> None:
    stream = answer(
        thinking("a", signature="one"), thinking("b", signature="two", index=1), text("c", index=2)
    )
    assert parts(stream) == (Reasoning("a", None, "one"), Reasoning("b", None, "two"), Text("c"))


def test_thoughts_may_be_left_out_and_signed_all_the_same() -> None:
    assert parts(answer(thinking(signature="sig"), text("a", index=1))) == (
        Reasoning("", None, "sig"),
        Text("a"),
    )


def test_thoughts_without_a_signature_are_thoughts() -> None:
    assert parts(answer(thinking("a", signature=None), text("b", index=1))) == (Reasoning("a"), Text("b"))


def test_redacted_thoughts_are_kept_as_a_signature_of_their_own_kind() -> None:
    redacted = [start(1, type="redacted_thinking", data="c2VjcmV0"), stop(1)]
    assert parts(answer(thinking("a"), redacted, text("b", index=2))) == (
        Reasoning("a", None, "sig"),
        Reasoning("", None, "redacted:c2VjcmV0"),
        Text("b"),
    )


def test_tool_calls_stream_their_arguments_each_in_its_own_part() -> None:
    first, second = tool("a", "f", '{"x":', "1}"), tool("b", "g", "[", "]", index=1)
    mixed = [first[0], second[0], first[1], second[1], first[2], second[2], first[3], second[3]]
    assert read(answer(mixed, reason="tool_use")) == [
        ToolCallPiece("a", "f", ""),
        ToolCallPiece("b", "g", ""),
        ToolCallPiece("a", "f", '{"x":'),
        ToolCallPiece("b", "g", "["),
        ToolCallPiece("a", "f", "1}"),
        ToolCallPiece("b", "g", "]"),
        ToolCall("a", "f", {"x": 1}),
        ToolCall("b", "g", []),
        UsageReport(Usage(10, 5, 15)),
        Finish("tool_calls"),
    ]


def test_a_call_is_whole_as_soon_as_its_block_ends() -> None:
    reader = ResponseReader(CALL, AnthropicParser(CALL))
    assert reader.feed(named(*tool("a", "f", "{}"))) == [
        ToolCallPiece("a", "f", "{}"),
        ToolCall("a", "f", {}),
    ]
    assert reader.feed(named(*tool("b", "f", "{}")[:-1], *tool("c", "f", "[]")[:-1], *end())) == [
        ToolCallPiece("b", "f", "{}"),
        ToolCall("b", "f", {}),
        ToolCallPiece("c", "f", "[]"),
        UsageReport(Usage(output_tokens=5)),
    ]
    assert reader.end() == [ToolCall("c", "f", []), Finish("tool_calls")]


@pytest.mark.parametrize("ended", [True, False])
def test_arguments_may_come_whole_with_the_call(ended: bool) -> None:
    block = [start(0, type="tool_use", id="a", name="f", input={"x": 1}), *([stop(0)] if ended else [])]
    stream = answer(block, reason="tool_use")
    *streamed, whole = pieces(stream)
    assert "".join([piece.args_delta for piece in streamed if isinstance(piece, ToolCallPiece)]) == '{"x":1}'
    assert whole == ToolCall("a", "f", {"x": 1})


def test_arguments_in_pieces_go_before_those_that_came_with_the_call() -> None:
    block = [start(0, type="tool_use", id="a", name="f", input={"x": 1}), *tool("a", "f", '{"x":2}')[1:]]
    assert parts(answer(block)) == (ToolCall("a", "f", {"x": 2}),)


def test_arguments_that_are_not_json_stay_a_string() -> None:
    assert parts(answer(tool("a", "f", '{"x": '))) == (ToolCall("a", "f", '{"x": '),)


def test_calls_whose_events_have_no_index_are_told_apart_by_their_order() -> None:
    events = [*tool("a", "f", '{"x":', "1}"), *tool("b", "g", "{}")]
    for event in events:
        del event["index"]
    expected = (ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {}))
    assert parts(named(begin(), *events, *end("tool_use"))) == expected
    without_stops = [event for event in events if event["type"] != "content_block_stop"]
    assert parts(named(begin(), *without_stops, *end("tool_use"))) == expected


def test_two_calls_under_one_index_are_two() -> None:
    first, second = tool("a", "f", '{"x":1}')[:-1], tool("b", "g", "{}")[:-1]
    expected = (ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {}))
    assert parts(named(begin(), *first, *second, *end("tool_use"))) == expected


def test_calls_with_the_same_id_are_separate_calls() -> None:
    first, second = parts(answer(tool("a", "f", "1"), tool("a", "f", "2", index=1)))
    assert isinstance(first, ToolCall)
    assert isinstance(second, ToolCall)
    assert (first.args, second.args, first.tool_call_id) == (1, 2, "a")
    assert second.tool_call_id not in ("", "a")


def test_an_answer_with_tool_calls_that_says_end_turn_stopped_for_them() -> None:
    assert read(answer(tool("a", "f")))[-1] == Finish("tool_calls")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "other"),
        ("something_new", "other"),
        (None, "stop"),
    ],
)
def test_stop_reasons_are_mapped(said: str | None, meant: StopReason) -> None:
    assert read(named(begin(), *text("a"), *end(said)))[-1] == Finish(meant)


def test_a_refusal_that_says_nothing_is_explained() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "This may be misused."}
    refused = end("refusal", stop_details=details)
    assert parts(named(begin(), *refused)) == (Text("This may be misused."),)
    assert parts(named(begin(), *text("I"), *refused)) == (Text("I"),)


def test_cached_input_is_a_part_of_the_input_and_costs_what_it_costs() -> None:
    stream = named(
        begin(input_tokens=100, cache_creation_input_tokens=2000, cache_read_input_tokens=30_000),
        *text("a"),
        *end(usage={"output_tokens": 50}),
    )
    usage = used(stream)
    assert usage == Usage(
        input_tokens=32_100,
        output_tokens=50,
        total_tokens=32_150,
        cache_creation_tokens=2000,
        cache_read_tokens=30_000,
    )
    dollars = compute_cost(usage, Pricing(4.0, 20.0, 0.4, 5.0))
    assert dollars == pytest.approx((100 * 4 + 2000 * 5 + 30_000 * 0.4 + 50 * 20) / 1e6)


def test_counts_only_grow_and_the_last_event_may_bring_any_of_them() -> None:
    last = {
        "input_tokens": 20,
        "output_tokens": 7,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": None,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    assert used(named(begin(), *text("a"), *end(usage=last))) == Usage(25, 7, 32, 3, None, 5)
    assert used(named(begin(), *text("a"), *end(usage={"input_tokens": 0, "output_tokens": 0}))) == Usage(
        10, 1, 11
    )


@pytest.mark.parametrize("usage", [None, "much", {"input_tokens": "many"}, [], {"input_tokens": -1}])
def test_missing_or_invalid_usage_is_ignored(usage: object) -> None:
    events = [begin(), *text("a"), *end()]
    events[0]["message"]["usage"] = events[-2]["usage"] = usage
    assert read(named(*events)) == [Text("a"), STOP]
    del events[0]["message"], events[-2]["usage"]
    assert read(named(*events)) == [Text("a"), STOP]


@pytest.mark.parametrize("odd", [{"output_tokens_details": []}, {"cache_read_input_tokens": "?"}])
def test_only_the_invalid_fields_of_usage_are_ignored(odd: dict[str, Any]) -> None:
    last = {"output_tokens": 7, **odd}
    assert used(named(begin(), *text("a"), *end(usage=last))) == Usage(10, 7, 17)


def cite(**citation: Any) -> dict[str, Any]:
    return delta(0, "citations_delta", citation=citation)


def test_citations_are_sources_at_the_end_each_once() -> None:
    web = {"type": "web_search_result_location", "encrypted_index": "x"}
    found = {"type": "search_result_location", "search_result_index": 0, "start_block_index": 0}
    block = text("One", "two")
    cited = [
        cite(**web, url="https://a.test", title="A", cited_text="said A"),
        cite(**web, url="https://a.test", title="A", cited_text="said more"),
        cite(**found, source="https://b.test/kb/1", title=None, cited_text="said B"),
        cite(type="something_new"),
        cite(**web, url="https://a.test", title="A", cited_text=None),
    ]
    stream = answer([*block[:2], *cited, *block[2:]])
    assert parts(stream) == (
        Text("Onetwo"),
        Source("1", "https://a.test", "A", "said A"),
        Source("2", "https://b.test/kb/1", "https://b.test/kb/1", "said B"),
    )


def test_places_in_documents_are_sources_with_addresses_of_their_own() -> None:
    document = {"document_index": 1, "document_title": "Report.pdf"}
    cited = [
        cite(
            type="page_location", **document, start_page_number=3, end_page_number=4, cited_text="on a page"
        ),
        cite(
            type="char_location",
            document_index=0,
            document_title=None,
            start_char_index=10,
            end_char_index=20,
            cited_text="in a text",
        ),
        cite(
            type="content_block_location", **document, start_block_index=2, end_block_index=3, cited_text="x"
        ),
    ]
    block = text("a")
    assert parts(answer([*block[:2], *cited, *block[2:]]))[1:] == (
        Source("1", "document:1#page=3", "Report.pdf, page 3", "on a page"),
        Source("2", "document:0#char=10,20", "Document 1", "in a text"),
        Source("3", "document:1#block=2", "Report.pdf", "x"),
    )


def test_results_of_a_web_search_are_sources_and_its_calls_are_none_of_ours() -> None:
    results = [
        {"type": "web_search_result", "url": "https://a.test", "title": "A", "encrypted_content": "x"},
        {"type": "web_search_result", "url": "https://b.test", "title": "B", "encrypted_content": "y"},
    ]
    searched = [
        start(0, type="server_tool_use", id="srvtoolu_1", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json='{"query": "a"}'),
        stop(0),
        start(1, type="web_search_tool_result", tool_use_id="srvtoolu_1", content=results),
        stop(1),
    ]
    cited = delta(
        2,
        "citations_delta",
        citation={
            "type": "web_search_result_location",
            "url": "https://b.test",
            "title": "B",
            "cited_text": "b",
        },
    )
    block = text("Found.", index=2)
    assert parts(answer(searched, [*block[:2], cited, *block[2:]])) == (
        Text("Found."),
        Source("1", "https://a.test", "A"),
        Source("2", "https://b.test", "B", "b"),
    )
    error = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    failed = [start(0, type="web_search_tool_result", tool_use_id="s", content=error), stop(0)]
    assert parts(answer(failed, text("a", index=1))) == (Text("a"),)


def test_what_is_newer_than_this_is_left_out() -> None:
    news = [
        {"type": "news", "index": 0},
        start(0, type="container_upload", file_id="f"),
        start(0, other="thing"),
        {"type": "content_block_start", "index": 0, "content_block": None},
        delta(0, "news_delta", news="x"),
        {"type": "content_block_delta", "index": 0},
        {"typo": True},
    ]
    stream = named(begin()) + b"".join([f"data: {json.dumps(event)}\n\n".encode() for event in news])
    assert parts(stream + named(*text("a"), *end())) == (Text("a"),)


def test_text_after_the_end_mark_belongs_to_the_answer() -> None:
    assert parts(answer(text("a")) + answer(text("b")) + b"data: [DONE]\n\n") == (Text("ab"),)


def test_errors_after_the_end_mark_do_not_count() -> None:
    for more in (b"data: {broken\n\n", b'event: error\ndata: {"type": "error"}\n\n'):
        assert parts(answer(text("a")) + more) == (Text("a"),)


STOPPED = RICH.index(b"\n\n", RICH.index(b'"message_delta"'))  # where the reason of the end has come


def test_a_stream_cut_within_a_block_is_bad_stream() -> None:
    for at in range(STOPPED):
        if not are_blocks_stopped(RICH[:at]):
            cut = failure(RICH[:at])
            assert (cut.kind, cut.retryable) == ("bad_stream", True), RICH[:at]


def are_blocks_stopped(stream: bytes) -> bool:
    """Return whether each block of a stream was stopped, and one of them is more than reasoning."""
    starts = re.findall(rb'"content_block_start".+?"type": "(\w+)".*\}$', stream, re.MULTILINE)
    stops = re.findall(rb'"content_block_stop".*\}$', stream, re.MULTILINE)
    return len(starts) == len(stops) and not {b"text", b"tool_use"}.isdisjoint(starts)


def test_an_answer_is_whole_without_a_stop_reason_if_its_blocks_were_stopped() -> None:
    said, called = named(begin(), *text("a")), named(begin(), *text("a"), *tool("id", "f", "{}", index=1))
    assert read(said)[-1] == STOP
    assert read(called)[-1] == Finish("tool_calls")
    assert failure(named(begin(), *thinking("hm"))).kind == "bad_stream"
    assert failure(said + named(start(1, type="text", text=""))).kind == "bad_stream"


def test_a_stream_cut_after_it_says_why_it_stopped_is_whole() -> None:
    for at in range(STOPPED, len(RICH)):
        cut = RICH[:at]
        assert (parts(cut), used(cut), read(cut)[-1]) == (parts(RICH), used(RICH), Finish("tool_calls"))


def test_a_finished_answer_is_told_once_and_only_what_is_new_after_it() -> None:
    reader = ResponseReader(CALL, AnthropicParser(CALL))
    refused = end("refusal", stop_details={"explanation": "No."})
    assert reader.feed(named(begin(), refused[0])) == [UsageReport(Usage(10, 5, 15))]
    assert (reader.is_complete, reader.is_done) == (True, False)
    assert reader.finish() == [Text("No."), Finish("content_filter")]
    more = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 6}}
    assert reader.feed(named(more, refused[1])) == [UsageReport(Usage(10, 6, 16))]
    assert reader.is_done
    assert reader.end() == []


def test_malformed_json_is_bad_stream_with_the_event_quoted_and_cut() -> None:
    bad = failure(named(begin()) + b"event: content_block_delta\ndata: {" + b"x" * 2000 + b"\n\n")
    assert (bad.kind, bad.message) == ("bad_stream", "anthropic sent an event that is not valid.")
    assert bad.detail is not None
    assert bad.detail.startswith("{xx")
    assert len(bad.detail) == 500


def test_what_came_before_a_bad_event_in_the_same_read_is_kept() -> None:
    reader = ResponseReader(CALL, AnthropicParser(CALL))
    assert reader.feed(named(*text("a")) + b"data: {\n\n") == [Text("a")]
    assert reader.error is not None


def test_bytes_that_are_no_utf8_and_half_characters_are_replaced() -> None:
    events = [delta(0, "text_delta", text="�"), delta(0, "text_delta", text="\ud83c")]
    stream = named(begin(), *text()[:1], *events).replace(b"\\ufffd", b"\xff")
    assert parts(stream + named(delta(0, "text_delta", text="\udf0d"), *end())) == (Text("�🌍"),)
    assert parts(stream + named(*end())) == (Text("��"),)


def test_half_a_character_in_a_call_or_a_source_never_leaves_as_it_came() -> None:
    block = text("a")
    lone = cite(type="web_search_result_location", url="https://a.test", title="\ud83c", cited_text="\udf0d")
    stream = answer([*block[:2], lone, *block[2:]], tool("i\ud83c", "f\ud83c", '"\ud83c"', index=1))
    for part in parts(stream):
        assert "�" in repr(part) or part == Text("a")
        repr(part).encode()


ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": f"Overloaded {KEY}"}}


@pytest.mark.parametrize("framed", [named(ERROR), b"data: " + json.dumps(ERROR).encode() + b"\n\n"])
def test_an_error_inside_the_stream_is_an_error_that_shows_no_key(framed: bytes) -> None:
    reader = ResponseReader(CALL, AnthropicParser(CALL))
    assert reader.feed(named(*text("a")) + framed) == [Text("a")]
    assert reader.error is not None
    said = reader.error.failure
    assert (said.kind, said.retryable, said.detail) == ("overloaded", True, "Overloaded [removed]")


@pytest.mark.parametrize("error", ['"all is lost"', "[]", "{}", "null", '{"type": "error"}'])
def test_an_error_of_any_shape_is_an_error(error: str) -> None:
    stream = named(begin()) + b"event: error\ndata: " + error.encode() + b"\n\n"
    assert failure(stream).kind == "overloaded"
    assert failure(named(begin()) + b'data: {"type": "error"}\n\n').kind == "overloaded"


def message(*content: dict[str, Any], **fields: Any) -> bytes:
    whole = {**begin()["message"], "content": content, "stop_reason": "end_turn", **fields}
    return json.dumps(whole).encode()


def test_a_whole_message_gives_what_the_stream_would() -> None:
    citation = {
        "type": "web_search_result_location",
        "url": "https://a.test",
        "title": "A",
        "cited_text": "x",
    }
    batch = message(
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
        {"type": "text", "text": "Hello", "citations": [citation]},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {}},
        stop_reason="tool_use",
        usage={"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 3},
    )
    block = text("Hel", "lo", index=2)
    cited = delta(2, "citations_delta", citation=citation)
    stream = named(
        begin(cache_read_input_tokens=3),
        *thinking("hm"),
        start(1, type="redacted_thinking", data="c2VjcmV0"),
        stop(1),
        *[*block[:2], cited, *block[2:]],
        *tool("a", "f", '{"x":1}', index=3),
        *tool("b", "g", index=4),
        *end("tool_use"),
    )
    assert parts(batch) == parts(stream)
    assert used(batch) == used(stream)
    assert read(batch)[-1] == read(stream)[-1]
    for at in range(len(batch)):
        assert parts(batch[:at], batch[at:]) == parts(stream)


def test_a_whole_message_of_a_refusal_is_explained() -> None:
    details = {"type": "refusal", "category": None, "explanation": "No."}
    assert read(message(stop_reason="refusal", stop_details=details))[-2:] == [
        Text("No."),
        Finish("content_filter"),
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (json.dumps(ERROR).encode(), "overloaded"),
        (b'{"message": "no route"}', "overloaded"),
        (b"{}", "bad_stream"),
        (b"[]", "bad_stream"),
        (b'{"content": "text"}', "bad_stream"),
        (message({"type": "text", "text": "a"})[:-1], "bad_stream"),
        (b"<html>Hello</html>", "bad_stream"),
        (b"", "bad_stream"),
    ],
)
def test_a_body_that_is_no_message_is_an_error(body: bytes, kind: str) -> None:
    assert failure(body).kind == kind


BLOCKS = st.tuples(st.sampled_from(["text", "thinking", "tool"]), st.lists(st.text(max_size=5), max_size=4))


def block_of(kind: str, said: list[str], index: int) -> list[dict[str, Any]]:
    if kind == "text":
        return text(*said, index=index)
    return thinking(*said, index=index) if kind == "thinking" else tool(f"id{index}", "f", *said, index=index)


@given(st.lists(BLOCKS, max_size=6), st.lists(st.integers(0, 3000), max_size=6))
def test_the_message_does_not_depend_on_how_the_bytes_were_read(
    blocks: list[tuple[str, list[str]]], cuts: list[int]
) -> None:
    stream = answer(*[block_of(kind, said, index) for index, (kind, said) in enumerate(blocks)])
    borders = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    whole = parts(stream)
    assert parts(*[stream[one:other] for one, other in itertools.pairwise(borders)]) == whole
    for part_type, kind in ((Text, "text"), (Reasoning, "thinking")):
        said = "".join(["".join(each) for found, each in blocks if found == kind])
        assert "".join([part.text for part in whole if isinstance(part, part_type)]) == said
