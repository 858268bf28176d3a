"""Long strings of JSON are shortened while they are read, and the JSON stays valid."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.adapters.mcp.host.transports import lines
from parley_daemon.adapters.mcp.host.transports.lines import LineReader, find_id
from parley_daemon.adapters.mcp.host.transports.shortening import HEAD, TAIL, StringShortener, mark

PIECES = ["x", '"', "\\", "\n", "中", "😀", "é", "\\u", 'a"b', "[", "{"]


def shorten(data: bytes, piece: int) -> bytes:
    shortener = StringShortener()
    parts = [shortener.feed(data[start : start + piece]) for start in range(0, len(data), piece)]
    return b"".join([*parts, shortener.feed(b"\n")])


@given(
    short=st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
    unit=st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join),
    is_ascii=st.booleans(),
    piece=st.integers(1000, 100_000),
)
def test_short_strings_stay_and_long_ones_lose_their_middle(
    short: str, unit: str, is_ascii: bool, piece: int
) -> None:
    long = unit * ((HEAD + TAIL) // len(unit) + 100)
    data = json.dumps({"a": short, "b": [long, 7], "c": short}, ensure_ascii=is_ascii).encode()
    read = json.loads(shorten(data, piece))
    assert (read["a"], read["b"][1], read["c"]) == (short, 7, short)
    kept = read["b"][0].encode()
    assert b"bytes are not shown here]" in kept
    assert len(kept) <= HEAD + TAIL + len(mark(10**9))


@settings(max_examples=25)
@given(
    values=st.lists(st.text(max_size=20) | st.integers(), max_size=5),
    piece=st.integers(1, 20),
)
def test_what_has_no_long_strings_is_passed_on_byte_by_byte(values: list[object], piece: int) -> None:
    data = json.dumps(values).encode()
    assert shorten(data, piece) == data + b"\n"


def test_a_line_feed_ends_a_string_that_has_no_end() -> None:
    assert (
        shorten(b': a comment with one "\ndata: {"a": "b"}', 5)
        == b': a comment with one "\ndata: {"a": "b"}\n'
    )


def test_a_long_line_is_shortened_and_one_that_is_still_too_long_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = 1024 * 1024
    monkeypatch.setattr(lines, "MAX_LINE", limit)
    reader = LineReader()
    text = b'{"jsonrpc": "2.0", "id": 12, "result": "' + b"y" * (limit + 1) + b'"}\n'
    (line,) = reader.feed(text)
    assert len(json.loads(line)["result"]) < HEAD + TAIL + 100
    start, end = b'{"jsonrpc": "2.0", "id": 13, "result": [', b'"z"]}\n{"next": 1}\n'
    assert reader.feed(start + b'"z",' * (limit // 4) + end) == [b'{"next": 1}']
    (dropped,) = reader.dropped
    assert find_id(*dropped) == 13
    assert lines.find_id(b'{"result":{"content":[', b'"z"]},"jsonrpc":"2.0","id":"a7"}') == "a7"
    assert lines.find_id(b'{"method":"x","params":{"id":3,', b"}}") is None
