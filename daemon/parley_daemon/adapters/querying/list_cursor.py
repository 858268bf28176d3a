"""The cursor of a list of chats: how far its pages have come, and which chats were on them.

Chats change their places while somebody pages. One that was shown is not shown again, wherever it is now;
one that moved to where the pages have been already comes with the next page. Knows no store.
"""

import base64
import binascii
import zlib

import msgspec

from parley_daemon.ports.store import InvalidCursorError

_LARGEST = 4 * 1024 * 1024


class ListCursor(msgspec.Struct, array_like=True, frozen=True):
    """The chat with this `key` and `id` was the last one in its place; `shown` is the store's own record.

    `began` is the time of the owner's newest change when the first page was made: what moved is newer.
    """

    order: str
    began: str
    key: str = ""
    id: str = ""
    shown: bytes = b""


_decode = msgspec.msgpack.Decoder(ListCursor).decode


def write_cursor(cursor: ListCursor) -> str:
    """Return the cursor as text."""
    return base64.urlsafe_b64encode(zlib.compress(msgspec.msgpack.encode(cursor))).decode()


def read_cursor(text: str, order: str) -> ListCursor:
    """Return what the text says.

    Raises:
        InvalidCursorError: it is no cursor, or one of a list in another order.
    """
    try:
        packed = base64.b64decode(text, altchars=b"-_", validate=True)
        cursor = _decode(zlib.decompressobj().decompress(packed, _LARGEST))
    except (binascii.Error, ValueError, zlib.error, msgspec.DecodeError):
        raise InvalidCursorError(text) from None
    if cursor.order != order:
        raise InvalidCursorError(text)
    return cursor
