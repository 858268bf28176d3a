"""A parent process joined to a running daemon: bytes from here to there and back, nothing looked at.

Imports the standard library only: an editor waits for this.
"""

import os
import socket
import threading

_CHUNK = 65536


def dial(path: str) -> socket.socket | None:
    """Return a connection to the daemon's socket, None when nobody answers there."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        peer.connect(path)
    except OSError:
        peer.close()
        return None
    return peer


def forward(peer: socket.socket, input_fd: int, output_fd: int) -> int:
    """Pump both ways until the daemon closes the connection; return the exit code.

    The end of our input is told to the daemon, which then answers what is under way and closes.
    """
    threading.Thread(target=_send, args=(peer, input_fd), name="stdin", daemon=True).start()
    try:
        while data := peer.recv(_CHUNK):
            view = memoryview(data)
            while view:
                view = view[os.write(output_fd, view) :]
    except OSError:
        return 1
    return 0


def _send(peer: socket.socket, input_fd: int) -> None:
    try:
        while data := os.read(input_fd, _CHUNK):
            peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the daemon is gone: the other direction ends the process
