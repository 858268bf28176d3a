"""Who owns a data directory: one process at a time, by a lock that the system frees when it dies.

Unix only; the branch for Windows has not been tried on Windows.
"""

import os
import sys
from pathlib import Path
from types import TracebackType

LOCK_NAME = "parleyd.lock"


class Ownership:
    """The lock on a data directory, held until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the directory free."""
        os.close(self._descriptor)

    def __enter__(self) -> "Ownership":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def own(data_dir: Path, runtime_file: Path | None = None) -> Ownership | None:
    """Take a data directory, made when it is missing; None: another process has it.

    The lock file says who has it, and `runtime_file`: where its clients find it.

    Raises:
        OSError: the directory cannot be made or written.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return own_file(data_dir / LOCK_NAME, note=os.fsencode(runtime_file) if runtime_file else b"")
    except BlockingIOError:
        return None


def owner(data_dir: Path) -> int | None:
    """Return the id of the process that has a data directory, None when none has it."""
    try:
        descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR)
    except OSError:
        return None
    try:
        _lock(descriptor, wait=False)
    except BlockingIOError:
        return owner_of(data_dir)[0]
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def owner_of(data_dir: Path) -> tuple[int | None, Path | None]:
    """Return the process id and the runtime file of who has the directory, or had it last; None: not said."""
    try:
        pid, _, note = (data_dir / LOCK_NAME).read_bytes().partition(b"\n")
    except OSError:
        return None, None
    where = note.rstrip(b"\n")
    return int(pid) if pid.isdigit() else None, Path(os.fsdecode(where)) if where else None


def own_file(path: Path, *, wait: bool = False, note: bytes = b"") -> Ownership:
    """Take a lock file, made when it is missing; it says who has it, and the note.

    Raises:
        BlockingIOError: another process has it, and `wait` is false.
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
    return Ownership(descriptor)


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
