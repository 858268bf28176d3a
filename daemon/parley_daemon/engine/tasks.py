"""Tasks in the background that live as long as the engine.

Work that is started while the tasks end is dropped, too. anyio does not cancel a task that joins a cancelled
group when the group waits only for tasks that clean up in a shield: the end would wait for that task.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup

Work = Callable[[], Coroutine[Any, Any, None]]


class BackgroundTasks:
    """Starts tasks while `running`, and cancels them at its end. Before and from then on, work is dropped."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Run the tasks that are started while the block runs."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            finally:
                self._group = None
                group.cancel_scope.cancel()

    def start(self, work: Work, name: str | None = None) -> None:
        """Start a task. The work must not raise."""
        if self._group is not None:
            self._group.start_soon(work, name=name)
