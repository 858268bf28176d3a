"""A live view of one chat: its events from a snapshot or a sequence number on, over several connections.

Theory of operation. A view is a subscription to a chat (`chat/subscribe`). Each event has a sequence number
`seq`, and merged events say how many they stand for (`span`). So the view knows the `seq` that the next event
must have, and from that follow all cases:

- `seq` is not larger than the last one: the event is a repetition and is dropped.
- `seq - span` is the last one: the event is next. It goes to the inbox.
- Anything else: events are missing. The view starts over: it subscribes again, without `afterSeq`, and gets a
  snapshot.

On each new connection the session calls `begin`. It subscribes with `afterSeq`, and the daemon either resumes
after that event or, if it no longer has the events in between, sends a snapshot. The view then puts a `reset`
event with that snapshot into the inbox, in place of what was there. The daemon sends such a `reset` itself to
a client that reads too slowly, and the view starts over if the inbox overflows.

There are two positions: `_seq` is that of the last event that was put into the inbox (by the reader), and
`state.seq` that of the last one that the consumer took out. `state` is the fold of the events taken out, so
that it always fits what the consumer has seen. Resuming in another client continues after `state.seq`.

Events that arrive before the response to `chat/subscribe` belong to an earlier subscription under the same
token: they are ignored (`_is_receiving`).
"""

from collections import deque
from typing import TYPE_CHECKING

import anyio

from parley_clients.connection.connection import Connection, PendingRequest
from parley_clients.connection.session import Session
from parley_clients.errors import ConnectionLostError, ParleyError
from parley_clients.events import Event
from parley_clients.results import Json
from parley_clients.streaming.inbox import EventInbox
from parley_protocol.fold import ChatView, FoldError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class LiveChat:
    """The events of a chat as they happen. Created by `Chat.attach`, used with `async with` and `async for`.

    An event of type `reset` has a snapshot, which replaces everything shown before. It comes if events were
    missed and the daemon no longer has them, or if more than 16 MiB of events are waiting for the consumer
    (adjacent pieces of text are merged first). The iteration ends after the `chat` event with `deleted`.

    `resumed` says whether the view continues after the given event, without a snapshot. `subscribed` is the
    result of the first `chat/subscribe`, as JSON.
    """

    def __init__(
        self, session: Session, chat_id: str, after: int | None, tail: int, state: ChatView | None
    ) -> None:
        self.chat_id = chat_id
        self.resumed = False
        self.subscribed: Json = {}
        self._session = session
        self._tail = tail
        self._state = state
        self._seq = state.seq if state is not None else after
        self._wants_state = self._seq is None
        self._token = session.new_token()
        self._connection: Connection | None = None
        self._ready = anyio.Event()
        self._is_receiving = False
        self._error: ParleyError | None = None
        self._inbox = EventInbox(self._start_over)
        self._batch: deque[Json] = deque()

    # --------------------------------------------------------------------- consumer

    @property
    def state(self) -> ChatView:
        """The chat after the last event that was taken out; see `parley_protocol.fold.ChatView`.

        Raises:
            LookupError: the view began after a sequence number and never had the whole chat.
        """
        if self._state is None:
            message = "A view that began with `after` has no state. Pass `state` to attach instead."
            raise LookupError(message)
        return self._state

    async def batch(self, timeout: float | None = None) -> list[Event]:
        """Return all events that have arrived, at least one; [] once the chat is deleted.

        Raises:
            ConnectionLostError: the connection was lost, and reconnecting failed.
            ChatNotFoundError: the chat was deleted while the connection was lost.
            TimeoutError: no event arrived within `timeout` seconds; the view can still be used.
        """
        with anyio.fail_after(timeout):
            while await self._wait_for_events():
                events: list[Event] = []
                while self._batch:
                    events += self._apply_next()
                if events:
                    return events
        return []

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> Event:
        while await self._wait_for_events():
            for event in self._apply_next():
                return event
        raise StopAsyncIteration

    async def _wait_for_events(self) -> bool:
        if not self._batch:
            self._batch.extend(await self._inbox.batch())
        return bool(self._batch)

    def _apply_next(self) -> list[Event]:
        """Apply the next event to the state and return it; return nothing if the view has to start over."""
        raw = self._batch.popleft()
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
            await self._session.connection()
            self._session.add_subscription(self)
            await self._ready.wait()
            if self._error is not None:
                raise self._error
        except BaseException:
            self._unsubscribe()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        self._session.remove_subscription(self)
        self._inbox.close()
        if self._connection is not None:
            self._connection.remove_listener(self._token)
            self._connection.send_request("chat/unsubscribe", {"partialResultToken": self._token})

    # ----------------------------------------------- Subscription, ProgressListener

    def begin(self, connection: Connection) -> None:
        """Subscribe, or resume after the last event."""
        self._connection, self._is_receiving = connection, False
        connection.add_listener(self._token, self)
        params: Json = {"chatId": self.chat_id, "partialResultToken": self._token, "tail": self._tail}
        if self._seq is not None:
            params["afterSeq"] = self._seq
        connection.send_request("chat/subscribe", params, self._on_subscribed)

    def end(self, error: ParleyError) -> None:
        """End the view with the error: there will be no further connection."""
        self._error = error
        self._inbox.close(error)
        self._ready.set()

    def _on_subscribed(self, pending: PendingRequest) -> None:
        if pending.error is not None:
            if not isinstance(pending.error, ConnectionLostError):  # after that, `begin` or `end` follows
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
            self._inbox.clear()
            self._inbox.put({**reset, "snapshot": snapshot}, 0)
        self._is_receiving, self._wants_state = True, False
        self._ready.set()

    def put(self, value: Json, size: int) -> None:
        """Handle the next event."""
        if not self._is_receiving:
            return
        seq, last_seq = int(value["seq"]), self._seq or 0
        if value["type"] == "reset":
            self._inbox.clear()
        elif seq <= last_seq:
            return
        elif seq - int(value.get("span", 1)) != last_seq:
            self._start_over()
            return
        self._seq = seq
        self._inbox.put(value, size)
        if value.get("deleted"):
            self._session.remove_subscription(self)
            self._inbox.close()

    def _start_over(self) -> None:
        """Subscribe again from a snapshot: events are missing, or too many are waiting."""
        self._seq, self._is_receiving = None, False
        self._inbox.clear()
        self._batch.clear()
        if self._connection is not None:
            self.begin(self._connection)
