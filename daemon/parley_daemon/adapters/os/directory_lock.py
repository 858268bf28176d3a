"""The lock on a data directory: at most one process stores chats in it.

The lock is `flock` on the file `parleyd.lock` in the directory. The kernel releases it when the process
ends, however it ends, so that no stale lock is ever left behind. The content of the file is a note to other
processes, not the lock: the process id of the owner, and on a second line the runtime file through which
clients find it. The note stays in the file after the owner has ended. It is therefore only valid while the
lock is held: `find_owner` tests the lock before it trusts the note.

Unix only. The branch for Windows has not been tested on Windows.
"""

import os
import sys
from pathlib import Path
from types import TracebackType

from parley_daemon.adapters.os.private_files import make_private_directory, open_private_file

LOCK_NAME = "parleyd.lock"

_NOTE_BYTES = 8192


class FileLock:
    """A lock file that this process holds, until `release` or the end of the process."""

    def __init__(self, path: Path, descriptor: int, note: bytes) -> None:
        self.path = path
        self._descriptor = descriptor
        self._write_note(note)

    def keep(self, runtime_file: Path | None) -> bool:
        """Put the file back if it was removed, replaced or changed; return whether that was necessary.

        Without the file, another process could lock the directory, too. `runtime_file`: for the note.

        Raises:
            BlockingIOError: another process has put a file of its own in the place and locked it.
            OSError: the file cannot be written, or its directory does not exist any more.
        """
        note = _encode_note(runtime_file)
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            found = None
        if found is None or not os.path.samestat(found, os.fstat(self._descriptor)):
            descriptor = _open_locked(self.path, wait=False)
            os.close(self._descriptor)
            self._descriptor = descriptor
        elif note == self._note and _version(found) == self._written:
            return False
        self._write_note(note)
        return True

    def _write_note(self, note: bytes) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, note, 0)
        self._note, self._written = note, _version(os.fstat(self._descriptor))

    def release(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_directory(data_dir: Path, runtime_file: Path | None = None) -> FileLock | None:
    """Lock a data directory for this process. The directory is created when it does not exist.

    `runtime_file` is written into the lock file's note. Returns None when another process holds the lock.

    Raises:
        OSError: the directory cannot be created or written.
    """
    make_private_directory(data_dir)
    try:
        return lock_file(data_dir / LOCK_NAME, runtime_file)
    except BlockingIOError:
        return None


def find_owner(data_dir: Path) -> int | None:
    """Return the id of the process that has locked a data directory, None when it is not locked."""
    try:
        descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        _lock(descriptor, wait=False)
    except BlockingIOError:
        return read_note(data_dir)[0]
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def read_note(data_dir: Path) -> tuple[int | None, Path | None]:
    """Return the process id and the runtime file of the last owner; None for what the note does not have.

    That owner may have ended. Whether the directory is locked is not tested.
    """
    try:
        # Without O_NONBLOCK, a named pipe in the place of the file would stop its reader.
        with open(os.open(data_dir / LOCK_NAME, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            pid, _, note = (file.read(_NOTE_BYTES) or b"").partition(b"\n")
    except OSError:
        return None, None
    where = note.rstrip(b"\n")
    return int(pid) if pid.isdigit() and len(pid) < 20 else None, Path(os.fsdecode(where)) if where else None


def lock_file(path: Path, runtime_file: Path | None = None, *, wait: bool = False) -> FileLock:
    """Lock a file, which is created when it does not exist. Writes the note into it.

    With `wait`, blocks until the lock is free.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is false.
        OSError: the file cannot be written.
    """
    descriptor = _open_locked(path, wait)
    try:
        return FileLock(path, descriptor, _encode_note(runtime_file))
    except OSError:
        os.close(descriptor)
        raise


def _encode_note(runtime_file: Path | None) -> bytes:
    return b"%d\n" % os.getpid() + (b"%b\n" % os.fsencode(runtime_file) if runtime_file else b"")


def _version(found: os.stat_result) -> tuple[int, int]:
    return found.st_mtime_ns, found.st_size


def _open_locked(path: Path, wait: bool) -> int:
    descriptor = open_private_file(path, os.O_RDWR)
    try:
        _lock(descriptor, wait)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, wait: bool) -> None:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(error.errno, error.strerror) from None
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
