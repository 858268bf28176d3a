"""What a wire dialect is to the code around it: how a request is built, and how its answer is read.

A dialect is a folder of this package: a `Dialect` that builds requests, and a `Parser` that turns the
payloads of events into chunks. Connections, timeouts and the kinds of failures are handled outside of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.sse import Payloads
from parley_daemon.ports.models import Chunk, ModelRequest


class InvalidRequestError(ValueError):
    """The dialect cannot express a request. The message says why, in a sentence for the user."""


class EmptyPromptError(InvalidRequestError):
    """The last message holds nothing that can be sent."""

    def __init__(self) -> None:
        super().__init__("There is nothing to send: the message holds no text and no file.")


class FramingError(ValueError):
    """The bytes do not follow the framing; the message says why. It must not be fed again."""


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request, ready to be posted. Its headers override the provider's; they are secrets.

    `renamed` has the names of tools that were changed: the declared names by the sent ones.
    """

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])


class Framing(Protocol):
    """Cuts network reads into payloads. SseParser is the default."""

    def feed(self, chunk: bytes) -> Payloads:
        """Take one read and return what it completed.

        Raises:
            EventTooLargeError: an event is larger than the limit.
            FramingError: the bytes do not follow the framing.
        """
        ...

    def close(self) -> Payloads:
        """Return what is left at the end of the stream.

        Raises:
            FramingError: the stream was cut in the middle of an event.
        """
        ...


class Parser(Protocol):
    """Parses one answer. It is fed after its end mark, too: text after the mark means that it was none."""

    @property
    def is_done(self) -> bool:
        """Whether the end mark has come, and nothing of the answer after it."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the end mark or a stop reason has come, and nothing of the answer after it."""
        ...

    def feed(self, payloads: Sequence[bytes]) -> None:
        """Take the payloads of one read.

        Raises:
            ModelError: one is not valid, or is an error.
        """
        ...

    def feed_document(self, body: bytes) -> bool:
        """Take a whole answer as one JSON document; False when it is not an answer.

        Raises:
            ModelError: it is an error.
        """
        ...

    def take(self) -> list[Chunk]:
        """Return what is new since the last call, with the texts of one part joined."""
        ...

    def finish(self) -> list[Chunk]:
        """Return the last chunks of a complete answer, with a Finish; when called again, only what is new."""
        ...


@runtime_checkable
class ItemParser(Protocol):
    """A parser of a dialect that marks each item of an answer as complete."""

    @property
    def is_whole(self) -> bool:
        """Whether all items are marked complete: then the answer is, even if the response just ends."""
        ...


@runtime_checkable
class DoubtfulParser(Protocol):
    """A parser of a dialect whose stop reason may come with the first text of an answer."""

    @property
    def is_doubtful(self) -> bool:
        """Whether it did: the event is a whole answer, or the server sends a reason with each event."""
        ...


class Dialect(Protocol):
    """How requests to one provider are built, and its answers read."""

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Return a request in the provider's format.

        Raises:
            InvalidRequestError: the provider's format cannot express it.
        """
        ...

    def parser(self, call: Call) -> Parser:
        """Return the parser of one answer."""
        ...

    def framing(self) -> Framing | None:
        """Return the framing of the answer; None: server-sent events, or one JSON document."""
        ...
