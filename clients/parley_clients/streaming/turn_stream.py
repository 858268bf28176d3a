"""The events of one turn as an async iterator, which ends with the turn."""

import threading
from collections import deque
from typing import TYPE_CHECKING

import anyio

from parley_clients.answers import Answer
from parley_clients.connection.session import Session
from parley_clients.errors import ParleyError, RequestCancelledError
from parley_clients.events import Event
from parley_clients.streaming.references import make_whole
from parley_clients.streaming.text_stream import TextStream
from parley_clients.streaming.turn_request import TurnRequest
from parley_protocol.errors import ErrorCode

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class TurnStream:
    """The events of one turn, up to `turn_ended`. Created by `Chat.stream`, `stream_edit`, `stream_retry`.

    The request is sent on entering `async with`, or when the first event is requested. Leaving the loop early
    (by `break`, an exception or cancellation) interrupts the turn, or removes a message that is still queued.
    Use `async with` to not depend on garbage collection for this.

    If events are consumed slowly, adjacent pieces of text are merged. If more than 16 MiB are waiting all the
    same, iterating raises SlowConsumerError, and the turn continues.
    """

    def __init__(self, session: Session, request: TurnRequest) -> None:
        self._session = session
        self._request = request
        self._has_begun = False
        self._events: deque[Event] = deque()
        self._thread = threading.get_ident()

    @property
    def answer(self) -> Answer | None:
        """The result of the turn once the stream has ended; None before, or if the turn never began."""
        return self._request.answer

    @property
    def client_message_id(self) -> str | None:
        """The id with which the same message may be sent again; None for an edit or a retry."""
        return self._request.client_message_id

    async def batch(self, timeout: float | None = None) -> list[Event]:
        """Return all events that have arrived, at least one; [] once the stream has ended.

        Raises:
            ParleyError: the request failed, or the connection was lost.
            TimeoutError: no event arrived within `timeout` seconds; the stream can still be used.
        """
        if self._events:
            events, self._events = list(self._events), deque()
            return events
        try:
            with anyio.fail_after(timeout):
                await self._begin()
                events = [Event(raw) for raw in await self._request.inbox.batch()]
                if not events and self.answer is not None:
                    await make_whole(self._session, self.answer.raw["messages"])
                return events
        except ParleyError as error:
            error.client_message_id = self.client_message_id
            raise

    def text(self, *, cumulative: bool = False) -> TextStream:
        """Return the text of the turn instead of its events, for `async for`; see TextStream.

        With `cumulative`, each item is the whole text of the answer so far; otherwise it is the next piece.
        """
        return TextStream(self, cumulative)

    async def _begin(self) -> None:
        if not self._has_begun:
            connection = await self._session.connection()
            if not self._has_begun:  # the stream was not closed meanwhile
                self._has_begun = True
                self._request.start(connection)

    async def finish(self, timeout: float | None = None) -> Answer:
        """Consume the remaining events and return the result of the turn.

        Raises:
            ParleyError: the request failed, the turn never began, or the connection was lost.
            TimeoutError: the turn did not end within `timeout` seconds; it was interrupted.
        """
        with anyio.fail_after(timeout):
            async with self:
                while await self.batch():
                    pass
        if self.answer is None:
            raise RequestCancelledError(
                "The turn was cancelled before it began.", ErrorCode.REQUEST_CANCELLED
            )
        return self.answer

    def interrupt(self) -> None:
        """Interrupt the turn. The stream continues until the turn has ended."""
        if self._has_begun:
            self._request.cancel()
        else:
            self._close()

    async def aclose(self) -> None:
        """Close the stream and interrupt the turn unless it has ended. Does not wait for its end."""
        self._request.cancel()
        self._close()

    def _close(self) -> None:
        self._has_begun = True
        self._request.inbox.close()

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
        # `break` drops the last reference: CPython runs this at once, in the thread of the event loop.
        if threading.get_ident() == self._thread:
            self._request.cancel()
