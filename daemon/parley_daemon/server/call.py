"""One request of a client while it is handled: its params, its single response, and how it is cancelled."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import anyio

from parley_daemon.engine.collection.collection import ChatCollection
from parley_daemon.server.app import App
from parley_daemon.server.streaming.outbox import Outbox
from parley_daemon.server.streaming.streams import Token
from parley_daemon.server.streaming.subscriptions import Subscriptions
from parley_daemon.server.wire import jsonrpc
from parley_daemon.server.wire.jsonrpc import Incoming


class ClientConnection(Protocol):
    """What a request may use of the connection that it came on.

    `chats` are the chats of the client's user.
    `work_done_calls` are the requests that report progress under a work-done token, by that token.
    """

    app: App
    chats: ChatCollection
    outbox: Outbox
    streams: Subscriptions
    work_done_calls: dict[Token, "Call"]

    @property
    def origin(self) -> str | None:
        """The name of the client, None if it gave none."""
        ...

    def respond(self, call: "Call", frame: bytes) -> None:
        """Send the one response of a request."""
        ...

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run something in the background until the connection ends."""
        ...

    def open_text(self, uri: str) -> Awaitable[str | None]:
        """Return the text of a document that the client has open, None if it is not open."""
        ...


class Call:
    """One request while it is handled.

    Requests of one chat start in the order in which they came: each waits until the one before it calls
    `allow_next`, which a handler does as soon as the rest of it only waits (a `chat/ask` for the end of its
    turn), and which happens by itself at its end.

    Cancelling the request cancels its `scope`, unless the handler has set `on_cancel`: then that is called
    instead, and the handler has to bring the request to its end.
    """

    __slots__ = (
        "_slots",
        "cancelled",
        "chat_id",
        "connection",
        "has_response",
        "id",
        "method",
        "next_allowed",
        "on_cancel",
        "params",
        "scope",
    )

    def __init__(self, connection: ClientConnection, incoming: Incoming) -> None:
        self.connection = connection
        self.id = incoming.id
        self.method = incoming.method
        self.params = incoming.params
        chat_id = jsonrpc.as_object(incoming.params).get("chatId")
        self.chat_id = chat_id if isinstance(chat_id, str) else None
        self.scope = anyio.CancelScope()
        self.on_cancel: Callable[[], None] | None = None
        self.cancelled = False
        self.has_response = False
        self.next_allowed = anyio.Event()
        self._slots: anyio.Semaphore | None = None

    def occupy_slot(self, slots: anyio.Semaphore) -> None:
        """Keep the slot, which has been acquired, until `allow_next`."""
        self._slots = slots

    def allow_next(self) -> None:
        """Let the next request of the chat start: the rest of this one only waits."""
        self.next_allowed.set()
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release()

    def reply(self, result: Any) -> None:
        """Send the response now; the handler may go on after it."""
        self.connection.respond(self, jsonrpc.result_frame(self.id, result))

    def cancel(self) -> None:
        """Cancel the request on behalf of the client."""
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()
        else:
            self.scope.cancel()
