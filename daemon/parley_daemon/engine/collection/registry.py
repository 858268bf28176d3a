"""The chats that are in memory: loaded on demand, dropped when nobody uses them."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from weakref import WeakValueDictionary

import anyio

from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.errors import ChatNotFoundError

IDLE_CHATS_KEPT = 64
"""Number of chats in memory above which unused ones are dropped, the least recently used first.

While more than these are in use, as many unused ones may stay as are in use, so that the search for unused
ones is rare.
"""


class ChatRegistry:
    """Actors by chat id, the least recently used first. A chat that is in use is never dropped.

    `load` returns an actor for a stored chat, None when there is no such chat.
    """

    def __init__(self, load: Callable[[str], Awaitable[ChatActor | None]]) -> None:
        self._load = load
        self._actors: OrderedDict[str, ChatActor] = OrderedDict()
        self._loading = anyio.Lock()
        self._creating: WeakValueDictionary[tuple[str, str], anyio.Lock] = WeakValueDictionary()
        self._drop_above = IDLE_CHATS_KEPT

    def all(self) -> Sequence[ChatActor]:
        """Return the chats that are in memory."""
        return list(self._actors.values())

    def get(self, chat_id: str) -> ChatActor | None:
        """Return a chat if it is in memory."""
        return self._actors.get(chat_id)

    @asynccontextmanager
    async def open(self, chat_id: str, owner: str | None = None) -> AsyncGenerator[ChatActor]:
        """Keep a chat in memory while the block runs. Without an owner, the chat may be anybody's.

        Raises:
            ChatNotFoundError: there is no such chat, or it belongs to somebody else.
            StoreUnavailableError: it cannot be loaded.
        """
        actor = self._actors.get(chat_id) or await self._load_once(chat_id)
        if actor is None or owner not in (None, actor.view.chat.owner):
            raise ChatNotFoundError(f"There is no chat {chat_id}.")
        with self.keep(actor):
            yield actor

    @contextmanager
    def keep(self, actor: ChatActor) -> Generator[None]:
        """Put a chat in memory, and keep it there while the block runs."""
        self._actors[actor.id] = actor  # not `add`: that might drop this one, which is unused so far
        actor.users += 1
        try:
            yield
        finally:
            actor.users -= 1
            if actor.is_deleted:
                self._actors.pop(actor.id, None)
            else:
                self.add(actor)

    async def _load_once(self, chat_id: str) -> ChatActor | None:
        async with self._loading:  # of two callers at once, one loads: a chat has one actor
            actor = self._actors.get(chat_id) or await self._load(chat_id)
            if actor is not None:
                self._actors[chat_id] = actor  # not `add`: see `keep`
            return actor

    def creation_lock(self, owner: str, creation_id: str) -> anyio.Lock:
        """Return the lock that is held while a chat is created: of two equal requests, one creates it."""
        return self._creating.setdefault((owner, creation_id), anyio.Lock())

    def add(self, actor: ChatActor) -> None:
        """Put a chat in memory, as the most recently used one."""
        self._actors[actor.id] = actor
        self._actors.move_to_end(actor.id)
        if len(self._actors) > self._drop_above:
            self._drop_unused()

    def _drop_unused(self) -> None:
        """Drop unused chats down to the bound; look again when twice as many are there as stay now."""
        unused = [actor.id for actor in self._actors.values() if actor.is_unused]
        for chat_id in unused[: len(self._actors) - IDLE_CHATS_KEPT]:
            del self._actors[chat_id]
        self._drop_above = max(IDLE_CHATS_KEPT, 2 * len(self._actors))
