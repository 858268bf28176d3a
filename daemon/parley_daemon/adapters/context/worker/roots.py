"""What is known of one folder while the worker runs. Two threads use it: one indexes, the other searches."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from threading import Lock

from parley_daemon.adapters.context.worker.database import Database, UnusableIndexError, file_size
from parley_daemon.adapters.context.worker.files import find_index
from parley_daemon.ports.context import IndexState, RootStatus

MAX_COUNTS = 5_000
"""Words of which it is known how frequent they are."""


class Root:
    """A folder. `path` has no links in it.

    Attributes:
        dirty: files that have changed since they were indexed, relative to the folder.
        wants_scan: whether all files are to be looked at again, not before `scan_at`.
        scanned_at: when that was done last (monotonic), None: never by this process.
        is_complete: whether all files were indexed once.
        is_watched: whether changes are noticed.
        is_damaged: whether the index has to be made again.
        problem: why it cannot be indexed now.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.dirty: set[str] = set()
        self.wants_scan = True
        self.scan_at = 0.0
        self.scanned_at: float | None = None
        self.is_complete = False
        self.is_cut = False
        self.is_watched = False
        self.is_damaged = False
        self.problem: str | None = None
        self.writer: Database | None = None
        self.index_path: str | None = None
        self._reader: Database | None = None
        self._counts: dict[str, int] = {}
        self._counted_at = 0
        self._lock = Lock()

    def mark(self, path: str) -> None:
        """Note that a file has changed."""
        with self._lock:
            self.dirty.add(path)

    def take_dirty(self) -> list[str]:
        """Return the files that have changed, and forget them."""
        with self._lock:
            found, self.dirty = sorted(self.dirty), set()
            return found

    @property
    def state(self) -> IndexState:
        """See IndexState."""
        if self.problem is not None:
            return "none" if self.index_path is None or not self.is_complete else "partial"
        if not self.is_complete:
            return "indexing" if self.scanned_at is None and self._is_empty() else "partial"
        return "ready" if self.scanned_at is not None and not self.is_cut else "partial"

    def _is_empty(self) -> bool:
        reader = self.reader()
        if reader is None:
            return True
        with suppress(sqlite3.Error):
            return reader.last_chunk() == 0
        return True

    # ------------------------------------------------------------------ only for the thread that searches

    def reader(self) -> Database | None:
        """Return a connection to read from, None if there is no index yet."""
        path = self.index_path
        if self._reader is not None and self._reader.path != path:
            self._reader.close()
            self._reader = None
            self._counts.clear()
        if self._reader is None and path is not None:
            with suppress(UnusableIndexError):
                self._reader = Database.open(path, self.path)
        return self._reader

    def count_words(self, database: Database, terms: tuple[str, ...]) -> tuple[dict[str, int], int, int]:
        """Return in how many chunks terms are, up to a limit, the limit, and how many chunks there are."""
        total = database.last_chunk()
        if abs(total - self._counted_at) * 20 > self._counted_at or len(self._counts) > MAX_COUNTS:
            self._counts.clear()
            self._counted_at = total
        limit = max(total // 5, 100)
        for term in terms:
            if not self._counts.get(term):  # what was in none may be in one by now
                self._counts[term] = database.count_word(term, limit)
        return {term: self._counts[term] for term in terms}, limit, total

    def note_failure(self, error: sqlite3.Error) -> None:
        """Note that reading has failed."""
        if not isinstance(error, sqlite3.OperationalError) or "no such" in str(error):
            self.is_damaged = True

    def status(self, shown: str) -> RootStatus:
        """Return what is known of it. `shown` is its name in the answer."""
        reader = self.reader()
        if reader is None:
            return RootStatus(shown, self.state)
        return describe(reader, shown, self.state, is_cut=self.is_cut, problem=self.problem)


def describe(
    database: Database, shown: str, state: IndexState, *, is_cut: bool = False, problem: str | None = None
) -> RootStatus:
    """Return what an index says of its folder."""
    try:
        skipped = database.count_skipped()
        if is_cut:
            skipped["too_many"] = 1
        if problem is not None:
            skipped["not_indexed"] = 1
        return RootStatus(
            shown,
            state,
            database.count_files(),
            database.count_chunks(),
            file_size(database.path),
            skipped,
            database.noted("updated"),
        )
    except sqlite3.Error:
        return RootStatus(shown, "none")


def read_status(folder: str, root: str) -> RootStatus:
    """Return what is known of a folder while no worker runs."""
    real = os.path.realpath(root)
    path = find_index(folder, real)
    if path is None:
        return RootStatus(root, "none")
    try:
        database = Database.open(path, real)
    except UnusableIndexError:
        return RootStatus(root, "none")
    try:
        return describe(database, root, "partial" if database.noted("complete") is None else "ready")
    except sqlite3.Error:
        return RootStatus(root, "none")
    finally:
        database.close()


def find_refusal(root: str, environment: Mapping[str, str], left_out: tuple[str, ...]) -> str | None:
    """Return why a folder is no context, as a sentence; None: it can be one."""
    home = os.path.realpath(environment.get("HOME") or os.path.expanduser("~"))
    if root == "/" or home == root or home.startswith(f"{root}/"):
        return f"{root} is too large for a context. Choose the folder of a project in it."
    if any(root == one or root.startswith(f"{one}/") for one in left_out):
        return f"{root} belongs to the daemon and cannot be searched."
    return None
