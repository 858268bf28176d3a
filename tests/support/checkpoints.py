"""A scratch tree for tests of checkpoints: what is in it, and calls that change it."""

import os
import shutil
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from parley_daemon.adapters.checkpoints.checkpoints import FileCheckpoints
from parley_daemon.adapters.os.clock import SystemClock
from parley_daemon.ports.checkpoints import ChangeRecorder, RestoreRequest
from parley_daemon.ports.editors import Editors
from parley_daemon.ports.tools import CallContext, Workspace
from tests.support.engine.rig import ME

CHAT = "00000000-0000-7000-8000-0000000000c1"

Content = tuple[str, int, bytes]
"""Kind, mode, and the bytes of a file or of a link's target."""


class Scratch:
    """A root, and checkpoints of one chat beside it or in the data directory of a daemon."""

    def __init__(
        self,
        folder: Path,
        editors: Editors | None = None,
        *,
        data: Path | None = None,
        chat: str = CHAT,
    ) -> None:
        self.chat = chat
        self.root = folder.resolve() / "root"
        self.data = data or folder.resolve() / "data"
        self.root.mkdir(exist_ok=True)
        self.clock = SystemClock()
        self.editors = editors
        self.checkpoints = FileCheckpoints(self.data, self.clock, editors)

    def restart(self) -> None:
        """Forget what is in memory, as a new process does."""
        self.checkpoints = FileCheckpoints(self.data, self.clock, self.editors)

    def path(self, name: str) -> str:
        """Return the absolute path of a name below the root."""
        return str(self.root / name)

    @asynccontextmanager
    async def call(
        self, turn: str = "turn-1", chat: str | None = None, message: int = 2
    ) -> AsyncGenerator[ChangeRecorder]:
        """Record a call."""
        workspace = Workspace((str(self.root),))
        context = CallContext(chat or self.chat, ME, turn, message, "call-1", "auto", workspace)
        async with self.checkpoints.record(context) as recorder:
            yield recorder

    async def write(self, name: str, text: str, turn: str = "turn-1", message: int = 2) -> str | None:
        """Write a file as a tool does. Return the id of the checkpoint."""
        async with self.call(turn, message=message) as recorder:
            await recorder.before_change(self.path(name), text.encode())
            write(self.root / name, text)
            return (await recorder.finish())[1]

    async def restore(
        self, checkpoint: str, *names: str, dry_run: bool = False, force: bool = False
    ) -> tuple[dict[str, str], dict[str, str], str | None]:
        """Restore. Return what was restored, what was not and why, and the checkpoint that undoes it."""
        paths = tuple(map(self.path, names)) or None
        request = RestoreRequest(self.chat, ME, checkpoint, paths, dry_run, force)
        result = await self.checkpoints.restore(request)
        return (
            {self.name(one.path): one.change_type for one in result.restored},
            {self.name(one.path): one.message for one in result.conflicts},
            result.checkpoint_id,
        )

    async def listed(self) -> list[tuple[str, dict[str, tuple[str, bool, str]]]]:
        """Return the checkpoints, the newest first: id, and change, restorable, state of each file."""
        return [
            (
                one.head.id,
                {self.name(file.path): (file.change_type, file.restorable, file.state) for file in one.files},
            )
            for one in await self.checkpoints.list(self.chat, ME)
        ]

    def name(self, path: str) -> str:
        """Return a path relative to the root."""
        return os.path.relpath(path, self.root)

    def content(self) -> dict[str, Content]:
        """Return everything below the root, by its relative path."""
        found: dict[str, Content] = {}
        for folder, folders, files in os.walk(self.root):
            for name in (*folders, *files):
                path = Path(folder, name)
                found[str(path.relative_to(self.root))] = content_of(path)
        return found

    def stored_bytes(self) -> int:
        """Return how much the images of the chat take."""
        return sum(path.stat().st_size for path in self.data.glob(f"chats/{self.chat}/images/*"))


def content_of(path: Path) -> Content:
    """Return what is at a path."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "link", 0, os.fsencode(os.readlink(path))
    if stat.S_ISDIR(status.st_mode):
        return "folder", stat.S_IMODE(status.st_mode), b""
    return "file", stat.S_IMODE(status.st_mode), path.read_bytes()


def write(path: Path, text: str) -> None:
    """Write a file as a whole, as tools do, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(".new")
    new.write_bytes(text.encode())
    new.rename(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
