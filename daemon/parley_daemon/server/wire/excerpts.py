"""Fits messages into a bound: long texts and files are delivered by reference.

Theory of operation. A chat may hold gigabytes, and a client that opens it wants to see its end. So the
snapshot of a subscription has at most SNAPSHOT_BYTES as encoded, a page PAGE_BYTES, a queue QUEUE_BYTES. The
messages of an event or a response are whole as long as they fit into a frame (MESSAGE_BYTES). Three rules
keep these bounds:

* A part that takes more than a quarter of the bound is delivered by reference: the beginning of its text, its
  size, and `ref: true`. `chat/file` returns the whole part.
* As many messages are delivered as fit, at least one; the rest is read with `chat/get`.
* The first message always fits: if its parts are many, they get equal shares of the room.

Messages are encoded here, once, and embedded as they are (`msgspec.Raw`): to measure one is to encode it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from parley_daemon.core.parts import (
    File,
    Piece,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallPiece,
    ToolResult,
    ToolResultPiece,
    count_characters,
)
from parley_daemon.core.records import Message

SNAPSHOT_BYTES = 2**20
"""The most that the snapshot of a subscription takes as JSON."""

PAGE_BYTES = 8 * 2**20
"""The most that a page of messages or of chats takes as JSON."""

MESSAGE_BYTES = 48 * 2**20
"""The most that the messages of an event or of a response take as JSON: they have to fit into one frame."""

QUEUE_BYTES = 8 * 2**20
"""The most that a queue takes as JSON."""

BEGINNING = 16 * 1024
"""Characters of the beginning of a text that is delivered by reference."""

_PART_SHARE = 4  # a part above this share of the bound is delivered by reference
_BYTES_PER_CHARACTER = 6  # at most, in JSON
_RECORD_BYTES = 2_000  # of a message without its content, usually
_EXCERPT_BYTES = 200  # of a part by reference without its text and its names

encode = msgspec.json.encode


class _Excerpt(msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type", omit_defaults=True):
    """A part by reference. `size` is in bytes; `ref` is always true."""

    size: int
    ref: bool


class _TextExcerpt(_Excerpt, frozen=True, gc=False, tag="text"):
    text: str


class _ReasoningExcerpt(_Excerpt, frozen=True, gc=False, tag="reasoning"):
    text: str
    title: str | None = None


class _ToolCallExcerpt(_Excerpt, frozen=True, gc=False, tag="tool-call"):
    tool_call_id: str
    tool_name: str
    args: Any


class _ToolCallPieceExcerpt(_Excerpt, frozen=True, gc=False, tag="tool-call"):
    tool_call_id: str
    tool_name: str
    args_delta: str


class _ToolResultExcerpt(_Excerpt, frozen=True, gc=False, tag="tool-result"):
    tool_call_id: str
    tool_name: str
    result: Any
    is_error: bool
    outcome: str


class _ToolResultPieceExcerpt(_Excerpt, frozen=True, gc=False, tag="tool-result"):
    tool_call_id: str
    tool_name: str
    result_delta: str


class _SourceExcerpt(_Excerpt, frozen=True, gc=False, tag="source"):
    source_id: str
    url: str
    title: str
    text: str
    start_line: int | None = None
    end_line: int | None = None
    score: float | None = None
    content_hash: str | None = None
    origin: str | None = None


class _FileExcerpt(_Excerpt, frozen=True, gc=False, tag="file"):
    media_type: str
    title: str | None = None


def excerpt(part: Piece, characters: int = BEGINNING, names: int = BEGINNING) -> Any:
    """Return a part by reference, with so many characters of its text, and of each of its names."""

    def size(text: str) -> int:
        return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    match part:
        case Text(text):
            return _TextExcerpt(size(text), True, text[:characters])
        case Reasoning(text, title):
            return _ReasoningExcerpt(size(text), True, text[:characters], title and title[:names])
        case ToolCall(id, name, args):
            return _ToolCallExcerpt(len(encode(args)), True, id[:names], name[:names], None)
        case ToolCallPiece(id, name, delta):
            return _ToolCallPieceExcerpt(size(delta), True, id[:names], name[:names], delta[:characters])
        case ToolResultPiece(id, name, delta):
            return _ToolResultPieceExcerpt(size(delta), True, id[:names], name[:names], delta[:characters])
        case ToolResult(id, name, result, is_error, outcome):
            length = len(encode(result))
            return _ToolResultExcerpt(length, True, id[:names], name[:names], None, is_error, outcome)
        case Source(id, url, title, text, start, end, score, content_hash, origin):
            beginning = (text or "")[:characters]
            shown = id[:names], url[:names], title[:names], beginning
            return _SourceExcerpt(
                size(text or ""), True, *shown, start, end, score, content_hash and content_hash[:64], origin
            )
        case File(media_type, data, url, title):
            return _FileExcerpt(_file_size(data, url), True, media_type[:names], title and title[:names])


def _file_size(data: str | None, url: str | None) -> int:
    """Return the number of bytes of a file; of one that is elsewhere, those of its address."""
    if data is None and url is not None:
        if not url.startswith("data:"):
            return len(url)
        data = url.partition(",")[2]
    data = data or ""
    return len(data) * 3 // 4 - data[-2:].count("=")


def fit_part(part: Piece, limit: int) -> Any:
    """Return a part, by reference if it takes more than `limit` bytes."""
    if _least_size(part) > limit:
        return excerpt(part)
    encoded = encode(part)
    return msgspec.Raw(encoded) if len(encoded) <= limit else excerpt(part)


def _least_size(part: Piece) -> int:
    """Return a lower bound of what a part takes, without encoding it."""
    return 0 if isinstance(part, ToolCall | ToolResult) else count_characters(part)


def fit_parts(parts: Sequence[Piece], room: int, part_limit: int) -> tuple[Any, ...]:
    """Return the parts of one message in at most `room` bytes, those above `part_limit` by reference.

    If there are too many, each gets an equal share.
    """
    if not is_large(parts, min(room, part_limit)):
        return tuple(parts)
    shown = tuple([fit_part(part, part_limit) for part in parts])
    if len(encode(shown)) > room:
        shown = tuple([_fit_share(part, max(room, 0) // len(parts)) for part in parts])
    return shown


def _fit_share(part: Piece, share: int) -> Any:
    fitting = fit_part(part, share)
    if isinstance(fitting, msgspec.Raw):
        return fitting
    characters = max(0, share - _EXCERPT_BYTES) // (2 * _BYTES_PER_CHARACTER)
    return excerpt(part, min(BEGINNING, characters), max(8, characters // 4))


def message_bytes(one: Message, limit: int, part_limit: int | None = None) -> msgspec.Raw:
    """Return a Message as JSON of at most `limit` bytes, large parts by reference.

    Without `part_limit`, parts are whole if the message fits.
    """
    if part_limit is None and sum(map(_least_size, one.content)) <= limit:
        whole = encode(replace(one, siblings=one.siblings or (one.id,)))
        if len(whole) <= limit:
            return msgspec.Raw(whole)
    content: Any = fit_parts(one.content, limit - _RECORD_BYTES, part_limit or limit // _PART_SHARE)
    return msgspec.Raw(encode(replace(one, content=content, siblings=one.siblings or (one.id,))))


def fit_messages(
    messages: Sequence[Message], room: int, part_limit: int, *, oldest_first: bool
) -> tuple[list[msgspec.Raw], bool]:
    """Return as many messages as fit into `room` bytes, at least one, and whether some were left out.

    The newest are kept, or with `oldest_first` the oldest.
    """
    fitting: list[msgspec.Raw] = []
    for one in messages if oldest_first else reversed(messages):
        encoded = message_bytes(one, room if not fitting else PAGE_BYTES, part_limit)
        size = len(bytes(encoded)) + 1
        if fitting and size > room:
            break
        room -= size
        fitting.append(encoded)
    is_cut = len(fitting) < len(messages)
    return (fitting if oldest_first else fitting[::-1]), is_cut


def share_of(limit: int) -> int:
    """Return how much one part may take of a bound."""
    return limit // _PART_SHARE


def fit_each(
    contents: Sequence[Sequence[Piece]], limit: int, show: Callable[[int, tuple[Any, ...]], Any]
) -> list[Any]:
    """Return all messages of a list in at most `limit` bytes together: each gets an equal share.

    `show` returns a message by its position in the list with the content that fits.
    """
    share = limit // max(1, len(contents)) - _RECORD_BYTES
    return [show(at, fit_parts(parts, share, share)) for at, parts in enumerate(contents)]


def is_large(parts: Iterable[Piece], limit: int) -> bool:
    """Whether parts may take more than `limit` bytes. Quick; false only if they surely take less."""
    return sum([_count_all(part) for part in parts]) * _BYTES_PER_CHARACTER > limit


def _count_all(part: Piece) -> int:
    """Return the number of characters of a part, its names and the frame around it included."""
    count = _EXCERPT_BYTES // _BYTES_PER_CHARACTER + count_characters(part)
    match part:
        case Text():
            return count
        case Reasoning(_, title, signature):
            return count + len(title or "") + len(signature or "")
        case ToolCall(id, name) | ToolCallPiece(id, name) | ToolResult(id, name) | ToolResultPiece(id, name):
            return count + len(id) + len(name)
        case Source(id):
            return count + len(id)
        case File(media_type, _, _, title):
            return count + len(media_type) + len(title or "")
