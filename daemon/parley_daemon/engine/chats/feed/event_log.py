"""The newest events of one chat, for clients that resume.

Theory of operation: a ring buffer. Events are numbered without gaps, so the events after number `seq` are
the last `last_seq - seq` ones of the buffer; if that is more than there are, some were dropped, and the
client needs a snapshot. The buffer is bounded by the number of events and by their estimated size.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice

import msgspec

from parley_daemon.core.events import Event, MessageAdded, MessagePart, QueueUpdated, TurnEnded, turn_of
from parley_daemon.core.parts import Reasoning, Text, count_characters

EVENTS_KEPT = 10_000
BYTES_KEPT = 4 * 1024 * 1024
_RECORD_BYTES = 256
# One event counts for no more than this: a very long message must not displace all events before it.
_MAX_EVENT_WEIGHT = BYTES_KEPT // 8


class Published(msgspec.Struct, eq=False, gc=False):
    """An event with its number. `encoded` caches its wire form: it is encoded once, for all listeners."""

    seq: int
    event: Event
    encoded: bytes | None = None


def _weight(event: Event) -> int:
    if isinstance(event, MessagePart) and isinstance(event.piece, Text | Reasoning):
        return _RECORD_BYTES + len(event.piece.text)
    match event:
        case MessageAdded(message):
            held = sum(map(count_characters, message.content))
        case QueueUpdated(queue):
            held = sum([count_characters(part) for one in queue for part in one.content])
        case MessagePart():
            held = count_characters(event.piece)
        case TurnEnded(output=value) if value is not None:
            held = len(str(value))
        case _:
            held = 0
    return min(4 * _RECORD_BYTES + held, _MAX_EVENT_WEIGHT)


class EventLog:
    """A ring buffer of events. Above its bounds the oldest events are dropped."""

    __slots__ = ("_events", "_kept", "_size", "_weight", "last_seq")

    def __init__(self, last_seq: int, *, events: int = EVENTS_KEPT, size: int = BYTES_KEPT) -> None:
        self.last_seq = last_seq
        self._kept: deque[Published] = deque()
        self._events = events
        self._size = size
        self._weight = 0

    def append(self, event: Event) -> Published:
        """Number the event and keep it."""
        self.last_seq += 1
        published = Published(self.last_seq, event)
        kept = self._kept
        kept.append(published)
        self._weight += _weight(event)
        while len(kept) > self._events or self._weight > self._size:
            self._weight -= _weight(kept.popleft().event)
        return published

    def events_of_turn(self, turn_id: str) -> list[Published]:
        """Return the events of a turn that are still kept."""
        return [one for one in self._kept if turn_of(one.event) == turn_id]

    def events_since(self, seq: int) -> Sequence[Published] | None:
        """Return all events after `seq`; None: some were dropped, or there was no event of that number."""
        missed = self.last_seq - seq
        if missed < 0 or missed > len(self._kept):
            return None
        return list(islice(self._kept, len(self._kept) - missed, None))
