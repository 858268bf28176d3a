"""A folder of images: bytes under the name of their digest, each once, for their owner only.

The size of the folder has a bound. An image that would exceed it makes room: the images that were longest not
used by a checkpoint are removed, unless they are pinned. An image takes at least a block of the disk, so that
many tiny ones are bounded, too.
"""

import os
from collections.abc import Collection
from pathlib import Path

from parley_daemon.adapters.checkpoints.paths import digest_of

BLOCK = 4096

DURABLE_BYTES = 2**20
"""Size of an image up to which its way to the disk is waited for. It takes seconds for large ones."""


class Images:
    """The images in one folder, which is created when it is needed. Not to be used in two threads at once."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self._limit = limit
        self._size: int | None = None

    @property
    def size(self) -> int:
        """Bytes that the images take."""
        if self._size is None:
            self._size = sum([_space(entry.stat().st_size) for entry in self._entries()])
        return self._size

    def has(self, digest: str | None) -> bool:
        """Return whether an image is there."""
        return digest is not None and (self.folder / digest).exists()

    def put(self, data: bytes, digest: str, *, pinned: Collection[str] = (), is_durable: bool = True) -> bool:
        """Keep bytes. Return whether there is room for them.

        `is_durable`: they are on the disk when this returns, even if the machine stops.

        Raises:
            OSError: they cannot be written.
        """
        if self._touch(digest):
            return True
        if not self._make_room(_space(len(data)), pinned):
            return False
        make_private_folder(self.folder)
        new = self.folder / f"new-{os.getpid()}-{digest}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if is_durable and len(data) <= DURABLE_BYTES:
                    os.fsync(descriptor)
            new.rename(self.folder / digest)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        self._size = self.size + _space(len(data))
        return True

    def link(self, source: "Images", digest: str, *, pinned: Collection[str] = ()) -> bool:
        """Keep an image of another folder, too. Return whether it is there, and there is room for it."""
        if self._touch(digest):
            return True
        try:
            size = (source.folder / digest).stat().st_size
        except FileNotFoundError:
            return False
        if not self._make_room(_space(size), pinned):
            return False
        make_private_folder(self.folder)
        try:
            os.link(source.folder / digest, self.folder / digest)
        except OSError:  # the file system has no hard links
            data = source.read(digest)
            return data is not None and self.put(data, digest, pinned=pinned)
        os.utime(self.folder / digest)
        self._size = self.size + _space(size)
        return True

    def read(self, digest: str) -> bytes | None:
        """Return the bytes of an image. None: it is not there, or is damaged."""
        try:
            data = (self.folder / digest).read_bytes()
        except OSError:
            return None
        return data if digest_of(data) == digest else None

    def keep_only(self, digests: Collection[str]) -> None:
        """Remove all other images."""
        for entry in self._entries():
            if entry.name not in digests:
                os.unlink(entry.path)
        self._size = None

    def shrink(self, limit: int, pinned: Collection[str] = ()) -> None:
        """Remove the images that were longest not used until the rest takes at most `limit` bytes."""
        if self.size <= limit:
            return
        by_age = sorted((entry.stat().st_mtime_ns, entry.name) for entry in self._entries())
        for _, name in by_age:
            if name in pinned:
                continue
            path = self.folder / name
            size = path.stat().st_size
            path.unlink()
            self._size = self.size - _space(size)
            if self.size <= limit:
                return

    def _touch(self, digest: str) -> bool:
        try:
            os.utime(self.folder / digest)
        except FileNotFoundError:
            return False
        return True

    def _make_room(self, size: int, pinned: Collection[str]) -> bool:
        if self.size + size > self._limit:
            self.shrink(max(0, self._limit - size), pinned)
        return self.size + size <= self._limit

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as entries:
                return list(entries)
        except FileNotFoundError:
            return []


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner can enter, with those above it, unless it exists."""
    if not folder.is_dir():
        make_private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _space(size: int) -> int:
    return max(BLOCK, size)
