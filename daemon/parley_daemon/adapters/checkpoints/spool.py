"""Copies of files that a command may be about to change, shared by all chats.

Theory of operation. Nobody knows beforehand which files a command changes. So before it runs, the small files
below the roots are copied, those first that were changed last: what a person works on is seldom in git yet.
A copy is found again by the file's stamp, so that a tree is copied once and not for each command. When the
command has ended, the copies of the files that it changed become images of the chat; the others stay here
until newer ones need the room.

Bounds per command: FILE_BYTES a file, COMMAND_BYTES in all, COMMAND_SECONDS. What is not copied before a
command can be changed by it, but not restored; the next command copies more.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from time import monotonic

from parley_daemon.adapters.checkpoints.images import Images
from parley_daemon.adapters.checkpoints.paths import read_path
from parley_daemon.adapters.checkpoints.tree import Listing, Stamp

FILE_BYTES = 2**20
COMMAND_BYTES = 16 * 2**20
COMMAND_SECONDS = 1.0
SPOOL_BYTES = 48 * 2**20
"""Bytes of all copies."""

KNOWN_STAMPS = 20_000
"""Files whose copies are found by their stamps."""


class Spool:
    """The copies. May be used in several threads at once."""

    def __init__(self, folder: Path) -> None:
        self.images = Images(folder, SPOOL_BYTES)
        self.lock = Lock()
        self._known: OrderedDict[str, tuple[Stamp, str]] = OrderedDict()

    def copy(self, listing: Listing) -> dict[str, str]:
        """Copy files of a list. Return the digests of the copies by path, relative to the root."""
        small = [
            (stamp.mtime_ns, path)
            for path, stamp in listing.stamps.items()
            if stamp.kind in ("file", "link") and stamp.size <= FILE_BYTES
        ]
        small.sort(reverse=True)
        deadline, left = monotonic() + COMMAND_SECONDS, COMMAND_BYTES
        copies: dict[str, str] = {}
        for _, path in small:
            stamp = listing.stamps[path]
            left -= stamp.size
            if left < 0 or monotonic() > deadline:
                break
            digest = self._copy(listing.root, path, stamp)
            if digest is not None:
                copies[path] = digest
        return copies

    def _copy(self, root: str, path: str, stamp: Stamp) -> str | None:
        full = f"{root}/{path}"
        with self.lock:
            known = self._known.get(full)
            if known is not None and known[0] == stamp and self.images.has(known[1]):
                self._known.move_to_end(full)
                return known[1]
        try:
            state, data = read_path(root, full, FILE_BYTES)
        except OSError:
            return None
        if data is None or state.digest is None:
            return None
        with self.lock:
            try:
                if not self.images.put(data, state.digest, is_durable=False):
                    return None
            except OSError:  # the disk is full: the command runs, and its changes cannot be restored
                return None
            self._known[full] = stamp, state.digest
            self._known.move_to_end(full)
            if len(self._known) > KNOWN_STAMPS:
                self._known.popitem(last=False)
        return state.digest

    def read(self, digest: str) -> bytes | None:
        """Return a copy."""
        return self.images.read(digest)

    def give(self, images: Images, digests: Mapping[str, str]) -> dict[str, bool]:
        """Make copies images of a chat. Return by path whether that worked."""
        pinned = set(digests.values())
        with self.lock:
            return {path: images.link(self.images, digest, pinned=pinned) for path, digest in digests.items()}
