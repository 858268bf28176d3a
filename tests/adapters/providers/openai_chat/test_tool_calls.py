"""Tool calls in chat-completions streams, in the variants of real servers."""

from typing import Any

import pytest

from parley_daemon.adapters.providers.openai_chat.events import Function
from parley_daemon.adapters.providers.openai_chat.tool_calls import ToolCallTracker
from parley_daemon.adapters.providers.shared.piece_buffer import PieceBuffer
from parley_daemon.core.parts import (
    Piece,
    Text,
    ToolCall,
    ToolCallPiece,
    fold,
)
from parley_daemon.ports.models import Finish
from tests.support.providers.chat_parsing import (
    DONE,
    END,
    STOP,
    batch,
    call,
    deltas,
    failure,
    read,
    sse,
)
from tests.support.providers.script import chunk


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
    "one index for two, the tail under another": tools(
        call(0, "a", "f", '{"x": 1}'), call(0, "b", "g", "{"), call(1, None, None, "}")
    ),
    "the tail under the index of a complete call": tools(
        call(0, "a", "f", '{"x":'), call(1, "b", "g", "{}"), call(1, None, None, " 1}")
    ),
    "an index for each delta": tools(
        call(0, "a", "f", '{"x":'),
        call(1, None, None, " 1"),
        call(2, None, None, "}"),
        call(3, "b", "g", "{}"),
    ),
    "an index for each delta, ids and names repeated": tools(
        call(0, "a", "f", ""), call(1, "a", "f", '{"x":'), call(2, "a", "f", " 1}"), call(3, "b", "g", "{}")
    ),
    "index 0, interleaved by ids": tools(
        call(0, "a", "f", '{"x":'), call(0, "b", "g", "{"), call(0, "a", None, "1}"), call(0, "b", None, "}")
    ),
    "no index, interleaved by ids": tools(
        call(None, "a", "f", '{"x":'),
        call(None, "b", "g", "{"),
        call(None, "a", None, "1}"),
        call(None, "b", None, "}"),
    ),
    "no index, the tail of the one before": tools(
        call(None, "a", "f", '{"x":'), call(None, "b", "g", "{}"), call(None, None, None, "1}")
    ),
    "no index, ids that change": tools(
        call(None, "a", "f", '{"x":'), call(None, "other", None, " 1}"), call(None, "b", "g", "{}")
    ),
    "ids that change, names repeated": tools(
        call(0, "a", "f", '{"x":'), call(0, "other", "f", " 1}"), call(1, "b", "g", "{}")
    ),
    "the names come late": tools(
        call(0, "a", None, ""), call(0, None, "f", ""), call(0, None, None, '{"x": 1}'), call(1, "b", "g", "")
    ),
    "a call repeated at the end": tools(
        call(0, "a", "f", '{"x": 1}'), call(1, "b", "g", "{}"), call(0, "a", "f", '{"x": 1}')
    ),
    "an empty tail at the end": tools(
        call(0, "a", "f", '{"x": 1}'),
        call(1, "b", "g", "{}"),
        call(0, None, None, ""),
        call(7, None, None, ""),
    ),
    "brackets and quotes in texts": tools(
        call(0, "a", "f", '{"x"'), call(0, None, None, ": 1}"), call(0, "b", "g", "{"), call(5, "", "", "}")
    ),
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


def test_calls_without_ids_and_with_the_same_index_are_separate_calls() -> None:
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
def test_an_invalid_index_is_ignored(index: Any) -> None:
    assert called(tools(call(index, "a", "f", '{"x":'), call(index, "a", None, "1}"))) == [("f", {"x": 1})]


def test_the_deprecated_function_call_field_is_read() -> None:
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
def test_an_invalid_function_call_field_is_ignored(odd: object) -> None:
    assert read(deltas({"content": "a"}, {"content": "b", "function_call": odd}), END) == [Text("ab"), STOP]


def test_a_call_in_tool_calls_and_function_call_is_one_call() -> None:
    function = {"name": "f", "arguments": "{}"}
    both = {"tool_calls": [{"index": 0, "id": "a", "function": function}], "function_call": function}
    assert called(deltas(both)) == [("f", {})]


def test_brackets_in_strings_do_not_end_a_call() -> None:
    first = call(0, "a", "f", '{"x": "}\\')
    more = call(0, None, None, '"]", "y": ')
    stream = tools(
        first, more, call(0, "b", "g", '{"z": "'), call(1, None, None, '{\\\\"'), call(1, None, None, "}")
    )
    assert called(tools(first, more, call(3, None, None, "[1]}"))) == [("f", {"x": '}"]', "y": [1]})]
    assert called(stream)[1] == ("g", {"z": "{\\"})


def test_two_calls_of_a_function_without_parameters_are_two() -> None:
    assert called(tools(call(0, "a", "f", ""), call(1, "b", "f", ""))) == [("f", {}), ("f", {})]
    assert called(tools(call(0, None, "f", ""), call(0, None, "g", ""))) == [("f", {}), ("g", {})]
    assert called(tools(call(None, "a", "f", ""), call(None, "b", "f", ""))) == [("f", {}), ("f", {})]


def test_a_stop_reason_in_the_middle_of_arguments_is_none() -> None:
    early = sse(chunk(reason="tool_calls"))
    stream = [tools(call(0, "a", "f", '{"x":')), early, tools(call(0, None, None, "1}")), early]
    for reads in (stream, [b"".join(stream)]):
        assert called(*reads) == [("f", {"x": 1})]
    assert failure(*stream[:2]).kind == "bad_stream"


def test_many_small_pieces_of_many_calls_are_assembled_quickly() -> None:
    pieces = PieceBuffer()
    tracker = ToolCallTracker(pieces)
    for number in range(20):
        tracker.add(number, f"id{number}", Function(f"f{number}", '{"x": "'))
    for _ in range(5_000):
        for number in range(20):
            tracker.add(number, None, Function(None, "{y"))
        pieces.take()
    assert tracker.is_unfinished
    for number in range(20):
        tracker.add(number, None, Function(None, '"}'))
    assert not tracker.is_unfinished
    assert len(tracker.take_finished()) == 20


def test_calls_with_the_same_id_are_separate_calls() -> None:
    chunks = read(tools(call(0, "same", "f", "{}"), call(1, "same", "g", "{}")), END)
    assert len({each.tool_call_id for each in chunks if isinstance(each, ToolCall)}) == 2


def test_arguments_that_are_not_json_stay_a_string() -> None:
    chunks = read(tools(call(0, "a", "f", '{"x": ')), sse(chunk(reason="length")), DONE)
    assert chunks[-2:] == [ToolCall("a", "f", '{"x": '), Finish("length")]


def test_the_finish_reason_stop_with_tool_calls_becomes_tool_calls() -> None:
    assert read(tools(call(0, "a", "f", "{}")), END)[-1] == Finish("tool_calls")
