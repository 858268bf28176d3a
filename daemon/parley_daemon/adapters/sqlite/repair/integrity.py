"""Looks for damage in the background, after the store was opened.

SQLite meets a damaged page only when a query happens to read it. `PRAGMA quick_check` reads all pages. It
runs in a thread of its own, on a connection of its own and with the lowest priority, and begins
DELAY_SECONDS after the store was opened: neither the start nor a commit waits for it. The tables are checked
one by one, so that no read transaction is longer than necessary. What is found goes to `health` and into the
log.
"""

import asyncio
import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from parley_daemon.adapters.sqlite.health import StoreHealth, is_damage, to_store_error
from parley_daemon.adapters.sqlite.schema import MIGRATIONS, connect_unchanged, refuse_newer
from parley_daemon.adapters.sqlite.threads import connect
from parley_daemon.ports.store import StoreUnavailableError

log = logging.getLogger(__name__)

DELAY_SECONDS = 2.0
"""Time between the opening of the store and the check."""

_CLOSE_SECONDS = 1.0
_INDEX_TABLES = ("search_data", "search_idx", "search_docsize", "search_config", "search_content")


class IntegrityCheck:
    """One check of a store. `on_damaged_index` is called on the loop if the search index is damaged."""

    def __init__(self, health: StoreHealth, on_damaged_index: Callable[[sqlite3.Error], None]) -> None:
        self._health = health
        self._on_damaged_index = on_damaged_index
        self._thread = threading.Thread(target=self._run, name="store check", daemon=True)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._is_stopping = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(DELAY_SECONDS, self._thread.start)

    @property
    def is_done(self) -> bool:
        """Whether the check has ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    async def close(self) -> None:
        """End the check, whether it has begun or not."""
        self._is_stopping = True
        self._timer.cancel()
        with self._lock:
            if self._connection is not None:
                self._connection.interrupt()
        if self._thread.is_alive():
            await self._loop.run_in_executor(None, self._thread.join, _CLOSE_SECONDS)

    def _run(self) -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # of this thread alone
        try:
            with closing(connect(self._health.path)) as connection:
                self._connection = connection
                try:
                    self._check(connection)
                finally:
                    with self._lock:
                        self._connection = None
        except sqlite3.Error as error:
            if is_damage(error):
                self._health.note_error(error)
            if not self._is_stopping:
                log.warning("the store could not be checked: %s", error)

    def _check(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only = ON")
        problem = next(self._find_problems(connection), None)
        if problem is not None:
            self._health.note_damage(problem)
            log.error("%s", self._health.damage)

    def _find_problems(self, connection: sqlite3.Connection) -> Iterator[str]:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0")
        for (table,) in tables.fetchall():
            if self._is_stopping:
                return
            found = _check_table(connection, table)
            if found is None:
                continue
            if table in _INDEX_TABLES:
                self._tell(sqlite3.DatabaseError(found))
            else:
                yield f"a part of the table {table} cannot be read ({found})"
        unreadable = connection.execute(
            "SELECT count(*), min(id) FROM chats WHERE NOT json_valid(CAST(body AS TEXT))"
        ).fetchone()
        if unreadable[0]:
            yield f"{unreadable[0]} chats cannot be read, such as {unreadable[1]}"

    def _tell(self, error: sqlite3.Error) -> None:
        try:
            self._loop.call_soon_threadsafe(self._on_damaged_index, error)
        except RuntimeError:
            return  # the loop is closed: the daemon has stopped


def inspect_store(path: Path) -> str | None:
    """Return what is wrong with a store that no process uses; None: nothing, or there is none."""
    health = StoreHealth(path)
    try:
        if not path.exists() or not path.stat().st_size:
            return None
        refuse_newer(path, MIGRATIONS)
        health.check_space()
        with closing(connect_unchanged(path)) as connection:
            found = _quick_check(connection, "PRAGMA quick_check(1)")
    except (sqlite3.Error, OSError, StoreUnavailableError) as error:
        return str(to_store_error(path, error))
    if found is not None:
        health.note_damage(f"a part of it cannot be read ({found})")
    return health.damage


def _check_table(connection: sqlite3.Connection, table: str) -> str | None:
    """Return the first problem of a table, None if there is none."""
    return _quick_check(connection, f'PRAGMA quick_check("{table}")')


def _quick_check(connection: sqlite3.Connection, check: str) -> str | None:
    try:
        (first,) = connection.execute(check).fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return str(error)
    if first == "ok":
        return None
    lines = [line for line in first.splitlines() if not line.startswith("***")]
    return lines[0][:200] if lines else first[:200]
