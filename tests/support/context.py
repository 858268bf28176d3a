"""An index of contexts with its real worker process, and an editor whose buffers a test fills."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from parley_daemon.adapters.context.index import WorkerContextIndex
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.ports.context import ContextScope, Found, Passage
from tests.support.one_editor import OneEditor


class ContextRig:
    """An index that keeps what it knows below a folder."""

    def __init__(self, folder: Path, tasks: BackgroundTasks, idle_seconds: float) -> None:
        self.folder = folder / "context"
        self.editor = OneEditor()
        self.index = WorkerContextIndex(
            tasks, self.folder, self.editor, [str(self.folder)], idle_seconds=idle_seconds, first_seconds=30
        )

    async def search(self, scope: ContextScope | Path, *queries: str, limit: int = 10) -> Found:
        """Search a folder, or what a scope names."""
        return await self.index.search(scope_of(scope), queries, limit=limit, max_bytes=50_000)

    async def passages(self, scope: ContextScope | Path, *queries: str, limit: int = 10) -> Sequence[Passage]:
        """Return the passages of a search."""
        return (await self.search(scope, *queries, limit=limit)).passages

    async def paths(self, scope: ContextScope | Path, *queries: str, limit: int = 10) -> list[str]:
        """Return the names of the files that a search finds, relative to their roots."""
        found = await self.passages(scope, *queries, limit=limit)
        return [one.path.removeprefix(f"{one.root}/") for one in found]

    async def wait_for(self, scope: ContextScope | Path, query: str, *paths: str) -> None:
        """Wait until a search finds exactly these files."""
        with anyio.fail_after(30):
            while sorted(set(await self.paths(scope, query))) != sorted(paths):  # noqa: ASYNC110
                await anyio.sleep(0.02)

    async def wait_until_ready(self, root: Path) -> None:
        """Wait until all files of a folder are indexed."""
        await self.search(root, "anything")
        with anyio.fail_after(60):
            while (await self.index.status([str(root)]))[0].state != "ready":  # noqa: ASYNC110
                await anyio.sleep(0.02)


def scope_of(scope: ContextScope | Path) -> ContextScope:
    """Return the scope of one folder."""
    return scope if isinstance(scope, ContextScope) else ContextScope("local", (str(scope),))


@asynccontextmanager
async def running_context(folder: Path, *, idle_seconds: float = 600) -> AsyncGenerator[ContextRig]:
    """Yield a rig. Its worker ends with the block."""
    tasks = BackgroundTasks()
    async with tasks.running():
        yield ContextRig(folder, tasks, idle_seconds)
