"""Files and directories that only their owner can read, whatever the umask is.

The mode that is given to the system when a file is created is reduced by the umask, and an existing file
keeps the mode that it has. So the mode is always set afterwards, too.
"""

import errno
import os
from pathlib import Path


def make_private_directory(path: Path) -> None:
    """Create the directory with its parents, unless it exists. An existing one keeps its mode.

    Raises:
        OSError: it cannot be created, or is not a directory.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_private_directory(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
    else:
        path.chmod(0o700)


def open_private_file(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file, which is created when it does not exist, and set its mode to 0600. Return the descriptor.

    Raises:
        OSError: it cannot be opened, or its mode cannot be set because it belongs to another user.
    """
    descriptor = os.open(path, flags | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o777 != 0o600:
            os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
