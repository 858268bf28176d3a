"""What is known about the state of a store: whether its files are in place, and what is damaged.

SQLite does not notice that its files were deleted: it goes on writing to files that no path leads to, and all
of that is lost when the daemon ends. So the writer compares the files at their paths with the ones that it
has opened, before each transaction. Chats can still be read then.

Damage is noted when a read or a write meets it, and when the check in the background finds it (`integrity`).
It stays noted until the store is opened again.
"""

import os
import sqlite3
from pathlib import Path

from parley_daemon.adapters.sqlite.codec import UNREADABLE
from parley_daemon.ports.store import StoreUnavailableError

FULL_BELOW = 512 * 1024
"""A disk with fewer free bytes counts as full: the next answers may not fit."""

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR)

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it is not writable",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_NOTADB: "it is not a database of parleyd",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_BUSY: "another process is using it",
    sqlite3.SQLITE_IOERR: "the disk reports errors",
}

_ADVICE = (
    "Other chats can be read. Export what you need, stop the daemon, and restore a backup or repair the file "
    "with `sqlite3 FILE .recover`."
)


class StoreHealth:
    """The state of the store at `path`. Its methods may be called in any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: str | None = None
        self._log = path.with_name(f"{path.name}-wal")
        self._file: os.stat_result | None = None
        self._log_file: os.stat_result | None = None

    def note_opened(self) -> None:
        """Note which files have just been opened."""
        self.damage = None
        self._file = _stat(self.path)
        self._log_file = _stat(self._log)

    def check_files(self) -> None:
        """Check that what is written now can be found later.

        Raises:
            StoreUnavailableError: a file of the store was deleted, moved or replaced.
        """
        if self._file is None:
            return
        for path, opened in ((self.path, self._file), (self._log, self._log_file)):
            try:
                found = os.stat(path)
            except OSError:
                raise self._not_in_place(path, "deleted or moved") from None
            if opened is None:
                self._log_file = found
            elif (found.st_ino, found.st_dev) != (opened.st_ino, opened.st_dev):
                raise self._not_in_place(path, "replaced by another one")

    def _not_in_place(self, path: Path, what: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"The store {self.path} cannot be written: {path} was {what} while the daemon runs. Put it back, "
            "or export the chats that you need and restart the daemon (`parleyd stop`)."
        )

    def check_space(self) -> None:
        """Check that the disk has room.

        Raises:
            StoreUnavailableError: it is full, or nearly so.
        """
        try:
            free = _free_bytes(self.path)
        except OSError as error:
            raise to_store_error(self.path, error) from None
        if free is not None and free < FULL_BELOW:
            raise StoreUnavailableError(
                f"The store {self.path} cannot be used: the disk is full ({free // 1024} KiB are left)."
            )

    def note_damage(self, what: str) -> None:
        """Note what part of the store is damaged. The first damage is kept."""
        if self.damage is None:
            self.damage = f"The store {self.path} is damaged: {what}. {_ADVICE}"

    def note_error(self, error: Exception) -> None:
        """Note damage if this error of a read means it."""
        if is_damage(error) and not _means_full(self.path, error):
            self.note_damage("a part of it cannot be read")
        elif isinstance(error, UNREADABLE):
            self.note_damage("a record in it cannot be read")

    def note_write_error(self, error: Exception) -> None:
        """Note damage if this error of a write means it. An error of the disk may pass, and is not noted."""
        if isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_CORRUPT:
            self.note_error(error)


def is_damage(error: Exception) -> bool:
    """Return whether this error means that a part of the file is damaged, and others may be readable."""
    return isinstance(error, sqlite3.Error) and _code(error) in _DAMAGE


def to_store_error(path: Path, error: Exception) -> StoreUnavailableError:
    """Return the error that the engine gets for an error of SQLite, the OS or the codec."""
    if isinstance(error, StoreUnavailableError):
        return error
    if isinstance(error, UNREADABLE):
        return StoreUnavailableError(
            f"The store {path} is damaged: a record in it cannot be read. Other chats are not affected."
        )
    is_full = _means_full(path, error)
    reason = _REASONS.get(sqlite3.SQLITE_FULL if is_full else _code(error))
    if reason is None and isinstance(error, OSError) and error.strerror:
        is_other = error.filename not in (None, path, str(path), path.parent, str(path.parent))
        reason = f"{error.filename}: {error.strerror}" if is_other else error.strerror
    return StoreUnavailableError(f"The store {path} cannot be used: {reason or error}.")


def _means_full(path: Path, error: Exception) -> bool:
    """Return whether an I/O error is that of a full disk: SQLite reports it so for its shared memory."""
    if _code(error) != sqlite3.SQLITE_IOERR:
        return False
    try:
        free = _free_bytes(path)
    except OSError:
        return False
    return free is not None and free < FULL_BELOW


def _free_bytes(path: Path) -> int | None:
    """Return the room for the files of a store; None where the file system does not say."""
    found = os.statvfs(path.parent)
    free = (found.f_bavail if os.geteuid() else found.f_bfree) * found.f_frsize
    return free if found.f_blocks else None


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
