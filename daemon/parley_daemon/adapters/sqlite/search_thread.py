"""Searching beside everything else: a thread that reads, and an index that catches up between commits."""

import asyncio
import logging
import sqlite3
from functools import partial
from pathlib import Path

from parley_daemon.adapters.sqlite.search_index import SearchIndex
from parley_daemon.adapters.sqlite.search_query import DamagedIndexError, search
from parley_daemon.adapters.sqlite.threads import ReaderThread, WriterThread, connect, unavailable
from parley_daemon.ports.store import SearchPage, SearchUnavailableError, StoreUnavailableError

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
"""Between a commit and the index's catching up with it, when nobody searches before."""

_NOT_YET = "the search index could not be brought up to date yet: %s"


class Searcher:
    """Searches one by one, and sees to it that the index has caught up with the commits.

    Its thread begins with the first search: nobody's reads wait for one.
    """

    def __init__(self, path: Path, index: SearchIndex, writer: WriterThread) -> None:
        self._path = path
        self._index = index
        self._writer = writer
        self._reader: ReaderThread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._touched, self._caught_up = 1, 0  # counted commits; the process before may have left some

    def touched(self) -> None:
        """Something is being committed."""
        self._touched += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer, commits = None, self._touched
        self._writer.submit((self._index.flush, False)).add_done_callback(partial(self._flushed, commits))

    def _flushed(self, commits: int, done: "asyncio.Future[bool]") -> None:
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
        """Return one page of hits, best first; of the same score that of the newer chat or message first."""
        await self._catch_up()
        if self._index.complaint is not None:
            raise SearchUnavailableError(self._index.complaint)
        if self._reader is None:
            self._reader = ReaderThread(self._path, self._connect(), "store searcher")

        def ask(connection: sqlite3.Connection) -> SearchPage:
            return search(connection, owner, text, cursor, limit)

        try:
            return await self._reader.submit(ask)
        except DamagedIndexError as damage:
            self._index.give_up(damage.error)
            await self._writer.submit((self._index.mark, True))
            raise SearchUnavailableError(self._index.complaint) from damage

    async def _catch_up(self) -> None:
        commits = self._touched
        try:
            while self._caught_up < commits:
                if not await self._writer.submit((self._index.flush, False)):
                    self._caught_up = max(self._caught_up, commits)
        except StoreUnavailableError as error:  # a full disk: what is in the index can still be found
            log.warning(_NOT_YET, error)

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = connect(self._path)
            connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error
        return connection

    async def close(self) -> None:
        """Finish what is queued, end the thread."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reader is not None:
            await self._reader.close()
