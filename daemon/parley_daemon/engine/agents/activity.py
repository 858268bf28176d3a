"""Whether calls of a step run, or the turn only waits for answers.

Theory of operation. Calls that run are counted. When none runs and a question is open, the turn is idle: it
gives its slot back, and its time stands still. An answer makes its call run at once, before anything else
happens, so nobody sees the turn idle in between; the call then waits for a slot.
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import anyio

from parley_daemon.engine.agents.questions import OpenQuestions


class Activity:
    """The calls of one step that run.

    `on_idle` and `on_busy` are called when the last call begins to wait, and when one runs again. `take_slot`
    returns when the turn has a slot.

    Attributes:
        questions: the open questions.
    """

    def __init__(
        self,
        on_idle: Callable[[], None],
        on_busy: Callable[[], None],
        take_slot: Callable[[], Awaitable[None]],
    ) -> None:
        self.questions = OpenQuestions(self._resolved)
        self._running = 0
        self._is_idle = False
        self._on_idle = on_idle
        self._on_busy = on_busy
        self._take_slot = take_slot
        self._taking = anyio.Lock()

    @property
    def is_idle(self) -> bool:
        """Whether a question is open and no call runs."""
        return self._is_idle

    @contextmanager
    def call(self) -> Generator[None]:
        """Count a call as running."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    @contextmanager
    def waiting_call(self) -> Generator[None]:
        """Count a call whose question is open already: it runs when that is answered."""
        self._count(0)
        try:
            yield
        finally:
            self._count(-1)

    @contextmanager
    def wait(self) -> Generator[None]:
        """Do not count a running call while it waits for an answer. The answer counts it again."""
        self._count(-1)
        is_answered = False
        try:
            yield
            is_answered = True
        finally:
            if not is_answered:
                self._count(1)

    async def resume(self) -> None:
        """Wait for a slot after an answer."""
        async with self._taking:
            await self._take_slot()

    def _resolved(self) -> None:
        self._count(1)

    def _count(self, change: int) -> None:
        self._running += change
        is_idle = self._running <= 0 and len(self.questions) > 0
        if is_idle and not self._is_idle:
            self._is_idle = True
            self._on_idle()
        elif not is_idle and self._is_idle and self._running > 0:
            self._is_idle = False
            self._on_busy()
