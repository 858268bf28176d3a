"""Errors in chat-completions answers, and answers that are cut off or invalid."""

import json

import pytest

from parley_daemon.adapters.providers.openai_chat.parser import ChatParser
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import (
    Text,
)
from tests.support.providers.chat_parsing import CALL, DONE, END, KEY, batch, deltas, failure, sse
from tests.support.providers.script import chunk


def test_a_stream_without_end_mark_and_reason_is_bad_stream() -> None:
    failed = failure(deltas({"content": "a"}))
    assert (failed.kind, failed.retryable, failed.provider) == ("bad_stream", True, "local")
    assert failed.message == "local closed the stream before the answer was complete."


def test_an_empty_response_is_bad_stream() -> None:
    assert failure().kind == "bad_stream"
    assert failure(b"\n").kind == "bad_stream"


def test_a_response_that_is_not_a_stream_is_bad_stream_and_is_quoted() -> None:
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


def test_an_error_can_be_in_a_choice() -> None:
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


def test_insufficient_system_resource_is_a_retryable_overload() -> None:
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
def test_a_json_body_that_is_not_an_answer_is_an_error(body: bytes, kind: str) -> None:
    assert failure(body).kind == kind


def test_a_web_page_is_bad_stream_and_names_the_address() -> None:
    failed = failure(b"<!DOCTYPE html><html><head><title>Router login</title></head><body>Hi</body></html>")
    assert failed.kind == "bad_stream"
    assert failed.message == (
        "http://127.0.0.1:8080/v1/chat/completions answers with a web page; check base_url."
    )
    assert failed.detail == "Router login: Hi"


def test_an_event_or_answer_that_is_too_large_exceeds_the_limit_and_its_beginning_is_kept() -> None:
    event = deltas({"content": "x" * 2000})
    for data in (
        event,
        b'data:{"choices":\ndata: [{"delta":{"content":"' + b"x" * 2000,
        batch({"content": "x" * 2000}),
    ):
        answer = ResponseReader(CALL, ChatParser(CALL), max_bytes=1000)
        chunks = [
            each
            for at in range(0, len(data), 100)
            if not answer.error
            for each in answer.feed(data[at : at + 100])
        ]
        assert answer.error is not None
        assert answer.error.failure.kind == "limit"
        assert not answer.error.failure.retryable
        assert "too large" in answer.error.failure.message
        (text,) = chunks
        assert isinstance(text, Text)
        assert 800 < len(text.text) < 1100
        assert set(text.text) == {"x"}


def test_an_event_that_is_too_large_and_not_json_exceeds_the_limit_too() -> None:
    answer = ResponseReader(CALL, ChatParser(CALL), max_bytes=1000)
    assert answer.feed(b"data: " + b"x" * 2000) == []
    assert answer.error is not None
    assert answer.error.failure.kind == "limit"
