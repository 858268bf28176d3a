"""What the user has entered and the daemon has not acknowledged yet, in the order of entering."""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from parley_clients.cli.errors import CommandError

MAX_JOBS = 20
"""How many may wait, as many as in the queue of a chat."""


@dataclass(frozen=True)
class Job:
    """Something to do. `text` is what the user entered."""

    text: str
    run: Callable[[], Awaitable[None]]
    entered_at: float = field(default_factory=time.monotonic)


class Jobs:
    """A bounded queue of jobs and the task that does them."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._added = anyio.Event()

    def add(self, job: Job) -> None:
        """Add a job.

        Raises:
            CommandError: too many are waiting, because the daemon does not answer.
        """
        if len(self._waiting) >= MAX_JOBS:
            raise CommandError(f"{MAX_JOBS} messages wait for the daemon. It does not answer at the moment.")
        self._waiting.append(job)
        self._added.set()

    def unfinished(self, min_age: float) -> list[str]:
        """Return the texts of jobs that were entered this many seconds ago and are not finished."""
        now = time.monotonic()
        return [job.text for job in self._waiting if now - job.entered_at >= min_age]

    async def run(self) -> None:
        """Do the jobs, one after the other, as they are added."""
        while True:
            while self._waiting:
                try:
                    await self._waiting[0].run()
                finally:
                    self._waiting.popleft()
            self._added = anyio.Event()
            await self._added.wait()
