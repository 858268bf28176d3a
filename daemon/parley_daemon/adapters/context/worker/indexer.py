"""The thread that indexes folders, and keeps the indexes up to date.

Theory of operation. A scan lists the files of a folder and looks at each: one of unchanged size and time is
left alone, another one is read and hashed, and one with a new hash is cut and written. Every half second the
scan commits, so that searches find what is there already, and first does what is urgent: files that are
reported as changed, of any folder. A file that is not known may be one that git ignores, so its appearance
leads to a scan; scans of a folder keep a distance of several times their own length.

Watches are set before files are looked at. A scan that has set a new one is followed by another, since files
may have appeared before it.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from threading import Lock, Thread
from time import monotonic

from parley_daemon.adapters.context.worker.database import Database, KnownFile
from parley_daemon.adapters.context.worker.files import create_index, open_index, remove_index
from parley_daemon.adapters.context.worker.roots import Root
from parley_daemon.adapters.context.worker.sources.chunking import cut_text
from parley_daemon.adapters.context.worker.sources.listing import list_files
from parley_daemon.adapters.context.worker.sources.reading import Stamp, read_file
from parley_daemon.adapters.context.worker.sources.watching import Change, Watcher

COMMIT_SECONDS = 0.4
SETTLE_SECONDS = 0.1
"""A scan begins so long after something unknown has appeared: more will follow."""

MIN_DISTANCE = 0.5
DISTANCE = 4.0
"""Scans of a folder are apart at least so many times their own length."""

RETRY_SECONDS = 5.0
"""A folder that could not be indexed is tried again after this time, when it is searched."""


class Indexer:
    """Indexes the folders that are used. `folder`: where the indexes lie. `left_out`: what is in no index."""

    def __init__(self, folder: str, environment: Mapping[str, str], left_out: tuple[str, ...]) -> None:
        self._folder = folder
        self._environment = environment
        self._left_out = left_out
        self._roots: dict[str, Root] = {}
        self._lock = Lock()
        self._watcher = Watcher()

    def start(self) -> None:
        """Start the thread. It ends with the process."""
        Thread(target=self._run, name="indexer", daemon=True).start()

    def use(self, path: str) -> Root:
        """Return a folder, which begins to be indexed. `path` has no links in it."""
        with self._lock:
            root = self._roots.get(path)
            if root is None:
                root = self._roots[path] = Root(path)
        if (root.problem is not None or not root.is_watched) and monotonic() > root.scan_at:
            root.wants_scan = True
        if root.wants_scan or root.dirty or root.is_damaged:
            self._watcher.wake()
        return root

    def find(self, path: str) -> Root | None:
        """Return a folder if it is used."""
        with self._lock:
            return self._roots.get(path)

    def notice(self, path: str) -> None:
        """Note that a file has changed."""
        for root in self._all():
            if path.startswith(f"{root.path}/"):
                root.mark(path[len(root.path) + 1 :])
        self._watcher.wake()

    def _all(self) -> list[Root]:
        with self._lock:
            return list(self._roots.values())

    # ------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, 0, 10)  # of this thread alone, on Linux
        try:
            while True:
                self._collect(self._seconds_to_wait())
                for root in self._all():
                    self._tend(root)
        finally:
            os._exit(1)  # without this thread the worker is of no use; the next request starts another one

    def _seconds_to_wait(self) -> float | None:
        due = [root.scan_at for root in self._all() if root.wants_scan]
        if any(root.dirty or root.is_damaged for root in self._all()):
            return 0.0
        return max(0.0, min(due) - monotonic()) if due else None

    def _collect(self, seconds: float | None) -> None:
        """Wait for changes, and note what they mean."""
        for change in self._watcher.wait(seconds):
            for root in self._all():
                self._note(root, change)

    def _note(self, root: Root, change: Change) -> None:
        if change.folder and change.folder != root.path and not change.folder.startswith(f"{root.path}/"):
            return
        if change.name:
            inner = change.folder[len(root.path) + 1 :]
            path = f"{inner}/{change.name}" if inner else change.name
            if root.writer is not None:
                with suppress(sqlite3.Error):
                    if root.writer.known_file(path) is not None:
                        root.mark(path)
                        if change.name != ".gitignore":
                            return
        self._want_scan(root)

    def _want_scan(self, root: Root) -> None:
        if not root.wants_scan:
            root.wants_scan = True
            root.scan_at = max(root.scan_at, monotonic() + SETTLE_SECONDS)

    def _tend(self, root: Root) -> None:
        """Do what is to be done for a folder."""
        try:
            if root.is_damaged:
                self._drop(root)
            if root.writer is None:
                if root.scan_at > monotonic():
                    return
                root.writer = open_index(self._folder, root.path)
                root.is_complete = root.writer.noted("complete") is not None
                root.index_path = root.writer.path
            self._write_dirty(root)
            if root.wants_scan and root.scan_at <= monotonic():
                self._scan(root)
                root.problem = None
                if root.writer.is_worn():
                    self._make_again(root)
        except OSError as error:
            self._fail(root, f"{root.path} cannot be indexed: {error.strerror}.")
        except sqlite3.Error as error:
            if root.writer is not None:
                root.writer.roll_back()
            root.note_failure(error)
            self._fail(root, f"The index of {root.path} cannot be written: {error}.")

    def _fail(self, root: Root, problem: str) -> None:
        root.problem = problem
        root.wants_scan = root.is_damaged
        root.scan_at = monotonic() + (MIN_DISTANCE if root.is_damaged else RETRY_SECONDS)

    def _drop(self, root: Root) -> None:
        """Remove a damaged index."""
        if root.writer is not None:
            root.writer.close()
            root.index_path = None
            remove_index(root.writer.path)
            root.writer = None
        root.is_complete = root.is_damaged = False
        root.scanned_at = None
        root.wants_scan, root.scan_at = True, 0.0

    def _write_dirty(self, root: Root) -> None:
        database = root.writer
        paths = root.take_dirty()
        if database is None or not paths:
            return
        database.begin()
        for path in paths:
            known = database.known_file(path)
            if known is None:
                self._want_scan(root)
            elif not self._put(root, database, path, known):
                database.remove(known.id)
        database.commit()

    def _put(self, root: Root, database: Database, path: str, known: KnownFile | None) -> bool:
        """Write a file as it is now; return False if it is gone."""
        file = read_file(root.path, path)
        if file is None:
            return False
        if known is not None and file.reason is None and known.hash == file.hash:
            database.put(path, known, file, None)
        else:
            database.put(path, known, file, None if file.reason else cut_text(path, file.text))
        return True

    def _scan(self, root: Root) -> None:
        """Look at all files of a folder."""
        assert root.writer is not None
        begun = monotonic()
        root.wants_scan = False
        try:
            unnamed, is_cut, has_new = self._write_all(root, root.writer)
        except BaseException:
            root.wants_scan = True
            raise
        root.writer.begin()
        root.writer.finish(unnamed)
        root.writer.commit()
        root.writer.tidy()
        root.is_complete, root.is_cut = True, is_cut
        root.scanned_at = monotonic()
        root.scan_at = root.scanned_at + max(MIN_DISTANCE, DISTANCE * (root.scanned_at - begun))
        if has_new:
            root.wants_scan = True

    def _write_all(self, root: Root, database: Database) -> tuple[int, bool, bool]:
        """Bring an index up to date; return what `list_files` says, and whether there are new watches."""
        listing = list_files(root.path, self._environment, self._left_out)
        known = database.known_files()
        folders: set[str] = set()
        has_new, root.is_watched = self._watch(root, "", folders), True
        database.begin()
        committed = monotonic()
        for path in listing.paths:
            has_new = self._watch(root, path.rpartition("/")[0], folders) or has_new
            before = known.pop(path, None)
            if not self._bring_up_to_date(root, database, path, before) and before is not None:
                database.remove(before.id)
            if monotonic() - committed > COMMIT_SECONDS:
                database.commit()
                self._do_urgent()
                database.begin()
                committed = monotonic()
        for before in known.values():
            database.remove(before.id)
        database.commit()
        return listing.unnamed, listing.is_cut, has_new

    def _bring_up_to_date(self, root: Root, database: Database, path: str, before: KnownFile | None) -> bool:
        """Write a file if its size or time is another one than before; return False if it is gone."""
        try:
            found = os.lstat(f"{root.path}/{path}")
        except (OSError, ValueError):
            return False
        stamp = Stamp(found.st_size, found.st_mtime_ns)
        if before is not None and stamp == Stamp(before.size, before.mtime_ns):
            return True
        return self._put(root, database, path, before)

    def _watch(self, root: Root, folder: str, seen: set[str]) -> bool:
        """Watch a folder and those above it; return whether one of them was not watched before."""
        has_new = False
        while folder not in seen:
            seen.add(folder)
            is_new = self._watcher.watch(f"{root.path}/{folder}" if folder else root.path)
            if is_new is None:
                root.is_watched = False
            has_new = has_new or bool(is_new)
            folder = folder.rpartition("/")[0]
        return has_new

    def _do_urgent(self) -> None:
        self._collect(0)
        for root in self._all():
            if root.dirty and root.writer is not None:
                try:
                    self._write_dirty(root)
                except sqlite3.Error as error:
                    root.writer.roll_back()
                    root.note_failure(error)

    def _make_again(self, root: Root) -> None:
        """Make an index without dead words beside the old one, then use it."""
        old = root.writer
        assert old is not None
        new = create_index(self._folder, root.path)
        try:
            unnamed, root.is_cut, _ = self._write_all(root, new)
            new.begin()
            new.finish(unnamed)
            new.commit()
        except BaseException:
            new.roll_back()
            new.close()
            remove_index(new.path)
            raise
        root.writer, root.index_path = new, new.path
        root.wants_scan = True  # for what has changed meanwhile
        old.close()
        remove_index(old.path)
