"""The event feed of one chat, and the watchers of an owner's chats.

Theory of operation: every event of a chat gets the next number (`seq`), without gaps, in the order in which
it is published; all listeners see the same numbers. The newest events are kept in a log (`event_log`). A
listener that comes back with the number of its last event gets the missed ones from the log and continues
with the live ones; when the log no longer has them, it gets a snapshot. Numbers continue after a restart,
because the store knows how far they may have run (see `changeset.SEQ_BLOCK`); the log does not survive, so
the first resumption after a restart is a snapshot.

Publishing is a plain call of each sink on the loop's thread. Sinks must not block. What a sink raises is
logged, and neither the chat nor the other sinks notice.
"""

import logging
from collections.abc import Iterable

from parley_daemon.core.events import Event
from parley_daemon.engine.chats.feed.event_log import EventLog, Published
from parley_daemon.engine.chats.feed.snapshot import Change, ChatView, Sink, Watcher

log = logging.getLogger(__name__)


class EventFeed:
    """Numbers the events of a chat and passes each to every sink, in order."""

    __slots__ = ("_log", "_sinks")

    def __init__(self, last_seq: int) -> None:
        self._log = EventLog(last_seq)
        self._sinks: tuple[Sink, ...] = ()

    @property
    def last_seq(self) -> int:
        """The number of the newest event."""
        return self._log.last_seq

    @property
    def is_idle(self) -> bool:
        """Whether there is no listener."""
        return not self._sinks

    def publish(self, event: Event) -> None:
        """Number the event, keep it, pass it to every sink."""
        published = self._log.append(event)
        for sink in self._sinks:
            try:
                sink.publish(published)
            except Exception:  # the boundary of a listener: the others and the chat do not notice
                log.exception("event %d does not reach a listener", published.seq)

    def publish_all(self, events: Iterable[Event]) -> None:
        """Publish several events in their order."""
        for event in events:
            self.publish(event)

    def events_since(self, seq: int) -> tuple[Published, ...] | None:
        """Return the events after number `seq`, None when some of them are no longer kept."""
        missed = self._log.events_since(seq)
        return None if missed is None else tuple(missed)

    def events_of_turn(self, turn_id: str) -> list[Published]:
        """Return the events of a turn that are still kept."""
        return self._log.events_of_turn(turn_id)

    def add(self, sink: Sink) -> None:
        """Register a sink for every event from the next one on. Adding it again changes nothing."""
        if sink not in self._sinks:
            self._sinks = (*self._sinks, sink)

    def remove(self, sink: Sink) -> None:
        """Remove a sink, if it is registered."""
        self._sinks = tuple(one for one in self._sinks if one is not sink)


class Watchers:
    """Who is told when a chat of an owner is created, changed or deleted.

    Watchers must not block and must not raise.
    """

    def __init__(self) -> None:
        self._by_owner: dict[str, tuple[Watcher, ...]] = {}

    def add(self, owner: str, watcher: Watcher) -> None:
        """Register a watcher for all chats of an owner. Adding it again changes nothing."""
        self.remove(owner, watcher)
        self._by_owner[owner] = (*self._by_owner.get(owner, ()), watcher)

    def remove(self, owner: str, watcher: Watcher) -> None:
        """Remove a watcher, if it is registered."""
        left = tuple(one for one in self._by_owner.get(owner, ()) if one is not watcher)
        if left:
            self._by_owner[owner] = left
        else:
            self._by_owner.pop(owner, None)

    def publish(self, view: ChatView, change: Change) -> None:
        """Tell the watchers of the chat's owner."""
        for watcher in self._by_owner.get(view.chat.owner, ()):
            watcher.chat_changed(view, change)
