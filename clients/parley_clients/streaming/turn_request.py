"""The turn that a request of this client starts, from the request to the end of the turn.

Theory of operation. Two kinds of requests start a turn, and they report its events in different ways:

- `chat/ask` (AskRequest) streams the events of its turn under its own progress token, and its response, at
  the end of the turn, is the answer. The request is bound to one connection: when that is lost, the stream
  ends with ConnectionLostError. Sending the same message again with its `clientMessageId` is safe.
- `chat/editMessage` and `chat/retry` (RerunRequest) are answered as soon as the turn is accepted. The events
  come from a subscription to the chat: subscribe, then send the request, then keep the events of the turn
  that the response names. They must not be sent twice, so instead the subscription is resumed after a lost
  connection, as long as the daemon still has the missed events.

Cancelling. `cancel` interrupts the turn; the end of the turn arrives like any other. An ask is cancelled by
`$/cancelRequest`, which also removes a queued message. A rerun is cancelled by `$/cancelRequest` before it is
accepted and by `chat/interrupt` afterwards. The response to a cancelled ask has no result; the answer is then
built from the events (TurnRecorder).

Everything here runs on the task of the connection's reader and never waits. The request is separate from the
TurnStream that shows it: the session keeps the request alive, and only the consumer keeps the stream alive,
so that dropping the stream is noticed.
"""

from collections.abc import Callable
from typing import Protocol

from parley_clients.answers import Answer
from parley_clients.connection.connection import Connection, PendingRequest
from parley_clients.connection.session import Session
from parley_clients.errors import ConnectionLostError, ParleyError, RequestCancelledError, SlowConsumerError
from parley_clients.results import Json
from parley_clients.streaming.inbox import EventInbox


class TurnRequest(Protocol):
    """A request that starts a turn, as TurnStream uses it."""

    @property
    def client_message_id(self) -> str | None:
        """The id of the message; None for an edit or a retry."""
        ...

    @property
    def inbox(self) -> EventInbox:
        """The events of the turn; closed at its end."""
        ...

    @property
    def answer(self) -> Answer | None:
        """The result of the turn, once it has ended; None if the turn never began."""
        ...

    def start(self, connection: Connection) -> None:
        """Send the request over this connection. Does not wait."""
        ...

    def cancel(self) -> None:
        """Interrupt the turn, unless it has ended or never began."""
        ...


class TurnRecorder:
    """The inbox for the events of a turn, and the answer that they amount to."""

    def __init__(self, client_message_id: str | None, on_overflow: Callable[[], None]) -> None:
        self.client_message_id = client_message_id
        self.inbox = EventInbox(on_overflow)
        self._messages: list[Json] = []
        self._sources: list[Json] = []
        self._ended: Json | None = None

    def add(self, value: Json, size: int) -> None:
        """Add an event of the turn."""
        if value["type"] == "message" and value["message"]["role"] != "user":
            self._messages.append(value["message"])
        elif value["type"] == "message":
            self.add_question(value["message"])
        elif value["type"] == "turn_ended":
            self._ended = value
        self.inbox.put(value, size)

    def add_question(self, message: Json) -> None:
        """Add a question of the turn: the answer has its sources."""
        self._sources += [part for part in message["content"] if part["type"] == "source"]

    def build_answer(self) -> Answer | None:
        """Return the result that `chat/ask` would have had, or None before the end of the turn."""
        if self._ended is None:
            return None
        fields = ("turnId", "outcome", "stopReason", "usage", "timings", "error", "output")
        raw: Json = {name: self._ended.get(name) for name in fields}
        raw["messages"] = self._messages
        raw["sources"] = self._sources
        return Answer(raw, self.client_message_id)

    def slow_consumer_error(self) -> SlowConsumerError:
        """Return the error of a stream whose inbox overflowed."""
        message = "The events of this turn were consumed too slowly. The turn itself continues."
        error = SlowConsumerError(message)
        error.client_message_id = self.client_message_id
        return error


class AskRequest:
    """A `chat/ask` (TurnRequest)."""

    def __init__(self, session: Session, params: Json) -> None:
        self.client_message_id: str | None = params["clientMessageId"]
        self.answer: Answer | None = None
        self._recorder = TurnRecorder(self.client_message_id, self._give_up)
        self._session = session
        self._params = params
        self._is_cancelled = False
        self._connection: Connection | None = None
        self._pending: PendingRequest | None = None
        self._token = ""

    @property
    def inbox(self) -> EventInbox:
        """The events of the turn."""
        return self._recorder.inbox

    def start(self, connection: Connection) -> None:
        """Send the request."""
        self._connection, self._token = connection, self._session.new_token()
        connection.add_listener(self._token, self)
        params = {**self._params, "partialResultToken": self._token}
        self._pending = connection.send_request("chat/ask", params, self._on_response)

    def put(self, value: Json, size: int) -> None:
        """Handle the next event (ProgressListener)."""
        self._recorder.add(value, size)

    def cancel(self) -> None:
        """Cancel the request: this interrupts the turn, or removes the message from the queue."""
        if self._connection is not None and self._pending is not None and not self._pending.is_done:
            self._is_cancelled = True
            self._connection.cancel(self._pending)

    def _give_up(self) -> None:
        """End the stream without ending the turn: its events are consumed too slowly."""
        if self._connection is not None:
            self._connection.remove_listener(self._token)
        self.inbox.close(self._recorder.slow_consumer_error())
        self._pending = None  # closing the stream must not interrupt the turn now

    def _on_response(self, pending: PendingRequest) -> None:
        if self._connection is not None:
            self._connection.remove_listener(self._token)
        error = pending.error
        if error is None:
            self.answer = Answer(pending.result, self.client_message_id)
        elif isinstance(error, RequestCancelledError) and self._is_cancelled:
            error = None
            self.answer = self._recorder.build_answer()
        if error is not None:
            error.client_message_id = self.client_message_id
        self.inbox.close(error)


class RerunRequest:
    """A `chat/editMessage` or `chat/retry` (TurnRequest, Subscription and ProgressListener)."""

    client_message_id: str | None = None

    def __init__(self, session: Session, method: str, params: Json) -> None:
        self.answer: Answer | None = None
        self._recorder = TurnRecorder(None, self._give_up)
        self._session = session
        self._method = method
        self._params = params
        self._token = session.new_token()
        self._connection: Connection | None = None
        self._pending: PendingRequest | None = None
        self._interrupt_request: PendingRequest | None = None
        self._turn_id: str | None = None
        self._seq: int | None = None
        self._is_cancelled = False
        self._is_finished = False

    # ------------------------------------------------------------------ TurnRequest

    @property
    def inbox(self) -> EventInbox:
        """The events of the turn."""
        return self._recorder.inbox

    def start(self, connection: Connection) -> None:
        """Subscribe to the chat; the request follows."""
        self._session.add_subscription(self)

    def cancel(self) -> None:
        """Interrupt the turn, or cancel the request if it is not accepted yet."""
        if self._is_finished or self._is_cancelled:
            return
        self._is_cancelled = True
        if self._turn_id is not None:
            self._interrupt()
        elif self._connection is not None and self._pending is not None:
            self._connection.cancel(self._pending)

    # ----------------------------------------------- Subscription, ProgressListener

    def begin(self, connection: Connection) -> None:
        """Subscribe to the chat, or resume after the last event."""
        self._connection = connection
        connection.add_listener(self._token, self)
        params: Json = {"chatId": self._params["chatId"], "partialResultToken": self._token, "tail": 0}
        if self._seq is not None:
            params["afterSeq"] = self._seq
        connection.send_request("chat/subscribe", params, self._on_subscribed)

    def put(self, value: Json, size: int) -> None:
        """Handle the next event of the chat."""
        if value["type"] == "reset":
            self._give_up()
            return
        self._seq = value["seq"]
        if self._turn_id is None or value.get("turnId") != self._turn_id:
            return
        self._recorder.add(value, size)
        if value["type"] == "turn_ended":
            self.answer = self._recorder.build_answer()
            self._finish(None)

    def end(self, error: ParleyError) -> None:
        """End the stream with the error: there will be no further connection."""
        self._finish(error)

    # ---------------------------------------------------------------------- private

    def _give_up(self) -> None:
        """End the stream without ending the turn: its events are consumed too slowly."""
        self._finish(self._recorder.slow_consumer_error())

    def _on_subscribed(self, pending: PendingRequest) -> None:
        if self._is_finished:
            return
        if pending.error is not None:
            # An accepted turn survives a lost connection. A request that was not sent yet does not.
            if self._turn_id is None or not isinstance(pending.error, ConnectionLostError):
                self._finish(pending.error)
            return
        assert self._connection is not None
        if self._turn_id is not None:
            if not pending.result["resumed"]:
                message = (
                    "The connection was lost, and events of the turn were missed. The chat has the answer."
                )
                self._finish(ConnectionLostError(message))
            elif self._interrupt_request is not None and self._interrupt_request.error is not None:
                self._interrupt()  # the first interrupt was lost with the connection
        elif self._is_cancelled:
            self._finish(None)
        else:
            self._seq = pending.result["seq"]
            self._pending = self._connection.send_request(self._method, self._params, self._on_accepted)

    def _on_accepted(self, pending: PendingRequest) -> None:
        if self._is_finished:
            return
        if pending.error is not None:
            expected = self._is_cancelled and isinstance(pending.error, RequestCancelledError)
            self._finish(None if expected else pending.error)
            return
        # The daemon sends this response before the events of the turn.
        self._turn_id = pending.result["turnId"]
        if self._method == "chat/retry" and pending.result["message"] is not None:
            self._recorder.add_question(pending.result["message"])  # no event of the turn has it
        if self._is_cancelled:
            self._interrupt()

    def _interrupt(self) -> None:
        assert self._connection is not None
        params: Json = {"chatId": self._params["chatId"]}
        self._interrupt_request = self._connection.send_request("chat/interrupt", params)

    def _finish(self, error: ParleyError | None) -> None:
        if self._is_finished:
            return
        self._is_finished = True
        self._session.remove_subscription(self)
        self.inbox.close(error)
        if self._connection is not None:
            self._connection.remove_listener(self._token)
            self._connection.send_request("chat/unsubscribe", {"partialResultToken": self._token})
