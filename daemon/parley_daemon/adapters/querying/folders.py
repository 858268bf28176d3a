"""Folders of chats: one key for every spelling of the URI of a folder, and what is below it.

Clients write the same folder in several ways: with a slash at its end or without, with escapes or without,
with the drive letter of Windows in either case, with the host `localhost` or none. Chats are found by the
key, so the spelling does not matter. The URI in the chat's context stays as the client wrote it.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

_DRIVE = re.compile(r"[A-Za-z]:(?=/|$)")


def folder_key(uri: str) -> str:
    """Return the key of the folder of a URI. It has no slash at its end."""
    scheme, _, rest = uri.partition(":")
    scheme = scheme.lower()
    if not rest.startswith("/"):
        return f"{scheme}:{unquote(rest).rstrip('/')}"
    host, path = "", rest
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        host, path = host.lower(), slash + path
    if scheme == "file" and host == "localhost":
        host = ""
    path = unquote(path).rstrip("/")
    if scheme == "file" and _DRIVE.match(path, 1):
        path = path[:1] + path[1].lower() + path[2:]
    return f"{scheme}://{host}{path}"


def folder_keys(uris: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of folders, each once."""
    return tuple(dict.fromkeys(map(folder_key, uris)))


def range_below(key: str) -> tuple[str, str]:
    """Return the bounds of the keys of all folders below a folder: from the first up to before the second."""
    return f"{key}/", f"{key}0"  # "0" is the character after "/"


def is_within(key: str, folder: str) -> bool:
    """Return whether a key is that of a folder, or of one below it."""
    return key == folder or key.startswith(f"{folder}/")
