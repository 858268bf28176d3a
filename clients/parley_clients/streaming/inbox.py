"""What waits between the reader of a connection and the consumer of a stream. Bounded; knows no connection.

The reader never waits: a consumer that is slow makes pieces of text merge, then its stream overflow.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

from parley_clients.errors import ParleyError
from parley_clients.results import Json

MERGE_ABOVE = 64 * 1024
"""Bytes waiting above which adjacent pieces of the same text become one event (its `span` says so)."""

OVERFLOW_ABOVE = 16 * 1024 * 1024
"""Bytes waiting above which a stream is given up: a live view begins anew from a snapshot, the stream of an
ask ends with SlowConsumerError."""

T = TypeVar("T")


class _Box(Generic[T]):
    """The waiting side: `_take` returns what is there, `close` ends it once that is taken out."""

    def __init__(self) -> None:
        self._closed = False
        self._error: ParleyError | None = None
        self._wake = anyio.Event()

    def _take(self) -> list[T]:
        raise NotImplementedError

    def close(self, error: ParleyError | None = None) -> None:
        """Let the consumer take what is there and then find the end, or the error. The first close counts."""
        if not self._closed:
            self._closed, self._error = True, error
        self._wake.set()

    async def batch(self) -> list[T]:
        """Return all that is there, at least one; [] at the end.

        Raises:
            ParleyError: it was closed with this error, and everything before it was taken out.
        """
        while True:
            items = self._take()
            if items:
                return items
            if self._closed:
                if self._error is not None:
                    raise self._error
                return []
            self._wake = anyio.Event()
            await self._wake.wait()


class EventBox(_Box[Json]):
    """Events of a chat or of a turn, in order. `overflowed` is called once when they are too many."""

    def __init__(self, overflowed: Callable[[], None]) -> None:
        super().__init__()
        self._overflowed = overflowed
        self._events: list[Json] = []
        self._texts: list[str] = []
        self._size = 0

    def put(self, value: Json, size: int) -> None:
        """Take one event (Listener)."""
        if self._closed:
            return
        if self._size > MERGE_ABOVE and self._events and _continues(self._events[-1], value):
            self._merge(value)
        else:
            self._join()
            self._events.append(value)
        self._size += size
        if self._size > OVERFLOW_ABOVE:
            self.clear()
            self._overflowed()
        self._wake.set()

    def clear(self) -> None:
        """Forget what waits."""
        self._events, self._texts, self._size = [], [], 0

    def _merge(self, value: Json) -> None:
        last = self._events[-1]
        if not self._texts:
            self._texts.append(last["part"]["text"])
        self._texts.append(value["part"]["text"])
        last["span"] = last.get("span", 1) + value.get("span", 1)
        last["seq"] = value["seq"]

    def _join(self) -> None:
        if self._texts:
            self._events[-1]["part"]["text"] = "".join(self._texts)
            self._texts = []

    def _take(self) -> list[Json]:
        self._join()
        events = self._events
        self.clear()
        return events


def _continues(last: Json, event: Json) -> bool:
    """Return whether the event is more of the same text, and nothing but text."""
    if last["type"] != "message_part" or event["type"] != "message_part":
        return False
    if last["messageId"] != event["messageId"] or last["index"] != event["index"]:
        return False
    kind, plain = event["part"]["type"], {"type", "text"}
    if kind not in ("text", "reasoning") or last["part"]["type"] != kind:
        return False
    return event["seq"] - event.get("span", 1) == last["seq"] and event["part"].keys() == plain


class ChangeBox(_Box[Json]):
    """What happened to chats: of each the newest only, in the order in which they first changed."""

    def __init__(self) -> None:
        super().__init__()
        self._changes: dict[str, Json] = {}

    def put(self, value: Json, size: int) -> None:
        """Take one change (Listener)."""
        if self._closed:
            return
        chat_id = value["chat"]["id"]
        before = self._changes.get(chat_id)
        if before is not None and before["type"] == "created" and value["type"] == "changed":
            value = {**value, "type": "created"}
        self._changes[chat_id] = value
        self._wake.set()

    def reset(self) -> None:
        """Say that changes went by unseen."""
        self._changes = {"": {"type": "reset"}}
        self._wake.set()

    def _take(self) -> list[Json]:
        changes = list(self._changes.values())
        self._changes = {}
        return changes
