"""What happens to all chats: an async iterator of changes that goes on over lost connections."""

import threading
from collections import deque
from typing import TYPE_CHECKING

import anyio

from parley_clients.connection.connection import Connection, Pending
from parley_clients.connection.reconnect import Link
from parley_clients.errors import ConnectionLostError, ParleyError
from parley_clients.results import Change
from parley_clients.streaming.inbox import ChangeBox

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class _Watching:
    """The subscription of a watch. Apart from it, so that nothing but the consumer keeps the watch alive."""

    def __init__(self, link: Link) -> None:
        self.box = ChangeBox()
        self.ready = anyio.Event()
        self._link = link
        self._token = link.token()
        self._connection: Connection | None = None

    def begin(self, connection: Connection) -> None:
        self._connection = connection
        connection.listen(self._token, self.box)
        connection.start("chat/watch", {"partialResultToken": self._token}, self._answered)

    def end(self, error: ParleyError) -> None:
        self.box.close(error)
        self.ready.set()

    def _answered(self, pending: Pending) -> None:
        if pending.error is not None:
            if not isinstance(pending.error, ConnectionLostError):
                self.end(pending.error)
        elif self.ready.is_set():
            self.box.reset()
        else:
            self.ready.set()

    def leave(self) -> None:
        self._link.remove(self)
        self.box.close()
        self.ready.set()
        if self._connection is not None:
            self._connection.unlisten(self._token)
            self._connection.start("chat/unwatch", {"partialResultToken": self._token})
            self._connection = None


class Watch:
    """Creation, change and deletion of chats; made by `Client.watch`.

    After `async with`, or from the first iteration on, no change is missed: list the chats then. Of a chat
    that changes faster than the consumer takes it out, the newest state comes. After a lost connection one
    change of type "reset" comes: list the chats again.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._watching = _Watching(link)
        self._begun = False
        self._changes: deque[Change] = deque()
        self._thread = threading.get_ident()

    async def batch(self, timeout: float | None = None) -> list[Change]:
        """Return all changes that are there, at least one; [] once it was closed.

        Raises:
            ConnectionLostError: the connection was lost for good.
            TimeoutError: nothing came within `timeout` seconds.
        """
        if self._changes:
            changes, self._changes = list(self._changes), deque()
            return changes
        with anyio.fail_after(timeout):
            await self._begin()
            return [Change(raw) for raw in await self._watching.box.batch()]

    async def aclose(self) -> None:
        """Watch no more."""
        self._begun = True
        self._watching.leave()

    async def _begin(self) -> None:
        if not self._begun:
            await self._link.connection()
            self._begun = True
            self._link.add(self._watching)
        await self._watching.ready.wait()

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> Change:
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
            self._watching.leave()
