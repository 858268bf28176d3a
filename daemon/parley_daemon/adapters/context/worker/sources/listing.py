"""Lists the files of a folder: what git knows and does not ignore, or else what the rules of git leave.

git is run so that it runs nothing which the repository names. A repository in the repository, such as a
submodule, is listed by itself.
"""

import os
import stat
from collections.abc import Generator, Mapping

import anyio
import msgspec

from parley_daemon.adapters.folders.walking import walk
from parley_daemon.adapters.git.command import GitCommand
from parley_daemon.ports.git import GitError

MAX_FILES = 100_000
"""Files of a folder that are looked at."""

MAX_ENTRIES = 300_000
"""Entries of a folder without git that are walked through."""

_MAX_BYTES = 24 * 2**20
_MAX_DEPTH = 4
_SECONDS = 60.0


class Listing(msgspec.Struct):
    """Paths relative to the folder. `is_cut`: there are more. `unnamed`: files whose names are not UTF-8."""

    paths: list[str]
    is_cut: bool = False
    unnamed: int = 0


def list_files(root: str, environment: Mapping[str, str], left_out: tuple[str, ...] = ()) -> Listing:
    """Return the files below a folder. `left_out`: absolute folders that are not looked into.

    Raises:
        OSError: the folder cannot be read.
    """
    if not stat.S_ISDIR(os.stat(root).st_mode):
        raise NotADirectoryError(20, os.strerror(20), root)
    listing = Listing([])
    for path in _found(root, environment, listing):
        if left_out and any(f"{root}/{path}".startswith(f"{one}/") for one in left_out):
            continue
        if not _is_utf8(path):
            listing.unnamed += 1
            continue
        if len(listing.paths) == MAX_FILES:
            listing.is_cut = True
            break
        listing.paths.append(path)
    return listing


def _found(root: str, environment: Mapping[str, str], listing: Listing) -> Generator[str]:
    waiting = [("", 0)]
    while waiting:
        place, depth = waiting.pop()
        names = _ask_git(os.path.join(root, place) if place else root, environment, listing)
        if names is None:
            yield from _walked(root, place, listing)
            continue
        for name in names:
            path = f"{place}/{name}" if place else name
            if path.endswith("/"):  # a repository that this one does not know
                if depth < _MAX_DEPTH:
                    waiting.append((path.rstrip("/"), depth + 1))
            elif depth < _MAX_DEPTH and _is_repository(root, path):
                waiting.append((path, depth + 1))
            else:
                yield path


def _is_repository(root: str, path: str) -> bool:
    full = f"{root}/{path}"
    try:
        is_folder = stat.S_ISDIR(os.lstat(full).st_mode)
    except (OSError, ValueError):
        return False
    return is_folder and os.path.lexists(f"{full}/.git")


def _ask_git(folder: str, environment: Mapping[str, str], listing: Listing) -> list[str] | None:
    """Return what git lists; None: it lies in no repository, or git cannot say."""
    git = GitCommand(folder, environment, _SECONDS)
    try:
        output = anyio.run(_run, git)
    except GitError:
        return None
    if output.status != 0 and not output.is_truncated:
        return None
    data = output.data
    if output.is_truncated:
        listing.is_cut = True
        data = data[: data.rfind(b"\0") + 1]
    return list(dict.fromkeys(os.fsdecode(data).split("\0")[:-1]))  # a conflict is listed three times


async def _run(git: GitCommand):
    return await git.run("ls-files", "-z", "-c", "-o", "--exclude-standard", max_bytes=_MAX_BYTES)


def _walked(root: str, place: str, listing: Listing) -> Generator[str]:
    top = os.path.join(root, place) if place else root
    for number, entry in enumerate(walk(top)):
        if number == MAX_ENTRIES:
            listing.is_cut = True
            return
        if entry.kind != "folder":
            yield f"{place}/{entry.path}" if place else entry.path


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
