"""What two texts, or two lists of lines, have in common at their ends; and line ends in one spelling."""

from collections.abc import Callable, Sequence


def common_size(is_common: Callable[[int], bool], limit: int) -> int:
    """Return the greatest size up to `limit` that is common; by halving, because texts can be long."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if is_common(middle):
            low = middle
        else:
            high = middle - 1
    return low


def count_equal_ends(old: Sequence[object], new: Sequence[object]) -> tuple[int, int]:
    """Return how many items are equal at the beginning, and how many of the others are at the end."""
    shorter = min(len(old), len(new))
    start = 0
    while start < shorter and old[start] == new[start]:
        start += 1
    end = 0
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return start, end


def with_line_feeds(text: str) -> str:
    """Return a text with each line ended by a single line feed, to compare it with another one."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
