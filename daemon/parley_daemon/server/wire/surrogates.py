"""Finds the fields of params that have lone surrogates, and replaces these where that does no harm.

JSON can write half of a surrogate pair as `\\ud800`; UTF-8 cannot encode it. Params are searched only after
the decoder has refused them for it.
"""

import json
import re
from typing import Any, Final, cast

from parley_protocol.models.base import MAX_PROBLEMS, path_of

_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# A place is its parent place and the step from there. A path is built only for a field that is reported.
_Place = tuple["_Place", int | str] | None


def has_lone_surrogate(text: str) -> bool:
    """Return whether a string has half of a surrogate pair."""
    return _SURROGATE.search(text) is not None


def replace_lone_surrogates(body: bytes) -> bytes:
    """Return JSON with U+FFFD in place of each lone surrogate.

    Raises:
        ValueError: the body is not JSON in UTF-8.
        RecursionError: it is nested too deeply.
    """
    text = json.dumps(json.loads(body.decode("utf-8")), ensure_ascii=False)
    return _SURROGATE.sub("\ufffd", text).encode("utf-8")


def fields_with_lone_surrogates(params: object) -> list[dict[str, Any]]:
    """Return `{"path", "problem"}` for each such string or key, in order, at most as many as are reported."""
    found: list[dict[str, Any]] = []
    ahead: list[tuple[object, _Place]] = [(params, None)]
    while ahead and len(found) < MAX_PROBLEMS:
        value, place = ahead.pop()
        if isinstance(value, str):
            if has_lone_surrogate(value):
                found.append({"path": _path(place), "problem": "must be valid Unicode"})
        elif isinstance(value, list):
            items = cast("list[object]", value)
            ahead += [(items[at], (place, at)) for at in range(len(items) - 1, -1, -1)]
        elif isinstance(value, dict):
            entries = cast("dict[str, object]", value)
            if any(map(has_lone_surrogate, entries)):
                found.append({"path": _path(place), "problem": "has a key that is not valid Unicode"})
            ahead += [
                (entries[key], (place, key)) for key in reversed(entries) if not has_lone_surrogate(key)
            ]
    return found


def _path(place: _Place) -> str:
    steps: list[int | str] = []
    while place is not None:
        place, step = place
        steps.append(step)
    return path_of(tuple(reversed(steps)))
