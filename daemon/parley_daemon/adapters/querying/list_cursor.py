"""The cursor of a list of chats: the position of the last page, and which chats were on the pages so far.

Chats are sorted by their last change, so they move while a client reads pages. A position alone would skip
each chat that moves from behind it to before it. So the cursor also records the chats that were shown. A
page starts with the chats before the position that have changed since the first page and were not shown,
and continues with those behind it. A chat that was shown is never shown again.

The cursor is a msgpack array, compressed, in base64. How the shown chats are encoded is up to the store: the
SQLite store uses one bit for each chat of the owner, a few hundred bytes for thousands of chats.
"""

import base64
import binascii
import hashlib
import zlib

import msgspec
from msgspec.structs import replace

from parley_daemon.ports.store import ChatQuery, InvalidCursorError

_MAX_CURSOR_BYTES = 4 * 1024 * 1024  # bytes of a cursor after decompression: no client can exhaust the memory


class ListCursor(msgspec.Struct, array_like=True, frozen=True):
    """Where the next page starts.

    `order`: the order of the list. `filters`: its filters, in short. `began`: the time of the owner's newest
    change when the first page was built; every chat that moved since has a later one. `key` and `id`: the
    sort key and the id of the last chat shown at its position; empty before the first one. `shown`: the shown
    chats, encoded by the store.
    """

    order: str
    filters: str
    began: str
    key: str = ""
    id: str = ""
    shown: bytes = b""


_decode = msgspec.msgpack.Decoder(ListCursor).decode


def encode_list_cursor(cursor: ListCursor) -> str:
    """Return the cursor as text."""
    return base64.urlsafe_b64encode(zlib.compress(msgspec.msgpack.encode(cursor))).decode()


def first_list_cursor(query: ChatQuery, began: str) -> ListCursor:
    """Return the cursor before the first page of a list."""
    return ListCursor(query.order, _filters(query), began)


def decode_list_cursor(text: str, query: ChatQuery) -> ListCursor:
    """Return the cursor that a client sent for a list.

    Raises:
        InvalidCursorError: the text is not a cursor, or belongs to a list in another order or with other
            filters.
    """
    try:
        packed = base64.b64decode(text, altchars=b"-_", validate=True)
        cursor = _decode(zlib.decompressobj().decompress(packed, _MAX_CURSOR_BYTES))
    except (binascii.Error, ValueError, zlib.error, msgspec.DecodeError):
        raise InvalidCursorError("is not a cursor; omit it to begin at the first page") from None
    if cursor.order != query.order or cursor.filters != _filters(query):
        raise InvalidCursorError(
            "belongs to a list with another order or other filters; repeat those of the first page, or omit "
            "the cursor to begin at the first page"
        )
    return cursor


def _filters(query: ChatQuery) -> str:
    """Return what distinguishes the filters of a query from others: a digest, so that cursors stay short."""
    filters = replace(query, cursor=None, limit=0)
    return hashlib.sha256(msgspec.json.encode(filters)).hexdigest()[:16]
