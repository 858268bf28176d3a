"""Where params hold half of a surrogate pair: JSON can write it, no UTF-8 can carry it. Knows no method.

Looked for once a message has been refused for it, and never before.
"""

import re
from typing import Any, Final, cast

from parley_protocol.models.base import MOST_PROBLEMS, path_of

_HALF: Final = re.compile("[\ud800-\udfff]")

# A place as the place around it and the step from there: long paths are put together for what is told only.
_Place = tuple["_Place", int | str] | None


def holds_half(text: str) -> bool:
    """Return whether a text has half of a surrogate pair."""
    return _HALF.search(text) is not None


def fields_with_half(params: object) -> list[dict[str, Any]]:
    """Return the fields of -32602 for such texts and keys, in their order, at most MOST_PROBLEMS of them."""
    found: list[dict[str, Any]] = []
    ahead: list[tuple[object, _Place]] = [(params, None)]
    while ahead and len(found) < MOST_PROBLEMS:
        value, place = ahead.pop()
        if isinstance(value, str):
            if holds_half(value):
                found.append({"path": _path(place), "problem": "must be valid Unicode"})
        elif isinstance(value, list):
            items = cast("list[object]", value)
            ahead += [(items[at], (place, at)) for at in range(len(items) - 1, -1, -1)]
        elif isinstance(value, dict):
            entries = cast("dict[str, object]", value)
            if any(map(holds_half, entries)):
                found.append({"path": _path(place), "problem": "has a key that is not valid Unicode"})
            ahead += [(entries[key], (place, key)) for key in reversed(entries) if not holds_half(key)]
    return found


def _path(place: _Place) -> str:
    steps: list[int | str] = []
    while place is not None:
        place, step = place
        steps.append(step)
    return path_of(tuple(reversed(steps)))
