"""Finds the git repositories below a folder, and what in them makes git run programs later."""

import os
from collections import deque
from typing import NamedTuple

_MAX_FOLDERS = 2000
"""How many folders are looked into for repositories, those nearest to the root first."""

_SKIPPED = frozenset(("node_modules", ".venv", "venv", "__pycache__", ".tox", "target"))
_BARE = frozenset(("HEAD", "objects", "refs"))
_POINTER_BYTES = 4096

PROTECTED_NAMES = ("config", "config.worktree", "hooks", "commondir", "gitdir")
"""What in a git directory decides which programs git runs, and where it looks for that."""


class Repositories(NamedTuple):
    """The git directories of a folder, and the files and links named `.git` that lead to one."""

    directories: list[str]
    pointers: list[str]


def find_repositories(root: str) -> Repositories:
    """Return the git directories below a folder, and those that its worktrees and submodules point to.

    Directories of submodules and worktrees inside of a git directory are included.
    """
    found: dict[str, None] = {}
    pointers: list[str] = []
    waiting = deque([root])
    looked_at = 0
    while waiting and looked_at < _MAX_FOLDERS:
        folder = waiting.popleft()
        looked_at += 1
        entries = _list(folder)
        if entries.keys() >= _BARE:
            found[folder] = None
            continue
        for name, is_folder in entries.items():
            path = os.path.join(folder, name)
            if name == ".git":
                found.update(dict.fromkeys([path] if is_folder else resolve_pointer(path)))
                pointers += [] if is_folder else [path]
            elif is_folder and name not in _SKIPPED:
                waiting.append(path)
    for directory in list(found):
        found.update(dict.fromkeys(_find_inner(directory)))
    return Repositories(list(found), pointers)


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
        try:
            with open(path, "rb") as file:
                text = os.fsdecode(file.read(_POINTER_BYTES)).strip()
        except OSError:
            return []
        if not text.startswith("gitdir:"):
            return []
        target = text.removeprefix("gitdir:").strip()
        directory = os.path.realpath(os.path.join(os.path.dirname(path), target))
    directories = [directory] if os.path.isdir(directory) else []
    try:
        with open(os.path.join(directory, "commondir"), "rb") as file:
            common = os.fsdecode(file.read(_POINTER_BYTES)).strip()
        directories.append(os.path.realpath(os.path.join(directory, common)))
    except OSError:
        pass  # it is no worktree
    return directories


def _find_inner(directory: str) -> list[str]:
    """Return the git directories of submodules (which may be nested) and worktrees in a git directory."""
    found: list[str] = []
    waiting = [os.path.join(directory, "modules"), os.path.join(directory, "worktrees")]
    while waiting and len(found) < _MAX_FOLDERS:
        folder = waiting.pop()
        for name, is_folder in _list(folder).items():
            if is_folder:
                path = os.path.join(folder, name)
                if os.path.lexists(os.path.join(path, "HEAD")):
                    found.append(path)
                    waiting.append(os.path.join(path, "modules"))
                else:
                    waiting.append(path)  # the name of a submodule can have slashes
    return found
