"""One request of a client while it is handled: its params, its response, and its cancellation."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import anyio

from parley_daemon.core.records import Context
from parley_daemon.engine.agents.client_tools import ToolClient
from parley_daemon.engine.collection.collection import ChatCollection
from parley_daemon.server.app import App
from parley_daemon.server.files.references import LinesRead
from parley_daemon.server.streaming.outbox import Outbox
from parley_daemon.server.streaming.streams import Token
from parley_daemon.server.streaming.subscriptions import Subscriptions
from parley_daemon.server.wire import jsonrpc
from parley_daemon.server.wire.jsonrpc import Incoming


class ClientConnection(Protocol):
    """The part of a connection that its requests may use.

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
        """Send the response of a request. Each request has exactly one."""
        ...

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in the background until the connection ends."""
        ...

    @property
    def tool_client(self) -> ToolClient:
        """The client as one that may register tools."""
        ...

    @property
    def default_context(self) -> Context:
        """The context of a chat that the client creates without one: its workspace folders."""
        ...

    def read_lines(
        self, uri: str, first: int, last: int | None, max_length: int
    ) -> Awaitable[LinesRead | None]:
        """Return lines of a document that the client has open, None if it is not open."""
        ...


class Call:
    """One request while it is handled.

    Requests of one chat start in the order of their arrival: each waits until the one before it calls
    `allow_next`. A handler calls it as soon as it only waits for something, such as the end of a turn. At the
    end of a handler it is called automatically.

    Cancelling the request cancels its `scope`. If the handler has set `on_cancel`, that is called instead,
    and the handler has to end the request.
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
        """Hold a slot, which was acquired already, until `allow_next`."""
        self._slots = slots

    def allow_next(self) -> None:
        """Allow the next request of the chat to start, because this one only waits from now on."""
        self.next_allowed.set()
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release()

    def reply(self, result: Any) -> None:
        """Send the response now. The handler may continue afterwards."""
        self.connection.respond(self, jsonrpc.result_frame(self.id, result))

    def cancel(self) -> None:
        """Cancel the request on behalf of the client."""
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()
        else:
            self.scope.cancel()
