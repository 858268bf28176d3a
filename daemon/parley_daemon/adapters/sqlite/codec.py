"""Core records as the JSON of a row's body, and back. Fields that an older row lacks take their defaults."""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from parley_daemon.core.compaction import Summary
from parley_daemon.core.parts import (
    File,
    Part,
    Piece,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallPiece,
    ToolResult,
)
from parley_daemon.core.records import Chat, Message, ModelSettings, QueuedMessage, Turn, Usage
from parley_daemon.ports.store import JournalEntry

log = logging.getLogger(__name__)

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What reading a row raises whose body is damaged, or was written by something else."""

_TAGS: dict[type[Any], str] = {
    Text: "text",
    Reasoning: "reasoning",
    ToolCall: "call",
    ToolCallPiece: "call-piece",
    ToolResult: "result",
    Source: "source",
    File: "file",
}
_TYPES = {tag: kind for kind, tag in _TAGS.items()}

encode = msgspec.json.encode
_decode = msgspec.json.Decoder().decode
decode_chat = msgspec.json.Decoder(Chat).decode
decode_turn = msgspec.json.Decoder(Turn).decode


class _MessageBody(msgspec.Struct, frozen=True, gc=False):
    """What of a message has no column of its own. Each part is an array of its tag and its fields."""

    content: list[Any]
    created_at: str
    model: str | None = None
    usage: Usage | None = None
    complete: bool = True
    origin: str | None = None


class _QueuedBody(msgspec.Struct, frozen=True, gc=False):
    """What of a queued message has no column of its own."""

    turn_id: str
    content: list[Any]
    created_at: str
    model: str | None = None
    settings: ModelSettings = ModelSettings()
    origin: str | None = None
    steers: bool = False


class _Words(msgspec.Struct):
    """Of a part, only its text."""

    text: str | None = None


class _Content(msgspec.Struct):
    """Of a message's body, only what search needs: files and tool results are passed over undecoded."""

    content: list[tuple[str, _Words]]


class _Titled(msgspec.Struct):
    """Of a chat, only its title."""

    title: str | None = None


_decode_content = msgspec.json.Decoder(_Content).decode
_decode_titled = msgspec.json.Decoder(_Titled).decode
_decode_message = msgspec.json.Decoder(_MessageBody).decode
_decode_queued = msgspec.json.Decoder(_QueuedBody).decode


def _tagged(piece: Piece) -> tuple[str, Piece]:
    return _TAGS[type(piece)], piece


def _piece(value: Any) -> Any:
    match value:
        case [str() as tag, fields] if tag in _TYPES:
            return msgspec.convert(fields, _TYPES[tag])
        case _:
            raise msgspec.ValidationError("It is no part of a kind that is known.")


def encode_piece(piece: Piece) -> str:
    """Return a piece as JSON."""
    return encode(_tagged(piece)).decode()


def encode_entries(entries: Sequence[JournalEntry]) -> str:
    """Return journal entries as a JSON array of arrays: chat, turn, message, part, the piece's own JSON.

    An entry that cannot be encoded is left out: those of other chats must not be lost with it.
    """
    rows: list[tuple[str, str, int, int, str]] = []
    for one in entries:
        try:
            piece = encode_piece(one.piece)
        except (ValueError, TypeError, RecursionError) as error:  # its words may quote the piece
            name = type(error).__name__
            log.error("a piece of chat %s, message %d cannot be saved: %s", one.chat_id, one.message_id, name)
        else:
            rows.append((one.chat_id, one.turn_id, one.message_id, one.index, piece))
    return encode(rows).decode()


def decode_piece(body: str) -> Piece:
    """Read a piece.

    Raises:
        one of UNREADABLE.
    """
    return _piece(_decode(body))


def _parts(values: list[Any]) -> tuple[Part, ...]:
    return tuple([_piece(value) for value in values])


def encode_message(message: Message) -> bytes:
    """Return a message's body as JSON."""
    return encode(
        _MessageBody(
            [_tagged(part) for part in message.content],
            message.created_at,
            message.model,
            message.usage,
            message.complete,
            message.origin,
        )
    )


def decode_text(body: bytes) -> str:
    """Return the text parts of a message's body, a line each."""
    return "\n".join([part.text or "" for tag, part in _decode_content(body).content if tag == "text"])


def decode_title(body: bytes) -> str | None:
    """Return the title in a chat's body."""
    return _decode_titled(body).title


MESSAGE_COLUMNS = "chat_id, id, parent_id, turn_id, role, client_message_id, body"

SELECT_MESSAGE = """
SELECT m.chat_id, m.id, m.parent_id, m.turn_id, m.role, m.client_message_id, m.body, (
    SELECT group_concat(s.id) FROM messages s WHERE s.chat_id = m.chat_id AND s.parent_id IS m.parent_id
)"""


def read_message(row: tuple[Any, ...]) -> Message:
    """Read a message from a row of SELECT_MESSAGE."""
    chat_id, id, parent_id, turn_id, role, client_message_id, raw, siblings = row
    body = _decode_message(raw)
    return Message(
        id=id,
        chat_id=chat_id,
        parent_id=parent_id,
        turn_id=turn_id,
        role=role,
        content=_parts(body.content),
        created_at=body.created_at,
        model=body.model,
        usage=body.usage,
        complete=body.complete,
        client_message_id=client_message_id,
        origin=body.origin,
        siblings=tuple(sorted(map(int, siblings.split(",")))) if "," in siblings else (),
    )


def read_summary(chat_id: str, after_id: int, message_id: int, body: bytes) -> Summary:
    """Read a summary; its message is a user's that no branch shows."""
    row = (chat_id, message_id, after_id, None, "user", None, body, str(message_id))
    return Summary(after_id, read_message(row))


def encode_queued(queued: QueuedMessage) -> bytes:
    """Return a queued message's body as JSON."""
    return encode(
        _QueuedBody(
            queued.turn_id,
            [_tagged(part) for part in queued.content],
            queued.created_at,
            queued.model,
            queued.settings,
            queued.origin,
            queued.steers,
        )
    )


QUEUED_COLUMNS = "id, chat_id, client_message_id, body"


def read_queued(row: tuple[Any, ...]) -> QueuedMessage:
    """Read a queued message from its QUEUED_COLUMNS."""
    id, chat_id, client_message_id, raw = row
    body = _decode_queued(raw)
    return QueuedMessage(
        id=id,
        chat_id=chat_id,
        turn_id=body.turn_id,
        content=_parts(body.content),
        created_at=body.created_at,
        model=body.model,
        settings=body.settings,
        client_message_id=client_message_id,
        origin=body.origin,
        steers=body.steers,
    )
