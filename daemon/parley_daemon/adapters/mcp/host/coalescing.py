"""Passes on that something has happened, but not too often."""

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup


class Coalescer:
    """Calls `send` soon after `note`, at most once in `interval` seconds."""

    def __init__(self, tasks: TaskGroup, interval: float, send: Callable[[], Awaitable[None]]) -> None:
        self._tasks = tasks
        self._interval = interval
        self._send = send
        self._is_due = False
        self._is_running = False

    def note(self) -> None:
        """Say that it has happened."""
        self._is_due = True
        if not self._is_running:
            self._is_running = True
            self._tasks.start_soon(self._run)

    async def _run(self) -> None:
        while self._is_due:
            self._is_due = False
            await self._send()
            await anyio.sleep(self._interval)
        self._is_running = False
