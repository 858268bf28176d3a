"""The output of one client: what waits to be written, and the task that writes it.

Theory of operation. `put` never blocks and never waits. Frames wait in a list; the task `run` joins up to
256 KiB of them and hands them to the transport, then waits until the transport has room again. A streamed
piece that comes while nothing waits and the client was quiet goes to the transport directly: a task switch
less for every piece of a slow answer.

The outbox has no limit of its own, because a frame that has been put must go out. It says how far behind
the client is, and those who put frames keep it bounded:

* Responses: the connection reads no further requests while more than RESET_ABOVE bytes wait, so their number
  is that of the requests that it had read before.
* Streams, above MERGE_ABOVE (`is_congested`): streamed pieces are kept back and merged into fewer, larger
  ones; of watched chats only the latest state is kept.
* Streams, above RESET_ABOVE (`is_overfull`): the stream that wants to put something is suspended. It drops
  what it keeps back, and once the client reads again it gets a `reset` with a new snapshot.

A single large chunk says little about the client's pace: it is a long history or a large file, and takes its
time even if the client reads. So of the chunks above LARGE_CHUNK, responses are not counted, since the client
asked for them, and neither is the largest of the others: a client that reads never has two of them waiting
for long. More than RESET_ABOVE_ALWAYS waiting bytes suspend streams in any case.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import anyio

MERGE_ABOVE = 1024 * 1024
"""Waiting bytes above which streamed pieces are merged instead of put."""

RESET_ABOVE = 4 * 1024 * 1024
"""Waiting bytes, those kept back by streams included, above which a stream is suspended."""

LARGE_CHUNK = MERGE_ABOVE
"""Bytes of one chunk above which it may be ignored when the client's pace is judged."""

RESET_ABOVE_ALWAYS = 64 * 1024 * 1024
"""Waiting bytes above which a stream is suspended even if all of them are one chunk."""

_WRITE_AT_ONCE = 256 * 1024

# A piece is written directly if the client has been written nothing for this long. Pieces that come faster
# are written together, which costs fewer system calls.
_QUIET_SECONDS = 0.001
_MAX_DIRECT_WRITE = 16 * 1024


class Transport(Protocol):
    """The byte stream to and from one client. Nothing here blocks; a broken transport ignores all calls."""

    def write(self, data: bytes) -> None:
        """Send or buffer the bytes."""
        ...

    @property
    def is_writable(self) -> bool:
        """Whether the buffer has room now."""
        ...

    async def wait_until_writable(self) -> None:
        """Wait until the buffer has room. Returns at once if the transport is broken."""
        ...

    def pause_reading(self) -> None:
        """Stop reading from the client."""
        ...

    def resume_reading(self) -> None:
        """Read from the client again."""
        ...

    def close(self) -> None:
        """Close the transport. Buffered bytes are still sent if the client reads them."""
        ...

    def abort(self) -> None:
        """Close the transport at once and drop its buffer."""
        ...


class Deferred(Protocol):
    """A stream that keeps output back until there is room."""

    def on_room(self) -> None:
        """Put what was kept back: there is room again."""
        ...


class Outbox:
    """Bytes on their way to one client.

    `kept_back` counts the bytes that streams keep back. `deferred` are the streams that wait for room; each
    is called once when there is. `on_room` is called after every write.
    """

    def __init__(self, transport: Transport, on_room: Callable[[], None]) -> None:
        self.kept_back = 0
        self.deferred: set[Deferred] = set()
        self._transport = transport
        self._on_room = on_room
        self._loop = asyncio.get_running_loop()
        self._wrote_at = 0.0
        self._frames: list[bytes] = []
        self._size = 0
        self._large: deque[tuple[int, bool]] = deque()  # size of each waiting one, whether it is a response
        self._wake = anyio.Event()
        self._empty = anyio.Event()
        self._empty.set()

    @property
    def size(self) -> int:
        """Bytes waiting to be written."""
        return self._size

    @property
    def is_congested(self) -> bool:
        """Whether the client reads more slowly than it is written to."""
        return self._size - self._ignored > MERGE_ABOVE

    @property
    def is_overfull(self) -> bool:
        """Whether the client is so slow that merging does not help."""
        return self._size - self._ignored + self.kept_back > RESET_ABOVE or self._size > RESET_ABOVE_ALWAYS

    @property
    def _ignored(self) -> int:
        """Waiting bytes that say nothing about the client's pace."""
        if not self._large:
            return 0
        responses = sum([size for size, is_response in self._large if is_response])
        return responses + max([size for size, is_response in self._large if not is_response], default=0)

    def put(self, chunk: bytes, *, is_response: bool = False) -> None:
        """Queue whole frames."""
        self._frames.append(chunk)
        self._size += len(chunk)
        if len(chunk) > LARGE_CHUNK:
            self._large.append((len(chunk), is_response))
        if not self._wake.is_set():
            self._wake.set()

    def put_piece(self, chunk: bytes) -> None:
        """Write a streamed piece directly if nothing waits and the client was quiet, else queue it."""
        now = self._loop.time()
        if (
            self._size
            or now - self._wrote_at < _QUIET_SECONDS
            or len(chunk) > _MAX_DIRECT_WRITE
            or not self._transport.is_writable
        ):
            self.put(chunk)
            return
        self._wrote_at = now
        self._transport.write(chunk)

    async def run(self) -> None:
        """Write what is put, until cancelled."""
        while True:
            if not self._frames:
                self._empty.set()
                self._wake = anyio.Event()
                await self._wake.wait()
                self._mark_not_empty()
            frames = self._take_frames()
            self._wrote_at = self._loop.time()
            self._transport.write(b"".join(frames))
            await self._transport.wait_until_writable()
            for frame in frames:
                self._size -= len(frame)
                if len(frame) > LARGE_CHUNK:
                    self._large.popleft()
            if self.deferred and not self.is_congested:
                deferred, self.deferred = self.deferred, set()
                for stream in deferred:
                    stream.on_room()
            self._on_room()

    def _take_frames(self) -> list[bytes]:
        """Take the frames of one write. It is limited so that the transport's buffer stays small."""
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

    async def wait_until_empty(self) -> None:
        """Wait until everything that was put has been handed to the transport."""
        if self._frames or self._size:
            self._mark_not_empty()
            self._wake.set()
        await self._empty.wait()

    def _mark_not_empty(self) -> None:
        """Renew the event only if it is set: all who wait for the outbox to be empty share one event."""
        if self._empty.is_set():
            self._empty = anyio.Event()
