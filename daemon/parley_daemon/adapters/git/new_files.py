"""Files that git does not know: their lines, and their diff in git's format (see git-diff(1))."""

import os
import stat
from collections.abc import Sequence

from parley_daemon.adapters.folders.opening import opened_folder

_BINARY_BYTES = 8000
"""git takes a file for binary if there is a NUL in as many bytes at its beginning."""

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_QUOTES = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}


def count_lines(
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
        _, data, is_whole = content
        max_bytes -= len(data)
        if not is_whole or _is_binary(data):
            found.append((name, (None, None)))
        else:
            found.append((name, (_count(data), 0)))
    return found


def describe_new_file(folder: str, name: str, max_bytes: int) -> bytes:
    """Return the diff of a new file, b"" if it is gone. Its end is left out if it exceeds `max_bytes`."""
    content = _read(folder, name, max_bytes + 1)
    if content is None:
        return b""
    mode, data, is_whole = content
    old, new = _quote(f"a/{name}"), _quote(f"b/{name}")
    head = b"diff --git %b %b\nnew file mode %b\n" % (old, new, mode)
    if _is_binary(data):
        return head + b"Binary files /dev/null and %b differ\n" % new
    if not data:
        return head
    lines = data.split(b"\n")
    is_ended = not lines[-1]
    if is_ended:
        lines.pop()
    count = b"" if len(lines) == 1 else b",%d" % len(lines)
    tab = b"\t" if b" " in new and not new.startswith(b'"') else b""
    body = b"".join([b"+%b\n" % line for line in lines])
    end = b"" if is_ended or not is_whole else b"\\ No newline at end of file\n"
    return head + b"--- /dev/null\n+++ %b%b\n@@ -0,0 +1%b @@\n%b%b" % (new, tab, count, body, end)


def _read(folder: str, name: str, max_bytes: int) -> tuple[bytes, bytes, bool] | None:
    """Return the mode as git writes it, the content, and whether that is all; None for anything else."""
    *folders, last = name.split("/")
    try:
        with opened_folder(folder, folders) as inside:
            state = os.stat(last, dir_fd=inside, follow_symlinks=False)
            if stat.S_ISLNK(state.st_mode):
                return b"120000", os.fsencode(os.readlink(last, dir_fd=inside)), True
            if not stat.S_ISREG(state.st_mode):
                return None
            with os.fdopen(os.open(last, _FILE, dir_fd=inside), "rb") as file:
                data = file.read(max(0, max_bytes))
                state = os.fstat(file.fileno())
    except OSError:
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    mode = b"100755" if state.st_mode & stat.S_IXUSR else b"100644"
    return mode, data, len(data) == state.st_size


def _is_binary(data: bytes) -> bool:
    return b"\0" in data[:_BINARY_BYTES]


def _count(data: bytes) -> int:
    """Return how many lines git counts: a line ends with a line feed only."""
    return data.count(b"\n") + bool(data and not data.endswith(b"\n"))


def _quote(name: str) -> bytes:
    """Return a name as git prints it: in quotes with escapes if it has bytes that are not plain ASCII."""
    data = os.fsencode(name)
    if all(32 <= byte < 127 and byte not in _QUOTES for byte in data):
        return data
    escaped = "".join(
        f"\\{_QUOTES[byte]}" if byte in _QUOTES else chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
        for byte in data
    )
    return f'"{escaped}"'.encode()
