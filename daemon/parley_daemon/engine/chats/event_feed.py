"""A chat's events on their way out: numbering, the log, and the sinks that hear them. Decides nothing."""

import logging
from collections.abc import Iterable

from parley_daemon.core.events import Event
from parley_daemon.engine.chats.event_log import EventLog, Published
from parley_daemon.engine.chats.snapshot import Sink

log = logging.getLogger(__name__)


class Feed:
    """Numbers events and hands each to every sink, in order. A sink is heard of once, however often added."""

    def __init__(self, last_seq: int) -> None:
        self._log = EventLog(last_seq)
        self._sinks: tuple[Sink, ...] = ()

    @property
    def last_seq(self) -> int:
        """The number of the newest event."""
        return self._log.last_seq

    @property
    def idle(self) -> bool:
        """Whether nobody listens."""
        return not self._sinks

    def publish(self, event: Event) -> None:
        """Number the event, keep it, hand it on."""
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

    def since(self, seq: int) -> tuple[Published, ...] | None:
        """Return what came after event `seq`, None when that is no longer kept piece by piece."""
        missed = self._log.since(seq)
        return None if missed is None else tuple(missed)

    def of_turn(self, turn_id: str) -> list[Published]:
        """Return the events of a turn that are kept."""
        return self._log.of_turn(turn_id)

    def add(self, sink: Sink) -> None:
        """Let the sink hear every event from the next one on."""
        if sink not in self._sinks:
            self._sinks = (*self._sinks, sink)

    def remove(self, sink: Sink) -> None:
        """Let the sink hear no more."""
        self._sinks = tuple(one for one in self._sinks if one is not sink)
