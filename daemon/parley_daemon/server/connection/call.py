"""One request under way: its parameters, its one answer, what cancelling it does. Knows no method."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from parley_daemon.server.wire import jsonrpc
from parley_daemon.server.wire.jsonrpc import Incoming

if TYPE_CHECKING:
    from parley_daemon.server.connection.connection import Connection


@dataclass(frozen=True, slots=True)
class Handler:
    """Answers one request: `run` returns its result, or raises what `wire_error` knows.

    One that is `large` only reads, and its answer may be large.
    """

    run: Callable[["Call"], Awaitable[Any]]
    large: bool = False


class Call:
    """One request under way. A handler may take cancelling into its own hands by setting `on_cancel`."""

    __slots__ = (
        "_at_work",
        "admitted",
        "cancelled",
        "chat_id",
        "connection",
        "id",
        "method",
        "on_cancel",
        "params",
        "replied",
        "scope",
    )

    def __init__(self, connection: "Connection", incoming: Incoming) -> None:
        self.connection = connection
        self.id = incoming.id
        self.method = incoming.method
        self.params = incoming.params
        chat_id = jsonrpc.as_object(incoming.params).get("chatId")
        self.chat_id = chat_id if isinstance(chat_id, str) else None
        self.scope = anyio.CancelScope()
        self.on_cancel: Callable[[], None] | None = None
        self.cancelled = False
        self.replied = False
        self.admitted = anyio.Event()
        self._at_work: anyio.Semaphore | None = None

    def work(self, at_work: anyio.Semaphore) -> None:
        """Count among the requests that are being worked on, until `admit`."""
        self._at_work = at_work

    def admit(self) -> None:
        """What is left of this request is waiting: the next one of its chat may begin."""
        self.admitted.set()
        at_work, self._at_work = self._at_work, None
        if at_work is not None:
            at_work.release()

    def reply(self, result: Any) -> None:
        """Answer now, before what the handler goes on to do."""
        self.connection.respond(self, jsonrpc.result_frame(self.id, result))

    def cancel(self) -> None:
        """The client does not want the answer any more."""
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()
        else:
            self.scope.cancel()
