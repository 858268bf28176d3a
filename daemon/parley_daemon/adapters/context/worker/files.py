"""Where the indexes of folders lie: private files, named after a hash of the folder and a running number.

The number lets an index be made again beside the old one, which answers until the new one is complete.
"""

import hashlib
import os
import re
import time
from contextlib import suppress

from parley_daemon.adapters.context.worker.database import Database, UnusableIndexError

KEPT_SECONDS = 60 * 24 * 3600.0
"""An index that nobody has used for so long is removed."""

_NAME = re.compile(r"([0-9a-f]{24})-(\d{1,9})\.db")


def open_index(folder: str, root: str) -> Database:
    """Open the index of a folder, or make an empty one. What is damaged or left over is removed.

    Raises:
        OSError, sqlite3.Error: none can be made.
    """
    found: Database | None = None
    for number in sorted(_numbers(folder, root), reverse=True):
        path = _path(folder, root, number)
        try:
            database = Database.open(path, root)
            database.check()
        except UnusableIndexError:
            remove_index(path)
            continue
        if found is None:
            found = database
        elif found.noted("complete") is None and database.noted("complete") is not None:
            found.close()
            remove_index(found.path)
            found = database
        else:
            database.close()
            remove_index(path)
    if found is None:
        return create_index(folder, root)
    with suppress(OSError):
        os.utime(found.path)
    return found


def create_index(folder: str, root: str) -> Database:
    """Make an empty index with the next number.

    Raises:
        OSError, sqlite3.Error: none can be made.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = _path(folder, root, max(_numbers(folder, root), default=0) + 1)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    os.close(descriptor)
    try:
        return Database.create(path, root)
    except BaseException:
        remove_index(path)
        raise


def find_index(folder: str, root: str) -> str | None:
    """Return the file of the index of a folder, None if there is none."""
    numbers = _numbers(folder, root)
    return _path(folder, root, max(numbers)) if numbers else None


def remove_index(path: str) -> None:
    """Remove the files of an index."""
    for ending in ("-wal", "-shm", "-journal", ""):
        with suppress(OSError):
            os.unlink(path + ending)


def remove_old(folder: str) -> None:
    """Remove the indexes that nobody has used for a long time."""
    with suppress(OSError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            with suppress(OSError):
                if _NAME.fullmatch(name) and os.lstat(path).st_mtime < time.time() - KEPT_SECONDS:
                    remove_index(path)


def _key(root: str) -> str:
    return hashlib.sha256(root.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _numbers(folder: str, root: str) -> list[int]:
    with suppress(OSError):
        matches = [_NAME.fullmatch(name) for name in os.listdir(folder)]
        return [int(match[2]) for match in matches if match is not None and match[1] == _key(root)]
    return []


def _path(folder: str, root: str, number: int) -> str:
    return os.path.join(folder, f"{_key(root)}-{number}.db")
