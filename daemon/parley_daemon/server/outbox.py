"""What waits to be written to one client, and the task that writes it.

Anything may be put at any time and never waits; whoever puts streamed pieces looks at `pressed` and merges
them instead while it is true. Knows no protocol.
"""

from collections.abc import Callable
from typing import Protocol

import anyio

MERGE_ABOVE = 1024 * 1024
"""Bytes waiting above which streamed pieces are merged instead of put."""

RESET_ABOVE = 4 * 1024 * 1024
"""Bytes waiting, merged ones included, above which a stream is given up for a fresh snapshot."""

_WRITE_AT_ONCE = 256 * 1024


class Channel(Protocol):
    """One client's transport."""

    def write(self, data: bytes) -> None:
        """Send or buffer the bytes; never blocks. A broken transport swallows them."""
        ...

    async def drained(self) -> None:
        """Wait until the transport wants more. Returns at once when it is broken."""
        ...

    def pause_reading(self) -> None:
        """Stop reading from the client."""
        ...

    def resume_reading(self) -> None:
        """Read from the client again."""
        ...

    def close(self) -> None:
        """Close the transport; what was written is still sent where the peer reads it."""
        ...

    def abort(self) -> None:
        """Close the transport at once."""
        ...


class Waiting(Protocol):
    """Somebody who keeps something back until there is room."""

    def room(self) -> None:
        """There is room again."""
        ...


class Outbox:
    """Bytes on their way to one client.

    `held` counts the bytes that streams keep back beside it, `waiting` are those that do so for want of room.
    """

    def __init__(self, channel: Channel, on_room: Callable[[], None]) -> None:
        self.held = 0
        self.waiting: set[Waiting] = set()
        self._channel = channel
        self._on_room = on_room
        self._frames: list[bytes] = []
        self._size = 0
        self._wake = anyio.Event()
        self._empty = anyio.Event()
        self._empty.set()

    @property
    def size(self) -> int:
        """Bytes waiting to be written."""
        return self._size

    @property
    def pressed(self) -> bool:
        """Whether the client reads more slowly than it is written to."""
        return self._size > MERGE_ABOVE

    @property
    def overfull(self) -> bool:
        """Whether even merging does not help."""
        return self._size + self.held > RESET_ABOVE

    def put(self, *chunks: bytes) -> None:
        """Queue these chunks, in order and uninterrupted."""
        self._frames += chunks
        self._size += sum(map(len, chunks))
        if not self._wake.is_set():
            self._wake.set()

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            if not self._frames:
                self._empty.set()
                self._wake = anyio.Event()
                await self._wake.wait()
                self._empty = anyio.Event()
            batch = self._take()
            self._channel.write(batch)
            await self._channel.drained()
            self._size -= len(batch)
            if self.waiting and not self.pressed:
                waiting, self.waiting = self.waiting, set()
                for one in waiting:
                    one.room()
            self._on_room()

    def _take(self) -> bytes:
        """Return frames up to a handful of writes' worth, so that the transport's buffer stays small."""
        frames = self._frames
        if self._size <= _WRITE_AT_ONCE:
            self._frames = []
            return b"".join(frames)
        size = count = 0
        for frame in frames:
            size += len(frame)
            count += 1
            if size >= _WRITE_AT_ONCE:
                break
        self._frames = frames[count:]
        return b"".join(frames[:count])

    async def flushed(self) -> None:
        """Wait until everything put so far was written."""
        if self._frames or self._size:
            self._empty = anyio.Event()
            self._wake.set()
        await self._empty.wait()
