"""Counting changed lines: exact where the change is small, bounded where it is not."""

import difflib

from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.core.agents.files.line_counts import (
    MAX_BYTES,
    MAX_DIFFERENCES,
    count_changed_lines,
    text_of,
)

lines = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n"]), max_size=12)


@given(lines, lines)
def test_the_counts_lead_from_one_file_to_the_other_by_the_fewest_lines(
    old: list[bytes], new: list[bytes]
) -> None:
    counted = count_changed_lines(b"".join(old), b"".join(new))
    assert counted is not None
    added, deleted = counted
    assert len(new) - len(old) == added - deleted
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    kept = sum(block.size for block in matcher.get_matching_blocks())
    assert added + deleted <= len(old) + len(new) - 2 * kept


def test_many_differences_are_compared_as_bags() -> None:
    old = b"".join(b"old %d\n" % number for number in range(2 * MAX_DIFFERENCES))
    new = b"".join(b"new %d\n" % number for number in range(3 * MAX_DIFFERENCES))
    assert count_changed_lines(old, new) == (3 * MAX_DIFFERENCES, 2 * MAX_DIFFERENCES)


def test_binary_and_large_files_have_no_counts() -> None:
    assert count_changed_lines(b"a\0", b"b") is None
    assert count_changed_lines(b"", b"x" * (MAX_BYTES + 1)) is None


def test_text_is_what_an_editor_shows() -> None:
    assert text_of("é\r\n".encode("utf-8-sig")) == "é\r\n"
    assert text_of("é".encode("utf-16")) == "é"
    assert text_of(b"caf\xe9") == "café"
    assert text_of(b"\x7fELF\0") is None
