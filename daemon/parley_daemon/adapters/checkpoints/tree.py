"""What lies below a root: a list with size, times and number of each file, bounded in number and time.

Folders are read from the top down, so that a list that had to stop has at least what lies near the root.
`.git`, other systems' folders of that kind, installed packages and folders that git ignores are left out.
An ignored file is left out only if it is new: a command may overwrite one that was there, such as `.env`.
"""

import os
import stat
from collections import deque
from collections.abc import Sequence
from time import monotonic

import msgspec

from parley_daemon.adapters.folders.ignore_rules import IgnoreRule, is_ignored, parse_rules
from parley_daemon.adapters.folders.opening import opened_folder
from parley_daemon.core.agents.files.file_states import FileKind

MAX_ENTRIES = 50_000
"""Files and folders that are listed below the roots of a chat."""

MAX_SECONDS = 2.0
"""How long one list may take."""

MAX_DEPTH = 64
"""Folders inside each other."""

LEFT_OUT = frozenset({".git", ".hg", ".svn", ".jj", "node_modules", "__pycache__"})

IGNORE_FILE_BYTES = 64 * 2**10


class Stamp(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the file system says of a path, without reading it."""

    kind: FileKind
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    number: int


class Listing(msgspec.Struct, gc=False):
    """What lies below one root. Paths are relative to it.

    Attributes:
        folders: the folders whose content is listed as a whole; the root is "".
        ignored: folders that were left out because git ignores them.
        is_complete: nothing was left out for the bounds.
    """

    root: str
    stamps: dict[str, Stamp]
    folders: set[str]
    ignored: set[str]
    is_complete: bool = True


Levels = tuple[tuple[str, Sequence[IgnoreRule]], ...]


def list_tree(
    root: str, earlier: Listing | None = None, room: int = MAX_ENTRIES, seconds: float | None = None
) -> Listing:
    """List what lies below a root, at most `room` entries, within some seconds (None: MAX_SECONDS).

    With an earlier list, exactly its folders and new ones are read, whatever the ignore rules say by now.

    Raises:
        OSError: the root cannot be read.
    """
    deadline = monotonic() + (MAX_SECONDS if seconds is None else seconds)
    listing = Listing(root, {}, set(), set())
    device = os.stat(root).st_dev
    waiting: deque[tuple[list[str], Levels]] = deque([([], (("", _own_excludes(root)),))])
    while waiting:
        names, levels = waiting.popleft()
        if monotonic() > deadline or len(listing.stamps) >= room:
            listing.is_complete = False
            break
        try:
            with opened_folder(root, names) as folder:
                if os.fstat(folder).st_dev == device:
                    _read_folder(folder, names, levels, listing, earlier, waiting, room)
        except OSError:
            if not names:
                raise
    return listing


def _read_folder(
    folder: int,
    names: list[str],
    levels: Levels,
    listing: Listing,
    earlier: Listing | None,
    waiting: "deque[tuple[list[str], Levels]]",
    room: int,
) -> None:
    place = "/".join(names)
    levels = (*levels, (place, _rules_in(folder)))
    found: dict[str, Stamp] = {}
    inner: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(listing.stamps) + len(found) >= room:
                listing.is_complete = False
                return
            if entry.name in LEFT_OUT:
                continue
            path = f"{place}/{entry.name}" if place else entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            stamp = stamp_of(status)
            is_folder = stamp.kind == "folder"
            if _is_left_out(path, levels, listing, earlier, is_folder=is_folder):
                continue
            found[path] = stamp
            if is_folder and len(names) < MAX_DEPTH:
                inner.append(entry.name)
    listing.stamps.update(found)
    listing.folders.add(place)
    waiting += [([*names, name], levels) for name in inner]


def _is_left_out(
    path: str, levels: Levels, listing: Listing, earlier: Listing | None, *, is_folder: bool
) -> bool:
    if earlier is not None:
        if path in earlier.stamps:
            return False
        if path in earlier.ignored:
            return True
        return is_ignored(levels, path, is_folder=is_folder)
    if is_folder and is_ignored(levels, path, is_folder=True):
        listing.ignored.add(path)
        return True
    return False


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp of what the file system says. A folder's own times and size mean nothing here."""
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        return Stamp("folder", stat.S_IMODE(mode), 0, 0, 0, 0)
    kind: FileKind = "file" if stat.S_ISREG(mode) else "link" if stat.S_ISLNK(mode) else "other"
    own_mode = 0 if kind == "link" else stat.S_IMODE(mode)
    return Stamp(kind, own_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _rules_in(folder: int) -> tuple[IgnoreRule, ...]:
    """Return the rules in a folder's `.gitignore`."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(".gitignore", flags, dir_fd=folder), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return ()
            return parse_rules(file.read(IGNORE_FILE_BYTES).decode(errors="surrogateescape"))
    except OSError:
        return ()


def _own_excludes(root: str) -> tuple[IgnoreRule, ...]:
    """Return the rules of the repository that git never shares."""
    try:
        with opened_folder(root, [".git", "info"]) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open("exclude", flags, dir_fd=folder), "rb") as file:
                return parse_rules(file.read(IGNORE_FILE_BYTES).decode(errors="surrogateescape"))
    except OSError:
        return ()


def find_changed(before: Listing, after: Listing) -> list[str]:
    """Return the paths that differ between two lists of a root, as far as both lists know of them.

    A path that is missing in the later list may still be there: look at it.
    """
    changed = [path for path, stamp in after.stamps.items() if before.stamps.get(path) != stamp]
    changed = [path for path in changed if path in before.stamps or _was_listed(before, _folder_of(path))]
    gone = [path for path in before.stamps if path not in after.stamps]
    return [*changed, *gone]


def _was_listed(before: Listing, folder: str) -> bool:
    """Return whether a list has everything in a folder, or the folder is new."""
    while folder and folder not in before.stamps and folder not in before.ignored:
        folder = _folder_of(folder)
    return folder in before.folders


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]
