"""The turn of one question, as it happens: an async iterator of its events that ends with the turn."""

import threading
from collections import deque
from typing import TYPE_CHECKING

import anyio

from parley_clients.connection import Connection, Pending
from parley_clients.errors import ParleyError, RequestCancelledError, SlowConsumerError
from parley_clients.inbox import EventBox
from parley_clients.link import Link
from parley_clients.results import Answer, Event, Json

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class _Asking:
    """A chat/ask under way. Apart from its stream, so that nothing but the consumer keeps that alive."""

    def __init__(self, params: Json, client_message_id: str) -> None:
        self.params = params
        self.client_message_id = client_message_id
        self.box = EventBox(self._overflowed)
        self.answer: Answer | None = None
        self.cancelled = False
        self._connection: Connection | None = None
        self._pending: Pending | None = None
        self._token = ""
        self._messages: list[Json] = []
        self._ended: Json | None = None

    def begin(self, connection: Connection, token: str) -> None:
        self._connection, self._token = connection, token
        connection.listen(token, self)
        params = {**self.params, "partialResultToken": token}
        self._pending = connection.start("chat/ask", params, self._settled)

    def put(self, value: Json, size: int) -> None:
        if value["type"] == "message" and value["message"]["role"] != "user":
            self._messages.append(value["message"])
        elif value["type"] == "turn_ended":
            self._ended = value
        self.box.put(value, size)

    def cancel(self) -> None:
        if self._connection is not None and self._pending is not None and not self._pending.done:
            self.cancelled = True
            self._connection.cancel(self._pending)

    def _settled(self, pending: Pending) -> None:
        if self._connection is not None:
            self._connection.unlisten(self._token)
        error = pending.error
        if error is None:
            self.answer = Answer(pending.result, self.client_message_id)
        elif isinstance(error, RequestCancelledError) and self.cancelled:
            # The answer to a cancelled ask has no result; its events have all that would be in it.
            error = None
            self.answer = self._told()
        if error is not None:
            error.client_message_id = self.client_message_id
        self.box.close(error)

    def _told(self) -> Answer | None:
        if self._ended is None:
            return None
        fields = ("turnId", "outcome", "stopReason", "usage", "timings", "error")
        raw: Json = {name: self._ended.get(name) for name in fields}
        raw["messages"] = self._messages
        return Answer(raw, self.client_message_id)

    def _overflowed(self) -> None:
        if self._connection is not None:
            self._connection.unlisten(self._token)
        error = SlowConsumerError("Events of this turn were taken out too slowly; the turn itself goes on.")
        error.client_message_id = self.client_message_id
        self.box.close(error)
        self._pending = None  # leaving the stream is no wish to stop the turn now


class TurnStream:
    """The events of one turn, ending with `turn_ended`; made by `Chat.stream`.

    The message is sent by `async with`, or when the first event is asked for. Leaving the loop early, by
    `break`, an exception or cancellation, cancels the request: that interrupts the turn, or takes the message
    back when it still waits in the queue. With `async with` this does not rely on garbage collection.

    When the consumer is slow, adjacent pieces of text come merged. When more than 16 MiB wait all the same,
    iterating ends with SlowConsumerError, and the turn goes on.
    """

    def __init__(self, link: Link, params: Json, client_message_id: str) -> None:
        self._link = link
        self._asking = _Asking(params, client_message_id)
        self._begun = False
        self._events: deque[Event] = deque()
        self._thread = threading.get_ident()

    @property
    def answer(self) -> Answer | None:
        """What the turn came to, once the stream has ended; None before, or when the turn never began."""
        return self._asking.answer

    @property
    def client_message_id(self) -> str:
        """The id under which the same message may safely be sent again."""
        return self._asking.client_message_id

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
                return [Event(raw) for raw in await self._asking.box.batch()]
        except ParleyError as error:
            error.client_message_id = self.client_message_id
            raise

    async def _begin(self) -> None:
        if not self._begun:
            connection = await self._link.connection()
            if not self._begun:  # nobody has left meanwhile
                self._begun = True
                self._asking.begin(connection, self._link.token())

    def interrupt(self) -> None:
        """Stop the turn. The stream goes on until it has ended, with what there is of the answer."""
        if self._begun:
            self._asking.cancel()
        else:
            self._leave()

    async def aclose(self) -> None:
        """Leave the stream; the turn is interrupted unless it has ended. Does not wait for its end."""
        self._asking.cancel()
        self._leave()

    def _leave(self) -> None:
        self._begun = True
        self._asking.box.close()

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
            self._asking.cancel()
