"""The two threads that own SQLite connections: one reads, one writes in groups. They know no table.

Every sqlite3 error, and every row that cannot be read, becomes StoreUnavailableError here, with a sentence
that names the file.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from parley_daemon.adapters.sqlite.codec import UNREADABLE
from parley_daemon.ports.store import StoreUnavailableError

log = logging.getLogger(__name__)

BUSY_SECONDS = 5.0

Work = Callable[[sqlite3.Connection], Any]
Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection in autocommit mode, for the one thread that will use it."""
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def unavailable(path: Path, error: Exception) -> StoreUnavailableError:
    """Say what SQLite, the file system or a row has against the store, in a sentence."""
    if isinstance(error, StoreUnavailableError):
        return error
    if isinstance(error, UNREADABLE):
        return StoreUnavailableError(f"The store {path} cannot be used: something in it cannot be read.")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    reasons = {
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_READONLY: "it may not be written",
        sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
        sqlite3.SQLITE_NOTADB: "it is not a database of parleyd",
        sqlite3.SQLITE_CORRUPT: "it is damaged",
        sqlite3.SQLITE_BUSY: "another process is using it",
        sqlite3.SQLITE_IOERR: "the disk answers with errors",
    }
    what = reasons.get(code) or (error.strerror if isinstance(error, OSError) else None) or str(error)
    return StoreUnavailableError(f"The store {path} cannot be used: {what}.")


class _Thread:
    """A thread with a connection that works off a queue. Its answers go to the loop, many in one call."""

    def __init__(self, path: Path, connection: sqlite3.Connection, name: str) -> None:
        self._path = path
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[tuple[Any, asyncio.Future[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Any) -> "asyncio.Future[Any]":
        """Hand in work; the future has its result or its error."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put((work, future))
        return future

    async def close(self) -> None:
        """Finish what is queued, close the connection, end the thread."""
        self._queue.put(None)
        while self._thread.is_alive():
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        closing = False
        while not closing:
            batch = [self._queue.get()]
            try:
                while True:
                    batch.append(self._queue.get_nowait())
            except Empty:
                pass
            closing = None in batch
            jobs = [job for job in batch if job is not None]
            if jobs:
                self._answer(self._work(jobs))
        self._connection.close()

    def _work(self, jobs: list[tuple[Any, "asyncio.Future[Any]"]]) -> list[Outcome]:
        raise NotImplementedError

    def _answer(self, outcomes: list[Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, outcomes)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _attempt(self, work: Work, future: "asyncio.Future[Any]") -> Outcome:
        try:
            return future, work(self._connection), None
        except UNREADABLE as error:
            log.exception("a row of the store cannot be read")
            return future, None, unavailable(self._path, error)
        except (sqlite3.Error, OSError) as error:
            return future, None, unavailable(self._path, error)
        except Exception as error:  # noqa: BLE001 - whoever asked gets it; the thread serves the others
            return future, None, error


def _settle(outcomes: list[Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class ReaderThread(_Thread):
    """Runs reads one by one."""

    def _work(self, jobs: list[tuple[Any, "asyncio.Future[Any]"]]) -> list[Outcome]:
        return [self._attempt(work, future) for work, future in jobs]


class WriterThread(_Thread):
    """Runs what waits as one transaction: one flush to disk for all. `(work, durable)` is a job.

    When something in the group fails, each job of it is run again in a transaction of its own, so that a bad
    one fails alone. A group in which nothing is durable survives a crash of the process, though perhaps not
    of the machine, and costs no flush.
    """

    _synchronous = ""

    def _work(self, jobs: list[tuple[Any, "asyncio.Future[Any]"]]) -> list[Outcome]:
        outcomes = self._transaction(jobs)
        if outcomes is None:
            alone = [self._transaction([job], alone=True) for job in jobs]
            outcomes = [outcome for one in alone for outcome in one or ()]
        return outcomes

    def _transaction(
        self, jobs: list[tuple[Any, "asyncio.Future[Any]"]], *, alone: bool = False
    ) -> list[Outcome] | None:
        connection = self._connection
        try:
            self._flush_mode("FULL" if any(durable for (_, durable), _ in jobs) else "NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            outcomes: list[Outcome] = [(future, work(connection), None) for (work, _), future in jobs]
            connection.execute("COMMIT")
            return outcomes
        except Exception as error:  # noqa: BLE001 - whoever asked gets it; the thread serves the others
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if not alone and len(jobs) > 1:
                return None
            known = isinstance(error, sqlite3.Error | OSError)
            told = unavailable(self._path, error) if known else error
            return [(future, None, told) for _, future in jobs]

    def _flush_mode(self, mode: str) -> None:
        if self._synchronous != mode:
            self._connection.execute(f"PRAGMA synchronous = {mode}")
            self._synchronous = mode
