"""Reads files of projects below an open folder.

Each step of a path is opened relative to the folder before it, without following a link. A link inside of
the folder is resolved by hand, step by step, and one that leads out of it is refused. So nothing outside is
read, even while somebody replaces folders by links.
"""

import errno
import hashlib
import os
import stat
from collections import OrderedDict
from time import monotonic

import anyio
import msgspec
from anyio import to_thread

from parley_daemon.ports.projects import ProjectFile

MAX_BYTES = 2**20
"""The largest file that is read."""

FRESH_SECONDS = 1.0
"""How long a file is taken for as it was."""

REMEMBERED = 64
"""Files that are remembered."""

_MAX_LINKS = 8
_looks = anyio.CapacityLimiter(4)


class _UnusableError(Exception):
    """The file cannot be used. The message continues a sentence that begins with its path."""


class _Seen(msgspec.Struct, frozen=True, gc=False):
    at: float
    file: ProjectFile | None


class FolderFiles:
    """Implements ProjectFiles."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()

    async def read(self, folder: str, name: str) -> ProjectFile | None:
        """See ProjectFiles."""
        seen = self._seen.get((folder, name))
        if seen is not None and monotonic() - seen.at < FRESH_SECONDS:
            return seen.file
        file = await to_thread.run_sync(read_below, folder, name, abandon_on_cancel=True, limiter=_looks)
        self._seen[folder, name] = _Seen(monotonic(), file)
        self._seen.move_to_end((folder, name))
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return file

    async def find_folder(self, path: str) -> str | None:
        """See ProjectFiles."""
        return await to_thread.run_sync(_find_folder, path, abandon_on_cancel=True, limiter=_looks)


def _find_folder(path: str) -> str | None:
    try:
        found = os.path.realpath(path, strict=True)
    except (OSError, ValueError):
        return None
    return found if os.path.isdir(found) else None


def read_below(folder: str, name: str) -> ProjectFile | None:
    """Return a file below a folder, None if there is none."""
    path = os.path.join(folder, name)
    try:
        content = _read(folder, name)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except OSError as error:
        return ProjectFile(path, None, problem=f"{path} cannot be read: {error.strerror}.")
    except _UnusableError as error:
        return ProjectFile(path, None, problem=f"{path} {error}.")
    hash = hashlib.sha256(name.encode() + b"\0" + content).hexdigest()
    return ProjectFile(path, content, f"sha256:{hash}")


def _read(folder: str, name: str) -> bytes:
    """Return the content of a file below a folder.

    Raises:
        OSError: it cannot be opened.
        _UnusableError: it is no ordinary file, too large, or lies elsewhere.
    """
    descriptor = _open_below(folder, name)
    try:
        known = os.fstat(descriptor)
        if not stat.S_ISREG(known.st_mode):
            raise _UnusableError("is no ordinary file")
        if known.st_size > MAX_BYTES:
            raise _UnusableError(f"is larger than {MAX_BYTES // 2**20} MiB")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise _UnusableError(f"is larger than {MAX_BYTES // 2**20} MiB")
    return content


def _open_below(folder: str, name: str) -> int:
    """Open a file below a folder; return the descriptor."""
    opened = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY)]  # the folder, and the folders down to the file
    try:
        ahead, links = name.split("/")[::-1], 0
        while ahead:
            step = ahead.pop()
            if step in ("", "."):
                continue
            if step == "..":
                if len(opened) == 1:
                    raise _UnusableError("is a link that leads out of the folder")
                os.close(opened.pop())
                continue
            try:
                flags = os.O_DIRECTORY if ahead else os.O_NONBLOCK
                found = os.open(step, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=opened[-1])
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
                    raise
                target = _read_link(step, opened[-1])
                if target is None:
                    raise
                links += 1
                if target.startswith("/") or links > _MAX_LINKS:
                    raise _UnusableError("is a link that leads out of the folder") from None
                ahead += target.split("/")[::-1]
                continue
            if not ahead:
                return found
            opened.append(found)
        raise _UnusableError("is no ordinary file")
    finally:
        for one in opened:
            os.close(one)


def _read_link(name: str, folder: int) -> str | None:
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError:
        return None
