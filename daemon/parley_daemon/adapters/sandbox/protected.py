"""Keeps a command from changing what would run outside of the sandbox later, and the policy.

Theory of operation. git runs the programs that its configuration and hooks name, when a person uses it next;
rules in `.parley` decide what later commands may do. bubblewrap makes these files read-only. Landlock cannot
except anything from a writable folder, and without a sandbox nothing holds. So they are read before each
command and compared afterwards. What has changed is put back, and the result of the command reports it; the
changed version is kept in a folder of the daemon, since a person may have changed it at the same moment.

Everything is opened from the root down, without following links, so that a command cannot lead the daemon to
files elsewhere by replacing a folder with a link.
"""

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parley_daemon.adapters.sandbox.places import is_below
from parley_daemon.adapters.sandbox.repositories import PROTECTED_NAMES, find_git_directories

POLICY_FOLDER = ".parley"

_MAX_DIRECTORIES = 200
"""Git directories that are read, those nearest to the roots first: reading one takes half a millisecond."""

_MAX_READ_ONLY = 500
"""Paths that are made read-only: each is a mount of its own. The others are only compared."""

_MAX_BYTES = 1 << 20
_MAX_KNOWN = 1000
_MAX_KNOWN_BYTES = 1 << 14
_SETTLED_NS = 10**9
_MAX_ENTRIES = 2000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_Entry = tuple[str, int, bytes]
"""Kind ("file", "folder", "link", "other"), permissions, and content or target."""

_Tree = dict[str, _Entry]
"""What is at a path, and below it, by relative path; "" is the path itself. Empty: nothing is there."""


@dataclass(slots=True)
class ProtectedFiles:
    """What is protected below the folders that a command may write to, as it was before the command.

    Attributes:
        git_directories: below the folders, with their identities.
        before: what was at each protected path.
    """

    roots: tuple[str, ...]
    git_directories: dict[str, tuple[int, int]]
    before: dict[str, _Tree]
    read_only: list[str] = field(default_factory=list[str])
    """Protected paths that exist: those that bubblewrap can make read-only."""


def read_protected(roots: Sequence[str], more: Sequence[str] = ()) -> ProtectedFiles:
    """Read what is protected below the folders, and some more files."""
    files = ProtectedFiles((*roots, *[os.path.dirname(path) for path in more]), {}, {})
    files.before = {path: _read(files.roots, path) for path in more}
    for root in roots:
        paths = [os.path.join(root, POLICY_FOLDER)]
        for directory in find_git_directories(root):
            if len(files.git_directories) < _MAX_DIRECTORIES and any(
                is_below(directory, one) for one in roots
            ):
                identity = _identify(directory)
                if identity is not None:
                    files.git_directories[directory] = identity
                    paths += [os.path.join(directory, name) for name in PROTECTED_NAMES]
        for path in paths:
            files.before[path] = _read(files.roots, path)
    files.read_only = [path for path, tree in files.before.items() if tree][:_MAX_READ_ONLY]
    return files


def restore_protected(files: ProtectedFiles, *, are_read_only: bool, kept_in: Path) -> list[str]:
    """Put back what has changed; return a sentence about each of them.

    Args:
        are_read_only: what existed was read-only for the command. Then another program has changed it,
            unless the command has replaced the whole git directory.
        kept_in: the folder that changed versions are kept in.
    """
    findings: list[str] = []
    read_only = set(files.read_only) if are_read_only else set[str]()
    replaced = {path for path, identity in files.git_directories.items() if _identify(path) != identity}
    gone = {path for path in replaced if not os.path.lexists(path)}
    for path, before in files.before.items():
        directory = os.path.dirname(path)
        if directory in gone or (path in read_only and directory not in replaced):
            continue
        after = _read(files.roots, path)
        if after == before:
            continue
        kept = _keep(after, before, kept_in)
        try:
            _restore(files.roots, path, before)
        except OSError as error:
            findings.append(f"The command changed {path}, which could not be put back: {error.strerror}.")
            continue
        what = "It was put back" if before else "It was removed"
        findings.append(f"The command changed {path}, which is protected. {what}{kept}.")
    findings += [f"The command deleted the repository {path}." for path in sorted(gone)]
    return findings


def _identify(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _split(roots: Sequence[str], path: str) -> tuple[str, list[str]]:
    """Return the outermost root above a path, and the names from there to the path."""
    root = min((one for one in roots if is_below(path, one)), key=len)
    return root, os.path.relpath(path, root).split(os.sep)


def _read(roots: Sequence[str], path: str) -> _Tree:
    root, names = _split(roots, path)
    tree: _Tree = {}
    try:
        folder = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    except OSError:
        return tree
    try:
        for name in names[:-1]:
            inner = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        _read_into(tree, folder, names[-1], "")
    except OSError:
        pass  # a folder on the way is missing, or is not a folder: nothing is there
    finally:
        os.close(folder)
    return tree


def _read_into(tree: _Tree, folder: int, name: str, key: str) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        tree[key] = ("link", 0, os.fsencode(os.readlink(name, dir_fd=folder)))
    elif stat.S_ISREG(found.st_mode) and found.st_size <= _MAX_BYTES:
        tree[key] = ("file", mode, _read_known_file(folder, name, found))
    elif stat.S_ISDIR(found.st_mode):
        tree[key] = ("folder", mode, b"")
        inner = os.open(name, _FOLDER, dir_fd=folder)
        try:
            for entry in sorted(os.listdir(inner)):
                if len(tree) < _MAX_ENTRIES:
                    _read_into(tree, inner, entry, f"{key}/{entry}" if key else entry)
        finally:
            os.close(inner)
    else:
        tree[key] = ("other", mode, f"{found.st_size} {found.st_mtime_ns}".encode("ascii"))


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
        return file.read(_MAX_BYTES + 1)


def _keep(after: _Tree, before: _Tree, kept_in: Path) -> str:
    """Keep the changed files; return where, as a part of a sentence."""
    changed = [
        entry[2]
        for key, entry in after.items()
        if entry[0] == "file" and before.get(key) != entry and entry[2]
    ]
    if not changed:
        return ""
    names: list[str] = []
    try:
        kept_in.mkdir(mode=0o700, parents=True, exist_ok=True)
        for content in changed:
            path = kept_in / f"changed-{hashlib.sha256(content).hexdigest()[:16]}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
            names.append(str(path))
    except OSError:
        return "; the changed version could not be kept"
    return f"; the changed version is kept in {', '.join(names)}"


def _restore(roots: Sequence[str], path: str, before: _Tree) -> None:
    root, names = _split(roots, path)
    os.makedirs(root, mode=0o700, exist_ok=True)
    folder = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    try:
        for name in names[:-1]:
            inner = _enter(folder, name)
            os.close(folder)
            folder = inner
        _remove(folder, names[-1])
        for key, entry in before.items():  # folders come before what is in them
            _write(folder, [names[-1], *(key.split("/") if key else [])], entry)
    finally:
        os.close(folder)


def _enter(folder: int, name: str) -> int:
    """Open a folder in a folder; make it if it is missing, in the place of anything that is no folder."""
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
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


def _remove(folder: int, name: str) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


def _write(folder: int, names: list[str], entry: _Entry) -> None:
    kind, mode, content = entry
    parents: list[int] = []
    try:
        for name in names[:-1]:
            folder = os.open(name, _FOLDER, dir_fd=folder)
            parents.append(folder)
        if kind == "folder":
            os.mkdir(names[-1], 0o700, dir_fd=folder)
            os.chmod(names[-1], mode, dir_fd=folder)
        elif kind == "link":
            os.symlink(os.fsdecode(content), names[-1], dir_fd=folder)
        elif kind == "file":
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(names[-1], flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
    finally:
        for parent in parents:
            os.close(parent)
