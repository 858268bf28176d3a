"""Inboxes: bounded buffers between the reader of a connection and the consumer of a stream.

Theory of operation. The reader of a connection must never wait, and a consumer may be slow or may not read at
all. So each stream has an inbox: `put` (called by the reader) appends and returns at once, `batch` (called by
the consumer) waits until something is there and takes all of it. A fast consumer gets each event by itself; a
slow one gets them in batches.

What happens when a consumer is slow, for the events of a chat or a turn (EventInbox):

1. Above MERGE_ABOVE bytes, a piece of text that continues the last event in the inbox is merged into it, by
   the rule of the protocol for coalesced events: `span` counts the merged events, `seq` is that of the last.
2. Above OVERFLOW_ABOVE bytes the inbox is emptied and `on_overflow` is called. A live chat then starts over
   from a snapshot; the stream of a turn ends with SlowConsumerError.

Changes of chats (ChangeInbox) need no bound: only the latest change of each chat is kept.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

from parley_clients.errors import ParleyError
from parley_clients.results import Json

MERGE_ABOVE = 64 * 1024
"""Bytes in the inbox above which adjacent pieces of the same text are merged."""

OVERFLOW_ABOVE = 16 * 1024 * 1024
"""Bytes in the inbox above which the inbox overflows."""

T = TypeVar("T")


class _Wakeup(Generic[T]):
    """Wakes the consumer of an inbox: when there are items, or when the inbox is closed."""

    def __init__(self) -> None:
        self.closed = False
        self._error: ParleyError | None = None
        self._event = anyio.Event()

    def notify(self) -> None:
        self._event.set()

    def close(self, error: ParleyError | None) -> None:
        if not self.closed:
            self.closed, self._error = True, error
        self._event.set()

    async def wait_for_items(self, take_items: Callable[[], list[T]]) -> list[T]:
        while True:
            items = take_items()
            if items:
                return items
            if self.closed:
                if self._error is not None:
                    raise self._error
                return []
            self._event = anyio.Event()
            await self._event.wait()


class EventInbox:
    """The events of a chat or of a turn, in order. `on_overflow` is called after the inbox was emptied."""

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        self._wakeup: _Wakeup[Json] = _Wakeup()
        self._on_overflow = on_overflow
        self._events: list[Json] = []
        self._merged_texts: list[str] = []
        self._size = 0

    def put(self, value: Json, size: int) -> None:
        """Append an event of `size` bytes (ProgressListener). Ignored once the inbox is closed."""
        if self._wakeup.closed:
            return
        if self._size > MERGE_ABOVE and self._events and _continues(self._events[-1], value):
            self._merge(value)
        else:
            self._finish_merge()
            self._events.append(value)
        self._size += size
        if self._size > OVERFLOW_ABOVE:
            self.clear()
            self._on_overflow()
        self._wakeup.notify()

    def clear(self) -> None:
        """Drop all events."""
        self._events, self._merged_texts, self._size = [], [], 0

    def close(self, error: ParleyError | None = None) -> None:
        """Accept no more events. The consumer gets the remaining ones, then the end or the error.

        Only the first call sets the error.
        """
        self._wakeup.close(error)

    async def batch(self) -> list[Json]:
        """Return all events, at least one; [] once the inbox is closed and empty.

        Raises:
            ParleyError: the inbox is empty and was closed with this error.
        """
        return await self._wakeup.wait_for_items(self._take_events)

    def _take_events(self) -> list[Json]:
        self._finish_merge()
        events = self._events
        self.clear()
        return events

    def _merge(self, value: Json) -> None:
        # The texts are joined once, at the end: joining them one by one would take quadratic time.
        last = self._events[-1]
        if not self._merged_texts:
            self._merged_texts.append(last["part"]["text"])
        self._merged_texts.append(value["part"]["text"])
        last["span"] = last.get("span", 1) + value.get("span", 1)
        last["seq"] = value["seq"]

    def _finish_merge(self) -> None:
        if self._merged_texts:
            self._events[-1]["part"]["text"] = "".join(self._merged_texts)
            self._merged_texts = []


def _continues(last: Json, event: Json) -> bool:
    """Return whether the event continues the text of the last one and holds nothing else."""
    if last["type"] != "message_part" or event["type"] != "message_part":
        return False
    if last["messageId"] != event["messageId"] or last["index"] != event["index"]:
        return False
    kind, fields = event["part"]["type"], {"type", "text"}
    if kind not in ("text", "reasoning") or last["part"]["type"] != kind:
        return False
    return event["seq"] - event.get("span", 1) == last["seq"] and event["part"].keys() == fields


class ChangeInbox:
    """Changes of chats: the latest one of each chat, in the order of the first change."""

    def __init__(self) -> None:
        self._wakeup: _Wakeup[Json] = _Wakeup()
        self._changes: dict[str, Json] = {}

    def put(self, value: Json, size: int) -> None:
        """Add a change (ProgressListener). Ignored once the inbox is closed."""
        if self._wakeup.closed:
            return
        chat_id = value["chat"]["id"]
        earlier = self._changes.get(chat_id)
        if earlier is not None and value["type"] in ("changed", "diff_status"):
            kept = "created" if earlier["type"] == "created" else "changed"
            value = {**value, "type": value["type"] if earlier["type"] == "diff_status" else kept}
        self._changes[chat_id] = value
        self._wakeup.notify()

    def reset(self) -> None:
        """Replace all changes by one "reset": an unknown number of changes was missed."""
        self._changes = {"": {"type": "reset"}}
        self._wakeup.notify()

    def close(self, error: ParleyError | None = None) -> None:
        """Accept no more changes. The consumer gets the remaining ones, then the end or the error."""
        self._wakeup.close(error)

    async def batch(self) -> list[Json]:
        """Return all changes, at least one; [] once the inbox is closed and empty.

        Raises:
            ParleyError: the inbox is empty and was closed with this error.
        """
        return await self._wakeup.wait_for_items(self._take_changes)

    def _take_changes(self) -> list[Json]:
        changes = list(self._changes.values())
        self._changes = {}
        return changes
