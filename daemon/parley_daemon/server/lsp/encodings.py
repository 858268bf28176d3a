"""LSP's position encodings: in which units the characters of a line are counted."""

from collections.abc import Callable
from typing import Final


def _utf_8_units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _utf_8_index(text: str, units: int) -> int:
    return len(text.encode("utf-8", "surrogatepass")[:units].decode("utf-8", "ignore"))


def _utf_16_units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _utf_16_index(text: str, units: int) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "ignore"))


def _utf_32_index(text: str, units: int) -> int:
    return min(units, len(text))


ENCODINGS: Final[dict[str, tuple[Callable[[str], int], Callable[[str, int], int]]]] = {
    "utf-8": (_utf_8_units, _utf_8_index),
    "utf-16": (_utf_16_units, _utf_16_index),
    "utf-32": (len, _utf_32_index),
}
"""By LSP's name of each: how many units a text has, and how many characters its first units are."""
