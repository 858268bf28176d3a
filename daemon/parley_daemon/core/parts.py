"""The parts of a message, whole and in pieces, and the rule that folds pieces into parts.

Pieces are what a model streams; a message is the fold of its pieces. The JSON of a part is its wire form.
"""

from collections.abc import Iterable
from typing import Any, Literal, assert_never

import msgspec
from msgspec.structs import replace

ToolOutcome = Literal["ok", "failed", "denied", "interrupted", "timed_out"]


class _PartBase(msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type", omit_defaults=True):
    """As JSON, a part has its `type` and no optional field that is None."""


class Text(_PartBase, frozen=True, gc=False, tag="text"):
    """Plain text (Markdown). As a piece: the new text only."""

    text: str


class Reasoning(_PartBase, frozen=True, gc=False, tag="reasoning"):
    """What the model thought. As a piece: the new text; title and signature once they are known."""

    text: str
    title: str | None = None
    signature: str | None = None


class ToolCall(_PartBase, frozen=True, gc=False, tag="tool-call"):
    """A finished request of the model to call a tool; `args` is any JSON value."""

    tool_call_id: str
    tool_name: str
    args: Any


class ToolCallPiece(_PartBase, frozen=True, gc=False, tag="tool-call"):
    """More of a tool call's arguments as JSON text."""

    tool_call_id: str
    tool_name: str
    args_delta: str


class ToolResult(_PartBase, frozen=True, gc=False, tag="tool-result"):
    """What a tool answered; `result` is any JSON value."""

    tool_call_id: str
    tool_name: str
    result: Any
    is_error: bool
    outcome: ToolOutcome


class Source(_PartBase, frozen=True, gc=False, tag="source"):
    """Something the answer rests on."""

    source_id: str
    url: str
    title: str
    text: str | None = None
    start_line: int | None = None
    end_line: int | None = None
    score: float | None = None


class File(_PartBase, frozen=True, gc=False, tag="file"):
    """A file in a message: `data` (base64) or `url`, never both."""

    media_type: str
    data: str | None = None
    url: str | None = None
    title: str | None = None


Part = Text | Reasoning | ToolCall | ToolResult | Source | File
Piece = Text | Reasoning | ToolCallPiece | ToolCall | ToolResult | Source | File


def weight(piece: Piece) -> int:
    """Return about how many characters a piece holds."""
    match piece:
        case Text(text) | Reasoning(text):
            return len(text)
        case ToolCall(args=value) | ToolResult(result=value):
            return len(str(value))
        case ToolCallPiece(args_delta=delta):
            return len(delta)
        case Source():
            return len(piece.url) + len(piece.title) + len(piece.text or "")
        case File():
            return len(piece.data or "") + len(piece.url or "")
        case _:
            assert_never(piece)


def merge(first: Piece, second: Piece) -> Piece | None:
    """Return one piece that says what both say, or None when they do not merge (protocol, "Fine print")."""
    match first, second:
        case Text(), Text():
            return Text(first.text + second.text)
        case Reasoning(), Reasoning():
            return Reasoning(
                first.text + second.text, second.title or first.title, second.signature or first.signature
            )
        case ToolCallPiece(), ToolCallPiece() if first.tool_call_id == second.tool_call_id:
            return replace(first, args_delta=first.args_delta + second.args_delta)
        case _:
            return None


def join(pieces: list[Piece]) -> Piece:
    """Merge pieces of one part that all merge with one another, in linear time."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    match first:
        case Text():
            return Text("".join([p.text for p in pieces if isinstance(p, Text)]))
        case Reasoning():
            same = [p for p in pieces if isinstance(p, Reasoning)]
            title = next((p.title for p in reversed(same) if p.title), None)
            signature = next((p.signature for p in reversed(same) if p.signature), None)
            return Reasoning("".join([p.text for p in same]), title, signature)
        case ToolCallPiece():
            return replace(
                first, args_delta="".join([p.args_delta for p in pieces if isinstance(p, ToolCallPiece)])
            )
        case _:
            raise ValueError(f"{type(first).__name__} pieces stand alone")


_RUN = 512


class _Open(msgspec.Struct, gc=False):
    """One part in the making: its pieces so far, older ones merged in runs so that they stay few."""

    pieces: list[Piece]
    runs: int = 0

    @property
    def signed(self) -> bool:
        """Whether it is reasoning whose end is there."""
        last = self.pieces[-1]
        return isinstance(last, Reasoning) and last.signature is not None

    def add(self, piece: Piece) -> None:
        """Take the next piece of the part."""
        pieces = self.pieces
        pieces.append(piece)
        if len(pieces) - self.runs > _RUN and not isinstance(piece, ToolCall):
            pieces[self.runs :] = [join(pieces[self.runs :])]
            self.runs += 1

    def merged(self) -> Piece:
        """Return all pieces as one."""
        whole = join(self.pieces)
        self.pieces[:] = [whole]
        self.runs = 1
        return whole


class Assembler:
    """Gives each piece of one message its part's index, and folds what came so far.

    Text after text goes to the same part, reasoning after reasoning too, unless that is signed: a signature
    vouches for what came before it. A tool call's pieces go to their own call's part, whatever came between;
    everything else opens a new part.
    """

    __slots__ = ("_calls", "_open")

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._calls: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, piece: Piece) -> int:
        """Take the next piece and return the index of the part that it belongs to."""
        if isinstance(piece, ToolCallPiece | ToolCall):
            index = self._calls.setdefault(piece.tool_call_id, len(self._open))
            if index == len(self._open):
                self._open.append(_Open([piece]))
            else:
                self._open[index].add(piece)
            if isinstance(piece, ToolCall):  # its part is finished: another call may have the same id
                del self._calls[piece.tool_call_id]
            return index
        if self._open:
            last = self._open[-1]
            same = isinstance(piece, Text | Reasoning) and type(last.pieces[0]) is type(piece)
            if same and not last.signed:
                last.add(piece)
                return len(self._open) - 1
        self._open.append(_Open([piece]))
        return len(self._open) - 1

    def parts(self) -> tuple[Part, ...]:
        """Return the parts as the pieces so far make them. A tool call without its arguments is left out."""
        return tuple([part for part in map(_fold, self._open) if part is not None])

    def pieces(self) -> tuple[tuple[int, Piece], ...]:
        """Return what came so far as one piece a part, each with its index: what a preview shows."""
        shown: list[tuple[int, Piece]] = []
        for index, slot in enumerate(self._open):
            last = slot.pieces[-1]
            shown.append((index, last if isinstance(last, ToolCall) else slot.merged()))
        return tuple(shown)


def _fold(slot: _Open) -> Part | None:
    last = slot.pieces[-1]
    match last:
        case ToolCall() | ToolResult() | Source() | File():
            return last
        case ToolCallPiece():
            return None
        case Text() | Reasoning():
            whole = slot.merged()
            assert isinstance(whole, Text | Reasoning)
            return whole
        case _:
            assert_never(last)


def fold(pieces: Iterable[Piece]) -> tuple[Part, ...]:
    """Return the parts that a message consists of when these pieces were streamed."""
    assembler = Assembler()
    for piece in pieces:
        assembler.add(piece)
    return assembler.parts()


def plain_text(parts: Iterable[Part]) -> str:
    """Return the text parts joined: what a person would copy."""
    return "".join([part.text for part in parts if isinstance(part, Text)])
