"""Removes what a command has left, whatever it is: folders without end in each other, or without permissions.

Theory of operation. A recursion would end at some depth, and so would a path. So the folders in a folder are
moved up into the outermost one, and are emptied there one after the other. Everything is opened from the
folder above it, without following links: another command may replace a folder by a link meanwhile.
"""

import os
import stat
from contextlib import suppress
from secrets import token_hex

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HANDLE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(folder: int, name: str) -> None:
    """Remove a file, a link, or a folder with what is in it; nothing if there is none. `folder` is open.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=folder)
        return
    top = open_folder(folder, name)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=folder)


def remove_path(path: str) -> None:
    """Remove what is at a path, as far as that is possible."""
    with suppress(OSError):
        folder = os.open(os.path.dirname(path), _FOLDER & ~os.O_NOFOLLOW)
        try:
            remove(folder, os.path.basename(path))
        finally:
            os.close(folder)


def open_folder(folder: int, name: str) -> int:
    """Open a folder in an open folder. If this user has no permission for that, but may take it, it does.

    Raises:
        OSError: it is no folder, or cannot be opened.
    """
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except PermissionError:
        _take_permissions(folder, name)
        return os.open(name, _FOLDER, dir_fd=folder)
    if not stat.S_IMODE(os.fstat(inner).st_mode) & stat.S_IWUSR:
        with suppress(OSError):
            os.fchmod(inner, stat.S_IRWXU)
    return inner


def _take_permissions(folder: int, name: str) -> None:
    handle = os.open(name, _HANDLE, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{handle}", stat.S_IRWXU)  # by its name, a link could be meant by now
    finally:
        os.close(handle)


def _empty(top: int) -> None:
    waiting = _empty_of_files(top)
    while waiting:
        name = waiting.pop()
        inner = open_folder(top, name)
        try:
            for one in _empty_of_files(inner):
                moved = f"{len(waiting)}-{token_hex(8)}"
                os.close(open_folder(inner, one))  # to move a folder, one has to be allowed to write to it
                os.rename(one, moved, src_dir_fd=inner, dst_dir_fd=top)
                waiting.append(moved)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=top)


def _empty_of_files(folder: int) -> list[str]:
    """Remove what is no folder; return the names of the folders."""
    folders: list[str] = []
    for name in os.listdir(folder):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            folders.append(name)
        else:
            os.unlink(name, dir_fd=folder)
    return folders
