"""What a wire dialect is to the code that speaks it: how a question is put, how an answer is read.

A dialect is a module or two in this package: a `Dialect` that builds requests, a `Parser` that turns the
payloads of events into chunks. Connections, framing, limits and failures are not its business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.sse import Payloads
from parley_daemon.ports.models import Chunk, ModelRequest


class InvalidRequestError(ValueError):
    """A request that the dialect cannot put; the message says why in a sentence for the person who asks."""


class EmptyPromptError(InvalidRequestError):
    """The message to answer holds nothing that can be sent."""

    def __init__(self) -> None:
        super().__init__("There is nothing to send: the message holds no text and no file.")


class FramingError(ValueError):
    """What came does not keep to the framing, says the message. It must not be fed again."""


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request ready to be posted. Its headers go over the provider's and are as secret as a key."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


class Framing(Protocol):
    """Cuts what the network brings into payloads; SseParser is the usual one."""

    def feed(self, chunk: bytes) -> Payloads:
        """Take one read and return what it completed. Raises EventTooLargeError and FramingError."""
        ...

    def close(self) -> Payloads:
        """The stream has ended: return what was left."""
        ...


class Parser(Protocol):
    """One answer in the making."""

    @property
    def is_done(self) -> bool:
        """Whether the end mark has come: nothing follows."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the answer is whole: all that can follow is usage."""
        ...

    def feed(self, payloads: Sequence[bytes]) -> None:
        """Take the payloads of one read.

        Raises:
            ModelError: one is not valid, or is an error.
        """
        ...

    def feed_document(self, body: bytes) -> bool:
        """Take the whole answer as one JSON document; False when it is none.

        Raises:
            ModelError: it is an error.
        """
        ...

    def take(self) -> list[Chunk]:
        """Return what has come since the last call, neighbours of one part joined."""
        ...

    def finish(self) -> list[Chunk]:
        """Return the last chunks of a finished answer with a Finish; when called again, only what is new."""
        ...


class Dialect(Protocol):
    """How one provider is spoken to."""

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Put a request into the provider's words.

        Raises:
            InvalidRequestError: that cannot be done.
        """
        ...

    def parser(self, call: Call) -> Parser:
        """Return a reader for one answer."""
        ...

    def framing(self) -> Framing | None:
        """Return how the answer's bytes are cut; None: server-sent events, or one JSON document."""
        ...
