"""The files with the whole output of commands: one folder a chat, kept for seven days."""

import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

from anyio import to_thread

KEEP_SECONDS = 7 * 24 * 3600
MAX_BYTES = 2**30
"""Bytes of all files together, about; the oldest ones go first."""

_CLEAN_SECONDS = 3600.0
_CLEAN_COMMANDS = 32
"""Commands after which the files are looked at again: each can write some MiB."""

_NAME = re.compile(r"[a-z0-9]{1,16}")
_CHAT = re.compile(r"[A-Za-z0-9-]{1,64}")


class OutputFiles:
    """The files below a folder that only the daemon's user can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cleaned_at: float | None = None
        self._commands = 0

    def new_id(self) -> str:
        """Return an id for a command and its output."""
        return secrets.token_hex(4)

    def path(self, chat_id: str, id: str) -> Path | None:
        """Return the file of a command of a chat; None if that cannot be an id."""
        if _NAME.fullmatch(id) is None or _CHAT.fullmatch(chat_id) is None:
            return None
        return self._folder / chat_id / f"{id}.txt"

    async def clean(self) -> None:
        """Remove what is too old or too much. Call it before each command; it does so now and then."""
        now = time.monotonic()
        self._commands += 1
        is_due = self._cleaned_at is None or now - self._cleaned_at > _CLEAN_SECONDS
        if is_due or self._commands > _CLEAN_COMMANDS:
            self._cleaned_at, self._commands = now, 0
            await to_thread.run_sync(remove_old, self._folder, time.time() - KEEP_SECONDS, MAX_BYTES)

    async def forget(self, chat_id: str) -> None:
        """Remove the files of a chat."""
        if _CHAT.fullmatch(chat_id) is not None:
            folder = self._folder / chat_id
            await to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def remove_old(folder: Path, before: float, most: int) -> None:
    """Remove files, the oldest first: those last written before a time, and those above `most` bytes in all.

    Folders that are empty then are removed, too.
    """
    if not folder.is_dir():
        return
    files: list[tuple[float, int, str]] = []
    chats = [chat.path for chat in os.scandir(folder) if chat.is_dir(follow_symlinks=False)]
    for chat in chats:
        with suppress(FileNotFoundError):  # the chat was deleted meanwhile
            for file in os.scandir(chat):
                found = file.stat(follow_symlinks=False)
                files.append((found.st_mtime, found.st_size, file.path))
    left = sum(size for _, size, _ in files)
    for written, size, path in sorted(files):
        if written >= before and left <= most:
            break
        with suppress(FileNotFoundError):
            os.unlink(path)
        left -= size
    for chat in chats:
        with suppress(OSError):  # it has newer files
            os.rmdir(chat)
