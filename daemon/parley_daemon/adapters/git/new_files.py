"""Files that git does not know: how many lines they have, and what their diff says."""

import os
import stat
from collections.abc import Sequence

from parley_daemon.adapters.folders.opening import opened_folder
from parley_daemon.core.agents.files.git_diff import FileSide, count_lines, git_diff, mode_of

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def count_new_lines(
    folder: str, names: Sequence[str], max_bytes: int
) -> list[tuple[str, tuple[int | None, int | None]]]:
    """Return added and deleted lines of new files by name; None for those that are binary or too large.

    Names that are no files or links any more are left out. `max_bytes`: of all files together.
    """
    found: list[tuple[str, tuple[int | None, int | None]]] = []
    for name in names:
        content = _read(folder, name, max_bytes)
        if content is None:
            continue
        side, is_whole = content
        data = side.data or b""
        max_bytes -= len(data)
        found.append((name, (count_lines(data), 0) if is_whole and not side.is_binary else (None, None)))
    return found


def describe_new_file(folder: str, name: str, max_bytes: int, prefix: str = "") -> bytes:
    """Return the diff of a new file, b"" if it is gone. Its end is left out if it exceeds `max_bytes`."""
    content = _read(folder, name, max_bytes + 1)
    return b"" if content is None else git_diff(os.fsencode(prefix + name), None, content[0])


def _read(folder: str, name: str, max_bytes: int) -> tuple[FileSide, bool] | None:
    """Return what is at a path, and whether it was read to its end; None for anything but files and links."""
    *folders, last = name.split("/")
    try:
        with opened_folder(folder, folders) as inside:
            state = os.stat(last, dir_fd=inside, follow_symlinks=False)
            if stat.S_ISLNK(state.st_mode):
                return FileSide(mode_of(0, is_link=True), os.fsencode(os.readlink(last, dir_fd=inside))), True
            if not stat.S_ISREG(state.st_mode):
                return None
            with os.fdopen(os.open(last, _FILE, dir_fd=inside), "rb") as file:
                data = file.read(max(0, max_bytes))
                state = os.fstat(file.fileno())
    except OSError:
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    return FileSide(mode_of(state.st_mode), data), len(data) == state.st_size
