"""Watches a file through the system's file notifications, without polling.

Editors save in different ways: they write the file in place, or rename a new file over it; a deployment may
switch a symlink on the way to it. Watching the file itself misses most of these. So the folders are watched
in which something can happen that matters (`_folders`): the file's folder and its parent, the same for each
symlink on the path, and the nearest existing folder for one that is missing. After each notification that
names one of the entries of interest, the set of folders is computed again.

watchdog reports in a thread of its own. The thread only sets an event on the loop; a burst of notifications
counts as one change, once nothing has happened for SETTLED_SECONDS. watchdog is imported when a watch begins,
in a worker thread. Tested on Linux only.
"""

import asyncio
import importlib
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

SETTLED_SECONDS = 0.1
"""A change is reported when nothing has happened to the file for this long."""

MAX_DELAY_SECONDS = 2.0
"""A change is reported after this time at the latest, even if notifications keep coming."""

_MAX_LINKS = 20
_TRIES = 5
_EVENTS = (
    *("FileCreatedEvent", "FileModifiedEvent", "FileMovedEvent", "FileDeletedEvent"),
    *("DirCreatedEvent", "DirMovedEvent", "DirDeletedEvent"),
)

_Folder = tuple[str, int, int]
"""A folder by its path, device and inode: one that was deleted and created again is a different one."""


async def changes(path: Path) -> AsyncGenerator[None]:
    """Yield once when the watch is active, then after each change of the file.

    Neither the file nor its folder need exist. A change may turn out to be none: compare the content.

    Raises:
        OSError: the system cannot watch files, or has reached its limit of watches.
    """
    watch = _Watch(path, asyncio.get_running_loop())
    try:
        await to_thread.run_sync(watch.begin)
        yield
        while True:
            await watch.wait_for_change()
            await to_thread.run_sync(watch.update_folders)
            yield
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(watch.end)


class _Watch:
    """The watched folders of one file. `begin`, `update_folders` and `end` block."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._loop = loop
        self._names: frozenset[str] = frozenset()
        self._watched: dict[_Folder, Any] = {}
        self._observer: Any = None
        self._filter: list[Any] = []
        self._notice = anyio.Event()

    def begin(self) -> None:
        """Import watchdog and start watching."""
        events: Any = importlib.import_module("watchdog.events")
        observers: Any = importlib.import_module("watchdog.observers")
        self._filter = [getattr(events, name) for name in _EVENTS]
        self._observer = observers.Observer()
        self._observer.start()
        self.update_folders()

    def update_folders(self) -> None:
        """Watch the folders that matter now. Repeats while folders appear or disappear meanwhile."""
        for _ in range(_TRIES):
            try:
                if not self._watch_folders():
                    return
            except FileNotFoundError:
                continue

    def _watch_folders(self) -> bool:
        """Watch the folders that matter; return whether some of them were not watched before."""
        wanted = dict(_folders(self._path))
        self._names = frozenset({name for names in wanted.values() for name in names})
        for folder in self._watched.keys() - wanted.keys():
            self._observer.unschedule(self._watched.pop(folder))
        new = wanted.keys() - self._watched.keys()
        for folder in new:
            self._watched[folder] = self._observer.schedule(
                self, folder[0], recursive=False, event_filter=self._filter
            )
        return bool(new)

    def end(self) -> None:
        """Stop watching."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def dispatch(self, event: Any) -> None:
        """Handle a notification. Called by watchdog in its own thread."""
        paths = [os.fsdecode(one) for one in (event.src_path, event.dest_path) if one]
        if any(os.path.basename(one) in self._names for one in paths):
            try:
                self._loop.call_soon_threadsafe(self._set_notice)
            except RuntimeError:
                return  # the loop is closed: the daemon has stopped

    def _set_notice(self) -> None:
        self._notice.set()

    async def wait_for_change(self) -> None:
        """Return after a notification, once no more have come for a moment."""
        await self._notice.wait()
        with anyio.move_on_after(MAX_DELAY_SECONDS):
            quiet = False
            while not quiet:
                self._notice = anyio.Event()
                with anyio.move_on_after(SETTLED_SECONDS) as moment:
                    await self._notice.wait()
                quiet = moment.cancelled_caught
        self._notice = anyio.Event()


def _folders(path: Path) -> Mapping[_Folder, set[str]]:
    """Return the folders to watch, each with the names of the entries that matter in it.

    These are the file's folder, and its parent, which is notified when the folder is moved or created; the
    same for each symlink on the path; and for a folder that is missing, the nearest existing one above it.
    """
    found: dict[_Folder, set[str]] = {}
    for step in _steps(path):
        name, folder = step.name, step.parent
        while not folder.is_dir() and folder != folder.parent:
            name, folder = folder.name, folder.parent
        for watched, entry in ((folder, name), (folder.parent, folder.name)):
            real = os.path.realpath(watched)
            known = os.stat(real)
            names = found.setdefault((real, known.st_dev, known.st_ino), set())
            names |= {entry, os.path.basename(real)}
    return found


def _steps(path: Path) -> Iterator[Path]:
    """Yield the path, and the target of each symlink that it leads to."""
    step = path.absolute()
    for _ in range(_MAX_LINKS):
        yield step
        try:
            target = os.readlink(step)
        except OSError:
            return
        step = Path(os.path.normpath(step.parent / target))
