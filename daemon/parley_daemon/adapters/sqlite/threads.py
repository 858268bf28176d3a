"""The threads that own the SQLite connections.

SQLite blocks while it reads, writes and flushes, so it must not run in the event loop's thread. A connection
must not be shared between threads either. So each connection belongs to one thread for its whole life:

- the reader runs read requests one after the other,
- the writer runs commits, journal writes and index updates,
- search has a reader of its own (see `search_thread`), so that a slow search delays no other read.

The event loop hands a job to a thread by `submit` and awaits the future that it returns. A thread takes all
jobs that are queued, runs them as one batch, and gives all results to the loop in one call: under load the
loop is woken once per batch, not once per job.

Group commit: the writer runs a whole batch in one transaction, which is flushed to disk once. Commits of
many chats that arrive during one flush share the next one, so the number of flushes per second does not
grow with the number of chats. Every job still succeeds or fails alone: when one fails, the transaction is
rolled back and each job of the batch is run again in a transaction of its own. Jobs must therefore have no
effects but those on the connection.

Durability: a batch with at least one durable job is flushed (`synchronous = FULL`). A batch without one is
not (`NORMAL`, in WAL mode): it survives a crash of the process, but maybe not one of the machine.

All errors of SQLite and of unreadable rows become StoreUnavailableError here, with a sentence that names the
file. Other exceptions reach the caller of `submit` unchanged, and the thread goes on.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

from parley_daemon.adapters.sqlite.codec import UNREADABLE
from parley_daemon.adapters.sqlite.health import StoreHealth, to_store_error
from parley_daemon.ports.store import StoreUnavailableError

log = logging.getLogger(__name__)

BUSY_SECONDS = 5.0
"""How long SQLite waits for a lock that another process holds on the file."""

Job = TypeVar("Job")
Work = Callable[[sqlite3.Connection], Any]
Waiting = tuple[Job, "asyncio.Future[Any]"]
Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]
"""The future of a job, and its result or its error."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection in autocommit mode, for the one thread that will use it."""
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


class StoreThread(Generic[Job]):
    """A thread with a queue of jobs. `run_batch` runs in the thread and returns an outcome for each job."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        name: str,
        run_batch: Callable[[Sequence[Waiting[Job]]], list[Outcome]],
    ) -> None:
        self._connection = connection
        self._run_batch = run_batch
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Waiting[Job] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> "asyncio.Future[Any]":
        """Queue a job; the future gets its result or its error."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put((job, future))
        return future

    async def close(self) -> None:
        """Run what is queued, close the connection, end the thread."""
        self._queue.put(None)
        while self._thread.is_alive():
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        is_closing = False
        while not is_closing:
            batch = [self._queue.get()]
            try:
                while True:
                    batch.append(self._queue.get_nowait())
            except Empty:
                pass
            is_closing = None in batch
            jobs = [job for job in batch if job is not None]
            if jobs:
                self._deliver(self._run_batch(jobs))
        self._connection.close()

    def _deliver(self, outcomes: list[Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, outcomes)
        except RuntimeError:
            return  # the loop is closed: the daemon has stopped


def _resolve(outcomes: list[Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


ReaderThread: TypeAlias = StoreThread[Work]
"""Runs reads one by one."""

WriterThread: TypeAlias = StoreThread[tuple[Work, bool]]
"""Commits jobs in groups. A job is `(work, durable)`; durable: it is on disk when its future is done."""


def start_reader(health: StoreHealth, connection: sqlite3.Connection, name: str) -> ReaderThread:
    """Start a thread for reads, which owns `connection` from now on."""
    return StoreThread(connection, name, partial(_run_reads, health, connection))


def start_writer(health: StoreHealth, connection: sqlite3.Connection, name: str) -> WriterThread:
    """Start a thread for writes, which owns `connection` from now on."""
    return StoreThread(connection, name, _GroupCommit(health, connection).run)


def _run_reads(
    health: StoreHealth, connection: sqlite3.Connection, jobs: Sequence[Waiting[Work]]
) -> list[Outcome]:
    return [_read(health, connection, work, future) for work, future in jobs]


def _read(
    health: StoreHealth, connection: sqlite3.Connection, work: Work, future: "asyncio.Future[Any]"
) -> Outcome:
    try:
        return future, work(connection), None
    except (sqlite3.Error, OSError, *UNREADABLE) as error:
        if isinstance(error, UNREADABLE):
            log.exception("a row of the store cannot be read")
        health.note_error(error)
        return future, None, to_store_error(health.path, error)
    except Exception as error:  # noqa: BLE001 - the caller of `submit` gets it; the thread goes on
        return future, None, error


class _GroupCommit:
    """Runs a batch of jobs as one transaction."""

    def __init__(self, health: StoreHealth, connection: sqlite3.Connection) -> None:
        self._health = health
        self._connection = connection
        self._synchronous = ""

    def run(self, jobs: Sequence[Waiting[tuple[Work, bool]]]) -> list[Outcome]:
        """Run all jobs together; if that fails, run each one in a transaction of its own."""
        try:
            self._health.check_files()
        except StoreUnavailableError as error:
            return [(future, None, error) for _, future in jobs]
        outcomes = self._run_together(jobs)
        if outcomes is None:
            outcomes = [outcome for job in jobs for outcome in self._run_together([job]) or ()]
        return outcomes

    def _run_together(self, jobs: Sequence[Waiting[tuple[Work, bool]]]) -> list[Outcome] | None:
        """Run jobs in one transaction. Returns None when one of several fails: nothing has been changed."""
        connection = self._connection
        try:
            self._set_synchronous("FULL" if any(durable for (_, durable), _ in jobs) else "NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            outcomes: list[Outcome] = [(future, work(connection), None) for (work, _), future in jobs]
            connection.execute("COMMIT")
            return outcomes
        except Exception as error:  # noqa: BLE001 - the caller of `submit` gets it; the thread goes on
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if len(jobs) > 1:
                return None
            self._health.note_write_error(error)
            is_known = isinstance(error, sqlite3.Error | OSError)
            reported = to_store_error(self._health.path, error) if is_known else error
            return [(future, None, reported) for _, future in jobs]

    def _set_synchronous(self, mode: str) -> None:
        if self._synchronous != mode:
            self._connection.execute(f"PRAGMA synchronous = {mode}")
            self._synchronous = mode
