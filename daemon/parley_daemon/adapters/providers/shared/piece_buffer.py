"""Joins the texts of one network read: the texts of one run become one piece.

A run is the text of the answer, its reasoning, or the arguments of one tool call. `append` adds a text to a
run; a text of another run ends the run before. `take` returns the pieces since the last call. When lone
surrogates may occur, half a character at the end of a piece is kept until its other half comes.

A parser calls `end` at a mark that ends the answer. From then on there is no run, until more of the answer
comes after all: then the mark was none, and the answer goes on (`has_ended` is false again). Blank text is
kept, but proves nothing. Since a run must be compared before a text is added to it directly, this costs the
usual text nothing.

What one read may lead to is bounded: a server that sends a hundred thousand tool calls in one event must not
be followed to the end (`AnswerLimitError`). The limits on a whole answer are enforced by the engine.

`ThinkTag` separates reasoning and answer where a model writes both as one text.
"""

from typing import cast

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import replace_surrogates
from parley_daemon.core.nesting import is_too_deep
from parley_daemon.core.parts import Piece, Reasoning, Text, ToolCall, ToolCallPiece
from parley_daemon.ports.models import AnswerLimits

MAX_CALLS = AnswerLimits().calls
"""Tool calls in one answer."""

_MAX_PIECES = 10_000
"""Pieces in one read; an answer has at most 2,000 parts."""

_MAX_BLANKS = 1024
"""Blanks at the beginning that are kept while they may be followed by a tag."""


class AnswerLimitError(Exception):
    """The answer is larger than is accepted. The message completes "The answer of x …"."""


class OpenCall(msgspec.Struct, eq=False, gc=False):
    """A tool call whose arguments are still coming."""

    id: str
    name: str
    arguments: list[str] = []
    is_counted: bool = False

    @property
    def args(self) -> object:
        """The complete arguments, parsed; the text itself when it is not JSON, or nested too deep."""
        text = "".join(self.arguments)
        try:
            args = cast("object", msgspec.json.decode(text.strip() or "{}"))
        except (ValueError, RecursionError):
            return text
        return text if is_too_deep(args) else args


Run = type[Text] | type[Reasoning] | OpenCall


class PieceBuffer:
    """Texts in, pieces out. Texts of one run between two calls of `take` are joined.

    Every method that adds something raises AnswerLimitError when the answer becomes too large.
    """

    __slots__ = ("_calls", "_half_characters", "_pieces", "_signature", "has_surrogates", "run", "texts")

    def __init__(self) -> None:
        self.run: Run | None = Text  # None: the answer has ended
        self.texts: list[str] = []  # of the current run; parsers append here directly on the hot path
        self.has_surrogates = False  # set from the first text on that may hold a lone surrogate
        self._signature: str | None = None
        self._half_characters: dict[Run, str] = {}
        self._pieces: list[Piece] = []
        self._calls = 0

    @property
    def has_ended(self) -> bool:
        """Whether a mark has ended the answer, and nothing of it came after the mark."""
        return self.run is None

    def end(self) -> None:
        """Note a mark that ends the answer."""
        self._close()
        self.run = None

    def append(self, run: Run, text: str) -> None:
        """Add a text to a run."""
        if run is not self.run:
            self._close()
            if isinstance(run, OpenCall) and not run.is_counted:
                self._count_call()
                run.is_counted = True
            elif self.run is None and not text.strip():
                self._append_closed(run, text)
                return
            self.run = run
        self.texts.append(text)

    def sign(self, signature: str) -> None:
        """Sign the reasoning so far. Reasoning after it is another part."""
        if self.run is not Reasoning:
            self._close()
        self._signature = replace_surrogates(signature)
        if self.run is None:
            self._append_closed(Reasoning, "")
            return
        self.run = Reasoning
        self.texts.append("")
        self._close()

    def add(self, piece: Piece) -> None:
        """Add a piece that is complete by itself."""
        self._close()
        if isinstance(piece, ToolCall):
            self._count_call()
        self.run = self.run or Text
        self._pieces.append(piece)

    def finish_call(self, call: OpenCall, arguments: str = "") -> None:
        """Complete a call. `arguments` are used when none have streamed."""
        self._close()
        if not any(call.arguments):
            self.append(call, arguments)
            self._close()
        self._half_characters.pop(call, None)  # half a character at the end: then it is not JSON anyway
        self._pieces.append(ToolCall(call.id, call.name, call.args))

    def arguments(self, call: OpenCall) -> str:
        """Return the arguments of a call that have come so far."""
        call.arguments[:] = ["".join(call.arguments)]
        return "".join([*call.arguments, *(self.texts if self.run is call else ())])

    def take(self) -> list[Piece]:
        """Return the pieces since the last call."""
        self._close()
        pieces, self._pieces = self._pieces, []
        return pieces

    def flush(self) -> list[Piece]:
        """Return the last pieces. Half a character whose other half never came is replaced."""
        self._close()
        run_before = self.run
        for run, half_character in list(self._half_characters.items()):
            self._half_characters[run] = ""
            self._append_closed(run, replace_surrogates(half_character))
        self.run = run_before
        return self.take()

    def _count_call(self) -> None:
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise AnswerLimitError(f"has more than {MAX_CALLS} tool calls")

    def _append_closed(self, run: Run, text: str) -> None:
        """Add a text to a run, close it, and return to the run before."""
        run_before, self.run = self.run, run
        self.texts.append(text)
        self._close()
        self.run = run_before

    def _close(self) -> None:
        texts, run = self.texts, self.run
        if not texts or run is None:
            return
        if len(self._pieces) >= _MAX_PIECES:
            texts.clear()
            raise AnswerLimitError("has too many parts")
        text = texts[0] if len(texts) == 1 else "".join(texts)
        texts.clear()
        if self.has_surrogates:
            text = self._join_split_character(run, text)
        signature, self._signature = self._signature, None
        if run is Text:
            if text:
                self._pieces.append(Text(text))
        elif run is Reasoning:
            if text or signature:
                self._pieces.append(Reasoning(text, None, signature))
        elif isinstance(run, OpenCall):
            run.arguments.append(text)
            self._pieces.append(ToolCallPiece(run.id, run.name, text))

    def _join_split_character(self, run: Run, text: str) -> str:
        text = self._half_characters.pop(run, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._half_characters[run] = text[-1]
            text = text[:-1]
        return replace_surrogates(text)


class ThinkTag:
    """Separates reasoning and answer of a model that writes `<think>…</think>` before its answer.

    A closing tag alone at the start is dropped: the reasoning came in another field, or there is none. When
    only the end of the reasoning is marked, the reasoning stays text: it was sent on before its end came.
    """

    __slots__ = ("_held", "_state")

    OPEN, CLOSE = "<think>", "</think>"
    _FIRST = ((OPEN, "thoughts"), (CLOSE, "gap"))

    def __init__(self) -> None:
        self._state = "start"
        self._held: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything that follows belongs to the answer."""
        return self._state == "answer"

    def split(self, text: str) -> tuple[str, str]:
        """Return (reasoning, answer) in the next text. What may be the start of a tag is kept for later."""
        text = self._held + text
        self._held = ""
        thoughts = ""
        if self._state == "start":
            stripped = text.lstrip()
            for tag, state in self._FIRST:
                if stripped.startswith(tag):
                    self._state = state
                    text = stripped.removeprefix(tag)
                    break
                if tag.startswith(stripped) and len(text) < _MAX_BLANKS:  # also when nothing is left
                    self._held = text
                    return "", ""
            else:
                self._state = "answer"
                return "", text
        if self._state == "thoughts":
            thoughts, closed, text = text.partition(self.CLOSE)
            if not closed:
                kept = self._tag_start_length(thoughts)
                self._held = thoughts[len(thoughts) - kept :]
                return thoughts[: len(thoughts) - kept], ""
            self._state = "gap"
        if self._state == "gap":  # the blank lines between thoughts and answer belong to neither
            text = text.lstrip()
            if text:
                self._state = "answer"
        return thoughts, text

    def end(self) -> tuple[str, str]:
        """Return what was kept, at the end."""
        held, self._held = self._held, ""
        return (held, "") if self._state == "thoughts" else ("", held)

    def _tag_start_length(self, text: str) -> int:
        """Return how many characters at the end may be the beginning of the closing tag."""
        longest = min(len(self.CLOSE) - 1, len(text))
        return next((n for n in range(longest, 0, -1) if text.endswith(self.CLOSE[:n])), 0)
