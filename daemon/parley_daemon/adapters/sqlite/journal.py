"""The pieces of messages in progress on their way to disk: collected, merged, written behind.

At most one write is under way; what comes meanwhile is collected. A message's pieces of one part become one
row, so what is collected is bounded by the messages in progress, however slow the disk. Knows no thread.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from parley_daemon.core.parts import Reasoning, Text, ToolCallPiece, join
from parley_daemon.ports.store import JournalEntry, StoreUnavailableError

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.09
"""Between the first piece collected and its write: with the write itself within 100 ms."""

PIECES_COLLECTED = 20_000
"""Pieces collected above which they are merged in memory."""

RETRY_SECONDS = 1.0

MessageKey = tuple[str, int]
Rows = list[JournalEntry]


class JournalBuffer:
    """Collects entries, and hands rows to `write` in time. `write` returns a future."""

    def __init__(self, write: "Callable[[Sequence[JournalEntry]], asyncio.Future[None]]") -> None:
        self._write = write
        self._collected: dict[MessageKey, Rows] = {}
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: asyncio.Future[None] | None = None
        self._finished_meanwhile: set[MessageKey] = set()

    def add(self, entry: JournalEntry) -> None:
        """Take a piece. This is the hot path."""
        key = entry.chat_id, entry.message_id
        rows = self._collected.get(key)
        if rows is None:
            self._collected[key] = [entry]
        else:
            rows.append(entry)
        self._count += 1
        if self._timer is None and self._under_way is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        elif self._count > PIECES_COLLECTED:
            self._merge()

    def finished(self, key: MessageKey) -> None:
        """The message is about to become durable: its pieces need not be written any more."""
        self._count -= len(self._collected.pop(key, ()))
        if self._under_way is not None:
            self._finished_meanwhile.add(key)

    def flush(self) -> "asyncio.Future[None] | None":
        """Begin to write what is collected; return the write that is under way, if there is one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._under_way is None and self._collected:
            self._merge()
            rows = [entry for entries in self._collected.values() for entry in entries]
            self._collected = {}
            self._count = 0
            self._under_way = self._write(rows)
            self._under_way.add_done_callback(lambda done: self._written(rows, done))
        return self._under_way

    def _written(self, rows: Rows, done: "asyncio.Future[None]") -> None:
        self._under_way = None
        finished, self._finished_meanwhile = self._finished_meanwhile, set()
        error = None if done.cancelled() else done.exception()
        if isinstance(error, StoreUnavailableError):
            log.warning("streamed text could not be saved yet: %s", error)
            self._put_back([row for row in rows if (row.chat_id, row.message_id) not in finished])
        elif error is not None:
            log.error("streamed text is lost by an unexpected fault", exc_info=error)
        if self._collected and self._timer is None:
            wait = FLUSH_SECONDS if error is None else RETRY_SECONDS
            self._timer = asyncio.get_running_loop().call_later(wait, self.flush)

    def _put_back(self, rows: Rows) -> None:
        for row in reversed(rows):
            self._collected.setdefault((row.chat_id, row.message_id), []).insert(0, row)
        self._count += len(rows)

    def _merge(self) -> None:
        self._collected = {key: _merged(rows) for key, rows in self._collected.items()}
        self._count = sum(map(len, self._collected.values()))


def _merged(entries: Rows) -> Rows:
    """Return the entries with neighbours of one part as one; what is in between keeps its place."""
    runs: list[list[JournalEntry]] = []
    for entry in entries:
        if runs and _continues(runs[-1][0], entry):
            runs[-1].append(entry)
        else:
            runs.append([entry])
    return [
        run[0] if len(run) == 1 else replace(run[0], piece=join([entry.piece for entry in run]))
        for run in runs
    ]


def _continues(first: JournalEntry, entry: JournalEntry) -> bool:
    same_part = first.index == entry.index and type(first.piece) is type(entry.piece)
    return same_part and isinstance(entry.piece, Text | Reasoning | ToolCallPiece)
