"""Reasoning in chat-completions answers: fields, details, content lists and think tags."""

import pytest

from parley_daemon.core.parts import (
    Reasoning,
    Text,
)
from tests.support.providers.chat_parsing import END, batch, deltas, parts


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_comes_in_a_string_field(field: str) -> None:
    stream = deltas({"content": None, field: "Let me "}, {"content": "", field: "see."}, {"content": "Yes."})
    assert parts(stream, END) == (Reasoning("Let me see."), Text("Yes."))


def test_reasoning_in_two_fields_of_one_delta_is_read_once() -> None:
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


def test_a_closing_think_tag_without_an_opening_one_is_removed_from_the_answer() -> None:
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
