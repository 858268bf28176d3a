"""Whether calls of a step run, or the turn only waits for answers.

Theory of operation. Calls that run are counted. When none runs and a question is open, the turn is idle: it
gives its slot back, and its time stands still. An answer makes its call run at once, before anything else
happens, so nobody sees the turn idle in between; the call then waits for a slot.

A call can also wait for turns of other chats. It leaves the slot to them, since they may be waiting for one.
The time of its turn goes on, unless those turns only wait for answers themselves.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio

from parley_daemon.engine.agents.calls.questions import OpenQuestions


class Activity:
    """The calls of one step that run.

    `on_idle` and `on_busy` are called when the last call begins to wait, and when one runs again. `take_slot`
    returns when the turn has a slot, `free_slot` gives it back.

    Attributes:
        questions: the open questions.
    """

    def __init__(
        self,
        on_idle: Callable[[], None],
        on_busy: Callable[[], None],
        take_slot: Callable[[], Awaitable[None]],
        free_slot: Callable[[], None],
    ) -> None:
        self.questions = OpenQuestions(self._resolved)
        self._running = 0
        self._elsewhere: list[WaitForOthers] = []
        self._is_idle = False
        self._on_idle = on_idle
        self._on_busy = on_busy
        self._take_slot = take_slot
        self._free_slot = free_slot
        self._taking = anyio.Lock()

    @property
    def is_idle(self) -> bool:
        """Whether answers are waited for, here or in the chats that are waited for, and no call runs."""
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
    def wait(self, request_id: str) -> Generator[None]:
        """Do not count a running call while it waits for an answer. The answer counts it again."""
        self._count(-1)
        try:
            yield
        finally:
            if self.questions.is_open(request_id):
                self._count(1)

    @asynccontextmanager
    async def wait_for_others(self) -> AsyncGenerator["WaitForOthers"]:
        """Do not count a running call while it waits for turns of other chats."""
        wait = WaitForOthers(lambda: self._count(0))
        self._elsewhere.append(wait)
        self._count(-1)
        try:
            yield wait
        finally:
            self._elsewhere.remove(wait)
            self._count(1)
        await self.resume()

    async def resume(self) -> None:
        """Wait for a slot after a wait."""
        async with self._taking:
            await self._take_slot()

    def _resolved(self) -> None:
        self._count(1)

    def _count(self, change: int) -> None:
        self._running += change
        if self._elsewhere and self._running <= 0:
            self._free_slot()
        blocked = sum(one.is_blocked for one in self._elsewhere)
        is_working = self._running > 0 or blocked < len(self._elsewhere)
        is_idle = not is_working and len(self.questions) + blocked > 0
        if is_idle and not self._is_idle:
            self._is_idle = True
            self._on_idle()
        elif self._is_idle and is_working:
            self._is_idle = False
            self._on_busy()


class WaitForOthers:
    """The wait of one call for turns of other chats. Implements OtherTurns."""

    __slots__ = ("_changed", "is_blocked")

    def __init__(self, changed: Callable[[], None]) -> None:
        self.is_blocked = False
        self._changed = changed

    def set_blocked(self, *, blocked: bool) -> None:
        """See OtherTurns."""
        if blocked is not self.is_blocked:
            self.is_blocked = blocked
            self._changed()
