"""A live view of one chat: its events from a snapshot or a number on, over any number of connections.

Nothing is lost or doubled when a connection breaks: the subscription goes on after the last event that came,
and starts over from a snapshot where that is not possible.
"""

from collections import deque
from typing import TYPE_CHECKING

import anyio

from parley_clients.connection.connection import Connection, Pending
from parley_clients.connection.reconnect import Link
from parley_clients.errors import ConnectionLostError, ParleyError
from parley_clients.results import Event, Json
from parley_clients.streaming.inbox import EventBox
from parley_protocol.fold import ChatView, FoldError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class LiveChat:
    """What happens in a chat, as it happens; made by `Chat.attach`, used by `async with` and `async for`.

    An event of type `reset` carries a snapshot: what was shown before it is to be replaced by it. It comes
    when events were missed that cannot be had any more; and when the consumer is slow (adjacent pieces of
    text then come merged first) and more than 16 MiB wait. The iteration ends after the `chat` event that
    says `deleted`.
    """

    def __init__(
        self, link: Link, chat_id: str, after: int | None, tail: int, state: ChatView | None
    ) -> None:
        self.chat_id = chat_id
        self.resumed = False
        self.subscribed: Json = {}
        self._link = link
        self._tail = tail
        self._state = state
        self._seq = state.seq if state is not None else after
        self._wants_state = self._seq is None
        self._token = link.token()
        self._connection: Connection | None = None
        self._ready = anyio.Event()
        self._taking = False
        self._error: ParleyError | None = None
        self._box = EventBox(self._start_over)
        self._waiting: deque[Json] = deque()

    # ------------------------------------------------------------------------- use

    @property
    def state(self) -> ChatView:
        """What the chat looks like after the last event that was taken out: see `parley_protocol.fold`.

        Raises:
            LookupError: the view began after a number, so that it never saw the chat as a whole.
        """
        if self._state is None:
            message = "A view that goes on after a number has no state; give attach the state to go on from."
            raise LookupError(message)
        return self._state

    async def batch(self, timeout: float | None = None) -> list[Event]:
        """Return all events that are there, at least one; [] when the chat is gone.

        Raises:
            ConnectionLostError: the connection was lost for good.
            ChatNotFoundError: the chat was deleted while the connection was lost.
            TimeoutError: nothing came within `timeout` seconds.
        """
        with anyio.fail_after(timeout):
            while await self._wait():
                events: list[Event] = []
                while self._waiting:
                    events += self._next()
                if events:
                    return events
        return []

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> Event:
        while await self._wait():
            for event in self._next():
                return event
        raise StopAsyncIteration

    async def _wait(self) -> bool:
        if not self._waiting:
            self._waiting.extend(await self._box.batch())
        return bool(self._waiting)

    def _next(self) -> list[Event]:
        """Fold the next event into the state and return it; nothing when the view had to start over."""
        raw = self._waiting.popleft()
        is_reset = raw["type"] == "reset"
        if is_reset and (self._state is None or raw["seq"] < self._state.seq):
            self._state = ChatView(raw["snapshot"], raw["seq"])
        elif self._state is not None:
            try:
                self._state.apply(raw)
            except FoldError:
                self._start_over()
                return []
        return [Event(raw)]

    async def __aenter__(self) -> "Self":
        try:
            await self._link.connection()
            self._link.add(self)
            await self._ready.wait()
            if self._error is not None:
                raise self._error
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._link.remove(self)
        self._box.close()
        if self._connection is not None:
            self._connection.unlisten(self._token)
            self._connection.start("chat/unsubscribe", {"partialResultToken": self._token})

    # ------------------------------------------------------------------ subscription

    def begin(self, connection: Connection) -> None:
        """Subscribe, from the last event on (Live)."""
        self._connection, self._taking = connection, False
        connection.listen(self._token, self)
        params: Json = {"chatId": self.chat_id, "partialResultToken": self._token, "tail": self._tail}
        if self._seq is not None:
            params["afterSeq"] = self._seq
        connection.start("chat/subscribe", params, self._subscribed)

    def end(self, error: ParleyError) -> None:
        """There is no way to the daemon any more (Live)."""
        self._error = error
        self._box.close(error)
        self._ready.set()

    def _subscribed(self, pending: Pending) -> None:
        if pending.error is not None:
            if not isinstance(pending.error, ConnectionLostError):  # otherwise it begins again, or ends
                self.end(pending.error)
            return
        result: Json = pending.result
        snapshot, self._seq = result["snapshot"], result["seq"]
        if not self._ready.is_set():
            self.resumed, self.subscribed = result["resumed"], result
        if snapshot is not None and self._wants_state:
            self._state = ChatView(snapshot, self._seq)
        elif snapshot is not None:
            reset = {"type": "reset", "chatId": self.chat_id, "seq": self._seq, "reason": "too_old"}
            self._box.clear()
            self._box.put({**reset, "snapshot": snapshot}, 0)
        self._taking, self._wants_state = True, False
        self._ready.set()

    def put(self, value: Json, size: int) -> None:
        """Take the next event (Listener)."""
        if not self._taking:
            return
        seq, known = int(value["seq"]), self._seq or 0
        if value["type"] == "reset":
            self._box.clear()
        elif seq <= known:
            return
        elif seq - int(value.get("span", 1)) != known:
            self._start_over()
            return
        self._seq = seq
        self._box.put(value, size)
        if value.get("deleted"):
            self._link.remove(self)
            self._box.close()

    def _start_over(self) -> None:
        """Begin anew from a snapshot: events are missing, or too many wait."""
        self._seq, self._taking = None, False
        self._box.clear()
        self._waiting.clear()
        if self._connection is not None:
            self.begin(self._connection)
