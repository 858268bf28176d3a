"""The newest events of one chat, numbered without gaps, for clients that come back. Knows no wire form."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

import msgspec

from parley_daemon.core.events import Event, MessageAdded, MessagePart, QueueUpdated, turn_of
from parley_daemon.core.parts import Reasoning, Text, weight

EVENTS_KEPT = 10_000
BYTES_KEPT = 4 * 1024 * 1024
_RECORD_BYTES = 256
# One event counts for no more than this: a very long message must not drive out all that led to it.
_MOST = BYTES_KEPT // 8


class Published(msgspec.Struct, eq=False, gc=False):
    """An event with its number. `encoded` holds its bytes once somebody needed them: encoded once for all."""

    seq: int
    event: Event
    encoded: bytes | None = None


def _weight(event: Event) -> int:
    if isinstance(event, MessagePart) and isinstance(event.piece, Text | Reasoning):
        return _RECORD_BYTES + len(event.piece.text)
    match event:
        case MessageAdded(message):
            held = sum(map(weight, message.content))
        case QueueUpdated(queue):
            held = sum([weight(part) for one in queue for part in one.content])
        case MessagePart():
            held = weight(event.piece)
        case _:
            held = 0
    return min(4 * _RECORD_BYTES + held, _MOST)


class EventLog:
    """A ring of events: past its bounds the oldest go, and who needs them gets a snapshot instead."""

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

    def of_turn(self, turn_id: str) -> list[Published]:
        """Return the events of a turn that are still kept."""
        return [one for one in self._kept if turn_of(one.event) == turn_id]

    def since(self, seq: int) -> Sequence[Published] | None:
        """Return all events after `seq`, or None when some of them are no longer kept, or it never was."""
        missed = self.last_seq - seq
        if missed < 0 or missed > len(self._kept):
            return None
        return list(islice(self._kept, len(self._kept) - missed, None))
