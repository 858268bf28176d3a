"""The parts of a message, the pieces that a model streams, and the fold, which joins pieces into parts.

The JSON of a part is its form on the wire.
"""

from collections.abc import Iterable
from typing import Any, Literal, assert_never

import msgspec
from msgspec.structs import replace

ToolOutcome = Literal["ok", "failed", "denied", "interrupted", "timed_out"]


class _PartBase(msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type", omit_defaults=True):
    """As JSON, a part has a `type`, and no optional field that is None."""


class Text(_PartBase, frozen=True, gc=False, tag="text"):
    """Text in Markdown. As a piece: only the new text."""

    text: str


class Reasoning(_PartBase, frozen=True, gc=False, tag="reasoning"):
    """Reasoning of the model. As a piece: only the new text, and title and signature once they are known.

    `signature` is the provider's proof that the text is unchanged. Some providers require it in later
    requests.
    """

    text: str
    title: str | None = None
    signature: str | None = None


class ToolCall(_PartBase, frozen=True, gc=False, tag="tool-call"):
    """A complete request of the model to call a tool. `args` is any JSON value."""

    tool_call_id: str
    tool_name: str
    args: Any


class ToolCallPiece(_PartBase, frozen=True, gc=False, tag="tool-call"):
    """A piece of the arguments of a tool call, as JSON text."""

    tool_call_id: str
    tool_name: str
    args_delta: str


class ToolResult(_PartBase, frozen=True, gc=False, tag="tool-result"):
    """The result of a tool call. `result` is any JSON value."""

    tool_call_id: str
    tool_name: str
    result: Any
    is_error: bool
    outcome: ToolOutcome


class ToolResultPiece(_PartBase, frozen=True, gc=False, tag="tool-result"):
    """A piece of the output of a running tool, as text. The complete result replaces all of them."""

    tool_call_id: str
    tool_name: str
    result_delta: str


SourceOrigin = Literal["reference", "retrieval", "tool"]
"""How a source came into a chat: a person named it, the question was searched for, or a tool found it."""


class Source(_PartBase, frozen=True, gc=False, tag="source"):
    """A source that the answer is based on.

    `content_hash` is that of the whole file that a passage was taken from. `origin` None: a provider gave it.
    """

    source_id: str
    url: str
    title: str
    text: str | None = None
    start_line: int | None = None
    end_line: int | None = None
    score: float | None = None
    content_hash: str | None = None
    origin: SourceOrigin | None = None


class File(_PartBase, frozen=True, gc=False, tag="file"):
    """A file in a message. It has either `data` (base64) or `url`."""

    media_type: str
    data: str | None = None
    url: str | None = None
    title: str | None = None


Part = Text | Reasoning | ToolCall | ToolResult | Source | File
Piece = Text | Reasoning | ToolCallPiece | ToolCall | ToolResultPiece | ToolResult | Source | File


def count_characters(piece: Piece) -> int:
    """Return the approximate number of characters in a piece."""
    match piece:
        case Text(text) | Reasoning(text):
            return len(text)
        case ToolCall(args=value) | ToolResult(result=value):
            return len(str(value))
        case ToolCallPiece(args_delta=delta) | ToolResultPiece(result_delta=delta):
            return len(delta)
        case Source():
            return len(piece.url) + len(piece.title) + len(piece.text or "")
        case File():
            return len(piece.data or "") + len(piece.url or "")
        case _:
            assert_never(piece)


def merge(first: Piece, second: Piece) -> Piece | None:
    """Return both pieces as one. None: they cannot be merged (see "Fine print" in protocol/README.md)."""
    match first, second:
        case Text(), Text():
            return Text(first.text + second.text)
        case Reasoning(), Reasoning():
            return Reasoning(
                first.text + second.text, second.title or first.title, second.signature or first.signature
            )
        case ToolCallPiece(), ToolCallPiece() if first.tool_call_id == second.tool_call_id:
            return replace(first, args_delta=first.args_delta + second.args_delta)
        case ToolResultPiece(), ToolResultPiece() if first.tool_call_id == second.tool_call_id:
            return replace(first, result_delta=first.result_delta + second.result_delta)
        case _:
            return None


def join(pieces: list[Piece]) -> Piece:
    """Merge pieces of one part in linear time.

    Raises:
        ValueError: there are several pieces of a kind that cannot be merged.
    """
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
        case ToolResultPiece():
            same = [p.result_delta for p in pieces if isinstance(p, ToolResultPiece)]
            return replace(first, result_delta="".join(same))
        case _:
            raise ValueError(f"{type(first).__name__} pieces stand alone")


MERGEABLE = Text | Reasoning | ToolCallPiece | ToolResultPiece
"""The pieces of which several in a row can be joined. `isinstance` takes it."""


_RUN = 512


class _Open(msgspec.Struct, gc=False):
    """A part in progress: its pieces so far. Older pieces are merged in runs, so that there are few."""

    pieces: list[Piece]
    runs: int = 0

    @property
    def signed(self) -> bool:
        """Whether it is reasoning with its signature, which ends it."""
        last = self.pieces[-1]
        return isinstance(last, Reasoning) and last.signature is not None

    def add(self, piece: Piece) -> None:
        """Add the next piece of the part."""
        pieces = self.pieces
        pieces.append(piece)
        if len(pieces) - self.runs > _RUN and not isinstance(piece, ToolCall | ToolResult):
            pieces[self.runs :] = [join(pieces[self.runs :])]
            self.runs += 1

    def merge(self) -> Piece:
        """Merge all pieces into one, and return it."""
        whole = join(self.pieces)
        self.pieces[:] = [whole]
        self.runs = 1
        return whole


class Assembler:
    """Assigns each piece of one message to a part, and folds the pieces so far.

    Text that follows text belongs to the same part. So does reasoning that follows reasoning, unless the part
    has a signature: a signature ends a part. The pieces of a tool call, and those of a tool result, belong to
    the part of their call, even if other pieces came in between. Every other piece begins a new part.
    """

    __slots__ = ("_calls", "_open", "_results")

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._calls: dict[str, int] = {}
        self._results: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, piece: Piece) -> int:
        """Add the next piece, and return the index of its part."""
        if isinstance(piece, ToolCallPiece | ToolCall | ToolResultPiece | ToolResult):
            begun = self._calls if isinstance(piece, ToolCallPiece | ToolCall) else self._results
            index = begun.setdefault(piece.tool_call_id, len(self._open))
            if index == len(self._open):
                self._open.append(_Open([piece]))
            else:
                self._open[index].add(piece)
            if isinstance(piece, ToolCall | ToolResult):  # finished: another call may have the same id
                del begun[piece.tool_call_id]
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
        """Return the fold of the pieces so far. Incomplete tool calls and results are left out."""
        return tuple([part for part in map(_fold, self._open) if part is not None])

    def pieces(self) -> tuple[tuple[int, Piece], ...]:
        """Return one merged piece for each part so far, with the part's index: the content of a preview."""
        shown: list[tuple[int, Piece]] = []
        for index, slot in enumerate(self._open):
            last = slot.pieces[-1]
            shown.append((index, last if isinstance(last, ToolCall | ToolResult) else slot.merge()))
        return tuple(shown)


def _fold(slot: _Open) -> Part | None:
    last = slot.pieces[-1]
    match last:
        case ToolCall() | ToolResult() | Source() | File():
            return last
        case ToolCallPiece() | ToolResultPiece():
            return None
        case Text() | Reasoning():
            whole = slot.merge()
            assert isinstance(whole, Text | Reasoning)
            return whole
        case _:
            assert_never(last)


def fold(pieces: Iterable[Piece]) -> tuple[Part, ...]:
    """Return the parts of a message, given its streamed pieces."""
    assembler = Assembler()
    for piece in pieces:
        assembler.add(piece)
    return assembler.parts()


def plain_text(parts: Iterable[Part]) -> str:
    """Return the text parts, joined."""
    return "".join([part.text for part in parts if isinstance(part, Text)])
