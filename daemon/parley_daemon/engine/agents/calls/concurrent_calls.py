"""Calls that run at the same time. If the chat cannot be changed for one of them, all end."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from parley_daemon.ports.store import StoreUnavailableError


class ConcurrentCalls:
    """The calls under way."""

    def __init__(self) -> None:
        self.error: StoreUnavailableError | None = None
        self.tasks: TaskGroup = anyio.create_task_group()

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run one more."""
        self.tasks.start_soon(self._run, work)

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreUnavailableError as error:
            self.error = error
            self.tasks.cancel_scope.cancel()


@asynccontextmanager
async def concurrent_calls() -> AsyncGenerator[ConcurrentCalls]:
    """Run calls that are started in the block, and wait for their end.

    Raises:
        StoreUnavailableError: the chat could not be changed for one of them.
    """
    calls = ConcurrentCalls()
    async with calls.tasks:
        yield calls
    if calls.error is not None:
        raise calls.error
