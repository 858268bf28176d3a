"""Streams: a chat's events, or changes of any chat, on their way to one client under its token.

Theory of operation. A stream is a listener of the engine. It gets each event as it is published, encodes it
and puts it into the client's outbox as a `$/progress` notification. An event is encoded once, however many
streams send it. A `ChatStream` is in one of these states:

* holding: events are kept in a list. So a stream begins, before the response to `chat/subscribe` is sent; the
  response comes first, then `release` sends what was missed and what was held.
* open: events are sent as they come.
* suspended: the client was too slow. Nothing is kept; only the deletion of the chat is remembered. The
  subscriptions bring it back with `hold`, a new snapshot, and `reset`.
* closed.

Pacing and merging. Streamed pieces of text make up nearly all events. A piece is kept back instead of sent
if the client asked for an interval between pieces that is not over yet, if the outbox is congested, or if
pieces are kept back already. Pieces of the same part are merged into one event; its `seq` is that of the last
one and its `span` their number. They are sent when the interval is over or the outbox has room. Any other
event first sends what is kept back, so the order never changes. The first piece of a message is never paced.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from parley_daemon.core.events import ChatChanged, MessagePart, turn_of
from parley_daemon.core.parts import MERGEABLE, Piece, count_characters, join
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.engine.chats.feed.snapshot import Change, ChatView, Snapshot
from parley_daemon.server.streaming.outbox import Outbox
from parley_daemon.server.wire import events, records

Token = int | str


class ProgressWriter:
    """Writes `$/progress` notifications of one token; the bytes around the values are encoded only once."""

    def __init__(self, outbox: Outbox, token: Token) -> None:
        self._outbox = outbox
        self._head = b'{"jsonrpc":"2.0","method":"$/progress","params":{"token":%b,"value":' % records.encode(
            token
        )

    def put(self, value: bytes) -> None:
        """Send one value."""
        self._outbox.put(self._frame(value))

    def put_piece(self, value: bytes) -> None:
        """Send one streamed piece, at once if possible."""
        self._outbox.put_piece(self._frame(value))

    def _frame(self, value: bytes) -> bytes:
        head = self._head
        return b"Content-Length: %d\r\n\r\n%b%b}}" % (len(head) + len(value) + 2, head, value)


class _MergedPieces(msgspec.Struct, gc=False):
    """Pieces of one part that are sent as one event. `seq` is the number of the last one."""

    event: MessagePart
    pieces: list[Piece]
    seq: int
    span: int

    def can_add(self, event: MessagePart) -> bool:
        """Whether this piece continues the part of the ones before it."""
        first, piece = self.event, event.piece
        if first.message_id != event.message_id or first.index != event.index:
            return False
        return type(piece) is type(first.piece) and isinstance(piece, MERGEABLE)


class ChatStream:
    """One chat's events under one token: all of them, or those of `turn_ids` only.

    It begins in the holding state. `interval` is the time in seconds between paced pieces, 0 for no pacing.
    `tail` is how many messages a snapshot for it holds. `on_suspend` is called when the client has become too
    slow and the stream is suspended.
    """

    def __init__(
        self,
        outbox: Outbox,
        token: Token,
        chat_id: str,
        *,
        interval: float,
        on_suspend: Callable[["ChatStream"], None],
        tail: int = 100,
        turn_ids: frozenset[str] | None = None,
    ) -> None:
        self.token = token
        self.chat_id = chat_id
        self.tail = tail
        self._writer = ProgressWriter(outbox, token)
        self._outbox = outbox
        self._interval = interval
        self._on_suspend = on_suspend
        self._turn_ids = turn_ids
        self._is_active = True
        self._held: list[Published] | None = []  # None unless the stream is holding
        self._merged: list[_MergedPieces] = []
        self._merged_size = 0
        self._message_id = 0
        self._sent_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._deletion: Published | None = None

    @property
    def is_suspended(self) -> bool:
        """Whether the client was too slow and the stream has not been reset yet."""
        return not self._is_active and self._held is None

    # ------------------------------------------------- called by the engine

    def publish(self, published: Published) -> None:
        """Take the chat's next event."""
        if not self._is_active:
            if isinstance(published.event, ChatChanged) and published.event.deleted:
                self._deletion = published  # there will be no snapshot for a reset
            return
        if self._held is not None:
            self._held.append(published)
            return
        event = published.event
        if self._turn_ids is not None and turn_of(event) not in self._turn_ids:
            return
        if isinstance(event, MessagePart):
            if self._merged or (self._interval and self._is_too_soon(event)) or self._outbox.is_congested:
                self._merge(published.seq, event)
                return
            if self._interval:
                self._sent_at = asyncio.get_running_loop().time()
            self._writer.put_piece(events.event_bytes(published, self.chat_id))
        else:
            if self._merged:
                self.send_merged()
            self._writer.put(events.event_bytes(published, self.chat_id))
        if self._outbox.is_overfull:
            self._suspend_and_report()

    # --------------------------------------------------------------- states

    def release(self, missed: Sequence[Published] = ()) -> None:
        """Send the missed events, then those that were held; from now on the stream is open."""
        held, self._held = self._held, None
        for published in (*missed, *(held or ())):
            self.publish(published)

    def suspend(self) -> None:
        """Drop what is kept back, and take no events until `hold`."""
        self._drop_merged()
        self._deactivate()

    def hold(self) -> None:
        """Hold events again, after a suspension: a snapshot is about to be read."""
        self._held, self._is_active = [], True

    def reset(self, snapshot: Snapshot, reason: str) -> None:
        """Send a `reset` event with the snapshot, then the events that were held since `hold`."""
        self._writer.put(events.reset_bytes(snapshot, self.chat_id, reason))
        self.release()

    def send_last_of(self, missed: Sequence[Published]) -> None:
        """Send only the last of the events that were missed in a suspension: the end of the turn."""
        if missed:
            self._writer.put(events.event_bytes(missed[-1], self.chat_id))

    def send_deletion(self) -> None:
        """Send the chat's last event if the chat was deleted during the suspension."""
        last = self._deletion
        if last is not None and isinstance(last.event, ChatChanged):
            view = ChatView(last.event.chat, last.event.status, last.seq - 1)
            empty = Snapshot(last.seq - 1, view, (), has_more=False, queue=(), preview=None)
            self._writer.put(events.reset_bytes(empty, self.chat_id, "slow_client"))
            self._writer.put(events.event_bytes(last, self.chat_id))

    def close(self) -> None:
        """Send what is kept back and take no more events."""
        self.send_merged()
        self._deactivate()

    def drop(self) -> None:
        """Take no more events and drop what is kept back: the connection is gone."""
        self.suspend()

    def _suspend_and_report(self) -> None:
        self.suspend()
        self._on_suspend(self)

    def _deactivate(self) -> None:
        self._is_active = False
        self._held = None

    # -------------------------------------------------- pacing and merging

    def on_room(self) -> None:
        """Send what was kept back because the outbox was congested. What is paced waits for its timer."""
        if self._merged and self._timer is None:
            self.send_merged()

    def send_merged(self) -> None:
        """Send what is kept back."""
        self._cancel_timer()
        merged, self._merged = self._merged, []
        self._outbox.kept_back -= self._merged_size
        self._merged_size = 0
        for pieces in merged:
            event = replace(pieces.event, piece=join(pieces.pieces))
            self._writer.put(events.part_bytes(event, self.chat_id, pieces.seq, pieces.span))
        if merged and self._interval:
            self._sent_at = asyncio.get_running_loop().time()

    def _is_too_soon(self, event: MessagePart) -> bool:
        """Whether the interval is not over yet. The first piece of a message never waits."""
        if event.message_id != self._message_id:
            self._message_id = event.message_id
            return False
        return asyncio.get_running_loop().time() - self._sent_at < self._interval

    def _merge(self, seq: int, event: MessagePart) -> None:
        size = count_characters(event.piece) if isinstance(event.piece, MERGEABLE) else 64
        self._merged_size += size
        self._outbox.kept_back += size
        if self._merged and self._merged[-1].can_add(event):
            last = self._merged[-1]
            last.pieces.append(event.piece)
            last.span += seq - last.seq
            last.seq = seq
        else:
            self._merged.append(_MergedPieces(event, [event.piece], seq, 1))
        if self._outbox.is_overfull:
            self._suspend_and_report()
        elif not self._interval:
            self._outbox.deferred.add(self)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._sent_at + self._interval, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._outbox.is_congested:
            self._outbox.deferred.add(self)
        else:
            self.send_merged()

    def _drop_merged(self) -> None:
        self._cancel_timer()
        self._merged = []
        self._outbox.kept_back -= self._merged_size
        self._merged_size = 0

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class WatchStream:
    """Changes of any chat under one token. A slow client gets only the latest state of each chat."""

    def __init__(self, outbox: Outbox, token: Token) -> None:
        self.token = token
        self._outbox = outbox
        self._writer = ProgressWriter(outbox, token)
        self._kept_back: dict[str, tuple[ChatView, Change]] = {}

    def chat_changed(self, view: ChatView, change: Change) -> None:
        """Take a change of a chat."""
        if self._kept_back or self._outbox.is_congested:
            before = self._kept_back.get(view.chat.id)
            if before is not None and change in ("changed", "diff_status"):
                change = before[1] if before[1] != "diff_status" else change
            self._kept_back[view.chat.id] = (view, change)
            self._outbox.deferred.add(self)
            return
        self._writer.put(events.watch_bytes(view, change))

    def drop(self) -> None:
        """Take no more changes and drop what is kept back."""
        self._kept_back = {}
        self._outbox.deferred.discard(self)

    def on_room(self) -> None:
        """Send the latest state of the chats that changed while the outbox was congested."""
        kept_back, self._kept_back = self._kept_back, {}
        for view, change in kept_back.values():
            self._writer.put(events.watch_bytes(view, change))
