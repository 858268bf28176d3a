"""Files below a folder, without following links, and without those that git ignores.

git is not started: its rules are read from the `.gitignore` files, `.git/info/exclude` and the user's own
ignore file. They count where the folder lies in a repository. `.git` itself is never shown. Folders are read
one after the other from the top down, each in the order of names.
"""

import os
import stat
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress

import msgspec

from parley_daemon.adapters.folders.ignore_rules import IgnoreRule, is_ignored, parse_rules

NOT_WALKED = ("//dev", "//proc", "//sys")
"""What is left out below the root of the file system: there are no ordinary files."""

MAX_DEPTH = 64
MAX_IGNORE_FILE = 64 * 1024

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_Levels = tuple[tuple[str, Sequence[IgnoreRule]], ...]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A file, a link or a folder. `path` is relative to the folder that is walked.

    `folder` is a descriptor of the folder that it lies in. It may be closed once the next entry is asked for.
    """

    path: str
    name: str
    kind: str
    size: int
    folder: int


def walk(top: str, hidden: frozenset[tuple[int, int]] = frozenset()) -> Generator[Entry]:
    """Yield what lies below a folder. Folders that cannot be read are left out.

    `top` is an absolute path without links. `hidden` are identities (device, inode) of what is left out.

    Raises:
        OSError: the folder itself cannot be read.
    """
    repository, inner = _repository_of(top)
    levels: _Levels = ()
    if repository is not None:
        levels = (("", _own_rules(repository)),)
        at, place = repository, ""
        for name in inner.split("/") if inner else ():
            levels = (*levels, (place, _rules_at(at)))
            at, place = os.path.join(at, name), f"{place}/{name}" if place else name
    waiting: deque[tuple[str, int, _Levels]] = deque([("", 0, levels)])
    while waiting:
        place, depth, levels = waiting.popleft()
        try:
            folder = open_below(top, place)
        except OSError:
            if not place:
                raise
            continue
        try:
            if repository is not None:
                levels = (*levels, (_join(inner, place), _rules_in(folder)))
            for entry in _entries(folder, top, place, hidden):
                path = _join(inner, entry.path)
                is_folder = entry.kind == "folder"
                if levels and is_ignored(levels, path, is_folder=is_folder):
                    continue
                if is_folder and depth < MAX_DEPTH:
                    waiting.append((entry.path, depth + 1, levels))
                yield entry
        finally:
            os.close(folder)


def _entries(folder: int, top: str, place: str, hidden: frozenset[tuple[int, int]]) -> list[Entry]:
    found: list[Entry] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == ".git":
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if (status.st_dev, status.st_ino) in hidden or f"{top}/{entry.name}" in NOT_WALKED:
                continue
            found.append(
                Entry(_join(place, entry.name), entry.name, _kind(status.st_mode), status.st_size, folder)
            )
    return sorted(found, key=lambda entry: entry.name)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "link" if stat.S_ISLNK(mode) else "other"


def open_below(top: str, place: str) -> int:
    """Open a folder below `top`, component by component, without following links."""
    at = os.open("/", _FOLDER)
    for name in [part for part in f"{top}/{place}".split("/") if part]:
        try:
            below = os.open(name, _FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def _repository_of(top: str) -> tuple[str | None, str]:
    """Return the repository that a folder lies in, and where in it; None: in none."""
    at: str = top
    while True:
        if os.path.lexists(os.path.join(at, ".git")):
            return at, "" if at == top else os.path.relpath(top, at)
        if at == "/":
            return None, ""
        at = os.path.dirname(at)


def _own_rules(repository: str) -> tuple[IgnoreRule, ...]:
    """Return the rules of the user for all repositories, and of this one beside its `.gitignore` files."""
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    rules: tuple[IgnoreRule, ...] = ()
    for path in (os.path.join(config, "git/ignore"), os.path.join(repository, ".git/info/exclude")):
        with suppress(OSError):
            rules += _parse(os.open(path, _FILE))
    return rules


def _rules_at(folder: str) -> tuple[IgnoreRule, ...]:
    with suppress(OSError):
        return _parse(os.open(os.path.join(folder, ".gitignore"), _FILE))
    return ()


def _rules_in(folder: int) -> tuple[IgnoreRule, ...]:
    with suppress(OSError):
        return _parse(os.open(".gitignore", _FILE, dir_fd=folder))
    return ()


def _parse(descriptor: int) -> tuple[IgnoreRule, ...]:
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ()
        return parse_rules(file.read(MAX_IGNORE_FILE).decode("utf-8", "replace"))


def _join(place: str, name: str) -> str:
    return f"{place}/{name}" if place and name else place or name
