"""The diff of one file in git's format, which `git apply` reads (see git-diff(1))."""

from collections.abc import Sequence

import msgspec

from parley_daemon.core.agents.files.hunks import NO_NEWLINE, write_hunks

_BINARY_BYTES = 8000
"""git takes a file for binary if there is a NUL in as many bytes at its beginning."""

_QUOTES = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}


class FileSide(msgspec.Struct, frozen=True, gc=False):
    """A file, or the target of a link, at one side of a diff. `mode` is git's, such as "100644".

    `data` is None if it is not known.
    """

    mode: str
    data: bytes | None

    @property
    def is_binary(self) -> bool:
        """Whether git compares it line by line."""
        return self.data is None or b"\0" in self.data[:_BINARY_BYTES]

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self.mode == "120000"


def mode_of(permissions: int, *, is_link: bool = False) -> str:
    """Return the mode as git writes it."""
    if is_link:
        return "120000"
    return "100755" if permissions & 0o100 else "100644"


def git_diff(name: bytes, before: FileSide | None, after: FileSide | None) -> bytes:
    """Return the diff of a file. `name` is relative, with `/`. None: there is no file on that side."""
    if before is not None and after is not None and before.is_link != after.is_link:
        return git_diff(name, before, None) + git_diff(name, None, after)
    if before == after and (before is None or before.data is not None):
        return b""
    old, new = quote(b"a/" + name), quote(b"b/" + name)
    head = b"diff --git %b %b\n" % (old, new)
    if before is None and after is not None:
        head += b"new file mode %b\n" % after.mode.encode()
    elif after is None and before is not None:
        head += b"deleted file mode %b\n" % before.mode.encode()
    elif before is not None and after is not None and before.mode != after.mode:
        head += b"old mode %b\nnew mode %b\n" % (before.mode.encode(), after.mode.encode())
    first = b"/dev/null" if before is None else old
    second = b"/dev/null" if after is None else new
    if (before is not None and before.is_binary) or (after is not None and after.is_binary):
        return head + b"Binary files %b and %b differ\n" % (first, second)
    hunks = write_hunks(_lines(before), _lines(after))
    if not hunks:
        return head
    body = "".join(hunks).encode("latin-1")
    return head + b"--- %b\n+++ %b\n%b" % (_with_tab(first), _with_tab(second), body)


def quote(name: bytes) -> bytes:
    """Return a name as git prints it: in quotes with escapes if it has bytes that are not plain ASCII."""
    if all(32 <= byte < 127 and byte not in _QUOTES for byte in name):
        return name
    escaped = "".join(
        f"\\{_QUOTES[byte]}" if byte in _QUOTES else chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
        for byte in name
    )
    return f'"{escaped}"'.encode()


def count_lines(data: bytes) -> int:
    """Return how many lines git counts: a line ends with a line feed only."""
    return data.count(b"\n") + bool(data and not data.endswith(b"\n"))


def _with_tab(name: bytes) -> bytes:
    """Return a name for the lines with `---` and `+++`, where a name with spaces ends with a tab."""
    return name + b"\t" if b" " in name and not name.startswith(b'"') else name


def _lines(side: FileSide | None) -> Sequence[str]:
    """Return lines, each byte as one character, so that any file can be compared and written back."""
    if side is None or not side.data:
        return []
    lines = [f"{line}\n" for line in side.data.decode("latin-1").split("\n")]
    if lines[-1] == "\n":
        lines.pop()
    else:
        lines[-1] += NO_NEWLINE
    return lines
