"""The full-text index (SQLite FTS5) and its update.

The index is contentless: it stores which words are in which row, but not the text, which is in the messages
already. Snippets are cut from the stored messages. To delete a row from a contentless index, FTS5 needs the
text that was indexed, so deletions are queued with the text.

Row numbers encode where a text belongs: owner * OWNER_STEP + chat * CHAT_STEP + message, with message 0 for
the title of the chat. So all rows of an owner are one range of numbers, newer chats have higher numbers, and
no table is needed to find the message of a row. The triggers in `schema` compute the same numbers.

Updating the index in every commit would be slow, since FTS5 works best with many rows per statement. So a
commit only adds its changes to the table `search_pending`, in its own transaction (messages here, titles by
triggers). `flush` moves a bounded number of them into the index; `search_thread` decides when. Both happen in
transactions, so after a crash the queue and the index still fit together.

The store works without the index. When FTS5 is missing, the index cannot be built or it is found damaged,
`complaint` says so, searches fail with it, and the stored version of the index is set to 0. At the next start
an index whose version is not VERSION is built again from all messages.
"""

import logging
import sqlite3
from contextlib import closing

from parley_daemon.adapters.querying.tokenizer import separate_characters
from parley_daemon.adapters.sqlite import codec
from parley_daemon.adapters.sqlite.health import is_damage
from parley_daemon.adapters.sqlite.repair.salvage import copy_readable_chats

log = logging.getLogger(__name__)

VERSION = 1
"""Version of the index. Increase it when a change here or in `separate_characters` affects its content."""

MAX_TEXT_LENGTH = 200_000
"""Characters of a message that are indexed; the rest is not found. Bounds the cost of one message."""

OWNER_STEP, CHAT_STEP = 1 << 47, 1 << 21

_FLUSHED_AT_ONCE = 50  # takes 3 ms; a commit may have to wait for it

# FTS5's automatic merge takes 20 ms in one flush now and then. Instead, every flush merges a few pages.
_SETTINGS = {"automerge": 0, "crisismerge": 64, "usermerge": 8}
_MERGED_PAGES = 32

_CREATE = """
    CREATE VIRTUAL TABLE search USING fts5(
        title, text, content = '', tokenize = 'unicode61 remove_diacritics 2'
    )
"""
_QUEUE = """
    INSERT INTO search_pending (number, title, text, gone)
    SELECT search_id + ?, '', ?, ? FROM chats WHERE id = ? AND search_id IS NOT NULL
"""
_FLUSH = """
    INSERT INTO search (search, rowid, title, text)
    SELECT CASE WHEN gone THEN 'delete' END, number, title, text FROM search_pending
    WHERE position <= ? ORDER BY number, position
"""

# The errors of SQLite that mean a damaged index when an update fails. All others are about the disk.
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR)


class SearchIndex:
    """Updates the index, in the writer's thread. `complaint`: why the index cannot be searched, else None."""

    def __init__(self) -> None:
        self.complaint: str | None = "The store is not open."
        self.damaged = False

    def open(self, connection: sqlite3.Connection) -> None:
        """Build the index when it is missing or has another version. Never raises: see `complaint`."""
        self.complaint, self.damaged = None, False
        if not _has_fts5(connection):
            self.complaint = "Search needs SQLite with FTS5, which this Python does not have."
            return
        try:
            (version,) = connection.execute("SELECT version FROM search_state").fetchone()
            if version == VERSION:
                return
            connection.execute("BEGIN IMMEDIATE")
            _build(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self.complaint = f"The search index could not be built: {error}."
            log.warning("%s It is tried again at the next start.", self.complaint)

    def add_message(self, connection: sqlite3.Connection, chat_id: str, message_id: int, body: bytes) -> None:
        """Queue the text of a new message. Titles are queued by triggers in the schema."""
        if self.complaint is not None:
            self.mark_outdated(connection)
        elif (text := text_to_index(body)) and message_id < CHAT_STEP:
            connection.execute(_QUEUE, (message_id, text, False, chat_id))

    def delete_chat(self, connection: sqlite3.Connection, chat_id: str) -> None:
        """Queue the removal of all messages of a chat from the index. Call it before the chat is deleted."""
        if self.complaint is not None:
            self.mark_outdated(connection)
            return
        rows = connection.execute("SELECT id, body FROM messages WHERE chat_id = ?", (chat_id,)).fetchall()
        texts = [(id, text_to_index(body), True, chat_id) for id, body in rows if id < CHAT_STEP]
        connection.executemany(_QUEUE, [row for row in texts if row[1]])

    def flush(self, connection: sqlite3.Connection) -> bool:
        """Apply some of the queued changes; return whether more are left."""
        if self.complaint is not None:
            return False
        (last,) = connection.execute(
            "SELECT max(position) FROM (SELECT position FROM search_pending ORDER BY position LIMIT ?)",
            (_FLUSHED_AT_ONCE,),
        ).fetchone()
        if last is None:
            return False
        try:
            connection.execute(_FLUSH, (last,))
            connection.execute("INSERT INTO search (search, rank) VALUES ('merge', ?)", (_MERGED_PAGES,))
        except sqlite3.Error as error:
            if _code(error) not in _DAMAGE or not connection.in_transaction:
                raise
            self.give_up(error)
            self.mark_outdated(connection)
            return False
        connection.execute("DELETE FROM search_pending WHERE position <= ?", (last,))
        (left,) = connection.execute("SELECT EXISTS (SELECT 1 FROM search_pending)").fetchone()
        return bool(left)

    def give_up(self, error: sqlite3.Error) -> None:
        """Stop using the index, because it is damaged."""
        log.error("the search index is damaged: %s", error)
        self.damaged = True
        self.complaint = "The search index is damaged. It is built again at the next start."

    def mark_outdated(self, connection: sqlite3.Connection) -> None:
        """Record that the index has to be built again at the next start, and drop the queued changes."""
        connection.execute("UPDATE search_state SET version = 0 WHERE version <> 0")
        connection.execute("DELETE FROM search_pending")


def _build(connection: sqlite3.Connection) -> None:
    """Build the index from all stored chats."""
    execute = connection.execute
    execute("DROP TABLE IF EXISTS search")
    execute(_CREATE)
    for name, value in _SETTINGS.items():
        execute("INSERT INTO search (search, rank) VALUES (?, ?)", (name, value))
    chats = _read_chats(connection)
    if chats:
        log.info("building the search index of %d chats", len(chats))
    for chat_id, number, body in chats:
        try:
            _add_chat(connection, chat_id, number, body)
        except sqlite3.DatabaseError as error:
            if not is_damage(error) or not connection.in_transaction:
                raise
            log.error("chat %s cannot be read completely; search does not find all of it", chat_id)
    execute("DELETE FROM search_pending")
    execute("UPDATE search_state SET version = ?", (VERSION,))


def _read_chats(connection: sqlite3.Connection) -> list[tuple[str, int, bytes]]:
    question = "SELECT id, search_id, body FROM chats ORDER BY search_id"
    try:
        return connection.execute(question).fetchall()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
    with closing(copy_readable_chats(connection)) as copy:
        return copy.execute(question).fetchall()


def _add_chat(connection: sqlite3.Connection, chat_id: str, number: int, body: bytes) -> None:
    """Index the title and the messages of a chat."""
    title = title_to_index(_read_title(body))
    connection.execute("UPDATE chats SET search_title = ? WHERE id = ?", (title, chat_id))
    messages = connection.execute(
        "SELECT id, body FROM messages WHERE chat_id = ? ORDER BY id", (chat_id,)
    ).fetchall()
    texts = [(number + id, "", text_to_index(body)) for id, body in messages if id < CHAT_STEP]
    connection.executemany(
        "INSERT INTO search (rowid, title, text) VALUES (?, ?, ?)",
        [row for row in [(number, title or "", ""), *texts] if row[1] or row[2]],
    )


def is_corrupt(error: sqlite3.Error) -> bool:
    """Return whether this error of a query means that the index is damaged."""
    return _code(error) == sqlite3.SQLITE_CORRUPT


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def title_to_index(title: str | None) -> str | None:
    """Return the text that is indexed for a title."""
    return separate_characters(title) if title else None


def text_to_index(body: bytes) -> str:
    """Return the text that is indexed for a stored message; "" for one that cannot be read."""
    try:
        return separate_characters(codec.decode_text(body)[:MAX_TEXT_LENGTH])
    except codec.UNREADABLE:
        return ""


def _read_title(body: bytes) -> str | None:
    try:
        return codec.decode_title(body)
    except codec.UNREADABLE:
        return None


def _has_fts5(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'")
    return found.fetchone() is not None
