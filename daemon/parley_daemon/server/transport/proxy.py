"""Connects a parent process to a running daemon by copying bytes both ways.

Imports only the standard library, because an editor waits for it.
"""

import os
import socket
import threading

_CHUNK = 65536


def connect_to_daemon(path: str) -> socket.socket | None:
    """Return a connection to the daemon's socket, None if no daemon listens there."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        peer.connect(path)
    except (OSError, ValueError):  # ValueError: no path at all
        peer.close()
        return None
    return peer


def copy_streams(peer: socket.socket, input_fd: int, output_fd: int) -> int:
    """Copy both ways until the daemon closes the connection; return the exit code.

    The end of the input shuts down the sending side: the daemon then finishes what it can and closes.
    """
    threading.Thread(target=_copy_input, args=(peer, input_fd), name="stdin", daemon=True).start()
    try:
        while data := peer.recv(_CHUNK):
            view = memoryview(data)
            while view:
                view = view[os.write(output_fd, view) :]
    except OSError:
        return 1
    return 0


def _copy_input(peer: socket.socket, input_fd: int) -> None:
    try:
        while data := os.read(input_fd, _CHUNK):
            peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the daemon is gone: the other direction ends the process
