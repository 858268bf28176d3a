"""How deep JSON is nested. Parsers of many languages give up at some hundred levels, or at a thousand."""

from typing import cast

MAX_LEVELS = 100
"""Levels of arguments and results of tools: what is deeper could be stored, but not read by every client."""


def is_too_deep(value: object) -> bool:
    """Return whether a JSON value has objects or arrays on more than MAX_LEVELS levels."""
    level = [value]
    for _ in range(MAX_LEVELS + 1):
        below: list[object] = []
        for one in level:
            if isinstance(one, dict):
                below += cast("dict[str, object]", one).values()
            elif isinstance(one, list):
                below += cast("list[object]", one)
        if not below:
            return False
        level = below
    return True
