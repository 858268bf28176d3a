"""The worker: reads requests from standard input, a socket, and answers them one after the other.

It ends when the daemon closes its end of the socket, and when nothing was asked for some time. Everything
that it writes is in transactions, so it may also be killed.
"""

import os
import select
import socket
import sys
from time import monotonic

import msgspec

from parley_daemon.adapters.context import frames
from parley_daemon.adapters.context.worker.files import remove_old
from parley_daemon.adapters.context.worker.indexer import Indexer
from parley_daemon.adapters.context.worker.scopes import Filter, allows_file
from parley_daemon.adapters.context.worker.searching import Searcher
from parley_daemon.adapters.context.worker.sources.reading import read_file
from parley_daemon.adapters.context.worker.verifying import find_again
from parley_daemon.adapters.supervision.landlock import call
from parley_daemon.ports.context import ContextError, Passage, RootStatus, hash_text

_CHUNK = 1 << 16
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_LOWEST = (2 << 13) + 7  # of the class "best effort": an idle one may wait for minutes


class Worker:
    """Answers requests."""

    def __init__(self, folder: str, left_out: tuple[str, ...]) -> None:
        self._indexer = Indexer(folder, os.environ, left_out)
        self._searcher = Searcher(self._indexer, left_out)
        self._indexer.start()

    def answer(self, request: frames.ToWorker) -> frames.ToDaemon | None:
        """Return the answer to a request, None if it has none."""
        is_first = False
        if isinstance(request, frames.Changed):
            self._indexer.notice(request.path)
            return None
        try:
            match request:
                case frames.Search():
                    value, is_first = self._searcher.search(request)
                case frames.FindNames():
                    value, is_first = self._searcher.find_names(request)
                case frames.Verify():
                    value = verify(request)
                case frames.Status():
                    value = [self._status(root) for root in request.roots]
        except ContextError as error:
            return frames.Failed(request.id, str(error))
        return frames.Done(request.id, msgspec.Raw(msgspec.json.encode(value)), is_first)

    def _status(self, shown: str) -> RootStatus | None:
        """Return what is known of a folder, None if this process has not used it."""
        root = self._indexer.find(os.path.realpath(shown))
        return None if root is None else root.status(shown)


def verify(request: frames.Verify) -> Passage | None:
    """See ContextIndex.verify."""
    passage, scope = request.passage, request.scope
    real = os.path.realpath(passage.path)
    if passage.root == "":
        if passage.path not in scope.files or not allows_file(scope, passage.path, real):
            return None
        top = os.path.dirname(real)
    elif passage.root in (one.rstrip("/") for one in scope.roots):
        top = os.path.realpath(passage.root)
        inner = passage.path[len(passage.root) + 1 :]
        if not passage.path.startswith(f"{passage.root}/") or not Filter(scope, passage.root, top).allows(
            inner
        ):
            return None
        real = f"{top}/{inner}"
    else:
        return None
    for document in request.documents:
        if document.path == real:
            text, content_hash = document.text, hash_text(document.text)
            break
    else:
        file = read_file(top, real[len(top) + 1 :])
        if file is None or file.reason not in (None, "generated"):
            return None
        text, content_hash = file.text, file.hash
    return passage if content_hash == passage.content_hash else find_again(passage, text, content_hash)


def main() -> None:
    """Serve the daemon. Arguments: the folder of the indexes, seconds until the end, folders to leave out."""
    folder, seconds, *left_out = sys.argv[1:]
    os.nice(5)
    if (number := _IOPRIO_SET.get(os.uname().machine)) is not None and sys.platform == "linux":
        call("syscall", number, 1, 0, _LOWEST)
    sys.setswitchinterval(0.001)
    os.umask(0o077)
    remove_old(folder)
    with socket.socket(fileno=0) as channel:
        channel.setblocking(True)
        serve(channel, Worker(folder, tuple(left_out)), float(seconds))
    os._exit(0)


def serve(channel: socket.socket, worker: Worker, idle_seconds: float) -> None:
    """Answer requests until the other side is gone, or has asked nothing for some time."""
    reader = frames.FrameReader()
    last = monotonic()
    while True:
        ready, _, _ = select.select([channel], [], [], max(0.0, last + idle_seconds - monotonic()))
        if not ready:
            return
        try:
            data = channel.recv(_CHUNK)
            if not data:
                return
            for body in reader.feed(data):
                answer = worker.answer(frames.decode_for_worker(body))
                if answer is not None:
                    channel.sendall(frames.encode(answer))
        except OSError:
            return
        last = monotonic()


if __name__ == "__main__":
    main()
