"""Turns the content of a client's message into parts to store, and reads the files that it refers to.

A file that the client has open is read as the client has it, with unsaved changes; others are read from disk.
"""

import io
import os
import stat
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Sequence
from typing import NamedTuple, Protocol

import anyio
from anyio import to_thread

from parley_daemon.core.parts import File, Part, Source, Text
from parley_daemon.server.wire.errors import invalid_params
from parley_daemon.server.wire.uris import file_name, local_path
from parley_protocol.models.parts import FilePart, InputPart, PromptPart, ReferencePart, TextPart

REFERENCE_LIMIT = 256 * 1024
"""Bytes of text, in UTF-8, that one reference may add to a message."""

READ_LIMIT = 16 * REFERENCE_LIMIT
"""Bytes at the beginning of a file in which a range of lines can lie."""

MAX_REFERENCES = 64
"""References in one message."""

_readers = anyio.CapacityLimiter(8)


class LinesRead(Protocol):
    """Lines of a text. `text` is None if they are too long. `problem`: why nothing can be read, else None."""

    @property
    def text(self) -> str | None: ...
    @property
    def line_count(self) -> int:
        """The number of lines of the whole text."""
        ...

    @property
    def problem(self) -> str | None: ...


class OpenDocuments(Protocol):
    """The documents that a client has open."""

    def read_lines(
        self, uri: str, first: int, last: int | None, max_length: int
    ) -> Awaitable[LinesRead | None]:
        """Return lines of a document as the client has it, None if it is not open.

        `first` and `last` count from 1; `last` None: up to the end. `max_length` is in characters.
        """
        ...


class ServerContent(Protocol):
    """What MCP servers have for a message.

    Raises:
        WireError: -32602, it cannot be had.
    """

    def resource(self, part: ReferencePart, path: str) -> Awaitable[Sequence[Part]]:
        """Return the parts of a resource."""
        ...

    def prompt(self, part: PromptPart, path: str) -> Awaitable[Sequence[Part]]:
        """Return the parts of a prompt."""
        ...


class _LinesOfFile(NamedTuple):
    """Lines of a file. `is_cut`: the file goes on behind the `line_count` lines that were read."""

    text: str | None
    line_count: int
    problem: str | None = None
    is_cut: bool = False


async def input_parts(
    documents: OpenDocuments, content: str | list[InputPart], servers: ServerContent
) -> tuple[Part, ...]:
    """Return the content of a message as parts. A reference becomes a `Source` with the current text.

    `servers`: what MCP servers have for it.

    Raises:
        WireError: -32602, a reference cannot be read or is too long.
    """
    if isinstance(content, str):
        return (Text(content),)
    references = [at for at, part in enumerate(content) if isinstance(part, ReferencePart | PromptPart)]
    if len(references) > MAX_REFERENCES:
        problem = f"is one of {len(references)} references; a message may have {MAX_REFERENCES}"
        raise invalid_params([{"path": f"content[{references[MAX_REFERENCES]}]", "problem": problem}])
    parts: list[Part] = []
    for at, part in enumerate(content):
        parts += await _parts(documents, part, f"content[{at}]", servers)
    return tuple(parts)


async def _parts(
    documents: OpenDocuments, part: InputPart, path: str, servers: ServerContent
) -> Sequence[Part]:
    match part:
        case TextPart():
            return (Text(part.text),)
        case FilePart():
            return (File(part.media_type, part.data, part.url, part.title),)
        case PromptPart():
            return await servers.prompt(part, path)
        case ReferencePart() if part.uri.startswith("@"):
            return await servers.resource(part, path)
        case ReferencePart():
            return (await _source(documents, part, path),)


async def _source(documents: OpenDocuments, part: ReferencePart, path: str) -> Source:
    uri, start, end = part.uri, part.start_line or 1, part.end_line
    read = await documents.read_lines(uri, start, end, REFERENCE_LIMIT)
    if read is None:
        # Read in a small thread pool of its own, so that a file system that hangs delays references only.
        read = await to_thread.run_sync(_read_file, uri, start, end, abandon_on_cancel=True, limiter=_readers)
    text = _checked(read, part, path)
    name = file_name(uri)
    if part.start_line is None and part.end_line is None:
        return Source(uri, uri, name, text, origin="reference")
    last = min(end or read.line_count, read.line_count)
    return Source(uri, uri, name, text, start, max(start, last), origin="reference")


def _checked(read: LinesRead, part: ReferencePart, path: str) -> str:
    """Return the text that was read.

    Raises:
        WireError: -32602, it cannot be used.
    """

    def refuse(field: str, problem: str) -> Exception:
        return invalid_params([{"path": f"{path}.{field}", "problem": f"{problem}"}])

    uri, count, end = part.uri, read.line_count, part.end_line
    if read.problem is not None:
        raise refuse("uri", f"{uri} {read.problem}")
    if read.text is None or len(read.text.encode("utf-8", "surrogatepass")) > REFERENCE_LIMIT:
        limit = REFERENCE_LIMIT // 1024
        raise refuse("uri", f"{uri} is longer than {limit} KiB; refer to a range of its lines")
    if isinstance(read, _LinesOfFile) and read.is_cut and (end is None or end > count):
        problem = f"only the first {READ_LIMIT >> 20} MiB of {uri} can be referred to"
        raise refuse("endLine" if end else "uri", problem)
    start = part.start_line or 1
    if start > max(min(end or count, count), 1):
        raise refuse("startLine", f"{uri} has {count} lines, not {start} to {end or 'the end'}")
    return read.text


def _read_file(uri: str, first: int, last: int | None) -> _LinesOfFile:
    """Return lines of a file on this machine, with their line ends."""
    try:
        text, is_cut = _read_text(uri)
    except _UnusableFileError as error:
        return _LinesOfFile(None, 0, problem=str(error))
    # Lines end as in LSP: at \n, \r\n or \r, and not at all line ends of Unicode.
    lines = list(io.StringIO(text, newline=""))
    if is_cut:
        lines.pop()  # it may be incomplete
    return _LinesOfFile("".join(lines[first - 1 : last]), len(lines), is_cut=is_cut)


class _UnusableFileError(Exception):
    """A file cannot be referred to, for the reason in the message, which follows its name."""


def _read_text(uri: str) -> tuple[str, bool]:
    """Return the text of a file, and whether it was truncated. A byte order mark is not part of the text."""
    file = local_path(uri)
    if file is None:
        raise _UnusableFileError("is not a file:// URI of a file on this machine")
    try:
        data = _regular_file(file)
    except OSError as error:
        raise _UnusableFileError(f"cannot be read: {error.strerror}") from None
    if data is None:
        raise _UnusableFileError("is not a regular file")
    is_cut = len(data) > READ_LIMIT
    try:
        return getincrementaldecoder("utf-8-sig")().decode(data[:READ_LIMIT], final=not is_cut), is_cut
    except UnicodeDecodeError:
        raise _UnusableFileError("is not a text file in UTF-8") from None


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
