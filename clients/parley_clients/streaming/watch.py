"""Changes in the list of chats as an async iterator, which continues over lost connections."""

import threading
from collections import deque
from typing import TYPE_CHECKING

import anyio

from parley_clients.connection.connection import Connection, PendingRequest
from parley_clients.connection.session import Session
from parley_clients.errors import ConnectionLostError, ParleyError
from parley_clients.events import ChatChange
from parley_clients.streaming.inbox import ChangeInbox

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class _WatchSubscription:
    """The subscription of a Watch (Subscription).

    It is separate from the Watch, which only the consumer keeps alive, so that dropping it is noticed.
    """

    def __init__(self, session: Session) -> None:
        self.inbox = ChangeInbox()
        self.ready = anyio.Event()
        self._session = session
        self._token = session.new_token()
        self._connection: Connection | None = None

    def begin(self, connection: Connection) -> None:
        self._connection = connection
        connection.add_listener(self._token, self.inbox)
        connection.send_request("chat/watch", {"partialResultToken": self._token}, self._on_response)

    def end(self, error: ParleyError) -> None:
        self.inbox.close(error)
        self.ready.set()

    def _on_response(self, pending: PendingRequest) -> None:
        if pending.error is not None:
            if not isinstance(pending.error, ConnectionLostError):
                self.end(pending.error)
        elif self.ready.is_set():
            self.inbox.reset()
        else:
            self.ready.set()

    def close(self) -> None:
        self._session.remove_subscription(self)
        self.inbox.close()
        self.ready.set()
        if self._connection is not None:
            self._connection.remove_listener(self._token)
            self._connection.send_request("chat/unwatch", {"partialResultToken": self._token})
            self._connection = None


class Watch:
    """Creation, change and deletion of all chats. Created by `Client.watch`.

    No change is missed after entering `async with`, or from the first iteration on: list the chats then. Of a
    chat that changes faster than the consumer reads, only the latest change is delivered. After a lost
    connection there is one change of type "reset": list the chats again.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._subscription = _WatchSubscription(session)
        self._has_begun = False
        self._changes: deque[ChatChange] = deque()
        self._thread = threading.get_ident()

    async def batch(self, timeout: float | None = None) -> list[ChatChange]:
        """Return all changes that have arrived, at least one; [] once the watch is closed.

        Raises:
            ConnectionLostError: the connection was lost, and reconnecting failed.
            TimeoutError: no change arrived within `timeout` seconds; the watch can still be used.
        """
        if self._changes:
            changes, self._changes = list(self._changes), deque()
            return changes
        with anyio.fail_after(timeout):
            await self._begin()
            return [ChatChange(raw) for raw in await self._subscription.inbox.batch()]

    async def aclose(self) -> None:
        """Stop watching."""
        self._has_begun = True
        self._subscription.close()

    async def _begin(self) -> None:
        if not self._has_begun:
            await self._session.connection()
            self._has_begun = True
            self._session.add_subscription(self._subscription)
        await self._subscription.ready.wait()

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> ChatChange:
        if not self._changes:
            self._changes.extend(await self.batch())
        if not self._changes:
            raise StopAsyncIteration
        return self._changes.popleft()

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
        if threading.get_ident() == self._thread:
            self._subscription.close()
