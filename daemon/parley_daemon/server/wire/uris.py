"""URIs of files and documents: which of them name the same one.

Theory of operation. Clients spell URIs differently: `(` or `%28`, `%5B` or `%5b`, `~` or `%7E`, `c%3A`, `c:`
or `C:`, `file:/a`, `file:///a` or `file://localhost/a`. RFC 3986 (section 6.2.2) makes these equivalent. So
URIs are compared by their decoded form, and are kept and sent as the client wrote them.
"""

import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote, urlsplit

from parley_daemon.server.wire.errors import invalid_params

_DRIVE = re.compile(r"/([A-Za-z]):(?=/|$)")
_LOCAL = ("", "localhost")


def document_key(uri: str) -> str:
    """Return a text that is the same for all spellings of a URI, and differs for different documents."""
    try:
        split = urlsplit(uri)
    except ValueError:
        return uri
    if split.scheme != "file":
        scheme, colon, rest = uri.partition(":")
        return scheme.lower() + colon + _decode(rest)
    path = posixpath.normpath(_decode(split.path)) if split.path else "/"
    path = _DRIVE.sub(lambda drive: drive[0].lower(), path, count=1) if _DRIVE.match(path) else path
    host = split.netloc.lower()
    return f"file://{'' if host in _LOCAL else host}{path}"


def distinct_uris(uris: Iterable[str]) -> tuple[str, ...]:
    """Return URIs without those that are another spelling of an earlier one."""
    by_key: dict[str, str] = {}
    for uri in uris:
        by_key.setdefault(document_key(uri), uri)
    return tuple(by_key.values())


def local_path(uri: str) -> str | None:
    """Return the path of a `file:` URI on this machine, None for any other URI."""
    try:
        split = urlsplit(uri)
    except ValueError:
        return None
    path = _decode(split.path)
    if split.scheme != "file" or split.netloc.lower() not in _LOCAL or "\0" in path:
        return None
    # On Windows the path of a URI is "/c:/…". Not tried on Windows.
    return path[1:] if os.name == "nt" and _DRIVE.match(path) else path


def local_paths(uris: Sequence[str], field: str) -> tuple[str, ...]:
    """Return the absolute paths of URIs of files on this machine, without a slash at the end.

    Raises:
        WireError: one of them is no such URI; `field` names the list.
    """
    paths: list[str] = []
    for number, uri in enumerate(uris):
        path = local_path(uri)
        if path is None or not path.startswith("/"):
            problem = "It is no file:// URI of a file on this machine."
            raise invalid_params([{"path": f"{field}[{number}]", "problem": problem}])
        paths.append(path.rstrip("/") or "/")
    return tuple(paths)


def file_uri(path: str) -> str:
    """Return the URI of an absolute path on this machine."""
    return f"file://{quote(os.fsencode(path))}"


def file_name(uri: str) -> str:
    """Return the last part of the path, to show to a person."""
    return unquote(uri.rstrip("/").rpartition("/")[2])


def _decode(text: str) -> str:
    """Decode percent-encoding. Bytes that are not UTF-8 stay different from each other, as in paths."""
    return unquote(text, errors="surrogateescape")
