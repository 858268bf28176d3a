"""Every variant of the answer in the responses dialect, from bytes to pieces, streamed and in one piece."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_responses.parser import ResponsesParser
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
from tests.support.providers.chat_parsing import read_all
from tests.support.providers.responses_script import Answer, named, usage

KEY = "sk-canary-0123456789"
CALL = Call("openai", "gpt-9", "https://api.openai.test/v1/responses", (KEY,), has_key=True)
STOP = Finish("stop")
USED = UsageReport(Usage(3, 5, 8, reasoning_tokens=2, cache_creation_tokens=0, cache_read_tokens=1))


def read(*reads: bytes) -> list[Chunk]:
    """Return the chunks of a response that came in these reads."""
    return read_all(ResponseReader(CALL, ResponsesParser(CALL)), *reads)


def message_of(chunks: Sequence[Chunk]) -> tuple[Part, ...]:
    return fold([part for part in chunks if not isinstance(part, UsageReport | Finish)])


def parts(*reads: bytes) -> tuple[Part, ...]:
    """Return the message that a response makes."""
    return message_of(read(*reads))


def both(answer: Answer) -> tuple[Part, ...]:
    """Return the message that an answer makes, streamed as well as in one document."""
    streamed, whole = read(answer.stream), read(answer.document)
    assert message_of(streamed) == message_of(whole)
    assert [each for each in streamed if isinstance(each, UsageReport | Finish)] == [
        each for each in whole if isinstance(each, UsageReport | Finish)
    ]
    return message_of(streamed)


def failure(*reads: bytes) -> Failure:
    with pytest.raises(ModelError) as caught:
        read(*reads)
    return caught.value.failure


def delta(text: object, **fields: Any) -> dict[str, Any]:
    place = {"item_id": "msg_0", "output_index": 0, "content_index": 0}
    return {"type": "response.output_text.delta", **place, "delta": text, **fields}


END = named({"type": "response.completed", "response": {"status": "completed", "output": []}})


def plain(*texts: str) -> bytes:
    """Return a stream's beginning of nothing but deltas."""
    return named(*[delta(text) for text in texts])


# ------------------------------------------------------------------------------------ text


def test_text_of_one_read_is_one_piece() -> None:
    assert read(Answer().message(["Hel", "lo"]).ended().stream) == [Text("Hello"), USED, STOP]


def test_each_read_is_a_batch_of_its_own() -> None:
    answer = ResponseReader(CALL, ResponsesParser(CALL))
    assert answer.feed(plain("a")) == [Text("a")]
    assert answer.feed(plain("b", "c")) == [Text("bc")]


def test_events_without_names_mean_the_same() -> None:
    stream = Answer().message(["Hel", "lo"]).ended().stream
    nameless = b"".join([line + b"\n" for line in stream.split(b"\n") if not line.startswith(b"event:")])
    assert read(nameless) == read(stream)


EVERYTHING = (
    Answer()
    .reasoning("**Think**\n\nof 🌍", "More", encrypted="gAAA")
    .message(["Grüße ", "🌍"], citations=[{"type": "url_citation", "url": "https://e.org", "title": "E"}])
    .calls(("call_a", "f", ['{"x":', " 1}"]), ("call_b", "g", ["{}"]))
    .ended()
)


def test_an_answer_in_one_document_is_the_same_as_streamed() -> None:
    assert [type(part) for part in both(EVERYTHING)] == [Reasoning, Text, ToolCall, ToolCall, Source]
    assert both(Answer().ended()) == ()


SMALL = named(
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm…"},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {"type": "reasoning", "id": "rs", "encrypted_content": "gAAA"},
    },
    {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Grüße 🌍"},
    {
        "type": "response.output_item.added",
        "output_index": 2,
        "item": {"type": "function_call", "id": "fc", "call_id": "a", "name": "f"},
    },
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"x":1}'},
    {"type": "response.completed", "response": {"usage": {"input_tokens": 1}}},
)


def test_reading_any_split_of_the_bytes_gives_the_same_message() -> None:
    whole = parts(SMALL)
    signature = '{"id":"rs","encrypted_content":"gAAA"}'
    assert whole == (Reasoning("hm…", None, signature), Text("Grüße 🌍"), ToolCall("a", "f", {"x": 1}))
    for at in range(len(SMALL) + 1):
        assert parts(SMALL[:at], SMALL[at:]) == whole


@given(st.lists(st.integers(0, len(EVERYTHING.stream)), max_size=40))
def test_many_splits_give_the_same_message_too(cuts: list[int]) -> None:
    edges = pairwise([0, *sorted(cuts), len(EVERYTHING.stream)])
    assert parts(*[EVERYTHING.stream[start:end] for start, end in edges]) == both(EVERYTHING)


def test_several_texts_and_messages_are_paragraphs_of_one_part() -> None:
    answer = Answer().message("One.", ["Tw", "o."]).message("Three.").ended()
    assert both(answer) == (Text("One.\n\nTwo.\n\nThree."),)


def test_an_empty_text_makes_no_paragraph() -> None:
    assert both(Answer().message("").message("One.", "").ended()) == (Text("One."),)


def test_a_refusal_is_text_and_its_finish_is_content_filter() -> None:
    for answer, said in (
        (Answer().message(refusal="I cannot.").ended(), "I cannot."),
        (Answer().message("Well:", refusal="No.").ended(), "Well:\n\nNo."),
    ):
        assert both(answer) == (Text(said),)
        assert Finish("content_filter") in read(answer.stream)


def test_text_that_interleaves_stays_in_the_order_it_came_in() -> None:
    other = {"output_index": 1, "item_id": "msg_1"}
    stream = named(delta("a"), delta("x", **other), delta("b"), delta("y", **other))
    assert parts(stream, END) == (Text("a\n\nxby"),)


def test_an_answer_whose_texts_do_not_stream_is_taken_from_its_items() -> None:
    answer = EVERYTHING
    for left in ("response.output_item.", "response.completed"):
        events = [event for event in answer.events if event["type"].startswith((left, "response.completed"))]
        assert parts(named(*events)) == both(answer)


def whole(text: str, index: int | None, id: str | None = None) -> dict[str, Any]:
    item = {"type": "message", "id": id, "content": [{"type": "output_text", "text": text}]}
    return {"type": "response.output_item.done", "output_index": index, "item": item}


@pytest.mark.parametrize(
    ("id", "index"), [("msg_0", 0), ("msg_0", None), (None, 0), ("msg_0", 7), ("msg_7", 0), (None, None)]
)
def test_a_text_that_has_streamed_does_not_count_again_however_its_item_is_named(
    id: str | None, index: int | None
) -> None:
    assert parts(plain("a"), named(whole("a", index, id)), END) == (Text("a"),)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, "msg_0"), (1, "msg_1")),
        ((0, None), (1, None)),
        ((None, "msg_0"), (None, "msg_1")),
        ((0, "msg_0"), (None, "msg_1")),
    ],
)
def test_a_text_that_comes_only_whole_counts_behind_one_that_has_streamed(
    first: tuple[int | None, str | None], second: tuple[int | None, str | None]
) -> None:
    streamed = delta("a", output_index=first[0], item_id=first[1])
    stream = named(streamed, whole("a", *first), whole("b", *second))
    assert parts(stream, END) == (Text("a\n\nb"),)
    thought = {**streamed, "type": "response.reasoning_text.delta"}
    done = (whole("", *first), whole("", *second))
    thoughts = {"type": "reasoning", "content": [{"text": "b"}]}
    items = [{**event, "item": {**event["item"], **thoughts}} for event in done]
    said = [part.text for part in parts(named(thought, *items), END) if isinstance(part, Reasoning)]
    assert "".join(said).replace("\n", "") == "ab"


def test_the_list_at_the_end_does_not_repeat_a_text_that_stood_at_another_place() -> None:
    response = {"output": [whole("a", None)["item"]], "usage": None}
    event = {"type": "response.completed", "response": response}
    assert parts(named(delta("a", output_index=3, item_id="msg_0"), event)) == (Text("a"),)


def test_a_delta_of_another_shape_is_made_up_for_by_its_item() -> None:
    item = {"type": "message", "id": "msg_0", "content": [{"type": "output_text", "text": "Hi"}]}
    stream = named(
        delta({"text": "Hi"}), {"type": "response.output_item.done", "output_index": 0, "item": item}
    )
    assert parts(stream, END) == (Text("Hi"),)


def test_indexes_may_be_missing() -> None:
    events: list[dict[str, Any]] = [
        {"type": "response.output_text.delta", "item_id": "a", "delta": "One"},
        {"type": "response.output_text.delta", "item_id": "a", "delta": " two."},
        {"type": "response.output_text.delta", "item_id": "b", "delta": "Three."},
    ]
    assert parts(named(*events), END) == (Text("One two.\n\nThree."),)


def test_events_of_progress_and_unknown_ones_say_nothing() -> None:
    odd: list[dict[str, Any]] = [
        {"type": "response.queued", "response": {}},
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws"},
        {"type": "response.mcp_call.failed", "error": {"message": "x"}},
        {"type": "response.output_item.added", "item": 7},
        {"type": "response.output_item.done", "item": {"type": "web_search_call", "content": "odd"}},
        {"type": "response.brand_new", "delta": "no"},
        {"type": "keepalive"},
        {},
    ]
    assert parts(named(*[event for event in odd if event]), b"data: {}\n\n", plain("a"), END) == (Text("a"),)


def test_the_chat_dialects_end_mark_and_signs_of_life_are_ignored() -> None:
    answer = ResponseReader(CALL, ResponsesParser(CALL))
    for sign in (b": keep-alive\n\n", b"\n\n", b"data: \n\n", b"data: [DONE]\n\n"):
        assert answer.feed(sign) == []
    assert answer.error is None
    assert not answer.is_done
    assert parts(plain("a"), END + b"data: [DONE]\n\n") == (Text("a"),)


# ------------------------------------------------------------------------------- reasoning


def test_summaries_are_one_part_whose_signature_is_the_item() -> None:
    answer = Answer().reasoning("**A**\n\none", "two", encrypted="gAAA").message("Yes.").ended()
    thought, text = both(answer)
    assert text == Text("Yes.")
    assert isinstance(thought, Reasoning)
    assert thought.text == "**A**\n\none\n\ntwo"
    assert json.loads(thought.signature or "") == {
        "id": "rs_0",
        "encrypted_content": "gAAA",
        "summary": [10, 3],
    }


def test_plain_thoughts_are_reasoning_and_signed_by_their_item_alone() -> None:
    answer = Answer().reasoning(thoughts=["Hm.", "So."]).message("Yes.").ended()
    signature = '{"id":"rs_0","content":[3,3]}'
    assert both(answer) == (Reasoning("Hm.\n\nSo.", None, signature), Text("Yes."))


def test_reasoning_that_shows_nothing_still_has_its_signature() -> None:
    answer = Answer().reasoning(encrypted="gAAA").message("Yes.").ended()
    signature = '{"id":"rs_0","encrypted_content":"gAAA"}'
    assert both(answer) == (Reasoning("", None, signature), Text("Yes."))


def test_a_summary_without_encrypted_content_is_shown_and_not_signed() -> None:
    assert both(Answer().reasoning("Hm.").message("Yes.").ended()) == (Reasoning("Hm."), Text("Yes."))


def test_signed_items_in_a_row_are_parts_of_their_own() -> None:
    thoughts = both(Answer().reasoning("a", encrypted="1").reasoning("b", encrypted="2").ended())
    assert [part.text for part in thoughts if isinstance(part, Reasoning)] == ["a", "b"]


def test_reasoning_and_text_may_take_turns() -> None:
    answer = Answer().reasoning("a", encrypted="1").message("x").reasoning("b", encrypted="2").message("y")
    kinds = [type(part) for part in both(answer.ended())]
    assert kinds == [Reasoning, Text, Reasoning, Text]


# ----------------------------------------------------------------------------------- calls


def test_calls_stream_their_arguments_and_end_whole_each_at_its_own_end() -> None:
    answer = Answer().calls(("call_a", "f", ['{"x":', " 1}"])).message("Wait.").ended()
    chunks = read(*[named(event) for event in answer.events])
    assert chunks == [
        ToolCallPiece("call_a", "f", ""),
        ToolCallPiece("call_a", "f", '{"x":'),
        ToolCallPiece("call_a", "f", " 1}"),
        ToolCall("call_a", "f", {"x": 1}),
        Text("Wait."),
        USED,
        Finish("tool_calls"),
    ]


def test_several_calls_at_once_are_told_apart() -> None:
    answer = (
        Answer().calls(("a", "f", ['{"x":', "1}"]), ("b", "g", ['{"y"', ":2", "}"]), ("c", "h", [])).ended()
    )
    assert both(answer) == (
        ToolCall("a", "f", {"x": 1}),
        ToolCall("b", "g", {"y": 2}),
        ToolCall("c", "h", {}),
    )


def test_text_after_a_call_is_a_part_of_its_own() -> None:
    answer = Answer().message("x").calls(("a", "f", ["{}"])).message("y").ended()
    assert both(answer) == (Text("x"), ToolCall("a", "f", {}), Text("y"))


def test_text_beside_a_call_stays_one_part() -> None:
    more = delta("y", content_index=1)
    stream = named(added(1, "fc", "a", "f"), delta("x"), argued(1, "fc", "{}"), more)
    assert parts(stream, END) == (ToolCall("a", "f", {}), Text("x\n\ny"))


def added(index: int | None, id: str | None, call_id: str | None, name: str, **item: Any) -> dict[str, Any]:
    item = {"type": "function_call", "id": id, "call_id": call_id, "name": name, **item}
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def argued(index: int | None, id: str | None, arguments: str) -> dict[str, Any]:
    kind = "response.function_call_arguments.delta"
    return {"type": kind, "output_index": index, "item_id": id, "delta": arguments}


CALL_STREAMS: dict[str, Sequence[Mapping[str, Any]]] = {
    "no item is ended": (added(0, "fc", "a", "f"), argued(0, "fc", '{"x":1}')),
    "no index": (
        added(None, "fc", "a", "f"),
        added(None, "fd", "b", "g"),
        argued(None, "fd", "{}"),
        argued(None, "fc", '{"x":1}'),
    ),
    "one index for all": (
        added(0, "fc", "a", "f"),
        argued(0, "fc", '{"x":1}'),
        added(0, "fd", "b", "g"),
        argued(0, "fd", "{}"),
    ),
    "ids that change": (added(0, "fc", "a", "f"), argued(0, "other", '{"x":'), argued(0, "another", "1}")),
    "only at the end": (
        {**added(0, "fc", "a", "f", arguments='{"x":1}'), "type": "response.output_item.done"},
    ),
    "an object": ({**added(0, "fc", "a", "f", arguments={"x": 1}), "type": "response.output_item.done"},),
    "ended twice": (
        added(0, "fc", "a", "f"),
        *[{**added(0, "fc", "a", "f", arguments='{"x":1}'), "type": "response.output_item.done"}] * 2,
    ),
}


@pytest.mark.parametrize("events", CALL_STREAMS.values(), ids=CALL_STREAMS)
def test_servers_tell_of_calls_as_they_like(events: Sequence[Mapping[str, Any]]) -> None:
    chunks = read(named(*events), END)
    expected = (ToolCall("a", "f", {"x": 1}), ToolCall("b", "g", {}))
    found = fold([part for part in chunks if isinstance(part, Piece)])
    assert found == expected[: len(found)]
    assert len(found) == sum(event["type"].endswith("added") for event in events) or len(found) == 1
    assert chunks[-1] == Finish("tool_calls")


def ended(
    index: int | None, id: str | None, call_id: str | None, name: str, arguments: str
) -> dict[str, Any]:
    event = added(index, id, call_id, name, arguments=arguments)
    return {**event, "type": "response.output_item.done"}


def calls_of(*events: Mapping[str, Any]) -> list[tuple[str, object]]:
    calls = [part for part in parts(named(*events), END) if isinstance(part, ToolCall)]
    assert len({call.tool_call_id for call in calls}) == len(calls)
    return [(call.tool_name, call.args) for call in calls]


BOTH = [("f", {"x": 1}), ("g", {"y": 2})]


def test_deltas_without_any_name_continue_the_newest_open_call() -> None:
    first = (added(None, None, "a", "f"), argued(None, None, '{"x":'), argued(None, None, "1}"))
    second = (added(None, None, "b", "g"), argued(None, None, '{"y":2}'))
    ends = (ended(None, None, "a", "f", '{"x":1}'), ended(None, None, "b", "g", '{"y":2}'))
    assert calls_of(*first, *second) == BOTH
    assert calls_of(*first, ends[0], *second, ends[1]) == BOTH
    assert calls_of(*first, *second, *ends) == BOTH


def test_items_with_the_same_id_are_told_apart_by_their_index() -> None:
    begun = (added(0, "fc", "a", "f"), added(1, "fc", "b", "g"))
    assert calls_of(*begun, argued(0, "fc", '{"x":1}'), argued(1, "fc", '{"y":2}')) == BOTH


def test_calls_with_the_same_call_id_both_get_their_arguments() -> None:
    begun = (added(0, "f0", "same", "f"), added(1, "f1", "same", "g"))
    ends = (ended(0, "f0", "same", "f", '{"x":1}'), ended(1, "f1", "same", "g", '{"y":2}'))
    assert calls_of(*begun, *ends) == BOTH
    assert calls_of(begun[0], ends[0], begun[1], ends[1], ends[0], ends[1]) == BOTH


def test_an_item_that_gets_new_names_at_its_end_is_one_call() -> None:
    end = ended(7, "other", "a", "f", '{"x":1}')
    assert calls_of(added(0, "fc", "a", "f"), argued(0, "fc", '{"x":1}'), end) == BOTH[:1]


def test_arguments_may_come_whole_before_their_item() -> None:
    whole = {"type": "response.function_call_arguments.done", "output_index": 0, "item_id": "fc"}
    for call_id in ("a", None):
        events = (added(0, "fc", call_id, "f"), {**whole, "arguments": '{"x":1}'})
        assert calls_of(*events) == BOTH[:1]
        assert calls_of(*events, *[ended(0, "fc", call_id, "f", "")] * 2) == BOTH[:1]


def test_calls_without_ids_or_with_the_same_one_get_ids_of_their_own() -> None:
    for id in (None, "same"):
        stream = named(*[added(at, f"fc_{at}" if id else None, id, "f") for at in range(2)])
        calls = [part for part in parts(stream, END) if isinstance(part, ToolCall)]
        assert len({call.tool_call_id for call in calls}) == 2


def test_arguments_that_are_not_json_stay_a_string() -> None:
    cut = {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}}
    chunks = read(named(added(0, "fc", "a", "f"), argued(0, "fc", '{"x": '), cut))
    assert chunks[-2:] == [ToolCall("a", "f", '{"x": '), Finish("length")]


# --------------------------------------------------------------------- sources, files, usage


def test_citations_are_sources_at_the_end_each_once() -> None:
    one, two = {"type": "url_citation", "url": "https://e.org/1", "title": "One"}, {"url": "https://e.org/2"}
    file = {"type": "file_citation", "file_id": "file_1", "filename": "a.pdf", "index": 0}
    answer = Answer().message("See.", citations=[one, file]).message("Also.", citations=[one, two]).ended()
    assert both(answer) == (
        Text("See.\n\nAlso."),
        Source("1", "https://e.org/1", "One"),
        Source("2", "https://e.org/2", "https://e.org/2"),
    )


def test_images_that_the_model_made_are_files_where_they_came() -> None:
    answer = (
        Answer().message("Here:").image("aGk=").message("And:").image("aGg=", "jpeg").image("eA==", "svg")
    )
    assert both(answer.ended()) == (
        Text("Here:"),
        File("image/png", data="aGk="),
        Text("And:"),
        File("image/jpeg", data="aGg="),
        File("image/svg+xml", data="eA=="),
    )


def test_usage_comes_with_the_last_event() -> None:
    told = usage(10, 20, cached=4, reasoning=7)
    told["input_tokens_details"]["cache_write_tokens"] = 2
    stream = plain("a") + named({"type": "response.completed", "response": {"usage": told}})
    assert read(stream)[1:] == [
        UsageReport(
            Usage(10, 20, 30, reasoning_tokens=7, cache_creation_tokens=2, cache_read_tokens=4),
        ),
        STOP,
    ]


@pytest.mark.parametrize("told", [None, {}, "many", {"input_tokens": "x"}, {"input_tokens": -1}, [1]])
def test_missing_or_invalid_usage_is_ignored(told: object) -> None:
    event = {"type": "response.completed", "response": {"usage": told}}
    assert read(plain("a"), named(event)) == [Text("a"), STOP]


@pytest.mark.parametrize(
    ("told", "read_as"),
    [
        ({"input_tokens": 5, "output_tokens": 2, "input_tokens_details": []}, Usage(5, 2)),
        ({"input_tokens": 5, "output_tokens_details": {"reasoning_tokens": "?"}}, Usage(5)),
        ({"input_tokens": "?", "output_tokens": 2, "cost": 0.25}, Usage(None, 2, cost_usd=0.25)),
    ],
)
def test_only_the_invalid_fields_of_usage_are_ignored(told: object, read_as: Usage) -> None:
    event = {"type": "response.incomplete", "response": {"usage": told, "incomplete_details": ["odd"]}}
    assert read(plain("a"), named(event)) == [Text("a"), UsageReport(read_as), Finish("other")]


# ----------------------------------------------------------------------------------- the end


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("max_messages", "other"),
        (None, "other"),
    ],
)
def test_an_incomplete_response_says_why_it_stopped(said: str | None, meant: str) -> None:
    answer = Answer().message("a").ended("incomplete", incomplete_details=said and {"reason": said})
    for form in (answer.stream, answer.document):
        *_, used, finish = read(form)
        assert (used, isinstance(finish, Finish) and finish.reason) == (USED, meant)


@pytest.mark.parametrize("details", ["odd", 7, {"reason": 3}])
def test_an_end_of_another_shape_is_an_end_all_the_same(details: object) -> None:
    event = {"type": "response.completed", "response": {"incomplete_details": details}}
    assert read(plain("a"), named(event)) == [Text("a"), STOP]


def test_nothing_is_read_after_the_end() -> None:
    assert read(plain("a") + END + b"data: {broken\n\n") == [Text("a"), STOP]


def test_an_answer_whose_items_are_all_complete_is_whole_without_its_end() -> None:
    for answer in (
        Answer().message("a"),
        Answer().reasoning("hm").message("a"),
        Answer().message("a").calls(("a", "f", ["{}"]), ("b", "g", ["{}"])),
        Answer().image("aGk="),
    ):
        stream = answer.stream
        for end in (b"", b"data: [DONE]\n\n"):
            chunks = read(stream + end)
            assert message_of(chunks) == parts(answer.ended().stream)
            assert isinstance(chunks[-1], Finish)


def test_a_stream_without_its_end_and_with_an_open_item_is_bad_stream() -> None:
    begun = Answer().message("a")
    begun.events += Answer().message("b").message("c").events[-6:-1]
    cut_off: dict[str, Any] = {"type": "message", "id": "m", "status": "incomplete", "content": []}
    done = {"type": "response.output_item.done", "output_index": 0, "item": cut_off}
    only_thoughts = Answer().reasoning("hm").stream
    for stream in (b"", begun.stream, plain("a"), plain("a") + named(done), only_thoughts):
        failed = failure(stream)
        assert (failed.kind, failed.retryable, failed.provider) == ("bad_stream", True, "openai")


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_document_that_is_not_finished_is_bad_stream(status: str) -> None:
    assert failure(Answer().message("a").ended(status).document).kind == "bad_stream"


# -------------------------------------------------------------------------------- failures

LIMITED = "Rate limit reached for gpt-9 on tokens per min (TPM): Limit 30000. Please try again in 6.57s."


@pytest.mark.parametrize(
    ("error", "kind", "retryable", "wait"),
    [
        ({"code": "server_error", "message": "The model had an error"}, "overloaded", True, None),
        ({"code": "rate_limit_exceeded", "message": LIMITED}, "rate_limit", True, 6570),
        ({"code": "invalid_prompt", "message": "Invalid prompt"}, "invalid_request", False, None),
        ({"code": "invalid_prompt", "message": "flagged as violating"}, "content_filter", False, None),
        ({"code": "bio_policy", "message": "Not allowed."}, "content_filter", False, None),
        ({"code": "image_content_policy_violation", "message": "No."}, "content_filter", False, None),
        ({"code": "invalid_image", "message": "Not an image."}, "invalid_request", False, None),
        ({"code": "image_too_large", "message": "Too large."}, "invalid_request", False, None),
        ({"code": "image_file_not_found", "message": "No."}, "invalid_request", False, None),
        ({"code": "data_residency_mismatch", "message": "No."}, "invalid_request", False, None),
        ({"code": "vector_store_timeout", "message": "Slow."}, "timeout", True, None),
        (None, "overloaded", True, None),
    ],
)
def test_a_failed_response_is_a_failure(error: object, kind: str, retryable: bool, wait: int | None) -> None:
    answer = Answer().message("a").ended("failed", error=error)
    for form in (answer.stream, answer.document):
        failed = failure(form)
        assert (failed.kind, failed.retryable, failed.retry_after_ms) == (kind, retryable, wait)


def test_what_came_before_a_failure_is_kept_with_its_usage() -> None:
    answer = ResponseReader(CALL, ResponsesParser(CALL))
    assert answer.feed(Answer().message("a").ended("failed").stream) == [Text("a"), USED]
    assert answer.error is not None


QUOTA = {"type": "insufficient_quota", "code": "credit_balance_exhausted", "message": f"No credits, {KEY}"}


@pytest.mark.parametrize("name", [b"event: error\n", b""])
@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "sequence_number": 2, "error": QUOTA},
        {
            "type": "error",
            "sequence_number": 2,
            "code": "insufficient_quota",
            "message": f"No credits, {KEY}",
        },
        {"error": QUOTA},
    ],
    ids=["nested", "flat", "without a type"],
)
def test_an_error_event_is_a_failure_in_each_of_its_shapes(event: Mapping[str, Any], name: bytes) -> None:
    answer = ResponseReader(CALL, ResponsesParser(CALL))
    stream = plain("a") + name + b"data: " + json.dumps(event).encode() + b"\n\n"
    assert answer.feed(stream) == [Text("a")]
    assert answer.error is not None
    failed = answer.error.failure
    assert (failed.kind, failed.retryable) == ("usage_limit", False)
    assert failed.detail == "No credits, [removed]"


def test_an_error_in_place_of_a_document_is_a_failure() -> None:
    body = json.dumps({"error": {"message": "The server is overloaded", "type": "server_error"}})
    assert failure(body.encode()).kind == "overloaded"
    assert failure(b'{"object": "list", "data": []}').kind == "bad_stream"
    assert failure(b"[" * 100_000).kind == "bad_stream"


def test_malformed_events_are_bad_stream_and_quoted() -> None:
    for event in (b'{"type": "response.', b"[1]", b"7", b'{"type": 3}', b"[" * 100_000):
        failed = failure(plain("a"), b"data: " + event + b"\n\n", END)
        assert (failed.kind, failed.retryable) == ("bad_stream", True)
        assert failed.detail is not None
        assert failed.detail.startswith(event[:20].decode())


# ---------------------------------------------------------------------------- half characters


def test_invalid_utf8_is_replaced() -> None:
    assert parts(plain("a#b").replace(b"#", b"\xff"), END) == (Text("a\ufffdb"),)


def test_a_character_that_is_split_into_escapes_of_two_events_is_whole() -> None:
    halves = [plain("a#").replace(b"#", b"\\ud83c"), plain("#b").replace(b"#", b"\\udf0d")]
    assert parts(*halves, END) == (Text("a🌍b"),)
    assert parts(halves[0], END) == (Text("a\ufffd"),)


def test_half_a_character_anywhere_leaves_as_a_whole_one() -> None:
    half = "\ud83d"
    citation = {"type": "url_citation", "url": f"https://e.org/{half}", "title": half}
    answer = (
        Answer()
        .reasoning(half, encrypted=half)
        .message("Hello", citations=[citation])
        .calls((half, half, ['{"x": "', half, '"}', half]))
        .ended()
    )
    stream = b"".join(
        [
            b"data: " + json.dumps(event).encode() + b"\n\n" for event in answer.events
        ]  # escaped, as it must be
    )
    for form in (stream, answer.document):
        chunks = read(form)
        assert Text("Hello") in chunks
        assert "\\ud83d" not in repr(chunks)
        assert repr(chunks).encode()
        [call] = [each for each in chunks if isinstance(each, ToolCall)]
        assert not any(isinstance(each, ToolCallPiece) for each in chunks[chunks.index(call) :])
