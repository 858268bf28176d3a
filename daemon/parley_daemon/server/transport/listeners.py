"""Listening sockets, and the files of Unix sockets. A socket file that is in use is never replaced.

Imports only the standard library, because an editor waits for it.
"""

import errno
import os
import socket
import stat
import sys

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
        _bind(listener, path)
        listener.listen(1024)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _bind(listener: socket.socket, path: str) -> None:
    """Bind a Unix socket to a file of mode 0600 that is never accessible by others, whatever the umask is."""
    if sys.platform == "linux":
        os.fchmod(listener.fileno(), 0o600)  # the file gets this mode, less the umask
        listener.bind(path)
        os.chmod(path, 0o600)
        return
    before = os.umask(0o177)  # of the whole process: other threads may create files meanwhile
    try:
        listener.bind(path)
    finally:
        os.umask(before)


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
    if is_listening(path):
        raise OSError(errno.EADDRINUSE, "another process listens there", path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def is_listening(path: str) -> bool:
    """Return whether a process listens on the socket at `path`. May take a second.

    Raises:
        OSError: the path cannot be reached, or is not a socket.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except TimeoutError:  # its queue is full: a process listens, but slowly
            return True
    return True


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
