"""Files as parts of a message: images and the like by their media type, text as text with its name.

A text file becomes a part of type `file`, which the daemon sends to every provider as text in a fence under
the name of the file. What a file is, is decided by its content first, by its name only if that tells nothing:
the ending `.ts` names both TypeScript and a kind of video.
"""

import base64
import mimetypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from parley_clients.cli.errors import UsageError, check_text
from parley_clients.results import Json

MAX_BYTES = 32 * 1024 * 1024
"""The most that the files of one message may have together. A request may have 64 MiB, in base64."""

STANDARD_INPUT = "-"

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_MEDIA = ("image/", "audio/", "video/")


def read_files(names: Sequence[str], read_input: Callable[[], bytes]) -> list[Json]:
    """Return files as parts of a message; `read_input` reads the one that is named "-".

    "@server:uri" is no file: it refers to a resource of an MCP server, which the daemon reads.

    Raises:
        UsageError: one of them cannot be read, is empty, too large, or of a kind that cannot be sent.
    """
    parts: list[Json] = []
    total = 0
    for name in names:
        if is_resource(name):
            parts.append({"type": "reference", "uri": name})
            continue
        data = read_input() if name == STANDARD_INPUT else _read_file(check_text(name, "A file name"))
        total += len(data)
        if total > MAX_BYTES:
            raise UsageError(f"{name} is too large: the files of a message may have {MAX_BYTES >> 20} MiB.")
        parts.append(file_part(name, data))
    return parts


def is_resource(name: str) -> bool:
    """Return whether a name refers to a resource of an MCP server ("@server:uri"), and to no file here."""
    server, colon, uri = name[1:].partition(":")
    return name.startswith("@") and bool(server and colon and uri) and not os.path.exists(name)


def file_part(name: str, data: bytes) -> Json:
    """Return a file as a part of a message.

    Raises:
        UsageError: it is empty, or neither text nor of a known kind.
    """
    shown = "Standard input" if name == STANDARD_INPUT else name
    title = None if name == STANDARD_INPUT else os.path.basename(name)
    if not data:
        raise UsageError(f"{shown} is empty.")
    media_type = media_type_of(data)
    if media_type is not None:
        return _part(data, media_type, title)
    text = decode_text(data)
    if text is not None:
        return _part(text.encode(), "text/plain", title)
    guessed = mimetypes.guess_type(name)[0] or ""
    if guessed.startswith(_MEDIA) or guessed == "application/pdf":
        return _part(data, guessed, title)
    raise UsageError(f"{shown} cannot be sent: it is neither UTF-8 text nor an image, audio, video or PDF.")


def media_type_of(data: bytes) -> str | None:
    """Return the media type that the first bytes tell, or None."""
    for beginning, media_type in _BEGINNINGS:
        if data.startswith(beginning):
            return media_type
    return _RIFF.get(data[8:12]) if data.startswith(b"RIFF") else None


def decode_text(data: bytes) -> str | None:
    """Return a text in UTF-8, or in UTF-16 with a byte order mark; None for anything else."""
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _read_file(name: str) -> bytes:
    try:
        with Path(name).expanduser().open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"Cannot read {name}: {reason}.") from None


def _part(data: bytes, media_type: str, title: str | None) -> Json:
    part: Json = {"type": "file", "mediaType": media_type, "data": base64.b64encode(data).decode()}
    return part if title is None else {**part, "title": title}
