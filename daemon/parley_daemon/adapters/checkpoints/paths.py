"""Files below a root: read, put and removed without ever following a link out of it.

Theory of operation. The text of a path proves nothing: any folder on the way may be replaced by a link
between a check and its use. So each operation starts at the root and opens one folder after the other,
relative to the one before and without following links. Then it works on the last name in the last folder.
"""

import errno
import os
import stat
from collections.abc import Callable
from hashlib import sha256
from secrets import token_hex

from msgspec.structs import replace

from parley_daemon.adapters.folders.opening import FOLDER_FLAGS, opened_folder
from parley_daemon.core.agents.files.file_states import NOTHING, FileState
from parley_daemon.core.agents.files.line_counts import text_of
from parley_daemon.core.comparing import with_line_feeds

FILE_BYTES = 16 * 2**20
"""Size of a file up to which it is read and kept. A larger one can be changed, but not restored."""

TEXT_BYTES = 2**20
"""Size of a file up to which its text is compared with that in an editor. A larger one counts as binary."""

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def digest_of(data: bytes) -> str:
    """Return the digest under which bytes are kept."""
    return sha256(data).hexdigest()


def split_path(root: str, path: str) -> list[str]:
    """Return the names that lead from a root to a path below it.

    Raises:
        ValueError: the path is not below the root, or is not a plain one.
    """
    prefix = root.rstrip("/") + "/"
    names = path[len(prefix) :].split("/")
    if not path.startswith(prefix) or any(name in ("", ".", "..") or "\0" in name for name in names):
        raise ValueError(f"{path} is not a path below {root}.")
    return names


def read_path(root: str, path: str, limit: int = FILE_BYTES) -> tuple[FileState, bytes | None]:
    """Return what is at a path, and the bytes of a file, or of a link's target. None: it was not read.

    Raises:
        OSError: it cannot be said what is there.
    """
    *names, name = split_path(root, path)
    try:
        with opened_folder(root, names) as folder:
            return _read(folder, name, limit)
    except (FileNotFoundError, NotADirectoryError):
        return NOTHING, None


def _read(folder: int, name: str, limit: int) -> tuple[FileState, bytes | None]:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return FileState("folder", mode), None
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(name, dir_fd=folder))
        return FileState("link", 0, len(target), digest_of(target)), target
    if not stat.S_ISREG(status.st_mode):
        return FileState("other", mode), None
    data = _read_file(folder, name, limit) if status.st_size <= limit else None
    if data is None:
        return unread_state(status), None
    return file_state(data, mode), data


def _read_file(folder: int, name: str, limit: int) -> bytes | None:
    """Return the bytes of a file. None: it is too large, may not be read, or is no file any more."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except PermissionError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # it was a file a moment ago
            return None
        raise
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        parts: list[bytes] = []
        left = limit + 1
        while left and (part := file.read(left)):
            parts.append(part)
            left -= len(part)
    return b"".join(parts) if left else None


def file_state(data: bytes, mode: int) -> FileState:
    """Return the state of a file with these bytes."""
    text = text_of(data) if len(data) <= TEXT_BYTES else None
    return FileState("file", mode, len(data), digest_of(data), None if text is None else digest_of_text(text))


def unread_state(status: os.stat_result) -> FileState:
    """Return the state of a file that is not read."""
    mark = f"stat:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
    return FileState("file", stat.S_IMODE(status.st_mode), status.st_size, mark)


def digest_of_text(text: str) -> str:
    """Return the digest of a text without regard to its line ends."""
    return digest_of(encode_text(with_line_feeds(text)))


def encode_text(text: str) -> bytes:
    """Return a text as UTF-8; half a surrogate pair, which an editor may send, is kept."""
    return text.encode(errors="surrogatepass")


def with_document(state: FileState, text: str | None) -> FileState:
    """Return a state while a document with this text is open at its path; None: none is open."""
    if text is None or state.kind not in ("file", "nothing"):
        return state
    return replace(state, open_text=digest_of_text(text))


def put_path(root: str, path: str, state: FileState, data: bytes | None) -> None:
    """Make a path what a state says. A file is replaced as a whole; a folder is removed only if it is empty.

    Raises:
        OSError: it cannot be done. Nothing has changed.
    """
    *names, name = split_path(root, path)
    with opened_folder(root, names) as folder:
        match state.kind:
            case "nothing":
                _remove(folder, name)
            case "folder":
                _make_folder(folder, name, state.mode)
            case "link":
                _replace_by(
                    folder, name, lambda new: os.symlink(os.fsdecode(data or b""), new, dir_fd=folder)
                )
            case _:
                owner = _owner(folder, name)
                _replace_by(folder, name, lambda new: _write(folder, new, data or b"", state.mode, owner))


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        os.rmdir(name, dir_fd=folder)


def _make_folder(folder: int, name: str, mode: int) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
            os.mkdir(name, dir_fd=folder)
    descriptor = os.open(name, FOLDER_FLAGS, dir_fd=folder)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _replace_by(folder: int, name: str, make: Callable[[str], None]) -> None:
    """Make something under another name, and rename it."""
    new = f".parley-{token_hex(8)}"
    try:
        make(new)
        try:
            os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=folder)
            os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        try:
            os.unlink(new, dir_fd=folder)
        except FileNotFoundError:
            pass
        raise


def _owner(folder: int, name: str) -> os.stat_result:
    """Return whose a file is to be: as the file that it replaces, else as its folder."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return os.fstat(folder)


def _write(folder: int, name: str, data: bytes, mode: int, owner: os.stat_result) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        try:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        except PermissionError:
            pass  # only root gives files away
        # A command in a sandbox may have made a file that runs with its owner's rights: it is not made again.
        os.fchmod(descriptor, mode & ~(stat.S_ISUID | stat.S_ISGID))
