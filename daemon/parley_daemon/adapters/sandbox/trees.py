"""Reads small trees of files before and after a command, and puts back what has changed in them.

Everything is opened from the root down, without following links, so that a command cannot lead the daemon to
files elsewhere by replacing a folder with a link. What is too large to be kept is only compared by its state:
a foreign repository can have any number of large files where git has its hooks. Such files are left alone.

A command can also make what is meant to stop the daemon: folders inside each other without end, and folders
and files without permissions. Neither may keep the rest from being compared and put back.
"""

import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from parley_daemon.adapters.sandbox.places import is_below
from parley_daemon.adapters.sandbox.removal import open_folder, remove

MAX_FILE = 1 << 20
MAX_BYTES = 4 << 20
"""Bytes of all files that are kept of the trees of one command."""

MAX_ENTRIES = 2_000
"""Files and folders of one tree."""

MAX_DEPTH = 32
"""Folders inside each other of which the content is read. Deeper ones are compared by their state."""

_MAX_KNOWN = 1000
_MAX_KNOWN_BYTES = 1 << 14
_SETTLED_NS = 10**9
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Entry = tuple[str, int, bytes]
"""Kind ("file", "folder", "link", "other"), permissions, and content, target or, of "other", the state."""

Tree = dict[str, Entry]
"""What is at a path, and below it, by relative path; "" is the path itself. Empty: nothing is there."""


@dataclass(slots=True)
class Budget:
    """How many bytes may still be kept."""

    left: int = MAX_BYTES


def read_tree(roots: Sequence[str], path: str, budget: Budget, earlier: Mapping[str, Entry]) -> Tree:
    """Return what is at a path below one of the roots. `earlier` is what was there before."""
    root, names = _split(roots, path)
    tree: Tree = {}
    try:
        folder = _open_root(root)
    except OSError:
        return tree
    try:
        for name in names[:-1]:
            inner = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        _read_into(tree, folder, names[-1], "", budget, earlier)
    except OSError:
        pass  # a folder on the way is missing, or is not a folder: nothing is there
    finally:
        os.close(folder)
    return tree


def restore_tree(roots: Sequence[str], path: str, before: Tree, after: Tree) -> list[str]:
    """Put back what has changed at a path. Return what could not be put back, relative to the path.

    Raises:
        OSError: it cannot be put back.
    """
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    lost = [key for key in changed if key in before and before[key][0] == "other"]
    root, names = _split(roots, path)
    folder = _open_root(root, make=True)
    try:
        for name in names[:-1]:
            inner = _enter(folder, name)
            os.close(folder)
            folder = inner
        for key in sorted(set(changed).difference(lost), key=_depth, reverse=True):
            if key in after and not (_is_folder(before, key) and _is_folder(after, key)):
                _at(folder, names[-1], key, remove)
        if changed and len(after) >= MAX_ENTRIES > len(before):  # there is more than was read
            _remove_unknown(folder, names[-1], before)
        for key, entry in before.items():  # folders come before what is in them
            if key in changed and key not in lost:
                _at(folder, names[-1], key, lambda at, name, entry=entry: _write(at, name, entry))
        # To put things back, permissions were taken. The innermost folders come first here.
        for key, entry in reversed(before.items() if changed else ()):
            if entry[0] == "folder" and key not in lost:
                _at(folder, names[-1], key, lambda at, name, entry=entry: _write(at, name, entry))
    finally:
        os.close(folder)
    return lost


def _split(roots: Sequence[str], path: str) -> tuple[str, list[str]]:
    """Return the outermost root above a path, and the names from there to the path."""
    root = min((one for one in roots if is_below(path, one)), key=len)
    return root, os.path.relpath(path, root).split(os.sep)


def _open_root(root: str, *, make: bool = False) -> int:
    """Open a root, which has no links on its way unless somebody has made one. `make`: if it is missing."""
    folder = os.open("/", _FOLDER)
    try:
        for name in root.split("/"):
            if name:
                try:
                    inner = os.open(name, _FOLDER, dir_fd=folder)
                except FileNotFoundError:
                    if not make:
                        raise
                    os.mkdir(name, 0o700, dir_fd=folder)
                    inner = os.open(name, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
    except OSError:
        os.close(folder)
        raise
    return folder


def _remove_unknown(folder: int, name: str, before: Tree) -> None:
    """Remove what was not there before, in the folders that were."""
    for key in [key for key, entry in before.items() if entry[0] == "folder"]:
        for one in _list_at(folder, name, key):
            inner = f"{key}/{one}" if key else one
            if inner not in before:
                _at(folder, name, inner, remove)


def _list_at(folder: int, name: str, key: str) -> list[str]:
    found: list[str] = []

    def read(at: int, last: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            inner = open_folder(at, last)
            found.extend(os.listdir(inner))
            os.close(inner)

    _at(folder, name, key, read)
    return found


def _depth(key: str) -> int:
    return key.count("/") + 1 if key else 0


def _is_folder(tree: Tree, key: str) -> bool:
    return key in tree and tree[key][0] == "folder"


def _read_into(
    tree: Tree, folder: int, name: str, key: str, budget: Budget, earlier: Mapping[str, Entry]
) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return
    mode = stat.S_IMODE(found.st_mode)
    state = f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
    other: Entry = ("other", mode, state.encode("ascii"))
    try:
        if stat.S_ISLNK(found.st_mode):
            tree[key] = ("link", 0, os.fsencode(os.readlink(name, dir_fd=folder)))
        elif stat.S_ISREG(found.st_mode) and _is_kept(found.st_size, budget, earlier.get(key)):
            tree[key] = ("file", mode, _read_known_file(folder, name, found))
            budget.left -= found.st_size
        elif stat.S_ISDIR(found.st_mode) and key.count("/") < MAX_DEPTH:
            tree[key] = ("folder", mode, b"")
            _read_folder(tree, folder, name, key, budget, earlier)
        else:
            tree[key] = other
    except OSError:
        tree.setdefault(key, other)  # a command has taken the permission to read it


def _read_folder(
    tree: Tree, folder: int, name: str, key: str, budget: Budget, earlier: Mapping[str, Entry]
) -> None:
    inner = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for entry in sorted(os.listdir(inner)):
            if len(tree) < MAX_ENTRIES:
                _read_into(tree, inner, entry, f"{key}/{entry}" if key else entry, budget, earlier)
    finally:
        os.close(inner)


def _is_kept(size: int, budget: Budget, earlier: Entry | None) -> bool:
    """Return whether a file is read: as before, so that the two can be compared."""
    if earlier is not None and earlier[0] in ("file", "other"):
        return earlier[0] == "file" and size <= MAX_FILE
    return size <= min(MAX_FILE, budget.left)


_contents: dict[tuple[int, ...], bytes] = {}
"""The contents of files by what identifies their state: most are the same before and after each command."""


def _read_known_file(folder: int, name: str, found: os.stat_result) -> bytes:
    """Return the content of a file. Nobody can set its time of change (ctime) back."""
    state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    known = _contents.get(state)
    if known is None:
        known = _read_file(folder, name)
        # Within a moment, a file can change twice without another time of change.
        if len(known) <= _MAX_KNOWN_BYTES and time.time_ns() - found.st_ctime_ns > _SETTLED_NS:
            if len(_contents) >= _MAX_KNOWN:
                _contents.clear()
            _contents[state] = known
    return known


def _read_file(folder: int, name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with open(descriptor, "rb") as file:
        return file.read(MAX_FILE + 1)


def _enter(folder: int, name: str) -> int:
    """Open a folder in a folder; make it if it is missing, in the place of anything that is no folder."""
    try:
        return open_folder(folder, name)
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        os.unlink(name, dir_fd=folder)
    except OSError as error:
        if not stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise error
        os.unlink(name, dir_fd=folder)
    os.mkdir(name, dir_fd=folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def _at(folder: int, name: str, key: str, action: Callable[[int, str], None]) -> None:
    """Act on an entry of the tree with this name, in the folder that the entry lies in."""
    *parents, last = [name, *(key.split("/") if key else [])]
    opened: list[int] = []
    try:
        for parent in parents:
            folder = open_folder(folder, parent)
            opened.append(folder)
        action(folder, last)
    finally:
        for one in opened:
            os.close(one)


def _write(folder: int, name: str, entry: Entry) -> None:
    kind, mode, content = entry
    if kind == "folder":
        with suppress(FileExistsError):  # only its permissions have changed
            os.mkdir(name, 0o700, dir_fd=folder)
        descriptor = open_folder(folder, name)
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)
        return
    remove(folder, name)  # it can be there without being in the later tree, which has bounds
    if kind == "link":
        os.symlink(os.fsdecode(content), name, dir_fd=folder)
    elif kind == "file":
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
