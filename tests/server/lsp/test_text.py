"""Edits of a document against a naive model of LSP's rules, for every encoding and every kind of line end."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.server.lsp import text as text_module
from parley_daemon.server.lsp.encodings import ENCODINGS
from parley_daemon.server.lsp.text import DocumentText, Position

CHARACTERS = "ab\n\r\f\v\x1c\x85\u2028\u2029\ufeffé€😀"
UNITS = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
BYTES = {"utf-8": 1, "utf-16": 2, "utf-32": 4}

texts = st.text(CHARACTERS, max_size=60)
positions = st.tuples(st.integers(-1, 12), st.integers(-1, 30))
edits = st.lists(st.tuples(positions, positions, st.text(CHARACTERS, max_size=12)), max_size=12)


def naive_offset(text: str, position: Position, encoding: str) -> int:
    """Return the offset of a position by LSP's rules, read from the whole text."""
    line, character = position
    if line < 0:
        return 0
    ends = list(re.finditer("\r\n|\r|\n", text))
    if line > len(ends):
        return len(text)
    begin = ends[line - 1].end() if line else 0
    stop = ends[line].start() if line < len(ends) else len(text)
    units = 0
    for offset in range(begin, stop):
        units += len(text[offset].encode(UNITS[encoding])) // BYTES[encoding]
        if units > character:
            return offset
    return stop


def naive_edit(text: str, start: Position, end: Position, new: str, encoding: str) -> str:
    first, last = sorted([naive_offset(text, start, encoding), naive_offset(text, end, encoding)])
    return text[:first] + new + text[last:]


def naive_lines(text: str) -> list[str]:
    return [line for line in re.split("(?<=\n)|(?<=\r)(?!\n)", text) if line]


@given(
    texts,
    edits,
    st.sampled_from(sorted(ENCODINGS)),
    st.sampled_from([1, 2, 5, 1024]),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_any_edits_give_the_text_that_lsp_says(
    text: str,
    changes: list[tuple[Position, Position, str]],
    encoding: str,
    chunk: int,
    first: int,
    count: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (
            ("TARGET_CHUNK", chunk),
            ("MAX_CHUNK", 2 * chunk),
            ("MIN_CHUNK", max(1, chunk // 2)),
        ):
            patch.setattr(text_module, name, size)
        patch.setattr(text_module, "MAX_BLOCK", 4)
        document = DocumentText(text, encoding)
        for start, end, new in changes:
            text = naive_edit(text, start, end, new, encoding)
            document.edit(start, end, new)
            assert (str(document), document.length) == (text, len(text))
        lines = naive_lines(text)
        assert document.line_count == len(lines)
        wanted = "".join(lines[first : first + count])
        assert document.lines(first, first + count - 1, 10_000) == wanted
        assert document.lines(first, first + count - 1, len(wanted)) == wanted
        if wanted:
            assert document.lines(first, first + count - 1, len(wanted) - 1) is None


@pytest.mark.parametrize(
    ("text", "start", "end", "new", "wanted"),
    [
        ("a\r\nb", (0, 9), (0, 9), "!", "a!\r\nb"),  # beyond the line: before its whole line end
        ("a\r\nb", (9, 0), (9, 9), "!", "a\r\nb!"),  # beyond the text
        ("a\nb\n", (2, 0), (2, 0), "c", "a\nb\nc"),
        ("a\rX\nb", (1, 0), (1, 1), "", "a\r\nb"),  # what was two line ends is one now
        ("a\rb", (1, 0), (1, 0), "\n", "a\r\nb"),
        ("a\r\nb", (0, 1), (1, 0), "\r", "a\rb"),
        ("one two", (0, 7), (0, 4), "2", "one 2"),  # inverted
        ("a😀b", (0, 2), (0, 2), "-", "a-😀b"),  # inside the pair
        ("a😀b", (0, 2), (0, 3), "", "ab"),
        ("\ufeffone", (0, 1), (0, 2), "O", "\ufeffOne"),  # a character as any other
        ("", (0, 0), (0, 0), "x", "x"),
        ("x", (0, 0), (0, 1), "", ""),
    ],
)
def test_positions_at_the_edges(text: str, start: Position, end: Position, new: str, wanted: str) -> None:
    document = DocumentText(text)
    document.edit(start, end, new)
    assert str(document) == wanted


def test_edits_after_a_line_end_was_joined_land_in_the_right_line() -> None:
    document = DocumentText("a\rX\nb\nc")
    document.edit((1, 0), (1, 1), "")
    document.edit((1, 0), (1, 1), "B")
    assert str(document) == "a\r\nB\nc"
    document.edit((0, 1), (0, 1), "-")
    document.edit((2, 0), (2, 0), ">")
    assert str(document) == "a-\r\nB\n>c"


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"line {number} of a long document\n" for number in range(30_000)),
        "minified;" * 110_000,
        "é😀" * 500_000,
    ],
    ids=["lines", "one line", "one line beyond the basic plane"],
)
def test_an_edit_looks_at_little_of_a_long_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the text nor a long line is measured or counted again: a few chunks are."""
    seen: list[int] = []

    def measure(part: str) -> int:
        seen.append(len(part))
        return len(part.encode("utf-16-le")) // 2

    monkeypatch.setitem(ENCODINGS, "utf-16", (measure, ENCODINGS["utf-16"][1]))
    document = DocumentText(text)
    for number in range(100):
        seen.clear()
        document.edit((number * 300, 5000 * number), (number * 300, 5000 * number + 2), "new 😀\n")
        assert sum(seen) < 10 * text_module.TARGET_CHUNK
