"""What a client sends in a message, its references to files read: unsaved buffers first, then the disk."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from anyio import to_thread

from parley_daemon.core.parts import File, Part, Source, Text
from parley_daemon.server.connection import Connection
from parley_daemon.server.errors import invalid_params
from parley_protocol.parts import FilePart, InputPart, ReferencePart, TextPart

REFERENCE_LIMIT = 256 * 1024
"""Bytes of one reference that go into a message."""


async def input_parts(connection: Connection, content: str | list[InputPart]) -> tuple[Part, ...]:
    """Return what a client sent as parts to store; a reference becomes a source with the text as it is now.

    Raises:
        WireError: -32602, a reference cannot be read, or is too long.
    """
    if isinstance(content, str):
        return (Text(content),)
    return tuple([await _part(connection, part, f"content[{at}]") for at, part in enumerate(content)])


async def _part(connection: Connection, part: InputPart, path: str) -> Part:
    match part:
        case TextPart():
            return Text(part.text)
        case FilePart():
            return File(part.media_type, part.data, part.url, part.title)
        case ReferencePart():
            return await _source(connection, part, path)


async def _source(connection: Connection, part: ReferencePart, path: str) -> Source:
    text = await connection.open_text(part.uri)
    if text is None:
        text = await to_thread.run_sync(_read, part.uri, path)
    lines = text.splitlines(keepends=True)
    start = part.start_line or 1
    end = min(part.end_line or len(lines), len(lines))
    if start > max(end, 1):
        problem = f"{part.uri} has {len(lines)} lines; lines {start} to {part.end_line or 'the end'} are none"
        raise invalid_params([{"path": f"{path}.startLine", "problem": problem}])
    chosen = "".join(lines[start - 1 : end])
    if len(chosen) > REFERENCE_LIMIT:
        problem = f"{part.uri} is longer than {REFERENCE_LIMIT // 1024} KiB; refer to a range of its lines"
        raise invalid_params([{"path": f"{path}.uri", "problem": problem}])
    name = unquote(part.uri.rstrip("/").rpartition("/")[2])
    whole = part.start_line is None and part.end_line is None
    return Source(part.uri, part.uri, name, chosen, None if whole else start, None if whole else end)


def _read(uri: str, path: str) -> str:
    def refuse(problem: str) -> Exception:
        return invalid_params([{"path": f"{path}.uri", "problem": problem}])

    split = urlsplit(uri)
    if split.scheme != "file" or split.netloc not in ("", "localhost"):
        raise refuse(f"{uri} is not a file:// URI of this machine")
    file = Path(unquote(split.path))
    try:
        with file.open("rb") as stream:
            # More than the limit is read only so far that a range of lines can still be taken from it.
            data = stream.read(16 * REFERENCE_LIMIT)
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise refuse(f"{uri} is not a text file in UTF-8") from None
    except OSError as error:
        raise refuse(f"{uri} cannot be read: {error.strerror}") from None
