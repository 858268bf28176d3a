import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.adapters.providers.http.sse import EventTooLargeError, SseParser

Events = list[tuple[str | None, bytes]]


def read(*chunks: bytes, close: bool = True) -> Events:
    """Return the (name, data) of every event in a stream that came in these reads."""
    parser = SseParser()
    events: Events = []
    for received in [*map(parser.feed, chunks), *([parser.close()] if close else [])]:
        events += [(received.names.get(at), data) for at, data in enumerate(received.data)]
    return events


def check(stream: bytes, *expected: bytes) -> None:
    """Assert what a stream holds, whole, cut in two at every place, and byte by byte."""
    events = [(None, data) for data in expected]
    assert read(stream) == events
    for at in range(len(stream) + 1):
        assert read(stream[:at], stream[at:]) == events, stream[:at]
    assert read(*[stream[at : at + 1] for at in range(len(stream))]) == events


def test_events_of_one_data_line_each() -> None:
    check(b'data: {"a":1}\n\ndata: {"b":2}\n\n', b'{"a":1}', b'{"b":2}')


def test_the_space_after_the_colon_is_optional() -> None:
    check(b"data:one\n\ndata:two\n\n", b"one", b"two")


def test_only_one_space_after_the_colon_is_taken_off() -> None:
    check(b"data:  one\n\ndata: two\n\n", b" one", b"two")


def test_streams_may_mix_data_with_and_without_the_space() -> None:
    check(b"data:one\n\ndata: two\n\ndata:three\n\n", b"one", b"two", b"three")
    check(b"data: one\n\ndata:two\n\n", b"one", b"two")


def test_lines_may_end_in_crlf() -> None:
    check(b"data: one\r\n\r\ndata: two\r\n\r\n", b"one", b"two")


def test_lines_may_end_in_cr() -> None:
    check(b"data: one\r\rdata: two\r\r", b"one", b"two")


def test_line_ends_may_be_mixed() -> None:
    check(b"data: one\r\n\ndata: two\n\rdata: three\r\r\n", b"one", b"two", b"three")


def test_several_data_lines_are_joined_by_line_feeds() -> None:
    check(b"data: one\ndata:two\ndata\n\ndata: three\n\n", b"one\ntwo\n", b"three")


def test_an_empty_data_line_is_an_event_and_a_blank_line_alone_is_none() -> None:
    check(b"\n\ndata:\n\n\n\ndata: one\n\n", b"", b"one")


def test_a_last_event_without_its_blank_line_is_flushed_by_close() -> None:
    check(b"data: one\n\ndata: two\n", b"one", b"two")


def test_a_last_line_without_its_line_end_is_flushed_by_close() -> None:
    check(b"data: one\n\ndata: two", b"one", b"two")


def test_a_byte_order_mark_is_dropped_at_the_start_only() -> None:
    check(
        b"\xef\xbb\xbfdata: one\n\n\xef\xbb\xbfdata: two\n\ndata: \xef\xbb\xbf\n\n", b"one", b"\xef\xbb\xbf"
    )


def test_other_fields_are_ignored() -> None:
    check(b"id: 7\nretry: 10\ndatum: no\ndata : no\nnonsense\ndata: one\n\n", b"one")


def test_characters_survive_any_split() -> None:
    text = "Grüße, 世界 🌍\u2028"
    check(f"data: {text}\n\n".encode(), text.encode())


def test_unicode_line_separators_end_no_line() -> None:
    data = "a\u2028b\u0085c\x0bd\x0ce\x1cf".encode()
    check(b"data: " + data + b"\n\n", data)


def test_an_event_may_have_a_name_and_the_next_one_has_none() -> None:
    stream = b"event: error\ndata: one\n\ndata: two\n\nevent: gone\n\ndata: three\n\n"
    expected: Events = [("error", b"one"), (None, b"two"), (None, b"three")]
    for at in range(len(stream) + 1):
        assert read(stream[:at], stream[at:]) == expected


def test_comments_are_counted_as_signs_of_life() -> None:
    received = SseParser().feed(b": one\n\n:two\n\ndata: three\n\n")
    assert (received.comments, received.data) == (2, [b"three"])


def test_an_event_is_returned_by_the_read_that_completes_it() -> None:
    parser = SseParser()
    assert parser.feed(b"data: one").data == []
    assert parser.feed(b"\n").data == []
    assert parser.feed(b"\ndata: two\n\ndata: th").data == [b"one", b"two"]
    assert parser.feed(b"ree\n\n").data == [b"three"]


@pytest.mark.parametrize("stream", [b"data: %b", b"data: %b\n\n", b"data:\ndata: %b\n", b": %b"])
def test_an_event_beyond_the_limit_is_an_error_in_any_reads(stream: bytes) -> None:
    data = stream % (b"x" * 2000)
    for size in (1, 7, 999, 5000):
        parser = SseParser(max_event_bytes=1000)
        with pytest.raises(EventTooLargeError, match="larger than 1,000 bytes"):
            for at in range(0, len(data), size):
                parser.feed(data[at : at + size])


def test_many_events_below_the_limit_are_no_error_together() -> None:
    assert len(SseParser(max_event_bytes=100).feed(b"data: x\n\n" * 1000).data) == 1000


def test_the_work_for_a_huge_event_is_linear_in_its_size() -> None:
    """16 MiB in 1 KiB reads: copied once for every read, this would be 130 GB and never end."""
    parser = SseParser(max_event_bytes=32 << 20)
    parser.feed(b"data: ")
    for _ in range(16 << 10):
        parser.feed(b"x" * 1024)
    assert len(parser.feed(b"\n\n").data[0]) == 16 << 20


PIECES = st.sampled_from(
    [
        b"data: ", b"data:", b"data", b"event: ", b"event: e", b"event:e", b":", b" ", b"\n", b"\r", b"\r\n",
        b"\n\n", b"x", b'{"a":1}', b"event: e\ndata: ", b"event: e\ndata: x\n\n", b"data: x\n\n",
        b"data: x\r\n\r\n",
    ]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(PIECES, max_size=30).map(b"".join), st.lists(st.integers(0, 200), max_size=5))
def test_cutting_a_stream_into_reads_changes_nothing(stream: bytes, cuts: list[int]) -> None:
    borders = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(borders)]
    assert read(*chunks) == read(*[bytes([byte]) for byte in stream])


@settings(deadline=None)
@given(st.lists(st.text()), st.sampled_from([b"\n", b"\r", b"\r\n"]), st.integers(1, 50))
def test_what_is_sent_is_received_whatever_the_line_end(texts: list[str], end: bytes, size: int) -> None:
    payloads = [json.dumps(text, ensure_ascii=False).encode("utf-8", "replace") for text in texts]
    stream = b"".join([b"data: " + payload + end * 2 for payload in payloads])
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert read(*chunks) == [(None, payload) for payload in payloads]


NAMES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=5)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, st.text())), st.sampled_from([b"\n", b"\r", b"\r\n"]), st.integers(1, 99))
def test_named_events_are_received_as_they_are_sent(
    events: list[tuple[str, str]], end: bytes, size: int
) -> None:
    sent: Events = [(name or None, json.dumps(text).encode()) for name, text in events]
    stream = b"".join(
        [b"event: " + (name or "").encode() + end + b"data: " + data + end * 2 for name, data in sent]
    )
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert read(*chunks) == sent
    assert read(stream) == sent


@pytest.mark.parametrize(
    "stream",
    [
        b"event: a\ndata: 1\ndata: 2\n\nevent: b\n\n",  # as many line ends as two events have
        b"event: a\n\n\nevent: b\ndata: 1\n\n",
        b"event: a\nid: 1\ndata: 2\n\nevent: b\n\n",
        b"event: a\n: ping\n\nevent: b\ndata: 1\n\n",
        b"event: a\ndata:1\n\nevent: b\ndata: 2\n\n",
        b"event: a\ndata: 1\n\nevent:b\ndata: 2\n\n",
        b"event: a\ndata: 1\n\ndata: 2\n\nevent: c\ndata: 3\n\n",
        b"event: \xff\ndata: 1\n\nevent:  b\ndata:  2\n\n",
        b"data: 1\r\n\r\ndata: 2\rdata: 3\r\n\r\n",
        b"data: 1\r\n\r\ndata: 2\n\ndata: 3\r\n\r\n",
        b"data: 1\r\n\r\ndata: 2\r\ndata: 3\r\n\r\n",
        b"data: 1\r\n\r\n: ping\r\n\r\ndata: 3\r\n\r\n",
        b"data: 1\n\ndata: 2\r\n\r\n\n",
    ],
)
def test_streams_that_look_uniform_are_read_by_the_same_rules(stream: bytes) -> None:
    assert read(stream) == read(*[bytes([byte]) for byte in stream])
