"""What has come of one answer, and how much of it was told: pieces, sources, usage and the reason of its end.

Every fold keeps one. Knows no dialect.
"""

from collections.abc import Sequence
from typing import TypeVar

from msgspec.structs import replace

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.lenient_json import decode_lenient
from parley_daemon.adapters.providers.shared.piece_buffer import PieceBuffer
from parley_daemon.core.parts import Source
from parley_daemon.core.records import Usage
from parley_daemon.ports.models import Chunk, Finish, StopReason, UsageReport

_T = TypeVar("_T")


class AnswerState:
    """One answer in the making. `usage` is the newest that is known of it."""

    __slots__ = ("_call", "_cited", "_finish", "_reported", "_sources", "pieces", "usage")

    def __init__(self, call: Call) -> None:
        self.pieces = PieceBuffer()
        self.usage: Usage | None = None
        self._call = call
        self._reported: Usage | None = None
        self._sources: dict[str, Source] = {}
        self._cited = 0  # how many sources were told
        self._finish: Finish | None = None

    def decode(self, payload: bytes, kind: type[_T]) -> _T | None:
        """Decode an event that the quick decoder refused; None when it is a sign of life.

        Raises:
            ModelError: it is no event.
        """
        text = payload.strip()
        if not text:
            return None
        try:
            event = decode_lenient(text, kind)
        except ValueError as error:
            message = f"{self._call.provider} sent an event that is not valid."
            raise self._call.bad_stream(message, text[:8000].decode("utf-8", "replace")) from error
        self.pieces.has_surrogates = True
        return event

    def add_source(self, source: Source | None) -> None:
        """Add a source, unless it is there already; its number is given when it is told."""
        if source is not None:
            known = self._sources.get(source.url)
            if known is None or (known.text is None and source.text is not None):
                self._sources[source.url] = source

    def take(self) -> list[Chunk]:
        """Return what has come since the last call, neighbours of one part joined."""
        chunks: list[Chunk] = [*self.pieces.take()]
        usage = self.usage
        if usage is not self._reported:  # quick, as it nearly always is the one that was told
            if usage is not None and usage != self._reported:
                chunks.append(UsageReport(usage))
            self._reported = usage
        return chunks

    def finish(self, reason: StopReason, calls: Sequence[Chunk] = (), *, has_calls: bool) -> list[Chunk]:
        """Return the last chunks of a finished answer with a Finish; when called again, only what is new.

        Sources come here and not when they are named, since the answer's text is one part. `calls` are the
        tool calls that were not told before.
        """
        sources = list(self._sources.values())
        named = [replace(source, source_id=str(n + 1)) for n, source in enumerate(sources)][self._cited :]
        self._cited = len(sources)
        chunks = [*self.pieces.flush(), *self.take(), *named, *calls]
        finish = Finish("tool_calls" if has_calls and reason == "stop" else reason)
        if finish != self._finish:
            self._finish = finish
            chunks.append(finish)
        return chunks
