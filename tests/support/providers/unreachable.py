"""A server at which nobody answers, not even the operating system."""

import socket
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def deaf_server() -> Generator[int]:
    """Open a port where connections are neither accepted nor refused: no more of them fit into its queue."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for one in waiting:
                one.close()
