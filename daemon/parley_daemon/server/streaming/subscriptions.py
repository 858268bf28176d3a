"""The streams of one client by their tokens: who has which, and what becomes of those that fall behind.

Knows the engine and the client's outbox, no request.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio

from parley_daemon.engine.chats.event_feed import Watchers
from parley_daemon.engine.chats.event_log import Published
from parley_daemon.engine.chats.snapshot import Attachment
from parley_daemon.engine.collection.collection import ChatCollection
from parley_daemon.engine.errors import EngineError
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.server.streaming.outbox import Outbox
from parley_daemon.server.streaming.streams import ChatStream, Token, WatchStream

log = logging.getLogger(__name__)

_NEARLY_EMPTY = 64 * 1024
_STORE_SECONDS = 1.0


class Subscriptions:
    """A client's chat streams and watches. `start` runs something for as long as the client is here.

    `interval` is the pace in seconds that the client asked for; streams that begin afterwards heed it.
    """

    def __init__(
        self,
        chats: ChatCollection,
        watchers: Watchers,
        outbox: Outbox,
        start: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        self.interval = 0.0
        self._collection = chats
        self._watchers = watchers
        self._outbox = outbox
        self._start = start
        self._chats: dict[Token, ChatStream] = {}
        self._coming: dict[Token, ChatStream] = {}
        self._asks: set[Token] = set()
        self._watches: dict[Token, WatchStream] = {}
        self._lagging: list[ChatStream] = []
        self._catching_up = anyio.Lock()

    # ------------------------------------------------------------------- subscriptions

    async def subscribe(
        self, token: Token, chat_id: str, *, after_seq: int | None, tail: int
    ) -> tuple[ChatStream, Attachment]:
        """Let a stream of the chat, holding, take this token; the one before it ends once this one is there.

        Of several that come for one token, the newest has it; the others hear nothing.
        """
        stream = self._stream(token, chat_id, tail=tail)
        self._coming[token] = stream
        try:
            async with self._collection.open(chat_id) as chat:
                attachment = await chat.listeners.attach(stream, after_seq=after_seq, tail=tail)
        except BaseException:
            self._forget_coming(stream)
            raise
        if self._coming.get(token) is stream:
            del self._coming[token]
            self._end(token)
            self._chats[token] = stream
        else:
            self._detach(stream)
            stream.drop()
        return stream, attachment

    def _detach(self, stream: ChatStream) -> None:
        chat = self._collection.get_loaded(stream.chat_id)
        if chat is not None:
            chat.listeners.remove(stream)

    def _replay(self, chat_id: str, turn_id: str) -> Sequence[Published]:
        chat = self._collection.get_loaded(chat_id)
        return () if chat is None else chat.listeners.replay(turn_id)

    def _stream(
        self, token: Token, chat_id: str, *, tail: int = 100, turn_ids: frozenset[str] | None = None
    ) -> ChatStream:
        return ChatStream(
            self._outbox,
            token,
            chat_id,
            interval=self.interval,
            on_lag=self._lagged,
            tail=tail,
            turn_ids=turn_ids,
        )

    def _forget_coming(self, stream: ChatStream) -> None:
        if self._coming.get(stream.token) is stream:
            del self._coming[stream.token]

    def unsubscribe(self, token: Token) -> None:
        """End the subscription that has this token, if there is one; an ask keeps its stream."""
        self._coming.pop(token, None)
        if token not in self._asks:
            self._end(token)

    def _end(self, token: Token) -> None:
        stream = self._chats.pop(token, None)
        if stream is not None:
            self._detach(stream)
            stream.close()

    # ---------------------------------------------------------------------------- asks

    def reserve(self, token: Token) -> bool:
        """Keep the token for an ask until `release`; False when it is in use."""
        if self.user_of(token) is not None:
            return False
        self._asks.add(token)
        return True

    def user_of(self, token: Token) -> str | None:
        """Return the method whose stream has the token, None when it is free."""
        if token in self._asks:
            return "chat/ask"
        if token in self._chats or token in self._coming:
            return "chat/subscribe"
        return "chat/watch" if token in self._watches else None

    def listen(self, token: Token, chat_id: str, turn_id: str, turn_ids: frozenset[str]) -> None:
        """Stream a turn under a reserved token, from its first event on, and others that may follow it."""
        stream = self._chats[token] = self._stream(token, chat_id, turn_ids=turn_ids)
        stream.release(self._replay(chat_id, turn_id))
        chat = self._collection.get_loaded(chat_id)
        assert chat is not None, "the caller of chat/ask holds the chat"
        chat.listeners.add(stream)

    def release(self, token: Token, turn_id: str) -> None:
        """The ask is over: end its stream. One that lags still tells the turn's end."""
        self._asks.discard(token)
        stream = self._chats.get(token)
        if stream is not None and stream.lagging:
            stream.tell_last(self._replay(stream.chat_id, turn_id))
        self._end(token)

    # ------------------------------------------------------------------------- watches

    def watch(self, token: Token) -> None:
        """Tell of every chat under this token."""
        self.unwatch(token)
        self._watches[token] = stream = WatchStream(self._outbox, token)
        self._watchers.add(self._collection.owner, stream)

    def unwatch(self, token: Token) -> None:
        """End the watch that has this token, if there is one."""
        stream = self._watches.pop(token, None)
        if stream is not None:
            self._watchers.remove(self._collection.owner, stream)
            stream.drop()

    # ------------------------------------------------------------------ falling behind

    def _lagged(self, stream: ChatStream) -> None:
        self._lagging.append(stream)
        asyncio.get_running_loop().call_soon(self.room)

    def room(self) -> None:
        """The client reads: streams that were given up begin again, now that little waits."""
        if self._lagging and self._outbox.size < _NEARLY_EMPTY:
            lagging, self._lagging = self._lagging, []
            for stream in lagging:
                if self._chats.get(stream.token) is stream:
                    self._begin_again(stream)

    def _begin_again(self, stream: ChatStream) -> None:
        async def catch_up() -> None:
            await self._catch_up(stream)

        self._start(catch_up)

    async def _catch_up(self, stream: ChatStream) -> None:
        """Let a stream begin again from a fresh snapshot, or tell it that its chat is gone."""
        while self._chats.get(stream.token) is stream:
            async with self._catching_up:
                if self._outbox.size >= _NEARLY_EMPTY:  # by the snapshot of another one
                    self._lagging.append(stream)
                    return
                if await self._began_again(stream):
                    return
            await anyio.sleep(_STORE_SECONDS)

    async def _began_again(self, stream: ChatStream) -> bool:
        """Try it once; False when the store does not answer now."""
        stream.restart()
        try:
            async with self._collection.open(stream.chat_id) as chat:
                attachment = await chat.listeners.attach(stream, after_seq=None, tail=stream.tail)
        except EngineError:
            stream.tell_gone()
            self._end(stream.token)
            return True
        except StoreUnavailableError as error:
            log.warning("a slow stream of chat %s waits for the store: %s", stream.chat_id, error)
            stream.give_up()
            return False
        if self._chats.get(stream.token) is stream:
            assert attachment.snapshot is not None
            stream.reset(attachment.snapshot, "slow_client")
        else:
            self._detach(stream)
        return True

    def drop(self) -> None:
        """The client is gone."""
        for stream in self._chats.values():
            self._detach(stream)
            stream.drop()
        for token in list(self._watches):
            self.unwatch(token)
        self._chats.clear()
        self._coming.clear()
        self._lagging.clear()
