"""The pieces of streamed messages on their way to disk.

A message in progress is not stored until it ends: a row per message cannot be rewritten for every piece of
text. Its pieces go to the table `journal` instead, so that a crash loses at most the last 100 ms. At the end
the complete message is committed, and its journal rows are deleted in the same transaction. After a crash
the rows that are left become an incomplete message.

The hot path (`add`) only appends to a list. FLUSH_SECONDS after the first piece, everything collected is
handed to the store's writer as one job: one row per run of pieces of the same part, for all chats together.
Journal writes are not flushed to disk by themselves; they survive a crash of the process (see `threads`).

At most one write is under way. What arrives meanwhile is collected for the next one. When more than
PIECES_COLLECTED pieces have been collected, pieces of one part are merged, also when pieces of other parts
came in between. So memory is bounded by the messages in progress, not by the number of pieces, however slow
the disk is. Pieces that cannot be merged stay; the next merge waits until twice as many have been collected,
so that a piece costs the same however many there are.

When a message becomes durable (`discard`), its collected pieces are dropped. Pieces of it in the write that
is under way are deleted by the message's own commit, which is queued behind that write. A failed write puts
its pieces back in front of what was collected since, except those of messages that were discarded meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from parley_daemon.core.parts import MERGEABLE, join
from parley_daemon.ports.store import JournalEntry, StoreUnavailableError

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.09
"""Time between the first collected piece and the write. With the write itself, 100 ms."""

PIECES_COLLECTED = 20_000
"""Above this number, collected pieces are merged in memory for the first time."""

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
        self._merge_above = PIECES_COLLECTED
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
        elif self._count > self._merge_above:
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
            self._merge_above = PIECES_COLLECTED
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
        returned: dict[MessageKey, Rows] = {}
        for row in rows:
            returned.setdefault((row.chat_id, row.message_id), []).append(row)
        for key, before in returned.items():
            self._collected[key] = before + self._collected.get(key, [])
        self._count += len(rows)

    def _merge(self) -> None:
        self._collected = {key: _merge_parts(rows) for key, rows in self._collected.items()}
        self._count = sum(map(len, self._collected.values()))
        self._merge_above = max(PIECES_COLLECTED, 2 * self._count)


def _merge_parts(entries: Rows) -> Rows:
    """Return the entries with the pieces of each part joined, in the order of the first ones.

    The order within a part is kept, and parts begin in the order of their indexes: the fold is the same.
    """
    runs: list[list[JournalEntry]] = []
    open_runs: dict[int, list[JournalEntry]] = {}  # by the index of the part
    for entry in entries:
        run = open_runs.get(entry.index)
        if run is not None and _can_merge(run[0], entry):
            run.append(entry)
        else:
            open_runs[entry.index] = run = [entry]
            runs.append(run)
    return [
        run[0] if len(run) == 1 else replace(run[0], piece=join([entry.piece for entry in run]))
        for run in runs
    ]


def _can_merge(first: JournalEntry, entry: JournalEntry) -> bool:
    return type(first.piece) is type(entry.piece) and isinstance(entry.piece, MERGEABLE)
