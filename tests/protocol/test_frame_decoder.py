"""Framing: any cut of the stream gives the same bodies, tolerated forms pass, everything else is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_protocol.framing import MAX_BODY, FrameDecoder, FrameError, encode_frame

STREAM = (
    encode_frame(b'{"id":1}')
    + b'content-length:10\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{"a":"\xc3\xa9"}'
    + b"CONTENT-LENGTH:   2 \n\n[]"
    + encode_frame(b"")
    + b"X-Trace: 7\r\nContent-Length: 03\r\ncontent-length: 3\r\n\r\nabc"
)
BODIES = [b'{"id":1}', b'{"a":"\xc3\xa9"}', b"[]", b"", b"abc"]


def test_each_tolerated_form_of_a_header_is_read() -> None:
    assert FrameDecoder().feed(STREAM) == BODIES


def test_a_stream_cut_anywhere_gives_the_same_bodies() -> None:
    for cut in range(len(STREAM) + 1):
        decoder = FrameDecoder()
        assert decoder.feed(STREAM[:cut]) + decoder.feed(STREAM[cut:]) == BODIES, cut
        assert not decoder.is_mid_frame, cut


def test_a_stream_fed_byte_by_byte_gives_the_same_bodies() -> None:
    decoder = FrameDecoder()
    assert [body for at in range(len(STREAM)) for body in decoder.feed(STREAM[at : at + 1])] == BODIES


HEADERS = st.sampled_from(
    [
        b"Content-Length: %d\r\n\r\n",
        b"content-length:%d\r\n\r\n",
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n",
        b"Content-Length: %d\nX: y\n\n",
        b"CONTENT-LENGTH:\t%d \r\n\n",
    ]
)


@settings(deadline=None)
@given(
    frames=st.lists(st.tuples(HEADERS, st.binary(max_size=300)), max_size=8),
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=30),
)
def test_any_frames_in_any_chunks_come_out_whole_and_in_order(
    frames: list[tuple[bytes, bytes]], sizes: list[int]
) -> None:
    stream = b"".join([header % len(body) + body for header, body in frames])
    decoder, found, at, turn = FrameDecoder(), list[bytes](), 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == [body for _, body in frames]
    assert not decoder.is_mid_frame


@settings(deadline=None)
@given(chunks=st.lists(st.binary(max_size=60), max_size=10))
def test_arbitrary_bytes_give_bodies_or_a_frame_error_and_nothing_else(chunks: list[bytes]) -> None:
    decoder = FrameDecoder(max_header=100, max_body=100)
    for chunk in chunks:
        try:
            decoder.feed(chunk)
        except FrameError as error:
            with pytest.raises(FrameError):
                decoder.feed(b"")
            assert str(error)
            return


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"GET / HTTP/1.1\r\n", "Not a header line: 'GET / HTTP/1.1'."),
        (b'{"jsonrpc":"2.0"}\r\n', "Not a header line"),
        (b"Content-Length : 5\r\n", "Not a header line"),
        (b": 5\r\n", "Not a header line"),
        (b"\x16\x03\x01:\n", r"Not a header line: '\\x16\\x03\\x01:'"),
        (b"Content-Length: -5\r\n\r\n", "not a number of bytes: '-5'"),
        (b"Content-Length: +5\r\n\r\n", "not a number of bytes"),
        (b"Content-Length: 5.0\r\n\r\n", "not a number of bytes"),
        (b"Content-Length: \xd9\xa5\r\n\r\n", "not a number of bytes"),
        (b"Content-Length:\r\n\r\n", "not a number of bytes: ''"),
        (
            b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "Two different values of Content-Length: 5 and 6.",
        ),
        (b"Content-Type: application/json\r\n\r\n{}", "no Content-Length"),
        (b"\r\n", "no Content-Length"),
    ],
)
def test_what_is_no_header_is_refused_and_said_plainly(header: bytes, told: str) -> None:
    for pieces in ([header], [header[at : at + 1] for at in range(len(header))]):
        decoder = FrameDecoder()
        with pytest.raises(FrameError) as caught:
            for data in pieces:
                decoder.feed(data)
        assert told.replace(r"\\", "\\") in str(caught.value)


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "99999999999", "9" * 5000])
def test_a_body_past_the_limit_is_refused_from_its_header_alone(length: str) -> None:
    with pytest.raises(FrameError, match=f"longer than {MAX_BODY} bytes"):
        FrameDecoder().feed(b"Content-Length: %b\r\n" % length.encode())


def test_a_body_of_exactly_the_limit_passes() -> None:
    decoder = FrameDecoder(max_body=5)
    assert decoder.feed(encode_frame(b"12345")) == [b"12345"]
    with pytest.raises(FrameError):
        decoder.feed(encode_frame(b"123456"))


def test_a_header_past_the_limit_is_refused_before_it_ends() -> None:
    decoder = FrameDecoder(max_header=64)
    decoder.feed(b"X: " + b"a" * 61)
    with pytest.raises(FrameError, match="longer than 64 bytes"):
        decoder.feed(b"a")


def test_many_short_header_lines_are_limited_together() -> None:
    with pytest.raises(FrameError, match="longer than 64 bytes"):
        FrameDecoder(max_header=64).feed(b"X: 1\r\n" * 11)


def test_a_header_of_exactly_the_limit_passes() -> None:
    header = b"Content-Length: 2\r\nX: " + b"a" * 38 + b"\r\n\r\n"
    assert FrameDecoder(max_header=len(header)).feed(header + b"{}") == [b"{}"]


def test_bodies_before_garbage_in_the_same_read_are_not_lost() -> None:
    decoder = FrameDecoder()
    with pytest.raises(FrameError) as caught:
        decoder.feed(encode_frame(b"1") + encode_frame(b"2") + b"garbage\n" + encode_frame(b"3"))
    assert caught.value.bodies == [b"1", b"2"]
    with pytest.raises(FrameError) as again:
        decoder.feed(encode_frame(b"4"))
    assert str(again.value) == str(caught.value)
    assert again.value.bodies == []


def test_a_cut_frame_is_known_at_the_end_of_the_stream() -> None:
    for cut, is_mid_frame in (
        (0, False),
        (1, True),
        (18, True),
        (22, True),
        (len(encode_frame(b"{}")), False),
    ):
        decoder = FrameDecoder()
        decoder.feed(encode_frame(b"{}")[:cut])
        assert decoder.is_mid_frame is is_mid_frame


def test_a_large_body_in_small_reads_takes_time_in_proportion_to_its_size() -> None:
    # A decoder that copies what it holds at each read needs minutes for this: the time limit ends it.
    body = bytes(512 * 1024)
    stream = memoryview(encode_frame(body))
    decoder = FrameDecoder()
    found = [whole for at in range(len(stream)) for whole in decoder.feed(bytes(stream[at : at + 1]))]
    assert found == [body]


def test_many_frames_in_one_read_take_time_in_proportion_to_their_number() -> None:
    assert len(FrameDecoder().feed(encode_frame(b"{}") * 200_000)) == 200_000
