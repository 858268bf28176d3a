"""The edits that make one text out of another one, applied by another implementation of LSP's documents."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.server.lsp.edits import text_edits
from parley_daemon.server.lsp.text import DocumentText

TEXTS = st.lists(st.sampled_from(["a", "b", "é", "😀", "\n", "\r", "\r\n"]), max_size=25).map("".join)


def applied(old: str, edits: list[dict[str, Any]], encoding: str) -> str:
    """Return the text after the edits, from the last one to the first: all positions are of the old text."""
    text = DocumentText(old, encoding)
    for edit in reversed(edits):
        start, end = edit["range"]["start"], edit["range"]["end"]
        text.edit((start["line"], start["character"]), (end["line"], end["character"]), edit["newText"])
    return str(text)


@given(TEXTS, TEXTS, st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_the_edits_make_the_new_text_in_every_encoding(old: str, new: str, encoding: str) -> None:
    assert applied(old, text_edits(old, new, encoding), encoding) == new


def test_edits_are_as_small_as_the_change() -> None:
    old = "".join(f"line {number}\r\n" for number in range(100))
    new = old.replace("line 7\r\n", "line seven\r\n").replace("line 90\r\n", "")
    first, second = text_edits(old, new, "utf-16")
    assert first == {
        "range": {"start": {"line": 7, "character": 5}, "end": {"line": 7, "character": 6}},
        "newText": "seven",
    }
    assert second["newText"] == ""
    assert applied(old, [first, second], "utf-16") == new
    assert text_edits(old, old, "utf-16") == []


def test_a_long_text_that_changes_everywhere_is_replaced_as_a_whole() -> None:
    old, new = "a\n" * 5000, "b\n" * 5000
    assert len(text_edits(old, new, "utf-8")) == 1
    assert applied(old, text_edits(old, new, "utf-8"), "utf-8") == new
