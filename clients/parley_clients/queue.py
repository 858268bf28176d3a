"""The messages of a chat that wait for their turn, as an object of their own: `chat.queue`."""

from typing import TYPE_CHECKING

from parley_clients.connection.reconnect import Link
from parley_clients.params import as_json
from parley_clients.results import Json, Result

if TYPE_CHECKING:
    from parley_clients.params import Content
    from parley_protocol.models.turns import ChatQueueResult

    _QueueResult = Result[ChatQueueResult]
else:
    _QueueResult = Result


class Waiting(_QueueResult):
    """The queue as it is at one moment, first in line first."""

    @property
    def messages(self) -> list[Json]:
        """The messages as JSON: `id`, `content` and more."""
        return self.raw["queuedMessages"]


class Queue:
    """What waits in a chat. Each call returns the whole queue as it is then.

    A message that has begun, or was removed, is not in it any more: MessageNotFoundError.
    """

    def __init__(self, link: Link, chat_id: str) -> None:
        self._link = link
        self._chat_id = chat_id

    async def list(self, *, timeout: float | None = None) -> Waiting:
        """Read it."""
        raw = await self._link.call("chat/get", {"chatId": self._chat_id, "limit": 1}, timeout)
        return Waiting("chat/queue/update", {"queuedMessages": raw["queuedMessages"]})

    async def update(
        self, queued_message_id: str, content: "Content", *, timeout: float | None = None
    ) -> Waiting:
        """Change what a waiting message says; it keeps its place."""
        return await self._change("update", queued_message_id, {"content": as_json(content)}, timeout)

    async def remove(self, queued_message_id: str, *, timeout: float | None = None) -> Waiting:
        """Take a waiting message out."""
        return await self._change("remove", queued_message_id, {}, timeout)

    async def promote(self, queued_message_id: str, *, timeout: float | None = None) -> Waiting:
        """Run a waiting message next, interrupting the turn under way."""
        return await self._change("promote", queued_message_id, {}, timeout)

    async def _change(self, what: str, id: str, params: Json, timeout: float | None) -> Waiting:
        params = {"chatId": self._chat_id, "queuedMessageId": id, **params}
        method = f"chat/queue/{what}"
        return Waiting(method, await self._link.call(method, params, timeout))
