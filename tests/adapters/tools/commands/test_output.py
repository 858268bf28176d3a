"""Head and tail of an output, its file, and what is streamed of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.adapters.tools.commands.cleaning import OutputCleaner
from parley_daemon.adapters.tools.commands.output import FILE_BYTES, LIVE_BYTES, Output, find_limit, read_file

LIMIT = 1000


def test_the_limit_follows_the_context_of_the_model() -> None:
    assert [find_limit(tokens) for tokens in (None, 200_000, 24_000, 1000)] == [65536, 65536, 32000, 16384]


async def stream(output: Output, pieces: list[bytes]) -> tuple[str, str, str]:
    """Return what is streamed of the pieces, and the head and the tail of the result."""
    streamed = ""
    for piece in pieces:
        await output.add(piece)
        streamed += output.take_live()
    await output.add(b"", is_last=True)
    excerpt = output.excerpt()
    return streamed + output.take_last(excerpt), excerpt.head, excerpt.tail


@pytest.mark.parametrize("size", [0, 1, LIMIT, LIMIT + 1, 5 * LIMIT, LIVE_BYTES + 500, LIVE_BYTES * 3])
async def test_the_streamed_text_begins_with_the_head_and_ends_with_the_tail(
    size: int, tmp_path: Path
) -> None:
    text = "".join([f"line {number} é\n" for number in range(size // 10 + 1)])[:size]
    data = text.encode("utf-8")
    output = Output(LIMIT, tmp_path / "chat/id.txt", is_file_needed=False)
    streamed, head, tail = await stream(output, [data[at : at + 777] for at in range(0, len(data), 777)])
    assert streamed.startswith(head)
    assert streamed.endswith(tail)
    assert text.startswith(head)
    assert text.endswith(tail)
    omitted = output.excerpt().omitted
    assert len(head.encode()) + len(tail.encode()) + omitted == len(data)
    assert (omitted == 0) == (len(data) <= LIMIT)
    if omitted:
        assert (tmp_path / "chat/id.txt").read_bytes() == data


async def test_a_file_has_the_beginning_of_what_is_too_long_for_it(tmp_path: Path) -> None:
    path = tmp_path / "chat/id.txt"
    output = Output(LIMIT, path, is_file_needed=True)
    for _ in range(FILE_BYTES // 2**20 + 2):
        await output.add(b"x" * (2**20 - 1) + b"\n")
    assert path.stat().st_size == FILE_BYTES
    text, end, size = read_file(path, FILE_BYTES - 4, 100)
    assert (text, end, size) == ("xxx\n", FILE_BYTES, FILE_BYTES)


def test_a_file_is_read_in_whole_characters(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("aéb", "utf-8")
    assert read_file(path, 0, 2) == ("a", 1, 4)
    assert read_file(path, 1, 100) == ("éb", 4, 4)


@given(st.binary(max_size=200), st.integers(1, 7))
def test_output_is_the_same_however_it_is_cut_and_has_no_controls(data: bytes, size: int) -> None:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    cut, whole = OutputCleaner(), OutputCleaner()
    text = "".join([*map(cut.clean, pieces), cut.clean(b"", is_last=True)])
    assert text == whole.clean(data, is_last=True)
    assert all(sign in "\n\t" or sign.isprintable() or ord(sign) > 0x9F for sign in text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
        (b"10%\r20%\r\ndone", "10%\n20%\ndone"),
        (b"\xff a\x00b\x7f", "\ufffd ab"),
        ("a\u202eb".encode(), "ab"),
        (b"\x1b(Bx\x1b=y", "xy"),
    ],
)
def test_what_would_steer_a_terminal_is_removed(data: bytes, text: str) -> None:
    assert OutputCleaner().clean(data, is_last=True) == text
