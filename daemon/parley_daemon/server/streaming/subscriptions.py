"""The streams of one client by their tokens.

Theory of operation. A token belongs to at most one stream: of a `chat/subscribe`, of a `chat/ask`, or of a
`chat/watch`. Subscribing again under the token of a subscription replaces it without a gap: the old stream
ends when the new one has its snapshot.

A stream that is suspended because the client was too slow waits here. Once the client has read nearly
everything, one suspended stream after the other is reset: it holds new events, gets a snapshot from the store
and sends it. Only one snapshot is on its way at a time, since each may be large; if it fills the outbox, the
others wait again. If the store cannot be read, the reset is tried again every second.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio

from parley_daemon.engine.chats.feed.event_feed import Watchers
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.engine.chats.feed.snapshot import Attachment
from parley_daemon.engine.collection.collection import ChatCollection
from parley_daemon.engine.errors import EngineError
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.server.streaming.outbox import Outbox
from parley_daemon.server.streaming.streams import ChatStream, Token, WatchStream

log = logging.getLogger(__name__)

_NEARLY_EMPTY = 64 * 1024
_RETRY_SECONDS = 1.0


class Subscriptions:
    """A client's streams. `start` runs something in the background until the connection ends.

    `interval` is the time in seconds that the client wants between streamed pieces. It applies to streams
    that begin afterwards.
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
        self._starting: dict[Token, ChatStream] = {}
        self._asks: set[Token] = set()
        self._watches: dict[Token, WatchStream] = {}
        self._suspended: list[ChatStream] = []
        self._reset_lock = anyio.Lock()

    def method_using(self, token: Token) -> str | None:
        """Return the method whose stream has the token, None if the token is free."""
        if token in self._asks:
            return "chat/ask"
        if token in self._chats or token in self._starting:
            return "chat/subscribe"
        return "chat/watch" if token in self._watches else None

    def close(self) -> None:
        """End all streams without sending what they keep back: the connection is gone."""
        for stream in self._chats.values():
            self._detach(stream)
            stream.drop()
        for token in list(self._watches):
            self.unwatch(token)
        self._chats.clear()
        self._starting.clear()
        self._suspended.clear()

    # ------------------------------------------------------------------- subscriptions

    async def subscribe(
        self, token: Token, chat_id: str, *, after_seq: int | None, tail: int
    ) -> tuple[ChatStream, Attachment]:
        """Attach a new stream to the chat and return it in the holding state.

        If several requests subscribe under one token at the same time, the newest gets it; the streams of the
        others never send anything.

        Raises:
            EngineError: there is no such chat.
            StoreUnavailableError: the snapshot cannot be read.
        """
        stream = self._new_stream(token, chat_id, tail=tail)
        self._starting[token] = stream
        try:
            async with self._collection.open(chat_id) as chat:
                attachment = await chat.listeners.attach(stream, after_seq=after_seq, tail=tail)
        except BaseException:
            if self._starting.get(token) is stream:
                del self._starting[token]
            raise
        if self._starting.get(token) is stream:
            del self._starting[token]
            self._end(token)
            self._chats[token] = stream
        else:
            self._detach(stream)
            stream.drop()
        return stream, attachment

    def unsubscribe(self, token: Token) -> None:
        """End the subscription with this token, if there is one. The stream of a `chat/ask` goes on."""
        self._starting.pop(token, None)
        if token not in self._asks:
            self._end(token)

    def _new_stream(
        self, token: Token, chat_id: str, *, tail: int = 100, turn_ids: frozenset[str] | None = None
    ) -> ChatStream:
        return ChatStream(
            self._outbox,
            token,
            chat_id,
            interval=self.interval,
            on_suspend=self._add_suspended,
            tail=tail,
            turn_ids=turn_ids,
        )

    def _end(self, token: Token) -> None:
        stream = self._chats.pop(token, None)
        if stream is not None:
            self._detach(stream)
            stream.close()

    def _detach(self, stream: ChatStream) -> None:
        chat = self._collection.get_loaded(stream.chat_id)
        if chat is not None:
            chat.listeners.remove(stream)

    def _replay(self, chat_id: str, turn_id: str) -> Sequence[Published]:
        chat = self._collection.get_loaded(chat_id)
        return () if chat is None else chat.listeners.replay(turn_id)

    # ---------------------------------------------------------------------------- asks

    def reserve(self, token: Token) -> bool:
        """Keep the token for a `chat/ask` until `release`; return False if it is in use."""
        if self.method_using(token) is not None:
            return False
        self._asks.add(token)
        return True

    def stream_turns(self, token: Token, chat_id: str, turn_id: str, turn_ids: frozenset[str]) -> None:
        """Stream a turn under a reserved token from its first event on, then the others of `turn_ids`."""
        stream = self._chats[token] = self._new_stream(token, chat_id, turn_ids=turn_ids)
        stream.release(self._replay(chat_id, turn_id))
        chat = self._collection.get_loaded(chat_id)
        assert chat is not None, "the caller of chat/ask holds the chat"
        chat.listeners.add(stream)

    def release(self, token: Token, turn_id: str) -> None:
        """End the stream of a `chat/ask`. A suspended one still sends the end of the turn."""
        self._asks.discard(token)
        stream = self._chats.get(token)
        if stream is not None and stream.is_suspended:
            stream.send_last_of(self._replay(stream.chat_id, turn_id))
        self._end(token)

    # ------------------------------------------------------------------------- watches

    def watch(self, token: Token) -> None:
        """Stream the changes of all chats under this token, in place of a watch that has it."""
        self.unwatch(token)
        self._watches[token] = stream = WatchStream(self._outbox, token)
        self._watchers.add(self._collection.owner, stream)

    def unwatch(self, token: Token) -> None:
        """End the watch with this token, if there is one."""
        stream = self._watches.pop(token, None)
        if stream is not None:
            self._watchers.remove(self._collection.owner, stream)
            stream.drop()

    # --------------------------------------------------------------- suspended streams

    def on_room(self) -> None:
        """Reset suspended streams if the client has read nearly everything."""
        if self._suspended and self._outbox.size < _NEARLY_EMPTY:
            suspended, self._suspended = self._suspended, []
            for stream in suspended:
                if self._chats.get(stream.token) is stream:
                    self._reset_in_background(stream)

    def _add_suspended(self, stream: ChatStream) -> None:
        self._suspended.append(stream)
        asyncio.get_running_loop().call_soon(self.on_room)

    def _reset_in_background(self, stream: ChatStream) -> None:
        async def reset() -> None:
            await self._reset(stream)

        self._start(reset)

    async def _reset(self, stream: ChatStream) -> None:
        while self._chats.get(stream.token) is stream:
            async with self._reset_lock:
                if self._outbox.size >= _NEARLY_EMPTY:  # the snapshot of another stream fills it
                    self._suspended.append(stream)
                    return
                if await self._try_reset(stream):
                    return
            await anyio.sleep(_RETRY_SECONDS)

    async def _try_reset(self, stream: ChatStream) -> bool:
        """Send a snapshot, or that the chat was deleted. Return False if the store cannot be read now."""
        stream.hold()
        try:
            async with self._collection.open(stream.chat_id) as chat:
                attachment = await chat.listeners.attach(stream, after_seq=None, tail=stream.tail)
        except EngineError:
            stream.send_deletion()
            self._end(stream.token)
            return True
        except StoreUnavailableError as error:
            log.warning("a suspended stream of chat %s waits for the store: %s", stream.chat_id, error)
            stream.suspend()
            return False
        if self._chats.get(stream.token) is stream:
            assert attachment.snapshot is not None
            stream.reset(attachment.snapshot, "slow_client")
        else:
            self._detach(stream)
        return True
