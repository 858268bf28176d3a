"""The store port over one SQLite file.

The work is done by parts: `threads` own the connections and group commits, `writes` and `queries` have the
statements, `journal` collects streamed pieces, `search_thread` runs searches. The database is in WAL mode, so
that reads do not wait for writes.
"""

import asyncio
import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from parley_daemon.adapters.sqlite import chat_list, codec, configuration, mcp, policy, queries
from parley_daemon.adapters.sqlite.health import StoreHealth, to_store_error
from parley_daemon.adapters.sqlite.journal import JournalBuffer
from parley_daemon.adapters.sqlite.repair.integrity import IntegrityCheck
from parley_daemon.adapters.sqlite.repair.salvage import ask_about_chats
from parley_daemon.adapters.sqlite.schema import MIGRATIONS, migrate, refuse_newer
from parley_daemon.adapters.sqlite.search.search_index import SearchIndex
from parley_daemon.adapters.sqlite.search.search_thread import Searcher
from parley_daemon.adapters.sqlite.threads import (
    ReaderThread,
    WriterThread,
    connect,
    start_reader,
    start_writer,
)
from parley_daemon.adapters.sqlite.writes import apply_writes, drop_journal, write_journal
from parley_daemon.core.agents.mcp import McpServerRecord
from parley_daemon.core.compaction import Summary
from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn
from parley_daemon.ports.store import (
    ChatPage,
    ChatQuery,
    JournalEntry,
    LostTurn,
    MessagePage,
    SearchPage,
    StoredChat,
    StoredConfiguration,
    StoredPolicy,
    StoreStatus,
    StoreUnavailableError,
    WholeChat,
)
from parley_daemon.ports.store_writes import AddMessage, DropJournal, Write

if TYPE_CHECKING:
    from parley_daemon.ports.mcp import McpManifest

log = logging.getLogger(__name__)

T = TypeVar("T")


class SqliteStore:
    """The store port over SQLite. `path` is the database file; its folder is created when it is missing.

    `prepare` is called in a worker thread before the file is opened. If it raises an OSError or a
    StoreUnavailableError, the store stays closed.
    """

    def __init__(
        self,
        path: Path,
        *,
        migrations: Sequence[str] = MIGRATIONS,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._prepare = prepare
        self._path = path
        self._health = StoreHealth(path)
        self._check: IntegrityCheck | None = None
        self._migrations = migrations
        self._writer: WriterThread | None = None
        self._reader: ReaderThread | None = None
        self._searcher: Searcher | None = None
        self._index = SearchIndex()
        self._journal = JournalBuffer(self._write_journal)

    @property
    def status(self) -> StoreStatus:
        """The kind of the store, its path and its size."""
        try:
            size = self._path.stat().st_size
        except OSError:
            size = None
        return StoreStatus("sqlite", str(self._path), size)

    async def open(self) -> tuple[LostTurn, ...]:
        """Open or create the file and run missing migrations; return the turns that were running.

        Raises:
            StoreUnavailableError: the file cannot be opened, read or written.
        """
        loop = asyncio.get_running_loop()
        writing, reading, lost = await loop.run_in_executor(None, self._connect)
        self._writer = start_writer(self._health, writing, "store writer")
        self._reader = start_reader(self._health, reading, "store reader")
        self._searcher = Searcher(self._health, self._index, self._writer)
        self._check = IntegrityCheck(self._health, self._mark_index_damaged)
        return lost

    def _connect(self) -> tuple[sqlite3.Connection, sqlite3.Connection, tuple[LostTurn, ...]]:
        opened: list[sqlite3.Connection] = []
        try:
            if self._prepare is not None:
                self._prepare()
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_newer(self._path, self._migrations)
            self._create_file()
            opened.append(writing := connect(self._path))
            writing.execute("PRAGMA foreign_keys = ON")
            migrate(writing, self._path, self._migrations)
            writing.execute("PRAGMA journal_mode = WAL")
            self._index.open(writing)
            lost = queries.lost_turns(writing)
            opened.append(reading := connect(self._path))
            reading.execute("PRAGMA query_only = ON")
            # This opens the write-ahead log. Later it could not be opened if the files were deleted.
            reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            self._health.note_opened()
            return writing, reading, lost
        except (sqlite3.Error, OSError, StoreUnavailableError, *codec.UNREADABLE) as error:
            for connection in opened:
                connection.close()
            raise to_store_error(self._path, error) from error

    def _create_file(self) -> None:
        """Create the file if there is none, readable by its owner only. The write-ahead log gets its mode."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o700 != 0o600:
                os.fchmod(descriptor, 0o600)  # the umask has taken more than the bits of others
        finally:
            os.close(descriptor)

    def _mark_index_damaged(self, error: sqlite3.Error) -> None:
        """Stop using the search index; it is built again at the next start."""
        self._index.give_up(error)
        if self._writer is not None:
            self._writer.submit((self._index.mark_outdated, True)).add_done_callback(_note_failure)

    async def aclose(self) -> None:
        """Write the collected journal entries, then end the threads."""
        while (under_way := self._journal.flush()) is not None:
            try:
                await under_way
            except StoreUnavailableError:
                break
        # The writer is last, because it removes the write-ahead log.
        threads = self._check, self._searcher, self._reader, self._writer
        self._check, self._searcher, self._reader, self._writer = None, None, None, None
        for thread in threads:
            if thread is not None:
                await thread.close()

    # ------------------------------------------------------------------------- writing

    async def commit(self, *writes: Write) -> None:
        """Make these changes durable in one transaction.

        Raises:
            StoreUnavailableError: they could not be written; none of them is stored.
        """
        if self._writer is None or self._searcher is None:
            raise self._closed_error()
        for write in writes:
            match write:
                case AddMessage(message):
                    self._journal.discard((message.chat_id, message.id))
                case DropJournal(chat_id, message_id):
                    self._journal.discard((chat_id, message_id))
                case _:
                    pass
        committed = self._writer.submit((partial(apply_writes, index=self._index, writes=writes), True))
        self._searcher.note_commit()
        await committed

    def journal(self, entry: JournalEntry) -> None:
        """Add a piece to the journal. It is written in the background."""
        self._journal.add(entry)

    def void_journal(self, chat_id: str, message_id: int) -> None:
        """Delete the pieces of a message from the journal, after the write that is under way."""
        self._journal.discard((chat_id, message_id))
        if self._writer is not None:

            def drop(connection: sqlite3.Connection) -> None:
                drop_journal(connection, chat_id, message_id)

            self._writer.submit((drop, False)).add_done_callback(_note_failure)

    def _write_journal(self, entries: Sequence[JournalEntry]) -> "asyncio.Future[None]":
        if self._writer is None:
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(self._closed_error())
            return failed
        return self._writer.submit((partial(write_journal, entries=entries), False))

    def _closed_error(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"The store {self._path} is not open.")

    # ------------------------------------------------------------------------- reading

    async def _ask(self, question: Callable[..., T], *values: Any) -> T:
        if self._reader is None:
            raise self._closed_error()

        def ask(connection: sqlite3.Connection) -> T:
            return question(connection, *values)

        return await self._reader.submit(ask)

    async def _ask_about_chats(self, question: Callable[..., T], *values: Any) -> T:
        def ask(connection: sqlite3.Connection) -> T:
            return ask_about_chats(connection, self._health, lambda source: question(source, *values))

        return await self._ask(ask)

    async def find_problem(self) -> str | None:
        """Return what is wrong with the store; None: it can be read and written."""
        if self._writer is None:
            return str(self._closed_error())
        try:
            await self._writer.submit((self._try_write, False))
        except StoreUnavailableError as error:
            return str(error)
        return self._health.damage

    def _try_write(self, connection: sqlite3.Connection) -> None:
        """Write a page, and check that there is room for more."""
        connection.execute(f"PRAGMA user_version = {len(self._migrations)}")
        self._health.check_space()

    async def chat(self, chat_id: str) -> StoredChat | None:
        """Return the chat and its queue."""
        return await self._ask(queries.chat, chat_id)

    async def whole_chat(self, chat_id: str, *, max_bytes: int | None = None) -> WholeChat | None:
        """Return the chat with everything that belongs to it."""
        return await self._ask(queries.whole_chat, chat_id, max_bytes)

    async def descendants(self, chat_id: str) -> tuple[str, ...]:
        """Return the ids of all chats below this one."""
        return await self._ask_about_chats(queries.descendants, chat_id)

    async def child_chats(self, chat_id: str) -> tuple[Chat, ...]:
        """Return the chats of kind "agent" directly below this one."""
        return await self._ask_about_chats(queries.child_chats, chat_id)

    async def chats(self, query: ChatQuery) -> ChatPage:
        """Return one page of chats."""
        return await self._ask_about_chats(chat_list.chats, query)

    async def chat_ids(self, owner: str) -> tuple[str, ...]:
        """Return the ids of all chats of this owner."""
        return await self._ask_about_chats(queries.chat_ids, owner)

    async def find_created(self, owner: str, creation_id: str) -> str | None:
        """Return the id of the chat that was created under this id."""
        return await self._ask(queries.find_created, owner, creation_id)

    async def count_chats(self) -> int:
        """Return the number of stored chats."""
        return await self._ask_about_chats(queries.count_chats)

    async def path(
        self,
        chat_id: str,
        leaf_id: int | None,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        max_bytes: int | None = None,
    ) -> MessagePage:
        """Return messages of the branch that ends at `leaf_id`, oldest first."""
        return await self._ask(queries.path, chat_id, leaf_id, after, before, limit, max_bytes)

    async def children(self, chat_id: str, parent_id: int | None) -> tuple[int, ...]:
        """Return the ids of the messages that follow this one, oldest first."""
        return await self._ask(queries.children, chat_id, parent_id)

    async def newest_leaf(self, chat_id: str, message_id: int) -> int | None:
        """Return the newest message below this one."""
        return await self._ask(queries.newest_leaf, chat_id, message_id)

    async def summaries(self, chat_id: str) -> tuple[Summary, ...]:
        """Return the summaries of a chat's branches, oldest first."""
        return await self._ask(queries.summaries, chat_id)

    async def message(self, chat_id: str, message_id: int) -> Message | None:
        """Return one message."""
        return await self._ask(queries.message, chat_id, message_id)

    async def find_client_message(
        self, chat_id: str, client_message_id: str
    ) -> Message | QueuedMessage | None:
        """Return the message with this client message id, stored or queued."""
        return await self._ask(queries.client_message, chat_id, client_message_id)

    async def turn(self, chat_id: str, turn_id: str) -> Turn | None:
        """Return one turn."""
        return await self._ask(queries.turn, chat_id, turn_id)

    async def turn_messages(self, chat_id: str, turn_id: str) -> tuple[Message, ...]:
        """Return the messages of one turn, oldest first."""
        return await self._ask(queries.turn_messages, chat_id, turn_id)

    async def search(
        self, owner: str, query: str, *, cursor: str | None = None, limit: int = 50
    ) -> SearchPage:
        """Return one page of hits."""
        if self._searcher is None:
            raise self._closed_error()
        return await self._searcher.page(owner, query, cursor, limit)

    async def configuration(self) -> StoredConfiguration:
        """Return the providers and models that were configured."""
        return await self._ask(configuration.read)

    async def policy(self, owner: str) -> StoredPolicy:
        """Return the permission rules of an owner, and what the owner trusts."""
        return await self._ask(policy.read, owner)

    async def mcp_servers(self, owner: str) -> tuple[McpServerRecord, ...]:
        """Return the MCP servers of an owner."""
        return await self._ask(mcp.read_servers, owner)

    async def mcp_manifests(self, keys: Sequence[str]) -> "Mapping[str, McpManifest]":
        """Return what is kept of what servers offer."""
        return await self._ask(mcp.read_manifests, keys)


def _note_failure(done: "asyncio.Future[None]") -> None:
    if not done.cancelled() and done.exception() is not None:
        log.warning("a change of the store in the background failed: %s", done.exception())
