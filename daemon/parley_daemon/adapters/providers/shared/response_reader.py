"""Reads the response to a model call: its bytes in, chunks out.

Sans-io. The response is a stream of events, or one JSON document when the server does not stream. What the
events mean is the business of the dialect's fold.
"""

from contextlib import suppress

from parley_daemon.adapters.providers.http.error_bodies import page_text
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.sse import MAX_EVENT_BYTES, EventTooLargeError, Payloads, SseParser
from parley_daemon.adapters.providers.shared.dialect import Framing, FramingError, Parser
from parley_daemon.ports.models import Chunk, ModelError

_BLANK = b"\xef\xbb\xbf \t\r\n"
_LONGEST_BLANK = 64


class ResponseReader:
    """One response under way. Once `error` is set or `done` is true it must not be fed again.

    Without a framing it is told by its first byte what the response is.
    """

    def __init__(
        self, call: Call, fold: Parser, framing: Framing | None = None, max_bytes: int = MAX_EVENT_BYTES
    ) -> None:
        self.error: ModelError | None = None
        self._call = call
        self._max = max_bytes
        self._parser = fold
        self._framing: Framing = framing or SseParser(max_bytes)
        self._head = b""  # what came before the first byte that tells what this is
        self._recognised = framing is not None
        self._document: list[bytes] | None = None
        self._document_size = 0
        self._has_events = False

    @property
    def is_done(self) -> bool:
        """Whether the end mark has come."""
        return self._parser.is_done

    @property
    def is_complete(self) -> bool:
        """Whether the answer is whole: all that can follow is usage."""
        return self._parser.is_complete

    def feed(self, data: bytes) -> list[Chunk]:
        """Take one network read and return what it holds; nothing, when it is a mere sign of life.

        `error` is set when the answer fails in it: what is returned came before that.
        """
        try:
            if not self._recognised:
                data = self._recognise(self._head + data)
            if self._document is not None:
                self._keep(self._document, data)
            elif self._recognised:
                self._events(self._framing.feed(data))
        except ModelError as error:
            self.error = error
        except EventTooLargeError as error:
            self.error = self._call.bad_stream(
                f"{self._call.provider} sent an event that is too large.", str(error)
            )
        except FramingError as error:
            message = f"{self._call.provider} sent a stream that cannot be read; check base_url."
            self.error = self._call.bad_stream(message, str(error))
        return self._parser.take()

    def finish(self) -> list[Chunk]:
        """The answer is `finished`, and its response goes on: return its last chunks, a Finish at their end.

        It may be fed again, for usage; from the second call on there is nothing here, as a rule.
        """
        return self._parser.finish()

    def end(self) -> list[Chunk]:
        """The response has ended, or `done` is true: return the last chunks, with a Finish if none was told.

        Raises:
            ModelError: what came is not a whole answer.
        """
        if self._document is not None:
            self._read_document(b"".join(self._document).strip(_BLANK))
        elif self.is_complete:
            with suppress(ModelError):  # of usage, maybe, half an event: it cannot spoil the answer any more
                self._events(self._framing.close())
        else:
            self._events(self._framing.close())
        if not self.is_complete:
            message = f"{self._call.provider} closed the stream before the answer was complete."
            said = "" if self._has_events else self._head.decode("utf-8", "replace")
            raise self._call.bad_stream(message, said)
        return self._parser.finish()

    def _recognise(self, head: bytes) -> bytes:
        """Tell by the first byte what this is: content types do not say it reliably."""
        self._head = head[:2000]
        start = head.lstrip(_BLANK)
        if start.startswith((b"{", b"[")):
            self._document = []
        elif start.startswith(b"<"):
            message = f"{self._call.shown_url} answers with a web page; check base_url."
            raise self._call.bad_stream(message, page_text(head))
        elif not start and len(head) < _LONGEST_BLANK:
            return b""
        self._recognised = True
        return head

    def _keep(self, document: list[bytes], data: bytes) -> None:
        self._document_size += len(data)
        if self._document_size > self._max:
            raise self._call.bad_stream(f"{self._call.provider} sent an answer that is too large.")
        document.append(data)

    def _read_document(self, body: bytes) -> None:
        if not self._parser.feed_document(body):
            error = self._call.error_in_payload(body) or self._call.error_in_document(body)
            message = f"{self._call.provider} answered with something that is no answer of a chat model."
            raise error or self._call.bad_stream(message, body[:8000].decode("utf-8", "replace"))

    def _events(self, received: Payloads) -> None:
        data = received.data
        self._has_events = self._has_events or bool(data)
        if "error" in received.names.values():
            at = next(at for at, name in received.names.items() if name == "error")
            self._parser.feed(data[:at])
            if not self.is_done:
                raise self._call.error_in_payload(data[at], certainly=True)
            return
        self._parser.feed(data)
