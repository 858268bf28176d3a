"""Tells when a file has changed, by the system's own notices; nothing is polled.

However it is saved: written in place, put in the place of the old one, or reached by a symlink that changes.
watchdog is loaded when a watch begins, off the loop. Tried on Linux alone.
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
"""How long nothing may happen to the file before it counts as saved."""

LONGEST_SECONDS = 2.0
"""After this it counts as saved, however much happens to it."""

_MOST_LINKS = 20
_TRIES = 5
_EVENTS = (
    *("FileCreatedEvent", "FileModifiedEvent", "FileMovedEvent", "FileDeletedEvent"),
    *("DirCreatedEvent", "DirMovedEvent", "DirDeletedEvent"),
)

_Folder = tuple[str, int, int]
"""A folder by its path, device and inode: one that was made anew is another one."""


async def changes(path: Path) -> AsyncGenerator[None]:
    """Yield once what happens to the file will be noticed, then whenever something did and it is over.

    The file need not be there, nor its folder. Some of what is told changes nothing: look at the file.

    Raises:
        OSError: the system does not give notice of files, or of no more of them.
    """
    watch = _Watch(path, asyncio.get_running_loop())
    try:
        await to_thread.run_sync(watch.begin)
        yield
        while True:
            await watch.noticed()
            await to_thread.run_sync(watch.follow)
            yield
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(watch.end)


class _Watch:
    """The folders that are watched for the file's sake. `begin`, `follow` and `end` block."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._loop = loop
        self._names: frozenset[str] = frozenset()
        self._watched: dict[_Folder, Any] = {}
        self._observer: Any = None
        self._filter: list[Any] = []
        self._notice = anyio.Event()

    def begin(self) -> None:
        """Load what is needed, and watch."""
        events: Any = importlib.import_module("watchdog.events")
        observers: Any = importlib.import_module("watchdog.observers")
        self._filter = [getattr(events, name) for name in _EVENTS]
        self._observer = observers.Observer()
        self._observer.start()
        self.follow()

    def follow(self) -> None:
        """Watch the folders that matter now; some may come or go while others are put under watch."""
        for _ in range(_TRIES):
            try:
                if not self._followed():
                    return
            except FileNotFoundError:
                continue

    def _followed(self) -> bool:
        """Watch the folders that matter; return whether some of them are new."""
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
        """Watch no more."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def dispatch(self, event: Any) -> None:
        """Something happened in one of the folders. Called by watchdog, in a thread of its own."""
        paths = [os.fsdecode(one) for one in (event.src_path, event.dest_path) if one]
        if any(os.path.basename(one) in self._names for one in paths):
            try:
                self._loop.call_soon_threadsafe(self._tell)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def _tell(self) -> None:
        self._notice.set()

    async def noticed(self) -> None:
        """Return when something has happened, and nothing any more for a moment."""
        await self._notice.wait()
        with anyio.move_on_after(LONGEST_SECONDS):
            quiet = False
            while not quiet:
                self._notice = anyio.Event()
                with anyio.move_on_after(SETTLED_SECONDS) as moment:
                    await self._notice.wait()
                quiet = moment.cancelled_caught
        self._notice = anyio.Event()


def _folders(path: Path) -> Mapping[_Folder, set[str]]:
    """Return the folders where something can happen that matters, with the names that it happens to.

    Those are the file's folder and the one around it, which knows when that is moved or made anew; the same
    for each link on the way to the file; and where one is missing, the nearest one above it.
    """
    found: dict[_Folder, set[str]] = {}
    for step in _steps(path):
        name, folder = step.name, step.parent
        while not folder.is_dir() and folder != folder.parent:
            name, folder = folder.name, folder.parent
        for each, of_it in ((folder, name), (folder.parent, folder.name)):
            real = os.path.realpath(each)
            known = os.stat(real)
            names = found.setdefault((real, known.st_dev, known.st_ino), set())
            names |= {of_it, os.path.basename(real)}
    return found


def _steps(path: Path) -> Iterator[Path]:
    """Yield the path, and where it leads by its links."""
    step = path.absolute()
    for _ in range(_MOST_LINKS):
        yield step
        try:
            target = os.readlink(step)
        except OSError:
            return
        step = Path(os.path.normpath(step.parent / target))
