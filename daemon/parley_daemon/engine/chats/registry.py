"""The chats that are in memory: loaded when they are called for, let go when nobody needs them."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.errors import ChatNotFoundError

IDLE_CHATS_KEPT = 64
"""Chats in memory above which those without turn, listener or caller go, the longest unused first.

While more than these are in use, as many unused ones may stay as are in use: looking stays cheap then.
"""


class Residents:
    """Chats by id, the longest unused first. A chat that is in use is never let go."""

    def __init__(self, load: Callable[[str], Awaitable[ChatActor | None]]) -> None:
        self._load = load
        self._actors: OrderedDict[str, ChatActor] = OrderedDict()
        self._loading = anyio.Lock()
        self._look_above = IDLE_CHATS_KEPT

    def all(self) -> Sequence[ChatActor]:
        """Return the chats that are in memory now."""
        return list(self._actors.values())

    def get(self, chat_id: str) -> ChatActor | None:
        """Return a chat if it is in memory."""
        return self._actors.get(chat_id)

    @asynccontextmanager
    async def using(self, chat_id: str, owner: str | None) -> AsyncGenerator[ChatActor]:
        """Have a chat in memory while the block runs; without an owner, whosever it is.

        Raises:
            ChatNotFoundError: there is none, or it is somebody else's.
        """
        actor = self._actors.get(chat_id) or await self._loaded(chat_id)
        if actor is None or owner not in (None, actor.view.chat.owner):
            raise ChatNotFoundError(f"There is no chat {chat_id}.")
        actor.users += 1
        try:
            yield actor
        finally:
            actor.users -= 1
            if actor.gone:
                self._actors.pop(chat_id, None)
            else:
                self.keep(actor)

    async def _loaded(self, chat_id: str) -> ChatActor | None:
        async with self._loading:  # of two callers at once, one loads: a chat has one actor
            actor = self._actors.get(chat_id) or await self._load(chat_id)
            if actor is not None:
                self._actors[chat_id] = actor  # nothing goes for it yet: it would, being the unused one
            return actor

    def keep(self, actor: ChatActor) -> None:
        """Have this chat in memory, as the one used last."""
        self._actors[actor.id] = actor
        self._actors.move_to_end(actor.id)
        if len(self._actors) > self._look_above:
            self._let_go()

    def _let_go(self) -> None:
        """Let unused chats go, down to the bound, and look again when there are twice as many as stay."""
        resting = [actor.id for actor in self._actors.values() if actor.at_rest]
        for chat_id in resting[: len(self._actors) - IDLE_CHATS_KEPT]:
            del self._actors[chat_id]
        self._look_above = max(IDLE_CHATS_KEPT, 2 * len(self._actors))
