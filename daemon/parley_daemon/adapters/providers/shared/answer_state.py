"""The state of one answer that every parser keeps: pieces, sources, usage, and the reason of its end.

Theory of operation. A parser adds to the state while it reads events. `take` returns what is new since the
last call, once per network read: texts of one part are joined (`piece_buffer`), and usage is reported only
when it has changed. `finish` returns what must wait for the end: the sources, numbered in order, since the
text of the answer is one part and a source would split it; then open tool calls; then the Finish. `finish`
may be called again when usage or sources follow, and returns only what is new. When more of the answer
followed, the Finish before was none, and there is another one.
"""

from collections.abc import Sequence
from typing import TypeVar

from msgspec.structs import replace

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.lenient_json import decode_lenient
from parley_daemon.adapters.providers.shared.piece_buffer import AnswerLimitError, PieceBuffer
from parley_daemon.core.parts import Source
from parley_daemon.core.records import Usage
from parley_daemon.ports.models import Chunk, Finish, StopReason, UsageReport

MAX_SOURCES = 1_000
"""Sources of one answer, which are kept until its end."""

_MAX_SOURCE_CHARACTERS = 8 * 2**20  # of all of them together

_T = TypeVar("_T")


class AnswerState:
    """The state of one answer. `usage` is the newest that is known."""

    __slots__ = ("_call", "_cited", "_finish", "_reported", "_source_size", "_sources", "pieces", "usage")

    def __init__(self, call: Call) -> None:
        self.pieces = PieceBuffer()
        self.usage: Usage | None = None
        self._call = call
        self._reported: Usage | None = None
        self._sources: dict[str, Source] = {}
        self._source_size = 0
        self._cited = 0  # how many sources were returned
        self._finish: Finish | None = None

    def decode(self, payload: bytes, shape: type[_T]) -> _T | None:
        """Decode an event that the strict decoder refused; None: it is a sign of life.

        Raises:
            ModelError: it is an error, or not an event.
        """
        text = payload.strip()
        if not text:
            return None
        try:
            event = decode_lenient(text, shape)
        except ValueError as error:
            if (reported := self._call.error_in_payload(text)) is not None:  # an error in a list, for one
                raise reported from error
            message = f"{self._call.provider} sent an event that is not valid."
            raise self._call.bad_stream(message, text[:8000].decode("utf-8", "replace")) from error
        self.pieces.has_surrogates = True
        return event

    def add_source(self, source: Source | None) -> None:
        """Add a source, unless there is one with its URL. It is numbered when it is returned.

        Raises:
            AnswerLimitError: there are too many, or they are too large.
        """
        if source is not None:
            existing = self._sources.get(source.url)
            if existing is None or (existing.text is None and source.text is not None):
                self._sources[source.url] = source
                self._source_size += len(source.url) + len(source.title) + len(source.text or "")
                if len(self._sources) > MAX_SOURCES or self._source_size > _MAX_SOURCE_CHARACTERS:
                    raise AnswerLimitError(f"has more than {MAX_SOURCES:,} sources, or sources too large")

    def take(self) -> list[Chunk]:
        """Return what is new since the last call, with the texts of one part joined."""
        chunks: list[Chunk] = [*self.pieces.take()]
        if chunks and self._finish is not None:
            self._finish = None  # the answer went on behind its Finish
        usage = self.usage
        if usage is not self._reported:  # quick: it is nearly always the one that was reported
            if usage is not None and usage != self._reported:
                chunks.append(UsageReport(usage))
            self._reported = usage
        return chunks

    def finish(self, reason: StopReason, calls: Sequence[Chunk] = (), *, has_calls: bool) -> list[Chunk]:
        """Return the last chunks of a complete answer, with a Finish; when called again, only what is new.

        `calls` are the complete tool calls that were not returned before.
        """
        sources = list(self._sources.values())
        numbered = [replace(source, source_id=str(n + 1)) for n, source in enumerate(sources)][self._cited :]
        self._cited = len(sources)
        last = self.pieces.flush()
        if last or calls:
            self._finish = None
        chunks = [*last, *self.take(), *numbered, *calls]
        self.pieces.end()
        finish = Finish("tool_calls" if has_calls and reason == "stop" else reason)
        if finish != self._finish:
            self._finish = finish
            chunks.append(finish)
        return chunks
