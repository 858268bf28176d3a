"""Listening sockets, and the files of Unix sockets. A socket file that is in use is never replaced.

Imports only the standard library, because an editor waits for it.
"""

import errno
import os
import socket
import stat
from collections.abc import Callable

_PROBE_SECONDS = 1.0


def open_unix_listener(path: str) -> socket.socket:
    """Return a listening Unix socket that only its owner may connect to.

    A socket file that no process listens on any more is replaced.

    Raises:
        OSError: the socket cannot be made, another process listens there, or the file is no socket.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_unused(path)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(1024)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_unused(path: str) -> None:
    """Remove a socket file that no process listens on.

    Raises:
        OSError: a process listens on it, or it is no socket.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "a file that is no socket is in the way", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            pass
        except TimeoutError:  # its queue is full: a process listens, but slowly
            raise _in_use_error(path) from None
        else:
            raise _in_use_error(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _in_use_error(path: str) -> OSError:
    return OSError(errno.EADDRINUSE, "another process listens there", path)


def socket_remover(path: str) -> Callable[[], None]:
    """Return a function that removes the socket file that is there now, but not one that has replaced it."""
    own = _identity(path)

    def remove() -> None:
        if own is not None and _identity(path) == own:
            os.unlink(path)

    return remove


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_tcp_listener(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
