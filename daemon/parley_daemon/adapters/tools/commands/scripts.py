"""The files that a command names: an approval of the command holds for their content, too."""

import hashlib
import os
import shlex
import stat
from itertools import pairwise

MAX_FILES = 20
MAX_BYTES = 4 * 1024 * 1024


def hash_named_files(command: str, cwd: str) -> tuple[tuple[str, str], ...]:
    """Return path and hash of each ordinary file that a word of the command names, such as a script.

    Folders that the command changes to are considered. Larger files and those beyond the limit are left out.
    """
    try:
        reader = shlex.shlex(command, posix=True, punctuation_chars=True)
        reader.whitespace_split = True
        words = list(reader)
    except ValueError:  # an open quote: the shell will refuse it, too
        words = command.split()
    folders = [cwd] + [
        os.path.join(cwd, target) for word, target in pairwise(words) if word in ("cd", "pushd")
    ]
    found: dict[str, str] = {}
    for word in words:
        for folder in folders:
            path = os.path.realpath(os.path.join(folder, word))
            if path not in found and len(found) < MAX_FILES and (digest := _hash(path)) is not None:
                found[path] = digest
    return tuple(sorted(found.items()))


def _hash(path: str) -> str | None:
    """Return the SHA-256 of an ordinary file that is not too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
