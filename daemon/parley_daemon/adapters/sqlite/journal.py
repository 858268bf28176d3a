"""The pieces of streamed messages on their way to disk.

A message in progress is not stored until it ends: a row per message cannot be rewritten for every piece of
text. Its pieces go to the table `journal` instead, so that a crash loses at most the last 100 ms. At the end
the complete message is committed, and its journal rows are deleted in the same transaction. After a crash
the rows that are left become an incomplete message.

The hot path (`add`) only appends to a list. FLUSH_SECONDS after the first piece, everything collected is
handed to the store's writer as one job: one row per run of pieces of the same part, for all chats together.
Journal writes are not flushed to disk by themselves; they survive a crash of the process (see `threads`).

At most one write is under way. What arrives meanwhile is collected for the next one. When more than
PIECES_COLLECTED pieces have been collected, neighbours of one part are merged. So memory is bounded by the
messages in progress, not by the number of pieces, however slow the disk is.

When a message becomes durable (`discard`), its collected pieces are dropped. Pieces of it in the write that
is under way are deleted by the message's own commit, which is queued behind that write. A failed write puts
its pieces back in front of what was collected since, except those of messages that were discarded meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from parley_daemon.core.parts import Reasoning, Text, ToolCallPiece, join
from parley_daemon.ports.store import JournalEntry, StoreUnavailableError

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.09
"""Time between the first collected piece and the write. With the write itself, 100 ms."""

PIECES_COLLECTED = 20_000
"""Above this number, collected pieces are merged in memory."""

RETRY_SECONDS = 1.0
"""Time between a failed write and the next one."""

MessageKey = tuple[str, int]
Rows = list[JournalEntry]


class JournalBuffer:
    """Collects entries and writes them in the background.

    `write` starts a write of rows and returns its future.
    """

    def __init__(self, write: "Callable[[Sequence[JournalEntry]], asyncio.Future[None]]") -> None:
        self._write = write
        self._collected: dict[MessageKey, Rows] = {}
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: asyncio.Future[None] | None = None
        self._discarded_meanwhile: set[MessageKey] = set()

    def add(self, entry: JournalEntry) -> None:
        """Collect a piece. This is the hot path."""
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

    def discard(self, key: MessageKey) -> None:
        """Drop the collected pieces of a message, because it becomes durable or starts again."""
        self._count -= len(self._collected.pop(key, ()))
        if self._under_way is not None:
            self._discarded_meanwhile.add(key)

    def flush(self) -> "asyncio.Future[None] | None":
        """Start to write what is collected; return the write that is under way, if there is one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._under_way is None and self._collected:
            self._merge()
            rows = [entry for entries in self._collected.values() for entry in entries]
            self._collected = {}
            self._count = 0
            self._under_way = self._write(rows)
            self._under_way.add_done_callback(lambda done: self._finish_write(rows, done))
        return self._under_way

    def _finish_write(self, rows: Rows, done: "asyncio.Future[None]") -> None:
        self._under_way = None
        discarded, self._discarded_meanwhile = self._discarded_meanwhile, set()
        error = None if done.cancelled() else done.exception()
        if isinstance(error, StoreUnavailableError):
            log.warning("streamed text could not be saved yet: %s", error)
            self._put_back([row for row in rows if (row.chat_id, row.message_id) not in discarded])
        elif error is not None:
            log.error("streamed text is lost: unexpected error", exc_info=error)
        if self._collected and self._timer is None:
            wait = FLUSH_SECONDS if error is None else RETRY_SECONDS
            self._timer = asyncio.get_running_loop().call_later(wait, self.flush)

    def _put_back(self, rows: Rows) -> None:
        for row in reversed(rows):
            self._collected.setdefault((row.chat_id, row.message_id), []).insert(0, row)
        self._count += len(rows)

    def _merge(self) -> None:
        self._collected = {key: _merge_neighbours(rows) for key, rows in self._collected.items()}
        self._count = sum(map(len, self._collected.values()))


def _merge_neighbours(entries: Rows) -> Rows:
    """Return the entries with runs of pieces of one part joined. The order is kept."""
    runs: list[list[JournalEntry]] = []
    for entry in entries:
        if runs and _is_same_part(runs[-1][0], entry):
            runs[-1].append(entry)
        else:
            runs.append([entry])
    return [
        run[0] if len(run) == 1 else replace(run[0], piece=join([entry.piece for entry in run]))
        for run in runs
    ]


def _is_same_part(first: JournalEntry, entry: JournalEntry) -> bool:
    is_same = first.index == entry.index and type(first.piece) is type(entry.piece)
    return is_same and isinstance(entry.piece, Text | Reasoning | ToolCallPiece)
