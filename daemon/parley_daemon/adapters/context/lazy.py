"""An index that is loaded when a context is first searched: most daemons serve chats that have none."""

from collections.abc import Callable, Sequence
from typing import Literal

from parley_daemon.ports.context import ContextIndex, ContextScope, Found, NamedPlace, Passage, RootStatus


class LazyContextIndex:
    """Implements ContextIndex. `load` imports and makes the real one."""

    def __init__(self, load: Callable[[], ContextIndex]) -> None:
        self._load = load
        self._loaded: ContextIndex | None = None

    def _index(self) -> ContextIndex:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    async def search(
        self, scope: ContextScope, queries: Sequence[str], *, limit: int, max_bytes: int
    ) -> Found:
        """See ContextIndex."""
        return await self._index().search(scope, queries, limit=limit, max_bytes=max_bytes)

    async def verify(self, scope: ContextScope, passage: Passage) -> Passage | None:
        """See ContextIndex."""
        return await self._index().verify(scope, passage)

    async def find_names(
        self, scope: ContextScope, text: str, kind: Literal["file", "symbol"], *, limit: int
    ) -> Sequence[NamedPlace]:
        """See ContextIndex."""
        return await self._index().find_names(scope, text, kind, limit=limit)

    async def status(self, roots: Sequence[str]) -> Sequence[RootStatus]:
        """See ContextIndex."""
        return await self._index().status(roots)

    def notice_change(self, owner: str, path: str) -> None:
        """See ContextIndex. What was not used yet looks at all files when it is."""
        if self._loaded is not None:
            self._loaded.notice_change(owner, path)

    async def aclose(self) -> None:
        """See ContextIndex."""
        if self._loaded is not None:
            await self._loaded.aclose()
