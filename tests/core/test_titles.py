"""The title that a chat gets from its first message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.core.titles import MAX_LENGTH, MAX_WORDS, SHORT_LENGTH, first_title, fork_title


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
        assert len(title) <= SHORT_LENGTH
        assert len(title.split()) <= MAX_WORDS
        assert "\n" not in title
        assert title.strip() == title


@pytest.mark.parametrize(
    ("title", "fork"),
    [
        ("Plan", "Plan (fork)"),
        ("Plan (fork)", "Plan (fork 2)"),
        ("Plan (fork 2)", "Plan (fork 3)"),
        ("Plan (fork 99)", "Plan (fork 100)"),
        ("Plan (fork x)", "Plan (fork x) (fork)"),
        ("Plan (fork 2) again", "Plan (fork 2) again (fork)"),
        ("Plan (fork ²)", "Plan (fork ²) (fork)"),
        ("Plan (fork2)", "Plan (fork2) (fork)"),
        ("Plan (fork )", "Plan (fork ) (fork)"),
        ("", " (fork)"),
        ("x" * 255, "x" * 247 + "… (fork)"),
    ],
)
def test_a_forks_title_says_so_and_counts(title: str, fork: str) -> None:
    assert fork_title(title) == fork


@given(st.text(min_size=1, max_size=MAX_LENGTH))
def test_a_forks_title_differs_and_is_not_too_long(title: str) -> None:
    assert fork_title(title) != title
    assert len(fork_title(title)) <= MAX_LENGTH
