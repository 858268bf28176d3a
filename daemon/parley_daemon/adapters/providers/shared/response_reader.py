"""Reads the response to a model call: network reads in, chunks out.

Theory of operation. Sans-io: `feed` takes one read and returns the chunks in it; `end` is called once, at
the end of the response or after the end mark. A reader joins a framing (bytes to payloads) and a parser
(payloads to chunks). Without a framing of the dialect's own, the first byte that is not blank says what the
response is: "{" or "[" begins one JSON document, which is kept and parsed at the end, since the server does
not stream; "<" begins a web page, an error; anything else is server-sent events. Content types are not
reliable.

Errors do not lose what came before them: `feed` and `end` return the chunks before the error and set
`error`. The same holds where an answer is too large: the beginning of an event or a document that outgrows
the limit is completed to valid JSON (`complete_json`), so that its text is kept as far as it came.

An answer is complete (`is_complete`) when its stop reason has come; it is done (`is_done`) when the end mark
has come, and errors no longer count. Either is taken back when more of the answer comes, because some servers
send such marks early or with each event. So the response is read on: until it ends, or for a few seconds
(see `http_model`). An answer whose items are all marked complete is whole (`is_whole`) if the response ends
there. Any other end is an error, even when all of the text may have come: it cannot be known. A complete
answer with nothing but reasoning in it is an error, too, unless it reached a limit or was filtered.
"""

from collections.abc import Sequence
from contextlib import suppress

from msgspec.structs import replace

from parley_daemon.adapters.providers.http.error_bodies import page_text
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.lenient_json import complete_json
from parley_daemon.adapters.providers.http.sse import MAX_EVENT_BYTES, EventTooLargeError, Payloads, SseParser
from parley_daemon.adapters.providers.shared.dialect import (
    DoubtfulParser,
    Framing,
    FramingError,
    ItemParser,
    Parser,
)
from parley_daemon.adapters.providers.shared.piece_buffer import AnswerLimitError
from parley_daemon.core.parts import Reasoning, Source, Text
from parley_daemon.ports.models import (
    AnswerLimits,
    Chunk,
    EmptyAnswerError,
    Finish,
    ModelError,
    UsageReport,
)

_BLANK = b"\xef\xbb\xbf \t\r\n"
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # how their data begin


def max_event_bytes(limits: AnswerLimits) -> int:
    """Return how large one event, or a whole answer in one document, may be.

    A character may take three times its bytes when it is escaped.
    """
    return 3 * limits.size + 2**20


class ResponseReader:
    """One response. Once `error` is set, it must not be fed again.

    `may_be_empty`: an answer without content is no error. `pending` is the number of bytes that are kept for
    an event or a document that has not ended.
    """

    def __init__(
        self,
        call: Call,
        parser: Parser,
        framing: Framing | None = None,
        max_bytes: int = MAX_EVENT_BYTES,
        *,
        may_be_empty: bool = False,
    ) -> None:
        self.pending = 0
        self.error: ModelError | None = None
        self._call = call
        self._max = max_bytes
        self._parser = parser
        self._framing: Framing = framing or SseParser(max_bytes)
        self._head = b""  # what came before the first byte that is not blank
        self._is_recognised = framing is not None
        self._document: list[bytes] | None = None
        self._has_events = False
        self._has_answer = may_be_empty  # more than reasoning has come, or why there is nothing more
        self._has_thoughts = False

    @property
    def is_done(self) -> bool:
        """Whether the end mark has come, and nothing of the answer after it."""
        return self.error is None and self._parser.is_done

    @property
    def is_complete(self) -> bool:
        """Whether the answer is complete, as far as its marks can be trusted: only usage can follow."""
        return self._parser.is_complete

    @property
    def is_whole(self) -> bool:
        """Whether the answer is complete if its response ends now."""
        return self._parser.is_complete or (isinstance(self._parser, ItemParser) and self._parser.is_whole)

    @property
    def has_answer(self) -> bool:
        """Whether something of the answer has come. A stop reason before that is not the end."""
        return self._has_answer

    @property
    def is_doubtful(self) -> bool:
        """Whether the answer is complete only by a stop reason that came with its first text."""
        return not self.is_done and isinstance(self._parser, DoubtfulParser) and self._parser.is_doubtful

    def feed(self, data: bytes) -> list[Chunk]:
        """Take one network read and return its chunks; none when it is only a sign of life.

        When the answer fails in this read, `error` is set and the chunks before the failure are returned.
        """
        try:
            if not self._is_recognised:
                data = self._recognise(self._head + data)
            if self._document is not None:
                self._extend_document(self._document, data)
            elif self._is_recognised:
                self._feed_parser(self._framing.feed(data), len(data))
        except ModelError as error:
            self._fail(error)
        except EventTooLargeError as error:
            if self.is_done:  # it does not belong to the answer
                self._framing = _Ignored()
            else:
                self._feed_beginning(error.beginning)
        except AnswerLimitError as error:
            self.error = self._call.too_large(str(error))
        except FramingError as error:
            message = f"{self._call.provider} sent a stream that cannot be read; check base_url."
            self._fail(self._call.bad_stream(message, str(error)), framing=_Ignored())
        chunks = self._parser.take()
        if not self._has_answer:
            self._look_for_answer(chunks)
        return chunks

    def _fail(self, error: ModelError, framing: Framing | None = None) -> None:
        """Take an error. After the end mark it cannot spoil the answer."""
        self._framing = framing or self._framing
        if not self.is_done:
            self.error = error

    def finish(self) -> list[Chunk]:
        """Return the last chunks of an answer that is complete while its response goes on, with a Finish.

        It may be fed again, for usage. From the second call on there is usually nothing to return.
        """
        chunks = self._parser.finish()
        if not self._has_answer:
            self._look_for_answer(chunks)
        return chunks

    def _look_for_answer(self, chunks: Sequence[Chunk]) -> None:
        self._has_answer = any(map(_is_answer, chunks))
        self._has_thoughts = self._has_thoughts or any(isinstance(chunk, Reasoning) for chunk in chunks)

    def end(self) -> list[Chunk]:
        """Return the last chunks when the response has ended, with a Finish unless it was returned.

        When the answer is complete and empty, or turns out to be too large, `error` is set.

        Raises:
            ModelError: the answer is not complete.
        """
        try:
            return self._end()
        except AnswerLimitError as error:
            self.error = self._call.too_large(str(error))
            return self._parser.take()

    def _end(self) -> list[Chunk]:
        is_cut = False
        if self._document is not None:
            self._read_document(b"".join(self._document).strip(_BLANK))
        elif self.is_complete:
            with suppress(ModelError, FramingError):  # a broken event after the answer cannot spoil it
                self._feed_parser(self._framing.close())
        else:
            is_cut = not self._close_framing()
        if is_cut or not self.is_whole:
            message = f"{self._call.provider} closed the stream before the answer was complete."
            quoted = "" if self._has_events else self._head.decode("utf-8", "replace")
            raise self._call.bad_stream(message, quoted)
        chunks = self.finish()
        if not self._has_answer:
            self.error = self.empty_answer_error()
        return chunks

    def _close_framing(self) -> bool:
        """Take the last event. False: the response was cut in the middle of one."""
        try:
            self._feed_parser(self._framing.close())
        except FramingError:
            return False
        return True

    def empty_answer_error(self) -> ModelError:
        """Return why the turn fails if the response has ended and holds no answer."""
        model = f"{self._call.model} ({self._call.provider})"
        if self._has_thoughts:
            message = f"{model} returned only its reasoning and no answer. Ask again, or use another model."
            return ModelError(replace(self._call.bad_stream(message).failure, retryable=False))
        message = f"{model} returned nothing: the answer was empty. Ask again, or use another model."
        return EmptyAnswerError(self._call.bad_stream(message).failure)

    def _recognise(self, head: bytes) -> bytes:
        """Note by the first byte what the response is; return what is to be parsed."""
        self._head = head[:2000]
        start = head.lstrip(_BLANK)
        if start.startswith((b"{", b"[")):
            self._document = []
        elif start.startswith(b"<"):
            message = f"{self._call.shown_url} answers with a web page; check base_url."
            raise self._call.bad_stream(message, page_text(head))
        elif encoding := next((name for mark, name in _COMPRESSED.items() if head.startswith(mark)), None):
            raise self._call.compressed(encoding)
        elif not start:
            self._head = b""  # blanks are signs of life, however many there are
            return b""
        self._is_recognised = True
        return head

    def _extend_document(self, document: list[bytes], data: bytes) -> None:
        self.pending += len(data)
        document.append(data)
        if self.pending > self._max:
            raise EventTooLargeError(self._max, b"".join(document).strip(_BLANK))

    def _feed_beginning(self, beginning: bytes) -> None:
        """Take what has come of an event or a document that is too large."""
        self.error = self._call.too_large(f"is too large: one event has more than {self._max:,} bytes")
        whole = complete_json(beginning)
        if whole is not None:
            with suppress(ModelError, AnswerLimitError):
                if self._document is None:
                    self._parser.feed([whole])
                else:
                    self._parser.feed_document(whole)

    def _read_document(self, body: bytes) -> None:
        if not self._parser.feed_document(body):
            error = self._call.error_in_payload(body) or self._call.error_in_document(body)
            message = f"{self._call.provider} sent an answer in an unknown format; check base_url."
            raise error or self._call.bad_stream(message, body[:8000].decode("utf-8", "replace"))

    def _feed_parser(self, received: Payloads, size: int = 0) -> None:
        data = received.data
        self.pending = 0 if data or received.comments else self.pending + size
        self._has_events = self._has_events or bool(data)
        if "error" in received.names.values():
            at = next(at for at, name in received.names.items() if name == "error")
            self._parser.feed(data[:at])
            if not self.is_done:
                raise self._call.error_in_payload(data[at], is_error=True)
            return
        self._parser.feed(data)


class _Ignored:
    """The framing of what follows the end mark and cannot be read."""

    def feed(self, chunk: bytes) -> Payloads:
        """Ignore a read."""
        return Payloads([])

    def close(self) -> Payloads:
        """Return nothing."""
        return Payloads([])


def _is_answer(chunk: Chunk) -> bool:
    """Return whether a chunk shows that there is an answer, or why there is none."""
    match chunk:
        case Text():
            return not chunk.text.isspace()
        case Finish():
            return chunk.reason in ("length", "content_filter")
        case Reasoning() | Source() | UsageReport():
            return False
        case _:
            return True
