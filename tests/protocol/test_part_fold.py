"""The fold of streamed pieces: however a part was cut, the same part comes out."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_protocol.fold import FoldError, PartsFold, fold_part, plain_text, whole_parts

Json = dict[str, Any]
Stream = list[tuple[int, Json]]


def folded(stream: Stream) -> list[Json]:
    """Fold piece by piece."""
    parts: list[Json] = []
    for index, part in stream:
        fold_part(parts, index, part)
    return parts


CALL = {"type": "tool-call", "toolCallId": "c1", "toolName": "read"}
RESULT = {"type": "tool-result", "toolCallId": "c1", "toolName": "read"}
WHOLE_RESULT = {**RESULT, "result": "ab", "isError": False, "outcome": "ok"}


def test_text_is_appended_and_later_titles_and_signatures_stand() -> None:
    stream: Stream = [
        (0, {"type": "reasoning", "text": "One ", "title": "Thinking"}),
        (0, {"type": "reasoning", "text": "two"}),
        (0, {"type": "reasoning", "text": "", "signature": "sig"}),
        (1, {"type": "text", "text": "Hel"}),
        (1, {"type": "text", "text": "lo"}),
    ]
    assert folded(stream) == [
        {"type": "reasoning", "text": "One two", "title": "Thinking", "signature": "sig"},
        {"type": "text", "text": "Hello"},
    ]


def test_arguments_accumulate_until_the_whole_call_replaces_them() -> None:
    stream: Stream = [(0, {**CALL, "argsDelta": '{"a"'}), (0, {**CALL, "argsDelta": ":1}"})]
    assert folded(stream) == [{**CALL, "argsDelta": '{"a":1}'}]
    assert folded([*stream, (0, {**CALL, "args": {"a": 1}})]) == [{**CALL, "args": {"a": 1}}]


def test_a_call_without_arguments_is_whole_when_they_are_null() -> None:
    assert folded([(0, {**CALL, "argsDelta": ""}), (0, {**CALL, "args": None})]) == [{**CALL, "args": None}]


def test_a_result_accumulates_until_the_whole_one_replaces_it() -> None:
    stream: Stream = [(0, {**RESULT, "resultDelta": "a"}), (0, {**RESULT, "resultDelta": "b"})]
    assert folded(stream) == [{**RESULT, "resultDelta": "ab"}]
    assert folded([*stream, (0, WHOLE_RESULT)]) == [WHOLE_RESULT]


def test_two_calls_at_once_keep_their_own_pieces() -> None:
    other = {**CALL, "toolCallId": "c2"}
    stream: Stream = [
        (0, {**CALL, "argsDelta": "1"}),
        (1, {**other, "argsDelta": "2"}),
        (0, {**CALL, "argsDelta": "1"}),
        (1, {**other, "argsDelta": "2"}),
    ]
    assert [part["argsDelta"] for part in folded(stream)] == ["11", "22"]


def test_folding_does_not_change_the_pieces() -> None:
    pieces: Stream = [(0, {"type": "text", "text": "a"}), (0, {"type": "text", "text": "b"})]
    before = json.dumps(pieces)
    folded(pieces)
    fold = PartsFold([{"type": "text", "text": "x"}])
    for index, part in pieces:
        fold.add(index, part)
    assert json.dumps(pieces) == before
    assert fold.parts == [{"type": "text", "text": "xab"}]


BAD_STREAMS: list[Stream] = [
    [(1, {"type": "text", "text": "a"})],
    [(-1, {"type": "text", "text": "a"})],
    [(0, {"type": "text", "text": "a"}), (2, {"type": "text", "text": "b"})],
    [(0, {"type": "text", "text": "a"}), (0, {"type": "reasoning", "text": "b"})],
    [(0, {**CALL, "args": {}}), (0, {**CALL, "argsDelta": "{"})],
    [(0, WHOLE_RESULT), (0, {**RESULT, "resultDelta": "x"})],
]


@pytest.mark.parametrize("stream", BAD_STREAMS)
def test_pieces_that_do_not_fit_are_refused(stream: Stream) -> None:
    with pytest.raises(FoldError):
        folded(stream)
    fold = PartsFold()
    with pytest.raises(FoldError):
        for index, part in stream:
            fold.add(index, part)


def test_what_was_cut_short_is_left_out_of_the_whole_parts() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {**CALL, "argsDelta": "{"},
        {**RESULT, "resultDelta": "x"},
        WHOLE_RESULT,
    ]
    assert whole_parts(parts) == [parts[0], WHOLE_RESULT]


def test_plain_text_is_the_text_parts_alone() -> None:
    parts = [
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]
    assert plain_text(parts) == "ab"


# What a part may be, and the pieces that it was cut into.
TEXTS = st.text(max_size=12)


@st.composite
def cut_parts(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    """Return a part, and pieces that fold to it."""
    kind = draw(st.sampled_from(["text", "reasoning", "tool-call", "tool-result", "source"]))
    texts = draw(st.lists(TEXTS, min_size=1, max_size=6))
    whole = "".join(texts)
    match kind:
        case "text":
            return {"type": kind, "text": whole}, [{"type": kind, "text": text} for text in texts]
        case "reasoning":
            pieces: list[Json] = [{"type": kind, "text": text} for text in texts]
            pieces[draw(st.integers(0, len(pieces) - 1))]["signature"] = "sig"
            return {"type": kind, "text": whole, "signature": "sig"}, pieces
        case "tool-call":
            call = {**CALL, "args": {"text": whole}}
            return call, [*[{**CALL, "argsDelta": text} for text in texts], call]
        case "tool-result":
            result = {**WHOLE_RESULT, "result": whole}
            return result, [*[{**RESULT, "resultDelta": text} for text in texts], result]
        case _:
            source = {"type": "source", "sourceId": whole, "url": "u", "title": "t"}
            return source, [source]


@settings(deadline=None)
@given(cuts=st.lists(cut_parts(), max_size=6), data=st.data())
def test_however_parts_are_cut_and_interleaved_they_fold_to_the_same(
    cuts: list[tuple[Json, list[Json]]], data: st.DataObject
) -> None:
    left = [[(index, part) for part in pieces] for index, (_, pieces) in enumerate(cuts)]
    stream: Stream = []
    opened = 0
    while any(left):
        # A part opens only after the one before it; opened ones go on in any order.
        ready = [at for at, rest in enumerate(left) if rest and at <= opened]
        at = data.draw(st.sampled_from(ready))
        opened = max(opened, at + 1)
        stream.append(left[at].pop(0))
    wanted = [whole for whole, _ in cuts]
    fold = PartsFold()
    for index, part in stream:
        fold.add(index, part)
        if data.draw(st.booleans()):
            assert len(fold.parts) == index + 1 or index < len(fold.parts)
    assert folded(stream) == wanted
    assert fold.parts == wanted
    assert whole_parts(fold.parts) == wanted


@settings(deadline=None)
@given(pieces=st.lists(TEXTS, min_size=1, max_size=12), data=st.data())
def test_merging_neighbouring_pieces_changes_nothing(pieces: list[str], data: st.DataObject) -> None:
    merged = [pieces[0]]
    for text in pieces[1:]:
        if data.draw(st.booleans()):
            merged[-1] += text
        else:
            merged.append(text)
    for growing, head in (("text", {"type": "text"}), ("argsDelta", CALL), ("resultDelta", RESULT)):
        fold = PartsFold()
        for text in merged:
            fold.add(0, {**head, growing: text})
        assert fold.parts == folded([(0, {**head, growing: text}) for text in pieces])


def test_a_long_answer_in_small_pieces_takes_time_in_proportion_to_its_length() -> None:
    # Copying all of the text at each piece would move 100 GB here: the time limit would end it.
    fold = PartsFold()
    for _ in range(1_000_000):
        fold.add(0, {"type": "text", "text": "é"})
    assert len(fold.parts[0]["text"]) == 1_000_000
