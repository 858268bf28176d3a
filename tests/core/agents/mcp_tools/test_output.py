"""What servers return stays within its limits, and says what is left out."""

from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.core.agents.mcp_tools.output import (
    MAX_FILES,
    MAX_TEXT,
    MIN_TEXT,
    clean_text,
    cut_text,
    find_text_limit,
    limit_content,
)


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def file(size: int) -> dict[str, str]:
    return {"type": "file", "mediaType": "image/png", "data": "A" * size}


def test_the_limit_is_a_third_of_the_context_within_bounds() -> None:
    assert [find_text_limit(limit) for limit in (None, 100, 30_000, 10**6)] == [
        MAX_TEXT, MIN_TEXT, 40_000, MAX_TEXT,
    ]  # fmt: skip


def test_head_and_tail_of_a_long_text_are_kept() -> None:
    cut = cut_text("begin\n" + "é" * 10**6 + "\nend", 1_000)
    assert cut.startswith("begin\n")
    assert cut.endswith("\nend")
    assert "bytes left out" in cut
    assert len(cut.encode()) < 1_100


def test_ten_thousand_texts_become_one() -> None:
    limited = limit_content([text(f"item {number}") for number in range(10_000)], MIN_TEXT)
    assert isinstance(limited, str)
    assert limited.startswith("item 0\nitem 1\n")
    assert limited.endswith("item 9999")
    assert len(limited.encode()) < MIN_TEXT + 100


def test_files_that_are_too_large_are_left_out_and_the_others_stay() -> None:
    limited = limit_content([text("a"), file(50 * 2**20), file(8), text("b")], MIN_TEXT)
    assert limited == [text("a"), file(8), text("b\n[1 files are left out: they are too large.]")]
    assert limit_content([file(MAX_FILES + 4)], MIN_TEXT) == "[1 files are left out: they are too large.]"


def test_what_is_no_content_is_left_out() -> None:
    assert limit_content([{"type": "video"}, text("a"), {"type": "text"}], MIN_TEXT) == "a"
    assert limit_content([], MIN_TEXT) == ""


def test_codes_of_terminals_are_left_out() -> None:
    assert limit_content([text("\x1b[31mred\x1b[0m\r\n\tend\x9b2J\x00")], MIN_TEXT) == "[31mred[0m\n\tend2J"


@given(st.text(max_size=300), st.integers(20, 100))
def test_a_text_is_never_much_longer_than_its_limit(words: str, limit: int) -> None:
    cut = cut_text(words, limit)
    assert cut == clean_text(words) or len(cut.encode("utf-8", "replace")) <= limit + 60
