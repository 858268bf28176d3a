"""Streams of events under a client's tokens: pacing, merging, and starting over when a client falls behind.

A stream takes events as the engine publishes them and puts `$/progress` notifications into the connection's
outbox. Pieces of one part merge while the client asked for a slower pace or reads too slowly; any other event
flushes them first, so order never changes. Knows no request.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from parley_daemon.core.events import ChatChanged, MessagePart, turn_of
from parley_daemon.core.parts import Piece, Reasoning, Text, ToolCallPiece, join
from parley_daemon.engine.chats.event_log import Published
from parley_daemon.engine.chats.snapshot import Change, ChatView, Snapshot
from parley_daemon.server.streaming.outbox import Outbox
from parley_daemon.server.wire import events, records

Token = int | str


class Progress:
    """The frames of one token: what stands before and after each value is encoded once."""

    def __init__(self, outbox: Outbox, token: Token) -> None:
        self._outbox = outbox
        self._head = b'{"jsonrpc":"2.0","method":"$/progress","params":{"token":%b,"value":' % records.encode(
            token
        )

    def put(self, value: bytes) -> None:
        """Send one value."""
        self._outbox.put(self._frame(value))

    def put_piece(self, value: bytes) -> None:
        """Send one streamed piece, which should be seen soon."""
        self._outbox.put_piece(self._frame(value))

    def _frame(self, value: bytes) -> bytes:
        head = self._head
        return b"Content-Length: %d\r\n\r\n%b%b}}" % (len(head) + len(value) + 2, head, value)


class _Merged(msgspec.Struct, gc=False):
    """Pieces of one part that go out as one event."""

    event: MessagePart
    pieces: list[Piece]
    seq: int
    span: int

    def takes(self, event: MessagePart) -> bool:
        """Whether this piece may join the ones before it."""
        mine, piece = self.event, event.piece
        if mine.message_id != event.message_id or mine.index != event.index:
            return False
        return type(piece) is type(mine.piece) and isinstance(piece, Text | Reasoning | ToolCallPiece)


class ChatStream:
    """One chat's events under one token: of the whole chat, or of these turns only.

    It begins holding: events wait until `release`, so that what the request answers goes first. `interval`
    is in seconds; `on_lag` is called once when the client has fallen too far behind, the stream then holds
    nothing and takes nothing until `restart` and `reset`.
    """

    def __init__(
        self,
        outbox: Outbox,
        token: Token,
        chat_id: str,
        *,
        interval: float,
        on_lag: Callable[["ChatStream"], None],
        tail: int = 100,
        turn_ids: frozenset[str] | None = None,
    ) -> None:
        self.token = token
        self.chat_id = chat_id
        self.tail = tail
        self._progress = Progress(outbox, token)
        self._outbox = outbox
        self._interval = interval
        self._on_lag = on_lag
        self._turn_ids = turn_ids
        self._waiting: list[Published] | None = []
        self._taking = True
        self._merged: list[_Merged] = []
        self._held = 0
        self._message_id = 0
        self._sent_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._last: Published | None = None

    @property
    def lagging(self) -> bool:
        """Whether it was given up and has not begun again yet."""
        return self._waiting is None and not self._taking

    # ---------------------------------------------------------------------- Sink

    def publish(self, published: Published) -> None:
        """Take the chat's next event."""
        if not self._taking:
            if isinstance(published.event, ChatChanged) and published.event.deleted:
                self._last = published  # there will be no snapshot to begin again from
            return
        if self._waiting is not None:
            self._waiting.append(published)
            return
        event = published.event
        if self._turn_ids is not None and turn_of(event) not in self._turn_ids:
            return
        if isinstance(event, MessagePart):
            if self._merged or (self._interval and self._too_soon(event)) or self._outbox.pressed:
                self._merge(published.seq, event)
                return
            if self._interval:
                self._sent_at = asyncio.get_running_loop().time()
            self._progress.put_piece(events.event_bytes(published, self.chat_id))
        else:
            if self._merged:
                self.flush()
            self._progress.put(events.event_bytes(published, self.chat_id))
        if self._outbox.overfull:
            self._lag()

    # ------------------------------------------------------------------- life

    def release(self, missed: Sequence[Published] = ()) -> None:
        """Let go what was missed, then the events that came since the stream began, and all later ones."""
        waiting, self._waiting = self._waiting, None
        for published in (*missed, *(waiting or ())):
            self.publish(published)

    def restart(self) -> None:
        """Begin again after a lag, holding; `reset` then tells from where."""
        self._waiting, self._taking = [], True

    def give_up(self) -> None:
        """Take nothing and keep nothing until `restart`."""
        self._forget()
        self._stop()

    def reset(self, snapshot: Snapshot, reason: str) -> None:
        """Tell the client to start over from this snapshot, and go on from it."""
        self._progress.put(events.reset_bytes(snapshot, self.chat_id, reason))
        self.release()

    def tell_last(self, missed: Sequence[Published]) -> None:
        """Tell only how a turn ended, of what was missed while it lagged."""
        if missed:
            self._progress.put(events.event_bytes(missed[-1], self.chat_id))

    def tell_gone(self) -> None:
        """Tell that the chat was deleted while this stream lagged: there is nothing to begin again from."""
        last = self._last
        if last is not None and isinstance(last.event, ChatChanged):
            view = ChatView(last.event.chat, last.event.status, last.seq - 1)
            empty = Snapshot(last.seq - 1, view, (), has_more=False, queue=(), preview=None)
            self._progress.put(events.reset_bytes(empty, self.chat_id, "slow_client"))
            self._progress.put(events.event_bytes(last, self.chat_id))

    def close(self) -> None:
        """Send what is held back, and take no more."""
        self.flush()
        self._stop()

    def drop(self) -> None:
        """Take no more and forget what is held back: the connection is gone."""
        self.give_up()

    def room(self) -> None:
        """The outbox has room again: what was merged for want of it can go."""
        if self._merged and self._timer is None:
            self.flush()

    # ------------------------------------------------------------------- merging

    def _too_soon(self, event: MessagePart) -> bool:
        """Whether this piece has to wait; a message's first piece never does."""
        if event.message_id != self._message_id:
            self._message_id = event.message_id
            return False
        return asyncio.get_running_loop().time() - self._sent_at < self._interval

    def _merge(self, seq: int, event: MessagePart) -> None:
        size = len(event.piece.text) if isinstance(event.piece, Text | Reasoning) else 64
        self._held += size
        self._outbox.held += size
        if self._merged and self._merged[-1].takes(event):
            last = self._merged[-1]
            last.pieces.append(event.piece)
            last.span += seq - last.seq
            last.seq = seq
        else:
            self._merged.append(_Merged(event, [event.piece], seq, 1))
        if self._outbox.overfull:
            self._lag()
        elif not self._interval:
            self._outbox.waiting.add(self)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._sent_at + self._interval, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._outbox.pressed:
            self._outbox.waiting.add(self)
        else:
            self.flush()

    def flush(self) -> None:
        """Send what is held back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        merged, self._merged = self._merged, []
        self._outbox.held -= self._held
        self._held = 0
        for one in merged:
            event = replace(one.event, piece=join(one.pieces))
            self._progress.put(events.part_bytes(event, self.chat_id, one.seq, one.span))
        if merged and self._interval:
            self._sent_at = asyncio.get_running_loop().time()

    def _lag(self) -> None:
        self.give_up()
        self._on_lag(self)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._merged = []
        self._outbox.held -= self._held
        self._held = 0

    def _stop(self) -> None:
        self._taking = False
        self._waiting = None


class WatchStream:
    """What happens to any chat, under one token. A slow client gets the newest state of each only."""

    def __init__(self, outbox: Outbox, token: Token) -> None:
        self.token = token
        self._outbox = outbox
        self._progress = Progress(outbox, token)
        self._late: dict[str, tuple[ChatView, Change]] = {}

    def chat_changed(self, view: ChatView, change: Change) -> None:
        """Take what happened to a chat."""
        if self._late or self._outbox.pressed:
            before = self._late.get(view.chat.id)
            if before is not None and before[1] == "created" and change == "changed":
                change = "created"
            self._late[view.chat.id] = (view, change)
            self._outbox.waiting.add(self)
            return
        self._progress.put(events.watch_bytes(view, change))

    def drop(self) -> None:
        """Take no more and forget what is held back."""
        self._late = {}
        self._outbox.waiting.discard(self)

    def room(self) -> None:
        """The outbox has room again."""
        late, self._late = self._late, {}
        for view, change in late.values():
            self._progress.put(events.watch_bytes(view, change))
