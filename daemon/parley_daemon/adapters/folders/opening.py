"""Opens folders without ever following a link: any folder on the way may be replaced by one meanwhile."""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags of `os.open` for a folder that is no link."""


@contextmanager
def opened_folder(root: str, names: Sequence[str]) -> Generator[int]:
    """Yield a descriptor of a folder below a root.

    Raises:
        OSError: it does not exist, or a name on the way is no folder, such as a link.
    """
    folder = os.open(root, FOLDER_FLAGS)
    try:
        for name in names:
            inner = os.open(name, FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)
