"""Implements Checkpoints in files. Nothing is loaded or created before it is needed: most daemons serve chats
without tools.
"""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from anyio import to_thread

from parley_daemon.ports.checkpoints import NO_PREFIXES, ChangedFile, ChangeRecorder, RestoreRequest
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.editors import Editors
from parley_daemon.ports.tools import CallContext

if TYPE_CHECKING:
    from parley_daemon.adapters.checkpoints.archive import Archive
    from parley_daemon.core.agents.files.checkpoints import CheckpointView, RestoreResult


class FileCheckpoints:
    """Checkpoints in a folder. None: in a temporary one, which is removed at the end."""

    def __init__(self, folder: Path | None, clock: Clock, editors: Editors | None = None) -> None:
        self._folder = folder
        self._clock = clock
        self._editors = editors
        self._temporary: Path | None = None
        self._archive: Archive | None = None
        self._lock = Lock()

    async def _load(self) -> "Archive":
        return self._archive or await to_thread.run_sync(self._load_now)

    def _load_now(self) -> "Archive":
        with self._lock:
            if self._archive is None:
                from parley_daemon.adapters.checkpoints.archive import Archive

                folder = self._folder
                if folder is None:
                    from tempfile import mkdtemp

                    folder = self._temporary = Path(mkdtemp(prefix="parleyd-"))
                self._archive = Archive(folder, self._clock, self._editors)
            return self._archive

    @asynccontextmanager
    async def record(self, context: CallContext) -> AsyncGenerator[ChangeRecorder]:
        """See Checkpoints."""
        archive = await self._load()
        async with archive.record(context) as recorder:
            yield recorder

    async def list(self, chat_id: str, owner: str) -> "Sequence[CheckpointView]":
        """See Checkpoints."""
        return await (await self._load()).list(chat_id, owner)

    async def changed_files(
        self, chat_id: str, owner: str, since: int | None = None, prefixes: Mapping[str, str] = NO_PREFIXES
    ) -> Sequence[ChangedFile]:
        """See Checkpoints."""
        if not self._has_any():
            return ()
        return await (await self._load()).changed_files(chat_id, owner, since, prefixes)

    async def restore(self, request: RestoreRequest) -> "RestoreResult":
        """See Checkpoints."""
        return await (await self._load()).restore(request)

    async def forget(self, chat_id: str) -> None:
        """See Checkpoints."""
        if self._has_any():
            await (await self._load()).forget(chat_id)

    async def chats(self) -> Sequence[str]:
        """See Checkpoints."""
        return (await self._load()).chats() if self._has_any() else ()

    async def recover(self, chat_id: str) -> None:
        """See Checkpoints."""
        await (await self._load()).recover(chat_id)

    async def aclose(self) -> None:
        """See Checkpoints."""
        if self._temporary is not None:
            import shutil

            await to_thread.run_sync(lambda: shutil.rmtree(self._temporary or "", ignore_errors=True))

    def _has_any(self) -> bool:
        """Return whether a chat may have checkpoints."""
        return self._archive is not None or (self._folder is not None and os.path.isdir(self._folder))
