"""What the daemon and the worker send each other: JSON after its length, in four bytes."""

from typing import Literal

import msgspec

from parley_daemon.ports.context import ContextScope, Passage

MAX_FRAME = 16 * 2**20
"""Bytes of a frame."""

_LENGTH = 4


class Document(msgspec.Struct, frozen=True, gc=False):
    """An open document: its text takes the place of the file. `path` is resolved."""

    path: str
    text: str


class Search(msgspec.Struct, tag="search", frozen=True):
    """See ContextIndex.search."""

    id: int
    scope: ContextScope
    queries: tuple[str, ...]
    limit: int
    max_bytes: int
    documents: tuple[Document, ...] = ()


class Verify(msgspec.Struct, tag="verify", frozen=True):
    """See ContextIndex.verify."""

    id: int
    scope: ContextScope
    passage: Passage
    documents: tuple[Document, ...] = ()


class FindNames(msgspec.Struct, tag="names", frozen=True):
    """See ContextIndex.find_names."""

    id: int
    scope: ContextScope
    text: str
    kind: Literal["file", "symbol"]
    limit: int


class Status(msgspec.Struct, tag="status", frozen=True):
    """See ContextIndex.status."""

    id: int
    roots: tuple[str, ...]


class Changed(msgspec.Struct, tag="changed", frozen=True):
    """A file has changed. There is no answer."""

    path: str


Request = Search | Verify | FindNames | Status
ToWorker = Request | Changed


class Done(msgspec.Struct, tag="done", frozen=True):
    """The result of a request, as JSON. `is_first`: not all files of a folder were looked at yet."""

    id: int
    value: msgspec.Raw
    is_first: bool = False


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """A request has failed. The message is a sentence for people."""

    id: int
    message: str


ToDaemon = Done | Failed


class FrameError(Exception):
    """The other side breaks the rules of frames, or something does not fit into one."""


def encode(frame: ToWorker | ToDaemon) -> bytes:
    """Return a frame as bytes.

    Raises:
        FrameError: it is too long, or has what JSON cannot hold.
    """
    try:
        body = msgspec.json.encode(frame)
    except (UnicodeEncodeError, ValueError, TypeError) as error:
        raise FrameError("it cannot be written as JSON") from error
    if len(body) > MAX_FRAME:
        raise FrameError(f"it is longer than {MAX_FRAME:,} bytes")
    return len(body).to_bytes(_LENGTH, "big") + body


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies of the frames that are complete with these bytes.

        Raises:
            FrameError: a frame is too long.
        """
        self._data += data
        bodies: list[bytes] = []
        start = 0
        while len(self._data) - start >= _LENGTH:
            end = start + _LENGTH + int.from_bytes(self._data[start : start + _LENGTH], "big")
            if end - start > MAX_FRAME + _LENGTH:
                raise FrameError("a frame is too long")
            if end > len(self._data):
                break
            bodies.append(bytes(self._data[start + _LENGTH : end]))
            start = end
        del self._data[:start]
        return bodies


_to_worker: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)
_to_daemon: msgspec.json.Decoder[ToDaemon] = msgspec.json.Decoder(ToDaemon)


def decode_for_worker(body: bytes) -> ToWorker:
    """Return a frame of the daemon.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _to_worker.decode(body)


def decode_for_daemon(body: bytes) -> ToDaemon:
    """Return a frame of the worker.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _to_daemon.decode(body)
