"""Work that is done in the order of its arrival, in steps between which the event loop serves others."""

import os
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

import anyio
from anyio import to_thread

PAUSE_ABOVE = 8 * 1024 * 1024
"""Bytes of waiting work above which nothing more is read from the client."""

Read = TypeVar("Read")

Steps = Generator[Callable[[], None] | None]
"""Work in steps. None: others may be served now. A function: a long step, which may run in a thread."""


_yield_processor: Callable[[], None] = getattr(os, "sched_yield", lambda: None)
"""Lets a process that waits for this processor run: what is streamed comes from others and goes to others."""


class WorkQueue:
    """The waiting work of one client. `start` runs a task.

    `pause` is called with True if the queue is long, and with False when it is no longer.
    """

    def __init__(
        self,
        start: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
        pause: Callable[[bool], None],
    ) -> None:
        self._start = start
        self._pause = pause
        self._work: deque[tuple[int, Callable[[], Steps]]] = deque()
        self._bytes = 0
        self._is_paused = False
        self._waiting: set[anyio.Event] = set()

    def __len__(self) -> int:
        return len(self._work)

    def put(self, size: int, work: Callable[[], Steps]) -> None:
        """Do work after all that waits. `size` is in bytes."""
        self._work.append((size, work))
        self._bytes += size
        if self._bytes > PAUSE_ABOVE and not self._is_paused:
            self._is_paused = True
            self._pause(True)
        if len(self._work) == 1:
            self._start(self._run)

    async def read(self, read: Callable[[], Read]) -> Read | None:
        """Return what is read after all work that waits now, and before any later work.

        None: the client has left meanwhile.
        """
        if not self._work:
            return read()
        is_done, results = anyio.Event(), list[Read]()

        def read_in_order() -> Steps:
            results.append(read())
            is_done.set()
            yield None

        self._waiting.add(is_done)
        try:
            self.put(0, read_in_order)
            await is_done.wait()
        finally:
            self._waiting.discard(is_done)
        return results[0] if results else None

    def close(self) -> None:
        """The client has left: what waits is not done any more."""
        for event in self._waiting:
            event.set()

    async def _run(self) -> None:
        """Do what waits, until nothing does. What is being done stays at the head of the queue."""
        while self._work:
            size, work = self._work[0]
            for long_step in work():
                if long_step is None:
                    _yield_processor()
                    await anyio.lowlevel.checkpoint()
                else:
                    await to_thread.run_sync(long_step)
            self._work.popleft()
            self._bytes -= size
            if self._is_paused and self._bytes <= PAUSE_ABOVE // 2:
                self._is_paused = False
                self._pause(False)
