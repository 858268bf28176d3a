"""A turn that this client has caused, from the request to its end: by `chat/ask`, or by an edit or a retry.

Runs on the reader's task and never waits. It is apart from the stream that shows it, so that nothing but the
consumer keeps that alive.
"""

from parley_clients.connection.connection import Connection, Pending
from parley_clients.connection.reconnect import Link
from parley_clients.errors import ConnectionLostError, ParleyError, RequestCancelledError, SlowConsumerError
from parley_clients.results import Answer, Json
from parley_clients.streaming.inbox import EventBox


class Run:
    """What all runs share: the box that the stream is fed from, and the answer that the events amount to."""

    def __init__(self, client_message_id: str | None) -> None:
        self.client_message_id = client_message_id
        self.box = EventBox(self.too_slow)
        self.answer: Answer | None = None
        self._messages: list[Json] = []
        self._ended: Json | None = None

    def start(self, connection: Connection) -> None:
        """Send the request over this connection. Does not wait."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Interrupt the turn unless it is over, or never began. Its end comes as usual."""
        raise NotImplementedError

    def too_slow(self) -> None:
        """Give the stream up, and leave the turn alone."""
        raise NotImplementedError

    def take(self, value: Json, size: int) -> None:
        """Take an event of the turn."""
        if value["type"] == "message" and value["message"]["role"] != "user":
            self._messages.append(value["message"])
        elif value["type"] == "turn_ended":
            self._ended = value
        self.box.put(value, size)

    def told(self) -> Answer | None:
        """Return what the events say that `chat/ask` would have answered; None before the turn's end."""
        if self._ended is None:
            return None
        fields = ("turnId", "outcome", "stopReason", "usage", "timings", "error")
        raw: Json = {name: self._ended.get(name) for name in fields}
        raw["messages"] = self._messages
        raw["output"] = None  # which no event tells
        return Answer(raw, self.client_message_id)

    def slow_error(self) -> SlowConsumerError:
        """Return the error for a stream that was given up."""
        error = SlowConsumerError("Events of this turn were taken out too slowly; the turn itself goes on.")
        error.client_message_id = self.client_message_id
        return error


class Asking(Run):
    """A chat/ask under way."""

    def __init__(self, link: Link, params: Json) -> None:
        super().__init__(params["clientMessageId"])
        self._link = link
        self._params = params
        self._cancelled = False
        self._connection: Connection | None = None
        self._pending: Pending | None = None
        self._token = ""

    def start(self, connection: Connection) -> None:
        """Ask."""
        self._connection, self._token = connection, self._link.token()
        connection.listen(self._token, self)
        params = {**self._params, "partialResultToken": self._token}
        self._pending = connection.start("chat/ask", params, self._settled)

    def put(self, value: Json, size: int) -> None:
        """Take the next event (Listener)."""
        self.take(value, size)

    def cancel(self) -> None:
        """Cancel the request; that interrupts the turn, or takes the message back from the queue."""
        if self._connection is not None and self._pending is not None and not self._pending.done:
            self._cancelled = True
            self._connection.cancel(self._pending)

    def too_slow(self) -> None:
        """Let the request be."""
        if self._connection is not None:
            self._connection.unlisten(self._token)
        self.box.close(self.slow_error())
        self._pending = None  # leaving the stream is no wish to stop the turn now

    def _settled(self, pending: Pending) -> None:
        if self._connection is not None:
            self._connection.unlisten(self._token)
        error = pending.error
        if error is None:
            self.answer = Answer(pending.result, self.client_message_id)
        elif isinstance(error, RequestCancelledError) and self._cancelled:
            # The answer to a cancelled ask has no result; its events have all that would be in it.
            error = None
            self.answer = self.told()
        if error is not None:
            error.client_message_id = self.client_message_id
        self.box.close(error)


class Rerun(Run):
    """The turn of an edit or a retry. Those answer before their turn begins: its events are the chat's.

    So the chat is subscribed to first, then the request is sent, and of what comes the turn's own events are
    taken. After a lost connection it goes on where it was, as long as the daemon still has the events.
    """

    def __init__(self, link: Link, method: str, params: Json) -> None:
        super().__init__(None)
        self._link = link
        self._method = method
        self._params = params
        self._token = link.token()
        self._connection: Connection | None = None
        self._pending: Pending | None = None
        self._interruption: Pending | None = None
        self._turn_id: str | None = None
        self._seq: int | None = None
        self._cancelled = False
        self._over = False

    # ------------------------------------------------------------------- as a Run

    def start(self, connection: Connection) -> None:
        """Begin over this connection, and go on over later ones."""
        self._link.add(self)

    def cancel(self) -> None:
        """Interrupt the turn, as soon as there is one."""
        if self._over or self._cancelled:
            return
        self._cancelled = True
        if self._turn_id is not None:
            self._interrupt()
        elif self._connection is not None and self._pending is not None:
            self._connection.cancel(self._pending)

    def too_slow(self) -> None:
        """Listen no more."""
        self._finish(self.slow_error())

    # ------------------------------------------------------------ as a Live and a Listener

    def begin(self, connection: Connection) -> None:
        """Subscribe (Live): the request follows; over a later connection what was missed."""
        self._connection = connection
        connection.listen(self._token, self)
        params: Json = {"chatId": self._params["chatId"], "partialResultToken": self._token, "tail": 0}
        if self._seq is not None:
            params["afterSeq"] = self._seq
        connection.start("chat/subscribe", params, self._subscribed)

    def put(self, value: Json, size: int) -> None:
        """Take the next event of the chat (Listener)."""
        if value["type"] == "reset":
            self.too_slow()
            return
        self._seq = value["seq"]
        if self._turn_id is None or value.get("turnId") != self._turn_id:
            return
        self.take(value, size)
        if value["type"] == "turn_ended":
            self.answer = self.told()
            self._finish(None)

    def end(self, error: ParleyError) -> None:
        """There is no way to the daemon any more (Live)."""
        self._finish(error)

    # ---------------------------------------------------------------------------- inside

    def _subscribed(self, pending: Pending) -> None:
        if self._over:
            return
        if pending.error is not None:
            # Over a lost connection the turn goes on; before it was asked for there is nothing to wait for.
            if self._turn_id is None or not isinstance(pending.error, ConnectionLostError):
                self._finish(pending.error)
            return
        assert self._connection is not None
        if self._turn_id is not None:
            if not pending.result["resumed"]:
                message = (
                    "The connection was lost, and events of the turn with it; the chat has what came of it."
                )
                self._finish(ConnectionLostError(message))
            elif self._interruption is not None and self._interruption.error is not None:
                self._interrupt()  # the wish was lost with the connection
        elif self._cancelled:
            self._finish(None)
        else:
            self._seq = pending.result["seq"]
            self._pending = self._connection.start(self._method, self._params, self._accepted)

    def _accepted(self, pending: Pending) -> None:
        if self._over:
            return
        if pending.error is not None:
            wanted = self._cancelled and isinstance(pending.error, RequestCancelledError)
            self._finish(None if wanted else pending.error)
            return
        # The events of the turn come after this answer.
        self._turn_id = pending.result["turnId"]
        if self._cancelled:
            self._interrupt()

    def _interrupt(self) -> None:
        assert self._connection is not None
        params: Json = {"chatId": self._params["chatId"]}
        self._interruption = self._connection.start("chat/interrupt", params)

    def _finish(self, error: ParleyError | None) -> None:
        if self._over:
            return
        self._over = True
        self._link.remove(self)
        self.box.close(error)
        if self._connection is not None:
            self._connection.unlisten(self._token)
            self._connection.start("chat/unsubscribe", {"partialResultToken": self._token})
