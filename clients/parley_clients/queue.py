"""The queue of a chat: the messages that wait for their turn."""

from typing import TYPE_CHECKING

from parley_clients.connection.session import Session
from parley_clients.params import to_json
from parley_clients.results import Json, QueueSnapshot

if TYPE_CHECKING:
    from parley_clients.params import Content


class Queue:
    """The queued messages of one chat (`chat.queue`). Each call returns the whole queue.

    A message that has begun or was removed is not in the queue any more: MessageNotFoundError.
    """

    def __init__(self, session: Session, chat_id: str) -> None:
        self._session = session
        self._chat_id = chat_id

    async def list(self, *, timeout: float | None = None) -> QueueSnapshot:
        """Read the queue."""
        raw = await self._session.call("chat/get", {"chatId": self._chat_id, "limit": 1}, timeout)
        return QueueSnapshot("chat/queue/update", {"queuedMessages": raw["queuedMessages"]})

    async def update(
        self, queued_message_id: str, content: "Content", *, timeout: float | None = None
    ) -> QueueSnapshot:
        """Change the content of a queued message; it keeps its position."""
        return await self._call("update", queued_message_id, {"content": to_json(content)}, timeout)

    async def remove(self, queued_message_id: str, *, timeout: float | None = None) -> QueueSnapshot:
        """Remove a queued message."""
        return await self._call("remove", queued_message_id, {}, timeout)

    async def promote(self, queued_message_id: str, *, timeout: float | None = None) -> QueueSnapshot:
        """Interrupt the running turn and run this message next."""
        return await self._call("promote", queued_message_id, {}, timeout)

    async def _call(self, action: str, id: str, params: Json, timeout: float | None) -> QueueSnapshot:
        params = {"chatId": self._chat_id, "queuedMessageId": id, **params}
        method = f"chat/queue/{action}"
        return QueueSnapshot(method, await self._session.call(method, params, timeout))
