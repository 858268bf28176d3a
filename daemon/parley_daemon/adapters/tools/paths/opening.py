"""Opens and changes files at resolved paths, without ever following a link.

Theory of operation. Each folder of the path is opened below the one before it (`dir_fd`, `O_NOFOLLOW`), and
the last name is used below the last folder. A component that has become a link since the path was resolved
is an error. Nothing here can block: what is no regular file is not opened.

A file is replaced by a temporary file in the same folder, which is renamed over it once it is on disk: other
programs see the old file or the new one. A new file appears under a name that is free, or not at all.
"""

import errno
import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import NamedTuple

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ChangedMeanwhileError(Exception):
    """What is at the path is not what was there before. Nothing was written."""


class Version(NamedTuple):
    """What tells one state of a file from another one."""

    device: int
    inode: int
    size: int
    mtime_ns: int


def version_of(found: os.stat_result) -> Version:
    """Return the version of a file."""
    return Version(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@contextmanager
def folder_of(path: str, *, create: bool = False) -> Generator[tuple[int, str]]:
    """Open the folder of an absolute path; yield its descriptor and the last name of the path.

    `create`: make the folders that are missing.

    Raises:
        OSError: a folder is missing, or has become a link (ELOOP, ENOTDIR).
    """
    *folders, name = [part for part in path.split("/") if part] or ["."]
    at = os.open("/", _FOLDER)
    try:
        for folder in folders:
            try:
                below = os.open(folder, _FOLDER, dir_fd=at)
            except FileNotFoundError:
                if not create:
                    raise
                with suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=at)
                below = os.open(folder, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        yield at, name
    finally:
        os.close(at)


def look(path: str) -> os.stat_result | None:
    """Return what is at a path, which may be a link; None: nothing.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        with folder_of(path) as (folder, name):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextmanager
def opened(path: str) -> Generator[tuple[int, os.stat_result]]:
    """Open a regular file for reading; yield its descriptor and what it is.

    Raises:
        OSError: there is none (ENOENT), or it is no regular file (EISDIR, EINVAL, ELOOP), or cannot be read.
    """
    with folder_of(path) as (folder, name):
        _require_regular(os.stat(name, dir_fd=folder, follow_symlinks=False))
        descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        _require_regular(found)  # it may have been exchanged between the two calls
        yield descriptor, found
    finally:
        os.close(descriptor)


def read_whole(path: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Return the bytes of a regular file, and what it was when it was opened.

    Raises:
        OSError: see `opened`; EFBIG: it has more than `limit` bytes.
    """
    with opened(path) as (descriptor, found):
        if found.st_size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return data, found


def write_file(path: str, data: bytes, before: os.stat_result | None, *, mode: int | None = None) -> None:
    """Write a file: in place of the one that is there (`before`), or a new one (None), with its folders.

    Mode, owner and extended attributes of the earlier file are kept. `mode` is that of a new file, None: as
    other programs make files.

    Raises:
        ChangedMeanwhileError: the file is not `before` any more, or there is one.
        OSError: it cannot be written; what was there is still there.
    """
    with folder_of(path, create=before is None) as (folder, name):
        _require_same(folder, name, before)
        if before is not None and not os.access(name, os.W_OK, dir_fd=folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # renaming does not need it
        temporary = f".parley-{secrets.token_hex(8)}.tmp"
        descriptor = os.open(temporary, _NEW, 0o666 if before is None else 0o600, dir_fd=folder)
        try:
            try:
                with open(descriptor, "wb", closefd=False) as file:
                    file.write(data)
                if before is not None:
                    _copy_attributes(folder, name, descriptor, before)
                elif mode is not None:
                    os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            _require_same(folder, name, before)
            if before is None:
                _move_to_free_name(folder, temporary, folder, name)
            else:
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise


def delete_file(path: str, before: os.stat_result) -> None:
    """Delete a file or a link.

    Raises:
        ChangedMeanwhileError: it is not `before` any more.
        OSError: it cannot be deleted.
    """
    with folder_of(path) as (folder, name):
        _require_same(folder, name, before)
        os.unlink(name, dir_fd=folder)


def move_file(path: str, to: str, before: os.stat_result) -> None:
    """Move a file or a link to a path where nothing is, and make the folders of that path.

    Raises:
        ChangedMeanwhileError: it is not `before` any more, or something is at `to`.
        OSError: it cannot be moved; EXDEV: `to` is on another file system.
    """
    with folder_of(path) as (folder, name), folder_of(to, create=True) as (new_folder, new_name):
        _require_same(folder, name, before)
        _move_to_free_name(folder, name, new_folder, new_name)


def _require_regular(found: os.stat_result) -> None:
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return
    code = errno.EISDIR if stat.S_ISDIR(mode) else errno.ELOOP if stat.S_ISLNK(mode) else errno.EINVAL
    raise OSError(code, os.strerror(code))


def _require_same(folder: int, name: str, before: os.stat_result | None) -> None:
    try:
        now = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        now = None
    if (now and version_of(now)) != (before and version_of(before)):
        raise ChangedMeanwhileError


def _move_to_free_name(folder: int, name: str, new_folder: int, new_name: str) -> None:
    """Rename a file without replacing another one: a second name, then the first one is removed."""
    try:
        os.link(name, new_name, src_dir_fd=folder, dst_dir_fd=new_folder, follow_symlinks=False)
    except FileExistsError:
        raise ChangedMeanwhileError from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
            raise
        # A file system without hard links. Between these two calls another program could use the name.
        _require_same(new_folder, new_name, None)
        os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=new_folder)
    else:
        os.unlink(name, dir_fd=folder)


def _copy_attributes(folder: int, name: str, descriptor: int, before: os.stat_result) -> None:
    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(OSError):  # only root may give a file away; others keep what they can
            os.chown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
    if not hasattr(os, "listxattr"):
        return
    with suppress(OSError):
        source = os.open(name, _FILE, dir_fd=folder)
        try:
            for attribute in os.listxattr(source):
                with suppress(OSError):
                    os.setxattr(descriptor, attribute, os.getxattr(source, attribute))
        finally:
            os.close(source)
