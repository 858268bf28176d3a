"""What a client sends in a message, its references to files read: unsaved buffers first, then the disk."""

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
"""Bytes of one reference that go into a message."""

READ_LIMIT = 16 * REFERENCE_LIMIT
"""Bytes of a file that a range of lines can be taken from."""

_readers = anyio.CapacityLimiter(8)


class OpenDocuments(Protocol):
    """The documents that a client has open."""

    def open_text(self, uri: str) -> Awaitable[str | None]:
        """Return the text of an open document, None if it is not open."""
        ...


async def input_parts(documents: OpenDocuments, content: str | list[InputPart]) -> tuple[Part, ...]:
    """Return what a client sent as parts to store; a reference becomes a source with the text as it is now.

    Raises:
        WireError: -32602, a reference cannot be read, or is too long.
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
    # In a thread of a small pool of its own: a file system that hangs is in the way of references alone.
    chosen = await to_thread.run_sync(_chosen, part, unsaved, path, abandon_on_cancel=True, limiter=_readers)
    name = unquote(part.uri.rstrip("/").rpartition("/")[2])
    if part.start_line is None and part.end_line is None:
        return Source(part.uri, part.uri, name, "".join(chosen))
    start = part.start_line or 1
    return Source(part.uri, part.uri, name, "".join(chosen), start, start + max(len(chosen), 1) - 1)


def _chosen(part: ReferencePart, unsaved: str | None, path: str) -> list[str]:
    """Return the lines that are referred to."""
    text, cut = _read(part.uri, path) if unsaved is None else (unsaved, False)
    # Ends of lines are those of LSP, not all that Unicode knows.
    lines = list(io.StringIO(text, newline=""))
    if cut:
        lines.pop()  # half a line
    start = part.start_line or 1
    chosen = lines[start - 1 : part.end_line]
    if sum(map(len, chosen)) > REFERENCE_LIMIT:
        problem = f"{part.uri} is longer than {REFERENCE_LIMIT // 1024} KiB; refer to a range of its lines"
        raise invalid_params([{"path": f"{path}.uri", "problem": problem}])
    if cut and (part.end_line is None or part.end_line > len(lines)):
        problem = f"only the first {READ_LIMIT >> 20} MiB of {part.uri} can be referred to"
        raise invalid_params(
            [{"path": f"{path}.{'endLine' if part.end_line else 'uri'}", "problem": problem}]
        )
    if start > max(min(part.end_line or len(lines), len(lines)), 1):
        problem = f"{part.uri} has {len(lines)} lines; lines {start} to {part.end_line or 'the end'} are none"
        raise invalid_params([{"path": f"{path}.startLine", "problem": problem}])
    return chosen


def _read(uri: str, path: str) -> tuple[str, bool]:
    """Return a file's text, and whether it goes on behind that."""

    def refuse(problem: str) -> Exception:
        return invalid_params([{"path": f"{path}.uri", "problem": f"{uri} {problem}"}])

    file = _local_path(uri)
    if file is None:
        raise refuse("is not a file:// URI of this machine")
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
    """Return the beginning of a file, one byte more than the limit when there is more.

    None when it is no regular file: opening or reading one might take for ever, or do something by itself.
    """
    if not stat.S_ISREG(os.stat(file).st_mode):
        return None
    with open(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):  # it was replaced just now
            return None
        return stream.read(READ_LIMIT + 1)
