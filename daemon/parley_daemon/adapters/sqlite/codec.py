"""Core records as rows, and back. `core.codec` derives a row's body from the record's fields."""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from parley_daemon.core.codec import ONLY_IN_COLUMNS, StoredForm, StoredPieces
from parley_daemon.core.compaction import Summary
from parley_daemon.core.parts import Piece
from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn
from parley_daemon.ports.store import JournalEntry

log = logging.getLogger(__name__)

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""The errors of reading a row whose body is damaged or was not written by parleyd."""

_CHAT = StoredForm(Chat)
_TURN = StoredForm(Turn)
_MESSAGE = StoredForm(Message)
_QUEUED = StoredForm(QueuedMessage)
_PIECES = StoredPieces()

encode_chat, decode_chat = _CHAT.encode, _CHAT.decode
encode_turn, decode_turn = _TURN.encode, _TURN.decode
encode_message = _MESSAGE.encode
encode_queued = _QUEUED.encode
decode_piece = _PIECES.decode


class _Words(msgspec.Struct):
    """The text of a part."""

    text: str | None = None


class _Content(msgspec.Struct):
    """The fields of a message that search needs. Files and tool results are not decoded."""

    content: list[tuple[str, _Words]]


class _Titled(msgspec.Struct):
    """The title of a chat."""

    title: str | None = None


_decode_content = msgspec.json.Decoder(_Content).decode
_decode_titled = msgspec.json.Decoder(_Titled).decode


def encode_piece(piece: Piece) -> str:
    """Return a piece as JSON."""
    return _PIECES.encode(piece).decode()


def encode_entries(entries: Sequence[JournalEntry]) -> str:
    """Return journal entries as a JSON array of arrays: chat, turn, message, part, the piece's own JSON.

    An entry that cannot be encoded is logged and left out, so that the entries of other chats are kept.
    """
    rows: list[tuple[str, str, int, int, str]] = []
    for one in entries:
        try:
            piece = encode_piece(one.piece)
        except (ValueError, TypeError, RecursionError) as error:  # its text may quote the piece
            name = type(error).__name__
            log.error("a piece of chat %s, message %d cannot be saved: %s", one.chat_id, one.message_id, name)
        else:
            rows.append((one.chat_id, one.turn_id, one.message_id, one.index, piece))
    return msgspec.json.encode(rows).decode()


def decode_text(body: bytes) -> str:
    """Return the text parts of a message's body, joined by newlines."""
    return "\n".join([part.text or "" for tag, part in _decode_content(body).content if tag == "text"])


def decode_title(body: bytes) -> str | None:
    """Return the title in a chat's body."""
    return _decode_titled(body).title


_MESSAGE_FIELDS = ONLY_IN_COLUMNS[Message]
_QUEUED_FIELDS = ONLY_IN_COLUMNS[QueuedMessage]

MESSAGE_COLUMNS = ", ".join((*_MESSAGE_FIELDS, "body"))
QUEUED_COLUMNS = ", ".join((*_QUEUED_FIELDS, "body"))

SELECT_MESSAGE = f"""
SELECT {", ".join(f"m.{name}" for name in (*_MESSAGE_FIELDS, "body"))}, (
    SELECT group_concat(s.id) FROM messages s WHERE s.chat_id = m.chat_id AND s.parent_id IS m.parent_id
)"""


def read_message(row: tuple[Any, ...]) -> Message:
    """Return a message from a row of SELECT_MESSAGE."""
    *columns, body, siblings = row
    return _MESSAGE.decode(
        body, *columns, tuple(sorted(map(int, siblings.split(",")))) if "," in siblings else ()
    )


def read_summary(chat_id: str, after_id: int, message_id: int, body: bytes) -> Summary:
    """Return a summary. Its text is stored like a user message that is on no branch."""
    row = (chat_id, message_id, after_id, None, "user", None, body, "")
    return Summary(after_id, read_message(row))


def read_queued(row: tuple[Any, ...]) -> QueuedMessage:
    """Return a queued message from its QUEUED_COLUMNS."""
    *columns, body = row
    return _QUEUED.decode(body, *columns)
