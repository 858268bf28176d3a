"""One lock for each path, so that calls of several chats change a file one after the other."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio


class PathLocks:
    """Locks by resolved path. A lock exists while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[anyio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def hold(self, paths: Iterable[str]) -> AsyncGenerator[None]:
        """Hold the locks of all these paths, taken in one order by everybody."""
        async with AsyncExitStack() as stack:
            for path in sorted(set(paths)):
                await stack.enter_async_context(self._hold(path))
            yield

    @asynccontextmanager
    async def _hold(self, path: str) -> AsyncGenerator[None]:
        lock, users = self._locks.setdefault(path, (anyio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[path]
