"""What waits to be written to one client, and the task that writes it.

Anything may be put at any time and never waits; whoever puts streamed pieces looks at `pressed` and merges
them instead while it is true. Knows no protocol.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import anyio

MERGE_ABOVE = 1024 * 1024
"""Bytes waiting above which streamed pieces are merged instead of put."""

RESET_ABOVE = 4 * 1024 * 1024
"""Bytes waiting, merged ones included, above which a stream is given up for a fresh snapshot."""

BULK = MERGE_ABOVE
"""Bytes of one chunk above which it says nothing about the client's pace: a long history, a large file.

Of those that the client did not ask for only the largest is passed over: who reads lets no second one wait
for long. Answers are bounded by not reading further requests.
"""

BULK_ABOVE = 64 * 1024 * 1024
"""Bytes waiting above which a stream is given up even if all of them are one chunk."""

_WRITE_AT_ONCE = 256 * 1024

# A client that has been quiet for so many seconds gets a streamed piece without a detour over the writer's
# task; what comes faster than that is written together, which costs fewer system calls.
_QUIET = 0.001
_SMALL = 16 * 1024


class Channel(Protocol):
    """One client's transport."""

    def write(self, data: bytes) -> None:
        """Send or buffer the bytes; never blocks. A broken transport swallows them."""
        ...

    @property
    def writable(self) -> bool:
        """Whether the transport wants more now."""
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
        self._loop = asyncio.get_running_loop()
        self._wrote_at = 0.0
        self._frames: list[bytes] = []
        self._size = 0
        self._bulky: deque[tuple[int, bool]] = deque()  # the size of each that waits, whether it is an answer
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
        return self._size - self._passed_over > MERGE_ABOVE

    @property
    def overfull(self) -> bool:
        """Whether even merging does not help."""
        return self._size - self._passed_over + self.held > RESET_ABOVE or self._size > BULK_ABOVE

    @property
    def _passed_over(self) -> int:
        if not self._bulky:
            return 0
        answers = sum([size for size, asked in self._bulky if asked])
        return answers + max([size for size, asked in self._bulky if not asked], default=0)

    def put(self, chunk: bytes, *, answer: bool = False) -> None:
        """Queue whole frames."""
        self._frames.append(chunk)
        self._size += len(chunk)
        if len(chunk) > BULK:
            self._bulky.append((len(chunk), answer))
        if not self._wake.is_set():
            self._wake.set()

    def put_piece(self, chunk: bytes) -> None:
        """Send a streamed piece: at once if nothing is before it and the client was quiet, else as `put`."""
        now = self._loop.time()
        if self._size or now - self._wrote_at < _QUIET or len(chunk) > _SMALL or not self._channel.writable:
            self.put(chunk)
            return
        self._wrote_at = now
        self._channel.write(chunk)

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            if not self._frames:
                self._empty.set()
                self._wake = anyio.Event()
                await self._wake.wait()
                self._fill()
            frames = self._take()
            self._wrote_at = self._loop.time()
            self._channel.write(b"".join(frames))
            await self._channel.drained()
            for frame in frames:
                self._size -= len(frame)
                if len(frame) > BULK:
                    self._bulky.popleft()
            if self.waiting and not self.pressed:
                waiting, self.waiting = self.waiting, set()
                for one in waiting:
                    one.room()
            self._on_room()

    def _take(self) -> list[bytes]:
        """Return frames up to one write's worth, so that the transport's buffer stays small."""
        frames = self._frames
        if self._size <= _WRITE_AT_ONCE:
            self._frames = []
            return frames
        size = count = 0
        for frame in frames:
            size += len(frame)
            count += 1
            if size >= _WRITE_AT_ONCE:
                break
        self._frames = frames[count:]
        return frames[:count]

    async def flushed(self) -> None:
        """Wait until everything put so far was written."""
        if self._frames or self._size:
            self._fill()
            self._wake.set()
        await self._empty.wait()

    def _fill(self) -> None:
        """Something is to be written: whoever waits for the end of that waits for the same event."""
        if self._empty.is_set():
            self._empty = anyio.Event()
