"""Turns the content of a client's message into parts to store, and reads the files that it refers to.

A file that the client has open is read as the client has it, with unsaved changes; others are read from disk.
"""

import io
import os
import stat
from codecs import getincrementaldecoder
from collections.abc import Awaitable
from typing import Protocol
from urllib.parse import unquote, urlsplit

import anyio
from anyio import to_thread

from parley_daemon.core.parts import File, Part, Source, Text
from parley_daemon.server.wire.errors import invalid_params
from parley_protocol.models.parts import FilePart, InputPart, ReferencePart, TextPart

REFERENCE_LIMIT = 256 * 1024
"""Bytes of text, in UTF-8, that one reference may add to a message."""

READ_LIMIT = 16 * REFERENCE_LIMIT
"""Bytes at the beginning of a file in which a range of lines can lie."""

_readers = anyio.CapacityLimiter(8)


class OpenDocuments(Protocol):
    """The documents that a client has open."""

    def open_text(self, uri: str) -> Awaitable[str | None]:
        """Return the text of an open document, None if it is not open."""
        ...


async def input_parts(documents: OpenDocuments, content: str | list[InputPart]) -> tuple[Part, ...]:
    """Return the content of a message as parts. A reference becomes a `Source` with the current text.

    Raises:
        WireError: -32602, a reference cannot be read or is too long.
    """
    if isinstance(content, str):
        return (Text(content),)
    return tuple([await _part(documents, part, f"content[{at}]") for at, part in enumerate(content)])


async def _part(documents: OpenDocuments, part: InputPart, path: str) -> Part:
    match part:
        case TextPart():
            return Text(part.text)
        case FilePart():
            return File(part.media_type, part.data, part.url, part.title)
        case ReferencePart():
            return await _source(documents, part, path)


async def _source(documents: OpenDocuments, part: ReferencePart, path: str) -> Source:
    unsaved = await documents.open_text(part.uri)
    # Read in a small thread pool of its own, so that a file system that hangs delays references only.
    chosen = await to_thread.run_sync(
        _read_lines, part, unsaved, path, abandon_on_cancel=True, limiter=_readers
    )
    name = unquote(part.uri.rstrip("/").rpartition("/")[2])
    if part.start_line is None and part.end_line is None:
        return Source(part.uri, part.uri, name, "".join(chosen))
    start = part.start_line or 1
    return Source(part.uri, part.uri, name, "".join(chosen), start, start + max(len(chosen), 1) - 1)


def _read_lines(part: ReferencePart, unsaved: str | None, path: str) -> list[str]:
    """Return the lines that the reference names, with their line ends."""
    text, cut = _read(part.uri, path) if unsaved is None else (unsaved, False)
    # Lines end as in LSP: at \n, \r\n or \r, and not at all line ends of Unicode.
    lines = list(io.StringIO(text, newline=""))
    if cut:
        lines.pop()  # it may be incomplete
    start = part.start_line or 1
    chosen = lines[start - 1 : part.end_line]
    if sum([len(line.encode("utf-8", "surrogatepass")) for line in chosen]) > REFERENCE_LIMIT:
        problem = f"{part.uri} is longer than {REFERENCE_LIMIT // 1024} KiB; refer to a range of its lines"
        raise invalid_params([{"path": f"{path}.uri", "problem": problem}])
    if cut and (part.end_line is None or part.end_line > len(lines)):
        problem = f"only the first {READ_LIMIT >> 20} MiB of {part.uri} can be referred to"
        raise invalid_params(
            [{"path": f"{path}.{'endLine' if part.end_line else 'uri'}", "problem": problem}]
        )
    if start > max(min(part.end_line or len(lines), len(lines)), 1):
        problem = f"{part.uri} has {len(lines)} lines, not {start} to {part.end_line or 'the end'}"
        raise invalid_params([{"path": f"{path}.startLine", "problem": problem}])
    return chosen


def _read(uri: str, path: str) -> tuple[str, bool]:
    """Return the text of a file, and whether it was truncated."""

    def refuse(problem: str) -> Exception:
        return invalid_params([{"path": f"{path}.uri", "problem": f"{uri} {problem}"}])

    file = _local_path(uri)
    if file is None:
        raise refuse("is not a file:// URI of a file on this machine")
    try:
        data = _regular_file(file)
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}") from None
    if data is None:
        raise refuse("is not a regular file")
    cut = len(data) > READ_LIMIT
    try:
        return getincrementaldecoder("utf-8")().decode(data[:READ_LIMIT], final=not cut), cut
    except UnicodeDecodeError:
        raise refuse("is not a text file in UTF-8") from None


def _local_path(uri: str) -> str | None:
    try:
        split = urlsplit(uri)
    except ValueError:
        return None
    file = unquote(split.path)
    return file if split.scheme == "file" and split.netloc in ("", "localhost") and "\0" not in file else None


def _regular_file(file: str) -> bytes | None:
    """Return at most READ_LIMIT + 1 bytes of a file, None if it is no regular file.

    Others are not opened: that, or reading them, can block for ever or have side effects.
    """
    if not stat.S_ISREG(os.stat(file).st_mode):
        return None
    with open(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):  # it was replaced since the check above
            return None
        return stream.read(READ_LIMIT + 1)
