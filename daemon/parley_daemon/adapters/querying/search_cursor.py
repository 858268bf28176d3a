"""The cursor of a search: what is left of a ranking that was made once, so that later pages cannot shift.

It is packed into the cursor itself: no store keeps anything for a client that pages. Knows no store.
"""

import base64
import binascii
import zlib
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from parley_daemon.ports.store import InvalidCursorError

MOST_HITS = 1000
"""Hits that one search ranks, and so the most that its pages can hold."""

_LARGEST = 1024 * 1024

T = TypeVar("T")


def write_cursor(query: str, rest: Sequence[object]) -> str | None:
    """Return the cursor of the page that begins with the first of `rest`; None when nothing is left."""
    if not rest:
        return None
    body = msgspec.json.encode((_mark(query), rest))
    return base64.urlsafe_b64encode(zlib.compress(body)).decode()


def read_cursor(query: str, cursor: str, kind: type[T]) -> list[T]:
    """Return what is left.

    Raises:
        InvalidCursorError: the cursor is none, or one of another query.
    """
    try:
        packed = base64.b64decode(cursor, altchars=b"-_", validate=True)
        body = zlib.decompressobj().decompress(packed, _LARGEST)
        mark, rest = msgspec.json.decode(body, type=tuple[int, list[kind]])
    except (binascii.Error, ValueError, zlib.error, msgspec.DecodeError):
        raise InvalidCursorError(cursor) from None
    if mark != _mark(query):
        raise InvalidCursorError(cursor)
    return rest


def _mark(query: str) -> int:
    return zlib.crc32(query.encode("utf-8", "replace"))
