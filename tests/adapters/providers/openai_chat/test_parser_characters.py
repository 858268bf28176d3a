"""Invalid UTF-8, lone surrogates and NaN in chat-completions streams."""

from collections.abc import Mapping
from typing import Any

import pytest

from parley_daemon.core.parts import (
    Reasoning,
    Text,
    ToolCall,
)
from tests.support.providers.chat_parsing import END, deltas, failure, parts, read, sse
from tests.support.providers.script import chunk


def test_invalid_utf8_is_replaced() -> None:
    assert parts(b'data: {"choices":[{"delta":{"content":"a\xffb"}}]}\n\n', END) == (Text("a\ufffdb"),)


def test_nan_in_an_unused_field_is_ignored() -> None:
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


def test_a_lone_surrogate_is_replaced() -> None:
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
def test_a_lone_surrogate_in_another_field_does_not_change_the_answer(event: Mapping[str, Any]) -> None:
    chunks = read(deltas({"content": "Hello "}) + sse(event) + deltas({"content": "world"}), END)
    assert "".join([part.text for part in chunks if isinstance(part, Text)]) == "Hello world"
    assert repr(chunks).encode()
    assert "\\ud83d" not in repr(chunks)
    assert len(chunks) > 2


def test_a_lone_surrogate_in_a_name_or_id_continues_the_same_call() -> None:
    first = {"id": "a\ud83d", "function": {"name": "f\ud83d", "arguments": "{"}}
    more = {"id": "a\ud83d", "function": {"arguments": "}"}}
    assert parts(deltas({"tool_calls": [first]}, {"tool_calls": [more]}), END) == (
        ToolCall("a\ufffd", "f\ufffd", {}),
    )


def test_a_lone_surrogate_in_an_error_is_replaced() -> None:
    assert failure(sse({"error": {"message": "cut \ud83d", "code": 429}})).detail == "cut \ufffd"
