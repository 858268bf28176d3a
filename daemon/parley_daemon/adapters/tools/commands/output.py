"""What is kept of the output of a command: head and tail for the result, all of it in a file.

Theory of operation. A command can write more than a model reads, or memory holds. So the first and the last
bytes are kept, each up to half of the limit, and the whole output, up to 8 MiB, goes into a file that
`job_output` reads from. What subscribers see while the command runs is limited, too: the beginning is
streamed until a budget is used up, and the rest is left out up to the tail, which is streamed at the end. So
the streamed text begins with the head of the result and ends with its tail.
"""

import codecs
import os
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from parley_daemon.adapters.tools.commands.cleaning import OutputCleaner

MAX_LIMIT, MIN_LIMIT = 64 * 1024, 16 * 1024
"""Bounds of a result, in bytes."""

FILE_BYTES = 8 * 1024 * 1024
LIVE_BYTES = 256 * 1024
"""How much of an output is streamed from its beginning."""

_BYTES_PER_TOKEN = 4
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def find_limit(context_limit: int | None) -> int:
    """Return how many bytes of output a result has: a third of the model's context, within the bounds."""
    if context_limit is None:
        return MAX_LIMIT
    return max(MIN_LIMIT, min(MAX_LIMIT, context_limit * _BYTES_PER_TOKEN // 3))


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Head and tail of an output. `omitted`: bytes between them."""

    head: str
    omitted: int
    tail: str


class Output:
    """The output of one command."""

    def __init__(self, limit: int, path: Path, *, is_file_needed: bool) -> None:
        self.path = path
        self.size = 0
        self._half = limit // 2
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self._cleaner = OutputCleaner()
        self._is_file_needed = is_file_needed
        self._filed = 0
        self._problem: str | None = None
        self._live = ""
        self._streamed = 0

    @property
    def is_in_file(self) -> bool:
        """Whether the file has the output, up to the limit of files."""
        return self._filed > 0 and self._problem is None

    async def add(self, data: bytes, *, is_last: bool = False) -> None:
        """Add a piece of the output; `is_last` with the last one, which may be empty."""
        text = self._cleaner.clean(data, is_last=is_last)
        if text:
            await self._add(text)

    async def _add(self, text: str) -> None:
        piece = text.encode("utf-8")
        if self.size < LIVE_BYTES:
            self._live += text
        if self._is_file_needed or self.size + len(piece) > self._limit:
            await self._write(piece)
        self.size += len(piece)
        space = self._half - len(self._head)
        if space > 0:
            self._head += piece[:space]
        self._tail += piece[max(0, space) :]
        if len(self._tail) > 4 * self._limit:
            del self._tail[: -self._half]

    async def _write(self, piece: bytes) -> None:
        """Append to the file. The first time, it also gets what came before."""
        if self._filed >= FILE_BYTES or self._problem is not None:
            return
        if self._filed == 0 and self.size:
            piece = bytes(self._head + self._tail) + piece
        piece = piece[: FILE_BYTES - self._filed]
        try:
            await to_thread.run_sync(_append, self.path, piece)
        except OSError as error:  # the disk may be full: the result has head and tail all the same
            self._problem = error.strerror or "it cannot be written"
            return
        self._filed += len(piece)

    def excerpt(self) -> Excerpt:
        """Return head and tail, cut at the ends of lines where there are any near."""
        if self.size <= self._limit:
            return Excerpt(bytes(self._head + self._tail).decode("utf-8", "ignore"), 0, "")
        head, tail = bytes(self._head), bytes(self._tail[-self._half :])
        end = head.rfind(b"\n") + 1
        if end > len(head) // 2:
            head = head[:end]
        start = tail.find(b"\n") + 1
        if 0 < start < len(tail) // 2:
            tail = tail[start:]
        shown = head.decode("utf-8", "ignore"), tail.decode("utf-8", "ignore")
        return Excerpt(shown[0], self.size - sum(len(text.encode("utf-8")) for text in shown), shown[1])

    def last(self, count: int) -> str:
        """Return the end of the output, at most so many bytes."""
        is_whole = self.size <= len(self._head) + len(self._tail)
        kept = self._head + self._tail if is_whole else self._tail
        return bytes(kept[-count:]).decode("utf-8", "ignore")

    def take_live(self) -> str:
        """Return what has not been streamed yet of the beginning."""
        text, self._live = self._live, ""
        self._streamed += len(text.encode("utf-8"))
        return text

    def take_last(self, excerpt: Excerpt) -> str:
        """Return what is to be streamed at the end, so that the streamed text ends with the tail."""
        live = self.take_live()
        left = self.size - self._streamed
        left_out = left - len(excerpt.tail.encode("utf-8"))
        if left == 0:
            return live
        if left_out <= 0:
            return live + bytes(self._tail[-left:]).decode("utf-8", "ignore")
        return f"{live}\n[{left_out:,} bytes are not shown here]\n{excerpt.tail}"


def _append(path: Path, piece: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, _FLAGS, 0o600)
    with open(descriptor, "ab") as file:
        file.write(piece)


def read_file(path: Path, offset: int, limit: int) -> tuple[str, int, int]:
    """Return the text of a file from an offset, the offset after it, and the size of the file.

    Raises:
        OSError: it is gone.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        file.seek(max(0, min(offset, size)))
        data = file.read(limit)
    end = min(max(offset, 0), size) + len(data)
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    text = decoder.decode(data)
    return text, end if end >= size else end - len(decoder.getstate()[0]), size
