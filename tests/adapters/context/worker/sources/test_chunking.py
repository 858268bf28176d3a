"""Where texts are cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.adapters.context.worker.sources.chunking import MAX_LINES, cut_text, split_lines

BODY = "    x = 1\n" * 24


def test_chunks_begin_at_definitions_with_their_decorators() -> None:
    text = f"def one():\n{BODY}\n\n@cached\n# why\ndef two():\n{BODY}"
    first, second = cut_text("a.py", text).chunks
    assert split_lines(text)[second.first] == "@cached"
    assert [one.name for one in (*first.definitions, *second.definitions)] == ["one", "two"]


@given(st.lists(st.sampled_from(["def f():", "    x", "", "class A:", "\t}", "# c"]), max_size=400))
def test_chunks_cover_all_lines_once_and_are_bounded(lines: list[str]) -> None:
    cut = cut_text("a.py", "\n".join(lines))
    assert all(one.last == two.first for one, two in pairwise(cut.chunks))
    assert sum(one.last - one.first for one in cut.chunks) == len(cut.lines)
    assert all(0 < one.last - one.first <= MAX_LINES + 8 for one in cut.chunks)
