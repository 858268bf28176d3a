"""The title that a chat gets from its first message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.core.titles import CHARACTERS, WORDS, first_title


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Why is the sky blue?", "Why is the sky blue?"),
        ("one two three four five six", "one two three four five six"),
        ("one two three four five six seven", "one two three four five six…"),
        ("  spaces\n\nand\tlines ", "spaces and lines"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        (" ".join(["x" * 75, *"abcdef"]), "x" * 75 + " a b" + "…"),
        ("", None),
        (" \n ", None),
    ],
)
def test_a_title_is_the_first_six_words(text: str, title: str | None) -> None:
    assert first_title(text) == title


@given(st.text(max_size=400))
def test_a_title_is_one_short_line_or_nothing(text: str) -> None:
    title = first_title(text)
    if title is None:
        assert not text.split()
    else:
        assert len(title) <= CHARACTERS
        assert len(title.split()) <= WORDS
        assert "\n" not in title
        assert title.strip() == title
