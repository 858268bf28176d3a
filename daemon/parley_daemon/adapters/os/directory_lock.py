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

LOCK_NAME = "parleyd.lock"


class FileLock:
    """A lock file that this process holds, until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

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
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return lock_file(data_dir / LOCK_NAME, note=os.fsencode(runtime_file) if runtime_file else b"")
    except BlockingIOError:
        return None


def find_owner(data_dir: Path) -> int | None:
    """Return the id of the process that has locked a data directory, None when it is not locked."""
    try:
        descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR)
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
        pid, _, note = (data_dir / LOCK_NAME).read_bytes().partition(b"\n")
    except OSError:
        return None, None
    where = note.rstrip(b"\n")
    return int(pid) if pid.isdigit() else None, Path(os.fsdecode(where)) if where else None


def lock_file(path: Path, *, wait: bool = False, note: bytes = b"") -> FileLock:
    """Lock a file, which is created when it does not exist. Writes the process id and the note into it.

    With `wait`, blocks until the lock is free.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is false.
        OSError: the file cannot be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, wait)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"%d\n%b\n" % (os.getpid(), note) if note else b"%d\n" % os.getpid())
    except OSError:
        os.close(descriptor)
        raise
    return FileLock(descriptor)


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
