"""Runs searches in a thread of their own, and keeps the index up to date between commits.

A commit only queues its changes for the index. INDEX_DELAY_SECONDS after a commit, or when somebody searches,
the writer's thread works the queue off in small steps (`SearchIndex.flush`), so that no commit waits long
behind one. A search waits until the commits before it are in the index: `_commits` counts commits,
`_caught_up` is the count up to which the index is known to be complete.
"""

import asyncio
import logging
import sqlite3
from functools import partial

from parley_daemon.adapters.sqlite.health import StoreHealth, to_store_error
from parley_daemon.adapters.sqlite.search.search_index import SearchIndex
from parley_daemon.adapters.sqlite.search.search_query import DamagedIndexError, search
from parley_daemon.adapters.sqlite.threads import (
    ReaderThread,
    WriterThread,
    connect,
    start_reader,
)
from parley_daemon.ports.store import SearchPage, SearchUnavailableError, StoreUnavailableError

log = logging.getLogger(__name__)

INDEX_DELAY_SECONDS = 1.0
"""Time between a commit and the update of the index, unless somebody searches before."""

_NOT_YET = "the search index could not be brought up to date yet: %s"


class Searcher:
    """Runs one search after the other in a thread, which the first search starts."""

    def __init__(self, health: StoreHealth, index: SearchIndex, writer: WriterThread) -> None:
        self._health = health
        self._index = index
        self._writer = writer
        self._reader: ReaderThread | None = None
        self._timer: asyncio.TimerHandle | None = None
        # Numbers of commits. The first is 1, because the previous process may have left changes in the queue.
        self._commits, self._caught_up = 1, 0

    def note_commit(self) -> None:
        """Note that a commit has been submitted to the writer."""
        self._commits += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INDEX_DELAY_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer, commits = None, self._commits
        self._writer.submit((self._index.flush, False)).add_done_callback(
            partial(self._finish_flush, commits)
        )

    def _finish_flush(self, commits: int, done: "asyncio.Future[bool]") -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            log.warning(_NOT_YET, error)
        elif done.result():
            self._flush()
        else:
            self._caught_up = max(self._caught_up, commits)

    async def page(self, owner: str, text: str, cursor: str | None, limit: int) -> SearchPage:
        """Return one page of hits, best first; with equal scores the newer chat or message first.

        Raises:
            SearchUnavailableError: there is no usable index; the message says why.
            InvalidCursorError: the cursor is not valid, or belongs to another query.
            StoreUnavailableError: the store cannot be read.
        """
        await self._catch_up()
        if self._index.complaint is not None:
            raise SearchUnavailableError(self._index.complaint)
        if self._reader is None:
            self._reader = start_reader(self._health, self._connect(), "store searcher")

        def run(connection: sqlite3.Connection) -> SearchPage:
            return search(connection, owner, text, cursor, limit)

        try:
            return await self._reader.submit(run)
        except DamagedIndexError as damage:
            self._index.give_up(damage.error)
            await self._writer.submit((self._index.mark_outdated, True))
            raise SearchUnavailableError(self._index.complaint) from damage

    async def _catch_up(self) -> None:
        commits = self._commits
        try:
            while self._caught_up < commits:
                if not await self._writer.submit((self._index.flush, False)):
                    self._caught_up = max(self._caught_up, commits)
        except StoreUnavailableError as error:  # e.g. a full disk: search what is in the index
            log.warning(_NOT_YET, error)

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = connect(self._health.path)
            connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise to_store_error(self._health.path, error) from error
        return connection

    async def close(self) -> None:
        """Run the searches that are queued, then end the thread."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reader is not None:
            await self._reader.close()
