"""One turn as it happens: an async iterator of its events that ends with it, and one of its text."""

import threading
from collections import deque
from typing import TYPE_CHECKING

import anyio

from parley_clients.connection.reconnect import Link
from parley_clients.errors import ParleyError, RequestCancelledError
from parley_clients.results import Answer, Event
from parley_clients.streaming.text_stream import TextStream
from parley_clients.streaming.turn_request import Run
from parley_protocol.errors import ErrorCode

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class TurnStream:
    """The events of one turn, ending with `turn_ended`; made by `Chat.stream`, `stream_edit`, `stream_retry`.

    The request is sent by `async with`, or when the first event is asked for. Leaving the loop early, by
    `break`, an exception or cancellation, interrupts the turn, or takes the message back when it still waits
    in the queue. With `async with` this does not rely on garbage collection.

    When the consumer is slow, adjacent pieces of text come merged. When more than 16 MiB wait all the same,
    iterating ends with SlowConsumerError, and the turn goes on.
    """

    def __init__(self, link: Link, run: Run) -> None:
        self._link = link
        self._run = run
        self._begun = False
        self._events: deque[Event] = deque()
        self._thread = threading.get_ident()

    @property
    def answer(self) -> Answer | None:
        """What the turn came to, once the stream has ended; None before, or when the turn never began."""
        return self._run.answer

    @property
    def client_message_id(self) -> str | None:
        """The id under which the same message may safely be sent again; None for an edit or a retry."""
        return self._run.client_message_id

    async def batch(self, timeout: float | None = None) -> list[Event]:
        """Return all events that are there, at least one; [] when the stream has ended.

        Raises:
            ParleyError: the request failed, or the connection was lost.
            TimeoutError: nothing came within `timeout` seconds; the stream goes on.
        """
        if self._events:
            events, self._events = list(self._events), deque()
            return events
        try:
            with anyio.fail_after(timeout):
                await self._begin()
                return [Event(raw) for raw in await self._run.box.batch()]
        except ParleyError as error:
            error.client_message_id = self.client_message_id
            raise

    def text(self, *, cumulative: bool = False) -> TextStream:
        """Return the text alone, in place of the events, for `async for`; see TextStream.

        Pieces as they come; or with `cumulative`, each time the whole text of the answer so far.
        """
        return TextStream(self, cumulative)

    async def _begin(self) -> None:
        if not self._begun:
            connection = await self._link.connection()
            if not self._begun:  # nobody has left meanwhile
                self._begun = True
                self._run.start(connection)

    async def finish(self, timeout: float | None = None) -> Answer:
        """Take the events out to the end and return what the turn came to.

        Raises:
            ParleyError: the request failed, the turn never began, or the connection was lost.
            TimeoutError: the end did not come within `timeout` seconds; the turn was interrupted.
        """
        with anyio.fail_after(timeout):
            async with self:
                while await self.batch():
                    pass
        if self.answer is None:
            raise RequestCancelledError(
                "The turn was called off before it began.", ErrorCode.REQUEST_CANCELLED
            )
        return self.answer

    def interrupt(self) -> None:
        """Stop the turn. The stream goes on until it has ended, with what there is of the answer."""
        if self._begun:
            self._run.cancel()
        else:
            self._leave()

    async def aclose(self) -> None:
        """Leave the stream; the turn is interrupted unless it has ended. Does not wait for its end."""
        self._run.cancel()
        self._leave()

    def _leave(self) -> None:
        self._begun = True
        self._run.box.close()

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> Event:
        if not self._events:
            self._events.extend(await self.batch())
        if not self._events:
            raise StopAsyncIteration
        return self._events.popleft()

    async def __aenter__(self) -> "Self":
        await self._begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # `break` leaves nothing else behind: in CPython this runs at once, in the thread of the loop.
        if threading.get_ident() == self._thread:
            self._run.cancel()
