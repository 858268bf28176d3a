"""Finds the git repositories below a folder, and what in them makes git run programs later.

The look has a bound, which a command could use up by making folders. So what was found once below a folder is
remembered while the daemon runs, and looked at first.
"""

import os
import stat
import time
from collections import OrderedDict, deque
from typing import NamedTuple

_MAX_FOLDERS = 2000
"""How many folders are looked into for repositories, those nearest to the root first."""

_MAX_INNER = 10_000
"""How many folders inside of a git directory are looked into."""

_MAX_LOOKED = 4_000
_SETTLED_NS = 10**9
_SKIPPED = frozenset((".git", "node_modules", ".venv", "venv", "__pycache__", ".tox", "target"))
_KNOWN_ROOTS = 64
_KNOWN_PATHS = 1000
"""Paths that are remembered of a root."""

_BARE = frozenset(("HEAD", "objects", "refs"))
_POINTER_BYTES = 4096

PROTECTED_NAMES = ("config", "config.worktree", "hooks", "commondir", "gitdir")
"""What in a git directory decides which programs git runs, and where it looks for that."""


class Repositories(NamedTuple):
    """The git directories of a folder, and the files and links named `.git` that lead to one.

    `places` are all paths named `.git`, and repositories without a work tree.
    """

    directories: list[str]
    pointers: list[str]
    places: list[str]


_known: OrderedDict[str, tuple[str, ...]] = OrderedDict()
"""The paths named `.git`, and the bare repositories, that were found below each root."""


def find_repositories(root: str) -> Repositories:
    """Return the git directories below a folder, and those that its worktrees and submodules point to.

    Directories of submodules and worktrees inside of a git directory are included.
    """
    found: dict[str, None] = {}
    pointers: list[str] = []
    places: dict[str, None] = {}
    for path in _known.get(root, ()):
        if os.path.lexists(path) and (os.path.basename(path) == ".git" or _look(path).is_bare):
            _note(path, found, pointers)
            places[path] = None
    waiting = deque([root])
    looked_at = 0
    while waiting and looked_at < _MAX_FOLDERS:
        folder = waiting.popleft()
        looked_at += 1
        listed = _look(folder)
        if listed.is_bare:
            found[folder] = places[folder] = None
            continue
        if listed.has_git and (path := os.path.join(folder, ".git")) not in places:
            _note(path, found, pointers)
            places[path] = None
        waiting += [os.path.join(folder, name) for name in listed.folders[:_MAX_FOLDERS]]
    _known[root] = tuple(places)[:_KNOWN_PATHS]
    _known.move_to_end(root)
    if len(_known) > _KNOWN_ROOTS:
        _known.popitem(last=False)
    for directory in list(found):
        found.update(dict.fromkeys(_find_inner(directory)))
    return Repositories(list(found), pointers, list(places))


def _note(path: str, found: dict[str, None], pointers: list[str]) -> None:
    """Note what a path named `.git`, or a bare repository, is now."""
    if os.path.isdir(path) and not os.path.islink(path):
        found[path] = None
    else:
        found.update(dict.fromkeys(resolve_pointer(path)))
        pointers.append(path)


class _Listing(NamedTuple):
    """What matters of a folder: the folders in it, and whether it has a repository, or is one."""

    folders: tuple[str, ...] = ()
    has_git: bool = False
    is_bare: bool = False


_looked: dict[str, tuple[tuple[int, int, int], _Listing]] = {}
"""What was found in folders, by what identifies their state."""


def _look(folder: str) -> _Listing:
    """Return what matters of a folder. Nobody can set its time of change (ctime) back."""
    try:
        found = os.lstat(folder)
    except OSError:
        return _Listing()  # it is gone
    state = found.st_dev, found.st_ino, found.st_ctime_ns
    known = _looked.get(folder)
    if known is not None and known[0] == state:
        return known[1]
    entries = _list(folder)
    listing = _Listing(
        tuple([name for name, is_folder in entries.items() if is_folder and name not in _SKIPPED]),
        ".git" in entries,
        entries.keys() >= _BARE,
    )
    # Within a moment, a folder can change twice without another time of change.
    if time.time_ns() - found.st_ctime_ns > _SETTLED_NS and len(listing.folders) <= _MAX_FOLDERS:
        if len(_looked) >= _MAX_LOOKED:
            _looked.clear()
        _looked[folder] = state, listing
    return listing


def _list(folder: str) -> dict[str, bool]:
    """Return the names in a folder, and whether each is a folder itself and no link."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError:
        return {}  # it is gone, or unreadable for the command, too


def resolve_pointer(path: str) -> list[str]:
    """Return the git directories that a `.git` file or link leads to, such as those of a worktree."""
    directory = os.path.realpath(path)
    if not os.path.isdir(directory):
        text = _read_text(path)
        if text is None or not text.startswith("gitdir:"):
            return []
        target = text.removeprefix("gitdir:").strip()
        directory = os.path.realpath(os.path.join(os.path.dirname(path), target))
    directories = [directory] if os.path.isdir(directory) else []
    common = _read_text(os.path.join(directory, "commondir"))
    if common is not None:  # it is a worktree
        directories.append(os.path.realpath(os.path.join(directory, common)))
    return directories


def _read_text(path: str) -> str | None:
    """Return what a small file says; None: it is none. A pipe, which could block for ever, is not opened."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            text = os.fsdecode(file.read(_POINTER_BYTES)).strip() if is_file else ""
    except OSError:
        return None
    return text if text and "\0" not in text else None


def _find_inner(directory: str) -> list[str]:
    """Return the git directories of submodules (which may be nested) and worktrees in a git directory."""
    found: list[str] = []
    waiting = [os.path.join(directory, "modules"), os.path.join(directory, "worktrees")]
    looked_at = 0
    while waiting and looked_at < _MAX_INNER:
        folder = waiting.pop()
        looked_at += 1
        for name, is_folder in _list(folder).items():
            if is_folder:
                path = os.path.join(folder, name)
                if os.path.lexists(os.path.join(path, "HEAD")):
                    found.append(path)
                    waiting.append(os.path.join(path, "modules"))
                else:
                    waiting.append(path)  # the name of a submodule can have slashes
    return found
