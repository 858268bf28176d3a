"""Reads files to be indexed, without following links, and says why one is left out."""

import hashlib
import os
import stat
from contextlib import suppress

import msgspec

from parley_daemon.adapters.context.worker.sources.exclusion import find_reason, has_private_key
from parley_daemon.adapters.folders.opening import opened_folder
from parley_daemon.ports.context import hash_text

MAX_FILE = 2**20
"""Bytes of a file that is indexed."""

MAX_AVERAGE = 400
"""Characters of a line on average; a file with longer ones is minified."""

MAX_LONGEST = 20_000
"""Characters of the longest line; a file with a longer one is minified."""

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """What tells that a file has changed."""

    size: int
    mtime_ns: int


class FileText(msgspec.Struct, frozen=True, gc=False):
    """A file as text, or why it has none that is indexed (`reason`, see RootStatus)."""

    stamp: Stamp
    text: str = ""
    hash: str = ""
    reason: str | None = None


def read_file(root: str, path: str) -> FileText | None:
    """Return a file below a root, None if there is none. `root` has no links in it."""
    *folders, name = path.split("/")
    try:
        with opened_folder(root, folders) as folder:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            stamp = Stamp(found.st_size, found.st_mtime_ns)
            if (reason := _find_reason(path, found)) is not None:
                return FileText(stamp, reason=reason)
            with open(os.open(name, _FILE, dir_fd=folder), "rb") as file:
                opened = os.fstat(file.fileno())
                if not stat.S_ISREG(opened.st_mode):
                    return FileText(stamp, reason="special")
                stamp = Stamp(opened.st_size, opened.st_mtime_ns)
                data = file.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        # A link, or a folder on the way that has been replaced by one, is not opened.
        is_link = isinstance(error, OSError) and error.errno in (40, 62)
        return FileText(Stamp(-1, -1), reason="link" if is_link else "unreadable")
    return _as_text(stamp, data)


def read_same(root: str, path: str, hash: str) -> str | None:
    """Return the text of a file if it has this hash, None otherwise; see `read_file`."""
    *folders, name = path.split("/")
    try:
        with opened_folder(root, folders) as folder, open(os.open(name, _FILE, dir_fd=folder), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError):
        return None
    if hashlib.sha256(data).hexdigest() == hash:
        with suppress(UnicodeError):
            return data.decode()
    text, _ = _decode(data)
    return text if text is not None and hash_text(text) == hash else None


def _find_reason(path: str, found: os.stat_result) -> str | None:
    if stat.S_ISLNK(found.st_mode):
        return "link"
    if not stat.S_ISREG(found.st_mode):
        return "special"
    if (reason := find_reason(path)) is not None:
        return reason
    return "too_large" if found.st_size > MAX_FILE else None


def _as_text(stamp: Stamp, data: bytes) -> FileText:
    if len(data) > MAX_FILE:
        return FileText(stamp, reason="too_large")
    text, is_exact = _decode(data)
    if text is None:
        return FileText(stamp, reason="binary")
    lines = text.count("\n") + text.count("\r") + 1
    if len(text) > MAX_AVERAGE * lines and len(text) > 5_000:
        return FileText(stamp, reason="minified")
    if len(text) > MAX_LONGEST and max(map(len, text.splitlines())) > MAX_LONGEST:
        return FileText(stamp, reason="minified")
    if has_private_key(text):
        return FileText(stamp, reason="secret")
    return FileText(stamp, text, hashlib.sha256(data).hexdigest() if is_exact else hash_text(text))


def _decode(data: bytes) -> tuple[str | None, bool]:
    """Return bytes as text, None if they are binary, and whether the text in UTF-8 is the same bytes."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding), False
            except UnicodeError:
                break
    if b"\0" in data:
        return None, False
    try:
        return data.decode(), True
    except UnicodeError:
        return data.decode("latin-1"), False
