"""Pieces become parts: their indexes, what they fold to, and what a preview shows in between."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.core.parts import (
    Assembler,
    Part,
    Piece,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallPiece,
    fold,
    join,
    merge,
    plain_text,
)
from parley_protocol.fold import PartsFold, whole_parts
from tests.support.engine.strategies import pieces

SOURCE = Source("1", "https://example.org", "Example")


def indexes(*streamed: Piece) -> list[int]:
    assembler = Assembler()
    return [assembler.add(piece) for piece in streamed]


def test_text_after_text_goes_to_the_same_part() -> None:
    assert indexes(Text("a"), Text("b"), Reasoning("c"), Reasoning("d"), Text("e")) == [0, 0, 1, 1, 2]


def test_whole_pieces_are_parts_of_their_own() -> None:
    assert indexes(SOURCE, SOURCE, Text("a"), SOURCE) == [0, 1, 2, 3]


def test_a_calls_pieces_go_to_their_own_part_whatever_comes_between() -> None:
    one, other = ToolCallPiece("1", "run", "{"), ToolCallPiece("2", "run", "{")
    end, other_end = ToolCall("1", "run", {}), ToolCall("2", "run", [])
    streamed = [Text("a"), one, other, one, Text("b"), end, other_end]
    assert indexes(*streamed) == [0, 1, 2, 1, 3, 1, 2]
    assert fold(streamed) == (Text("a"), end, other_end, Text("b"))


def test_a_finished_call_is_not_changed_by_another_one_with_its_id() -> None:
    first, second = ToolCall("1", "run", {"n": 1}), ToolCall("1", "run", {"n": 2})
    assert indexes(first, second) == [0, 1]
    assert indexes(first, ToolCallPiece("1", "run", "{"), second) == [0, 1, 1]
    assert fold([first, second]) == (first, second)


def test_a_call_that_was_cut_short_is_left_out() -> None:
    assert fold([Text("a"), ToolCallPiece("1", "run", '{"pa'), SOURCE]) == (Text("a"), SOURCE)


def test_the_last_title_of_a_thought_stands() -> None:
    assert fold([Reasoning("a", "T1"), Reasoning("b"), Reasoning("", "T2")]) == (Reasoning("ab", "T2"),)


def test_a_signature_ends_a_thought() -> None:
    thoughts = [Reasoning("a"), Reasoning("b", None, "s1"), Reasoning("c"), Reasoning("", None, "s2")]
    assert fold(thoughts) == (Reasoning("ab", None, "s1"), Reasoning("c", None, "s2"))


def test_nothing_folds_to_nothing() -> None:
    assert fold([]) == ()
    assert Assembler().pieces() == ()
    assert len(Assembler()) == 0


def test_plain_text_is_the_text_parts_joined() -> None:
    assert plain_text([Text("a"), Reasoning("no"), Text("b"), SOURCE]) == "ab"


UNMERGED: list[tuple[Piece, Piece]] = [
    (Text("a"), Reasoning("b")),
    (ToolCallPiece("1", "run", "a"), ToolCallPiece("2", "run", "b")),
    (ToolCallPiece("1", "run", "a"), ToolCall("1", "run", {})),
    (SOURCE, SOURCE),
]


@pytest.mark.parametrize(("first", "second"), UNMERGED)
def test_pieces_of_different_parts_do_not_merge(first: Piece, second: Piece) -> None:
    assert merge(first, second) is None


def test_whole_pieces_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="Source"):
        join([SOURCE, SOURCE])


@given(st.lists(pieces, max_size=30))
def test_joining_is_merging_one_after_the_other(streamed: list[Piece]) -> None:
    for start in range(len(streamed)):
        merged: Piece | None = streamed[start]
        for end in range(start + 1, len(streamed)):
            assert merged is not None
            merged = merge(merged, streamed[end])
            if merged is None:
                break
            assert join(streamed[start : end + 1]) == merged


def shown(parts: Sequence[Part | Piece]) -> list[Any]:
    return [msgspec.to_builtins(part) for part in parts]


@given(st.lists(pieces, max_size=30))
def test_a_client_that_folds_what_was_streamed_has_the_message(streamed: list[Piece]) -> None:
    assembler, client = Assembler(), PartsFold()
    for piece in streamed:
        client.add(assembler.add(piece), msgspec.to_builtins(piece))
    assert whole_parts(client.parts) == shown(assembler.parts()) == shown(fold(streamed))


@given(st.lists(pieces, max_size=30), st.data())
def test_a_preview_at_any_moment_and_the_rest_make_the_message(
    streamed: list[Piece], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(streamed)))
    assembler = Assembler()
    for piece in streamed[:cut]:
        assembler.add(piece)
    preview = assembler.pieces()
    assert [index for index, _ in preview] == list(range(len(assembler)))
    client = PartsFold(shown([piece for _, piece in preview]))
    for piece in streamed[cut:]:
        client.add(assembler.add(piece), msgspec.to_builtins(piece))
    assert whole_parts(client.parts) == shown(assembler.parts()) == shown(fold(streamed))


@given(st.lists(pieces, max_size=20))
def test_looking_at_a_message_in_progress_does_not_change_it(streamed: list[Piece]) -> None:
    looked_at, left_alone = Assembler(), Assembler()
    for piece in streamed:
        assert looked_at.add(piece) == left_alone.add(piece)
        assert looked_at.pieces() == looked_at.pieces()
        looked_at.parts()
    assert looked_at.parts() == left_alone.parts()
