"""The files that a command names: an approval of the command holds for their content, too."""

import hashlib
import os
import shlex
import stat
from collections.abc import Iterator
from itertools import islice, pairwise, product

MAX_HASHED = 20
MAX_BYTES = 4 * 1024 * 1024
MAX_FOLDERS = 40
MAX_LOOKED_UP = 2_000
"""Paths that are looked for: a model could name any number of words and folders."""


def hash_named_files(command: str, cwd: str) -> tuple[tuple[str, str], ...]:
    """Return path and state of each ordinary file that a word of the command names, such as a script.

    The state is the hash of the content. Of large files, and of those beyond MAX_HASHED, it is what changes
    when they are written. Folders that the command changes to are considered, and words inside of quotes.
    """
    words = list(_words(command))
    folders = dict.fromkeys([cwd])
    at = cwd
    for word, target in pairwise(words):
        if word in ("cd", "pushd") and len(folders) < MAX_FOLDERS:
            at = os.path.join(at, target)
            folders |= dict.fromkeys([os.path.join(cwd, target), at])
    found: dict[str, str] = {}
    named = dict.fromkeys(words)
    for folder, word in islice(product(folders, named), MAX_LOOKED_UP):
        path = os.path.join(folder, word)
        state = _look(path, is_hashed=len(found) < MAX_HASHED)
        if state is not None:  # a name need not be UTF-8
            found[os.fsencode(os.path.realpath(path)).decode("utf-8", "backslashreplace")] = state
    return tuple(sorted(found.items()))


def _words(command: str) -> Iterator[str]:
    """Yield the words of a command, the values of options, and the words in what is quoted."""
    for word in _split(command):
        yield word
        if "=" in word:
            yield word.partition("=")[2]
        if any(sign in word for sign in " \t\n;"):
            yield from _split(word)


def _split(text: str) -> list[str]:
    try:
        reader = shlex.shlex(text, posix=True, punctuation_chars=True)
        reader.whitespace_split = True
        return list(reader)
    except ValueError:  # an open quote: the shell will refuse it, too
        return text.split()


def _look(path: str, *, is_hashed: bool) -> str | None:
    """Return the state of an ordinary file; None: there is none. To open a device can do something."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return None
        if not is_hashed or found.st_size > MAX_BYTES:
            return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return hashlib.sha256(file.read(MAX_BYTES + 1)).hexdigest()
    except (OSError, ValueError):
        return None
