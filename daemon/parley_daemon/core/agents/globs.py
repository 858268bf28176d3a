"""The patterns of rules: globs of names, of paths, and of hosts.

`*` stands for any characters, `?` for one; all others stand for themselves. In a path they do not cross a
slash, and `**` stands for any number of folders. A pattern of a path matches what it names and everything
below that:

- `/srv/data` is an absolute path, `src/gen` a path below a root of the chat,
- `*.pem`, without a slash, is a name at any depth.

The matcher never goes back further than to the last star, so its time is bounded by the product of the
lengths: a pattern of a foreign repository cannot hold up the daemon, as a regular expression could. Patterns
with `?` are compared sign by sign, so a file can have only some of them.
"""

from collections.abc import Iterable
from functools import lru_cache

import msgspec

_PERCENT = 0x25
_UNESCAPED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~/")
_HEX = b"0123456789abcdefABCDEF"


def has_wildcard(pattern: str) -> bool:
    """Return whether a pattern has a character that does not stand for itself."""
    return "*" in pattern or "?" in pattern


def fold(text: str) -> str:
    """Return a text in which neither case counts nor how a character with marks is composed.

    Some systems take all these spellings for one name: macOS, and file systems that ignore the case.
    """
    folded = text.casefold()
    if folded.isascii():
        return folded
    import unicodedata  # few names need it

    return unicodedata.normalize("NFD", folded)


def matches_name(pattern: str, name: str) -> bool:
    """Return whether a name matches a glob as a whole."""
    if pattern == "*" or pattern == name:
        return True
    if not has_wildcard(pattern):
        return False
    return _matches_signs(pattern, name) if "?" in pattern else _matches_pieces(pattern.split("*"), name)


def _matches_pieces(pieces: list[str], name: str) -> bool:
    """Return whether a name consists of these pieces, with anything between them."""
    first, *middle, last = pieces
    end = len(name) - len(last)
    if not name.startswith(first) or not name.endswith(last) or len(first) > end:
        return False
    at = len(first)
    for piece in middle:
        at = name.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _matches_signs(pattern: str, name: str) -> bool:
    at = place = 0
    star, resume = -1, 0
    while at < len(name):
        if place < len(pattern) and pattern[place] == "*":
            star, resume = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", name[at]):
            place += 1
            at += 1
        elif star >= 0:
            resume += 1
            place, at = star + 1, resume
        else:
            return False
    return pattern[place:].strip("*") == ""


class PathPattern(msgspec.Struct, frozen=True, gc=False):
    """A parsed pattern. `is_name`: it is a single name, which counts at any depth.

    Attributes:
        first: the first name if it has no wildcard.
        pieces: in small letters, the texts that each path has which the pattern matches.
        signs: its length if it has a "?" and is compared sign by sign, otherwise 0.
    """

    steps: tuple[str, ...]
    is_absolute: bool
    is_name: bool
    first: str | None
    pieces: tuple[str, ...]
    signs: int


@lru_cache(16_384)
def parse_path(pattern: str) -> PathPattern:
    """Return a pattern in the form in which it is matched."""
    steps = tuple([step for step in pattern.split("/") if step not in ("", ".")])
    is_name = "/" not in pattern.rstrip("/") and len(steps) == 1 and steps != ("**",)
    first = steps[0] if steps and not has_wildcard(steps[0]) else None
    pieces = dict.fromkeys([one for step in steps for one in fold(step).replace("?", "*").split("*")])
    signs = len(pattern) if "?" in pattern else 0
    return PathPattern(steps, pattern.startswith("/"), is_name, first, tuple(filter(None, pieces)), signs)


def find_problem(pattern: str) -> str | None:
    """Return what is wrong with a pattern of a path, as the end of a sentence that begins with it."""
    if not pattern.strip():
        return "is empty"
    if "\0" in pattern:
        return "contains a NUL character"
    if pattern.startswith("~") and not pattern.startswith("~/"):
        return "begins with ~; write the path of the home folder, or ~/ for your own"
    if ".." in pattern.split("/"):
        return 'contains ".."; write the folder that is meant'
    return None


def matches_below(pattern: PathPattern, names: tuple[str, ...], start: int) -> bool:
    """Return whether a path matches. `names` are its names, and the pattern begins at the one at `start`."""
    wanted = pattern.steps
    if pattern.is_name:
        return any(matches_name(wanted[0], name) for name in names[start:])
    if pattern.first is not None and (start >= len(names) or names[start] != pattern.first):
        return False
    at, place = start, 0
    star, resume = -1, 0
    while place < len(wanted):
        if wanted[place] == "**":
            star, resume = place, at
            place += 1
        elif at < len(names) and matches_name(wanted[place], names[at]):
            place += 1
            at += 1
        elif star >= 0 and resume < len(names):
            resume += 1
            place, at = star + 1, resume
        else:
            return False
    return True


def matches_any(globs: Iterable[str], path: str) -> bool:
    """Return whether an absolute path, or a folder above it, is named by one of these absolute globs.

    The globs are in small letters; case does not count.
    """
    names = split_path(fold(path))
    return any(matches_below(parse_path(glob), names, 0) for glob in globs)


def split_path(path: str) -> tuple[str, ...]:
    """Return the names of an absolute path."""
    return tuple([step for step in path.split("/") if step])


def normalize(path: str) -> str:
    """Return an absolute path without `.`, `..` and double slashes. Links are not considered."""
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            del steps[-1:]
        elif step not in ("", "."):
            steps.append(step)
    return "/" + "/".join(steps)


def is_below(path: str, folder: str) -> bool:
    """Return whether an absolute path is a folder, or lies below it."""
    return path == folder or path.startswith(folder if folder.endswith("/") else f"{folder}/")


@lru_cache(256)
def path_of_uri(uri: str) -> str | None:
    """Return the absolute path of a `file:` URI of this machine, None for any other URI."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "file" or not rest.startswith("/"):
        return None
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host.lower() not in ("", "localhost") or not slash:
            return None
        rest = f"/{rest}"
    raw, pieces = rest.encode("utf-8", "surrogatepass"), bytearray()
    at = 0
    while at < len(raw):
        digits = raw[at + 1 : at + 3]
        if raw[at] == _PERCENT and len(digits) == 2 and all(digit in _HEX for digit in digits):
            pieces.append(int(digits, 16))
            at += 3
        else:  # a percent sign that begins no escape stands for itself
            pieces.append(raw[at])
            at += 1
    path = pieces.decode("utf-8", "surrogateescape")
    return None if "\0" in path else normalize(path)


def uri_of_path(path: str) -> str:
    """Return the `file:` URI of an absolute path."""
    raw = path.encode("utf-8", "surrogateescape")
    return "file://" + "".join([chr(byte) if byte in _UNESCAPED else f"%{byte:02X}" for byte in raw])


def matches_host(pattern: str, host: str, *, strictly: bool) -> bool:
    """Return whether a host matches a glob. Neither case nor a dot at the end counts.

    A host may have a port. A pattern without one means the standard port; if not `strictly`, any port.
    """
    pattern, host = pattern.lower().rstrip("."), host.lower()
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name, port = host, ""
    name = name.rstrip(".")
    if matches_name(pattern, f"{name}:{port}" if port else name):
        return True
    return not strictly and matches_name(pattern, name)
