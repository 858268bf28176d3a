"""What two texts have in common at their ends."""

from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.core.comparing import common_size, count_equal_ends, with_line_feeds

texts = st.text("ab", max_size=8)


@given(texts, texts)
def test_equal_ends_are_as_long_as_possible_and_do_not_overlap(old: str, new: str) -> None:
    start, end = count_equal_ends(old, new)
    shorter = min(len(old), len(new))
    assert start == common_size(lambda size: old[:size] == new[:size], shorter)
    assert start + end <= shorter
    assert old[:start] == new[:start]
    assert old[len(old) - end :] == new[len(new) - end :]
    assert start + end == shorter or (old[start] != new[start] and old[-1 - end] != new[-1 - end])


def test_lines_end_in_one_way_to_be_compared() -> None:
    assert with_line_feeds("a\r\nb\rc\n\r") == "a\nb\nc\n\n"
