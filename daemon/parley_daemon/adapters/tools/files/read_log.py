"""What the model of each chat has read, so that it changes only files that it knows.

A file is known by a hash of its whole text as the chat has seen it last, in an editor or on disk. It is kept
in memory: after a restart of the daemon a model reads a file again before it changes it.
"""

from collections import OrderedDict
from hashlib import blake2b

MAX_CHATS = 500
"""Chats that are remembered; those that have read nothing for the longest time are forgotten first."""

MAX_FILES = 2_000
"""Files that are remembered of one chat."""


def fingerprint(content: str | bytes) -> bytes:
    """Return the hash of a text, or of the bytes of a binary file."""
    if isinstance(content, bytes):
        return blake2b(content, digest_size=16, person=b"binary").digest()
    return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16, person=b"text").digest()


class ReadLog:
    """The fingerprints of files by chat and resolved path."""

    def __init__(self) -> None:
        self._chats: OrderedDict[str, OrderedDict[str, bytes]] = OrderedDict()

    def note(self, chat_id: str, path: str, seen: bytes) -> None:
        """The chat knows the content of a file now."""
        files = self._chats.setdefault(chat_id, OrderedDict())
        self._chats.move_to_end(chat_id)
        files[path] = seen
        files.move_to_end(path)
        if len(files) > MAX_FILES:
            files.popitem(last=False)
        if len(self._chats) > MAX_CHATS:
            self._chats.popitem(last=False)

    def seen(self, chat_id: str, path: str) -> bytes | None:
        """Return what the chat has seen of a file last, None: nothing."""
        files = self._chats.get(chat_id)
        return None if files is None else files.get(path)

    def forget(self, chat_id: str, path: str) -> None:
        """The file is gone."""
        if (files := self._chats.get(chat_id)) is not None:
            files.pop(path, None)
