"""The listeners of one chat: attach with a snapshot or from an event number, replay a turn, detach."""

from parley_daemon.core.events import MessageAdded, MessagePart, StatusChanged
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.engine.chats.feed.snapshot import Attachment, Sink
from parley_daemon.engine.chats.live_chat import LiveChat

_FIRST_EVENTS = (MessageAdded, StatusChanged)
"""The events that a turn can begin with."""


READ_BYTES = 16 * 2**20
"""Bytes of stored messages that are read for a snapshot; at least one message is read."""


class Listeners:
    """Who hears the events of one chat."""

    __slots__ = ("_live",)

    def __init__(self, live: LiveChat) -> None:
        self._live = live

    async def attach(self, sink: Sink, *, after_seq: int | None, tail: int) -> Attachment:
        """Register a sink for all events from now on; return what it needs to know of the time before.

        With `after_seq`, the events after that number if they are still kept. Otherwise a snapshot with the
        `tail` newest messages. Registration and the moment of the snapshot are one step without an await:
        no event is lost, and none is delivered twice.
        """
        live = self._live
        live.services.host.warm_model(live.chat.model)
        missed = None if after_seq is None else live.feed.events_since(after_seq)
        live.feed.add(sink)
        if missed is not None:
            return Attachment(live.feed.last_seq - len(missed), missed, None)
        try:
            snapshot = await live.snapshot(after=None, before=None, limit=tail, max_bytes=READ_BYTES)
        except BaseException:
            live.feed.remove(sink)
            raise
        return Attachment(snapshot.seq, (), snapshot)

    def add(self, sink: Sink) -> None:
        """Register a sink for all events from now on."""
        self._live.feed.add(sink)

    def remove(self, sink: Sink) -> None:
        """Remove a sink, if it is registered."""
        self._live.feed.remove(sink)

    def replay(self, turn_id: str) -> list[Published]:
        """Return the events of a turn so far.

        When the first of them are no longer kept and the turn is under way, return its message in progress as
        one event for each part instead.
        """
        live = self._live
        events = live.feed.events_of_turn(turn_id)
        run = live.run
        if run is None or run.turn.id != turn_id or not events or isinstance(events[0].event, _FIRST_EVENTS):
            return events
        return [
            Published(live.feed.last_seq, MessagePart(turn_id, run.message_id, index, run.role, piece))
            for index, piece in run.assembler.pieces()
        ]
