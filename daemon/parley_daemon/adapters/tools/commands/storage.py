"""The files with the whole output of commands: one folder a chat, kept for seven days."""

import os
import re
import secrets
import shutil
import time
from pathlib import Path

from anyio import to_thread

KEEP_SECONDS = 7 * 24 * 3600
_CLEAN_SECONDS = 3600.0
_NAME = re.compile(r"[a-z0-9]{1,16}")
_CHAT = re.compile(r"[A-Za-z0-9-]{1,64}")


class OutputFiles:
    """The files below a folder that only the daemon's user can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cleaned_at: float | None = None

    def new_id(self) -> str:
        """Return an id for a command and its output."""
        return secrets.token_hex(4)

    def path(self, chat_id: str, id: str) -> Path | None:
        """Return the file of a command of a chat; None if that cannot be an id."""
        if _NAME.fullmatch(id) is None or _CHAT.fullmatch(chat_id) is None:
            return None
        return self._folder / chat_id / f"{id}.txt"

    async def clean(self) -> None:
        """Remove what is too old, at most once an hour."""
        now = time.monotonic()
        if self._cleaned_at is None or now - self._cleaned_at > _CLEAN_SECONDS:
            self._cleaned_at = now
            await to_thread.run_sync(remove_old, self._folder, time.time() - KEEP_SECONDS)

    async def forget(self, chat_id: str) -> None:
        """Remove the files of a chat."""
        if _CHAT.fullmatch(chat_id) is not None:
            folder = self._folder / chat_id
            await to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def remove_old(folder: Path, before: float) -> None:
    """Remove the files that were last written before a time, and the folders that are empty then."""
    if not folder.is_dir():
        return
    for chat in os.scandir(folder):
        if not chat.is_dir(follow_symlinks=False):
            continue
        for file in os.scandir(chat.path):
            if file.stat(follow_symlinks=False).st_mtime < before:
                os.unlink(file.path)
        try:
            os.rmdir(chat.path)
        except OSError:
            pass  # it has newer files
