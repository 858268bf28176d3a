"""JSON as servers write it that keep to no schema: fields of an odd shape, and what a strict decoder refuses.

Knows no dialect.
"""

import json
from typing import Any, TypeVar

import msgspec

_MOST = 2**53 - 1  # the largest integer that every JSON parser takes
_T = TypeVar("_T")


def replace_surrogates(text: str) -> str:
    """Return the text with surrogate pairs joined, and lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def encode_json(value: object) -> bytes:
    """Return a value as JSON, half characters in it replaced."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return replace_surrogates(json.dumps(value, ensure_ascii=False)).encode()


def convert_or_none(value: object, kind: type[_T]) -> _T | None:
    """Return the value as this type, or None when it is not of that shape."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def convert_or_default(value: object, kind: type[_T]) -> _T:
    """Return a part of a larger value as this type; an empty one when it is missing or not of that shape."""
    return (None if value is None else convert_or_none(value, kind)) or kind()


def decode_lenient(payload: bytes, kind: type[_T]) -> _T:
    """Decode what the strict decoder refuses and most servers' clients take.

    That is: bytes that are no UTF-8, NaN, and lone surrogates, which stay in the texts: the other half may
    come in the next event.

    Raises:
        ValueError: it is no JSON, or not of that shape.
    """
    try:
        read = json.loads(payload.decode("utf-8", "replace"), object_pairs_hook=_with_whole_names)
        return msgspec.convert(read, kind)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_count(*numbers: object) -> int | None:
    """Return the first of the values that counts something: words, NaN, infinity and the like do not."""
    return next((int(number) for value in numbers if (number := read_amount(value)) is not None), None)


def read_amount(value: object) -> float | None:
    """Return the value when it is a number that can be an amount of something: finite, not below zero."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _MOST else None


def _with_whole_names(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {replace_surrogates(name): value for name, value in fields}
