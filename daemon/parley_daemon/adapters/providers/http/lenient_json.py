"""JSON as servers write it that follow no schema, and the surrogates that JSON escapes can put into a string.

A strict decoder reads nearly every event. What it refuses is read again by `decode_lenient`, and fields whose
shape varies are converted one by one, so that an unexpected field does not spoil an answer. A JSON string may
hold a lone UTF-16 surrogate ("\\ud83d"), which UTF-8 cannot encode (RFC 8259, section 8.2).
"""

import json
from typing import Any, TypeVar

import msgspec

_MAX_SAFE_INTEGER = 2**53 - 1  # the largest integer that every JSON parser takes
_T = TypeVar("_T")


def replace_surrogates(text: str) -> str:
    """Return a text with surrogate pairs joined, and lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def encode_json(value: object) -> bytes:
    """Return a value as JSON, with lone surrogates replaced."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return replace_surrogates(json.dumps(value, ensure_ascii=False)).encode()


def convert_or_none(value: object, shape: type[_T]) -> _T | None:
    """Return a value converted to a type; None when its shape does not fit."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return None


def convert_or_default(value: object, shape: type[_T]) -> _T:
    """Return a value converted to a type; `shape()` when it is None or its shape does not fit."""
    return (None if value is None else convert_or_none(value, shape)) or shape()


def decode_lenient(payload: bytes, shape: type[_T]) -> _T:
    """Decode JSON that the strict decoder refuses: invalid UTF-8, NaN, and lone surrogates.

    Lone surrogates stay in the texts: the other half may come in the next event.

    Raises:
        ValueError: it is not JSON, or its shape does not fit.
    """
    try:
        value = json.loads(payload.decode("utf-8", "replace"), object_pairs_hook=_replace_surrogates_in_names)
        return msgspec.convert(value, shape)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def complete_json(beginning: bytes) -> bytes | None:
    """Return the beginning of a JSON document, completed to a valid one; None: that is not possible."""
    from pydantic_core import from_json  # rarely needed

    try:
        value = from_json(beginning.decode("utf-8", "ignore"), allow_partial="trailing-strings")
    except ValueError:
        return None
    return encode_json(value)


def read_count(*numbers: object) -> int | None:
    """Return the first value that is a count; words, NaN, infinity and negative numbers are not."""
    return next((int(number) for value in numbers if (number := read_amount(value)) is not None), None)


def read_amount(value: object) -> float | None:
    """Return a value when it is a finite number that is not negative; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _MAX_SAFE_INTEGER else None


def _replace_surrogates_in_names(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {replace_surrogates(name): value for name, value in fields}
