"""Measures an answer while it streams, and ends it at the limits of `AnswerLimits`.

Theory of operation. Whatever a model is behind (a server, a package that brings a provider, the demo), its
pieces pass here before anything keeps them, so nothing of an answer is unbounded. A text that crosses the
limit is cut there, and its beginning is kept. Everything costs the same per piece, however many came before.

A piece of text may be as large as an answer, if a server sends all of it at once. It is divided
(`PIECE_CHARACTERS`), so that no event to a client is large, and others get their turn in between.
"""

from collections.abc import Iterator, Sequence
from typing import assert_never

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
)
from parley_daemon.core.records import Failure
from parley_daemon.ports.models import AnswerLimits

PIECE_CHARACTERS = 128 * 1024
"""The longest piece of text that is passed on. Escaped in JSON, a character takes up to 6 bytes."""

_MIB = 2**20
_USUAL_NAME = 1024


def count_bytes(text: str) -> int:
    """Return the length of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class AnswerMeter:
    """The size of one answer so far.

    Attributes:
        exceeded: which limit was crossed; None: none.
        is_long: whether the last piece is to be divided.
    """

    __slots__ = ("_call_sizes", "_calls", "_limits", "_size", "exceeded", "is_long")

    def __init__(self, limits: AnswerLimits) -> None:
        self.exceeded: str | None = None
        self.is_long = False
        self._limits = limits
        self._size = 0
        self._calls = 0
        self._call_sizes: dict[str, int] = {}  # of the calls whose arguments are still coming

    def admit(self, piece: Piece) -> Piece | None:
        """Count a piece; return what is kept of it. None: nothing, and `exceeded` is set.

        Once `exceeded` is set, nothing more may be admitted.
        """
        match piece:
            case Text(text):
                size = count_bytes(text)
            case Reasoning(text, _, signature):
                size = count_bytes(text) + len(signature or "")
            case ToolCallPiece() | ToolCall():
                return self._admit_call(piece)
            case _:
                size = _size_of(piece)
        room = self._limits.size - self._size
        self.is_long = size > PIECE_CHARACTERS
        if size <= room:
            self._size += size
            return piece
        self.exceeded = self._too_large
        if isinstance(piece, Text | Reasoning) and room > 0:
            beginning = piece.text.encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
            return replace(piece, text=beginning) if beginning else None
        return None

    def count_part(self, index: int) -> None:
        """Note the index of the part that the last piece went to."""
        if index >= self._limits.parts:
            self.exceeded = f"has more than {self._limits.parts:,} parts"

    def failure(self, provider: str) -> Failure:
        """Return why the answer was ended. Call it only when `exceeded` is set."""
        message = f"The answer of {provider} {self.exceeded}. What came before is kept."
        return Failure("limit", message, provider=provider)

    @property
    def _too_large(self) -> str:
        limit = _amount(self._limits.size)
        return f"is larger than {limit}, the limit that answer_mib in the configuration sets"

    def _admit_call(self, piece: ToolCallPiece | ToolCall) -> Piece | None:
        id = piece.tool_call_id
        streamed = self._call_sizes.get(id)
        if streamed is None:
            self._calls += 1
            if self._calls > self._limits.calls:
                self.exceeded = f"has more than {self._limits.calls} tool calls"
                return None
        if isinstance(piece, ToolCallPiece):
            size = count_bytes(piece.args_delta)
        elif streamed is None:
            size = len(msgspec.json.encode(piece.args))
        else:
            size = 0  # its arguments have come in pieces
        size += max(0, len(id) + len(piece.tool_name) - _USUAL_NAME)  # they are sent with every piece
        total = (streamed or 0) + size
        self.is_long = size > PIECE_CHARACTERS
        if total > self._limits.call_size:
            self.exceeded = f"has a tool call with arguments larger than {_amount(self._limits.call_size)}"
            return None
        self._size += size
        if self._size > self._limits.size:
            self.exceeded = self._too_large
            return None
        if isinstance(piece, ToolCall):
            self._call_sizes.pop(id, None)
        else:
            self._call_sizes[id] = total
        return piece


def divide(piece: Piece) -> Iterator[Piece]:
    """Return a piece as pieces of at most PIECE_CHARACTERS; the last has title and signature."""
    match piece:
        case Text(text) if len(text) > PIECE_CHARACTERS:
            yield from map(Text, _cut(text))
        case Reasoning(text, title, signature) if len(text) > PIECE_CHARACTERS:
            *first, last = _cut(text)
            yield from map(Reasoning, first)
            yield Reasoning(last, title, signature)
        case ToolCallPiece(id, name, delta) if len(delta) > PIECE_CHARACTERS:
            yield from [ToolCallPiece(id, name, each) for each in _cut(delta)]
        case _:
            yield piece


def _cut(text: str) -> Sequence[str]:
    return [text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS)]


def _size_of(piece: ToolResult | ToolResultPiece | Source | File) -> int:
    match piece:
        case ToolResultPiece(result_delta=delta):
            return count_bytes(delta)
        case ToolResult(result=result):
            return len(msgspec.json.encode(result))
        case Source(url=url, title=title, text=text):
            return count_bytes(url) + count_bytes(title) + count_bytes(text or "")
        case File(media_type, data, url, title):
            return len(media_type) + len(data or "") + len(url or "") + count_bytes(title or "")
        case _:
            assert_never(piece)


def _amount(size: int) -> str:
    return f"{size / _MIB:g} MiB" if size >= _MIB // 8 else f"{size:,} bytes"
