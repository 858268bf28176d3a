"""The cursor of a search: the part of its ranking that was not returned yet.

Scores change with every message that is added, so ranking again for each page would repeat and skip hits.
The first page therefore ranks everything once, and the rest of the ranking travels in the cursor, as
compressed JSON in base64. The daemon keeps no state for a client that reads pages. A checksum of the query
keeps a cursor from being used with another query. It is not a signature: a client that forges a cursor only
changes its own list, since each hit is looked up among the owner's chats.
"""

import base64
import binascii
import zlib
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from parley_daemon.ports.store import InvalidCursorError

MAX_HITS = 1000
"""At most so many hits are ranked; all pages of a search together hold no more."""

_MAX_CURSOR_BYTES = 1024 * 1024  # bytes of a cursor after decompression: no client can exhaust the memory

T = TypeVar("T")


def encode_search_cursor(query: str, rest: Sequence[object]) -> str | None:
    """Return the cursor of the page that starts with the first entry of `rest`; None when it is empty."""
    if not rest:
        return None
    body = msgspec.json.encode((_checksum(query), rest))
    return base64.urlsafe_b64encode(zlib.compress(body)).decode()


def decode_search_cursor(query: str, cursor: str, kind: type[T]) -> list[T]:
    """Return the rest of the ranking; `kind` is the type of its entries.

    Raises:
        InvalidCursorError: the cursor is not valid, or belongs to another query.
    """
    try:
        packed = base64.b64decode(cursor, altchars=b"-_", validate=True)
        body = zlib.decompressobj().decompress(packed, _MAX_CURSOR_BYTES)
        checksum, rest = msgspec.json.decode(body, type=tuple[int, list[kind]])
    except (binascii.Error, ValueError, zlib.error, msgspec.DecodeError):
        raise InvalidCursorError("is not a cursor; omit it to begin at the first page") from None
    if checksum != _checksum(query):
        raise InvalidCursorError("belongs to another query; omit it to begin at the first page")
    return rest


def _checksum(query: str) -> int:
    return zlib.crc32(query.encode("utf-8", "replace"))
