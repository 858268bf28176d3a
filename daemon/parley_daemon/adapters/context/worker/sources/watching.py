"""Notifications of the system about changes in folders (inotify(7)), all on one descriptor.

Only folders with files that are indexed are watched, not what lies in ignored ones. Elsewhere than on Linux
there is no watch; searches then look for changes themselves, as they do where the system allows no more
watches.
"""

import os
import select
import struct
import sys
from contextlib import suppress

import msgspec

from parley_daemon.adapters.supervision.landlock import call

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _OVERFLOW, _IGNORED, _IS_FOLDER = 0x400, 0x800, 0x4000, 0x8000, 0x40000000
_ONLY_FOLDER, _NO_LINK = 0x01000000, 0x02000000
_WANTED = (
    _CLOSE_WRITE
    | _MOVED_FROM
    | _MOVED_TO
    | _CREATE
    | _DELETE
    | _DELETE_SELF
    | _MOVE_SELF
    | _ONLY_FOLDER
    | _NO_LINK
)
_FOLDERS_CHANGE = _DELETE_SELF | _MOVE_SELF
_HEAD = struct.Struct("iIII")
_BYTES = 1 << 16


class Change(msgspec.Struct, frozen=True, gc=False):
    """Something happened to a file in a folder; `name` "": to folders. Both "": anything may have changed."""

    folder: str
    name: str


class Watcher:
    """Watches folders, and wakes the thread that waits in it."""

    def __init__(self) -> None:
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._descriptor = -1
        if sys.platform == "linux":
            self._descriptor = call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._numbers: dict[str, int] = {}
        self._folders: dict[int, str] = {}

    def watch(self, folder: str) -> bool | None:
        """Watch a folder. Return whether it was not watched before; None: it cannot be watched."""
        if folder in self._numbers:
            return False
        if self._descriptor < 0:
            return None
        number = call("inotify_add_watch", self._descriptor, os.fsencode(folder), _WANTED)
        if number < 0:
            return None
        self._numbers[folder] = number
        self._folders[number] = folder
        return True

    def wake(self) -> None:
        """Let `wait` return. Called in any thread."""
        with suppress(OSError):
            os.write(self._wake, b"w")

    def wait(self, seconds: float | None) -> list[Change]:
        """Wait for changes at most so long, until woken, and return them."""
        watched = [one for one in (self._woken, self._descriptor) if one >= 0]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._woken in ready:
            with suppress(OSError):
                while os.read(self._woken, 1024):
                    pass
        return self._read() if self._descriptor in ready else []

    def _read(self) -> list[Change]:
        found: dict[Change, None] = {}
        while True:
            try:
                data = os.read(self._descriptor, _BYTES)
            except OSError:
                return list(found)
            at = 0
            while at < len(data):
                number, mask, _, size = _HEAD.unpack_from(data, at)
                name = os.fsdecode(data[at + _HEAD.size : at + _HEAD.size + size].rstrip(b"\0"))
                at += _HEAD.size + size
                if (change := self._understand(number, mask, name)) is not None:
                    found[change] = None

    def _understand(self, number: int, mask: int, name: str) -> Change | None:
        if mask & _OVERFLOW:
            return Change("", "")
        folder = self._folders.get(number)
        if folder is None:
            return None
        if mask & (_IGNORED | _FOLDERS_CHANGE):
            self._folders.pop(number, None)
            if self._numbers.get(folder) == number:
                del self._numbers[folder]
            return Change(folder, "")
        return Change(folder, "" if mask & _IS_FOLDER else name)
