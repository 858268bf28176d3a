"""The full-text index beside the tables. It holds no text, only where words are (FTS5, contentless).

A commit queues what it changes (`search_pending`) in its own transaction; `flush` brings the index up to
date between commits, many changes in one statement, and before a search. Without the index, when it is
missing, old or damaged, the store works as ever; it is made anew at the next start.
"""

import logging
import sqlite3

from parley_daemon.adapters.querying.tokenizer import apart
from parley_daemon.adapters.sqlite import codec

log = logging.getLogger(__name__)

VERSION = 1
"""What the index holds of a text, and how. A change of that, here or in `apart`, needs another number."""

LONGEST_TEXT = 200_000
"""Characters of a message that are indexed: a bound for what one message may cost."""

# A row of the index is numbered by its owner, its chat and its message; 0 is the chat's title. So an owner's
# rows are one range, newer chats have higher numbers, and a row is found back without a table for it.
# The schema's triggers count in the same way.
OWNER_STEP, CHAT_STEP = 1 << 47, 1 << 21

_FLUSHED_AT_ONCE = 50  # 3 ms, for which a commit may have to wait

# FTS5's own merging takes 20 ms in the one flush that crosses a line; a little after each does as well.
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

# What SQLite says of a change when the index is not what it should be. Everything else is about the disk.
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR)


class SearchIndex:
    """The writing side. `complaint` says why there is no index to search; None: there is one."""

    def __init__(self) -> None:
        self.complaint: str | None = "The store is not open."
        self.damaged = False

    def open(self, connection: sqlite3.Connection) -> None:
        """Make the index when it is not there or not of this version. Fails never: see `complaint`."""
        self.complaint, self.damaged = None, False
        if not _has_fts5(connection):
            self.complaint = "This daemon's Python has an SQLite without FTS5, which search needs."
            return
        (version,) = connection.execute("SELECT version FROM search_state").fetchone()
        if version == VERSION:
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            _make(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self.complaint = f"The search index could not be made: {error}."
            log.warning("%s The next start tries again.", self.complaint)

    def add_message(self, connection: sqlite3.Connection, chat_id: str, message_id: int, body: bytes) -> None:
        """Queue the text of a message; the triggers of the schema queue titles."""
        if self.complaint is not None:
            self.mark(connection)
        elif (text := indexed_text(body)) and message_id < CHAT_STEP:
            connection.execute(_QUEUE, (message_id, text, False, chat_id))

    def delete_chat(self, connection: sqlite3.Connection, chat_id: str) -> None:
        """Queue that the messages of a chat which is about to be deleted leave the index."""
        if self.complaint is not None:
            self.mark(connection)
            return
        rows = connection.execute("SELECT id, body FROM messages WHERE chat_id = ?", (chat_id,)).fetchall()
        texts = [(id, indexed_text(body), True, chat_id) for id, body in rows if id < CHAT_STEP]
        connection.executemany(_QUEUE, [row for row in texts if row[1]])

    def flush(self, connection: sqlite3.Connection) -> bool:
        """Bring the index up to date with some of what is queued; return whether there is more."""
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
            self.mark(connection)
            return False
        connection.execute("DELETE FROM search_pending WHERE position <= ?", (last,))
        (left,) = connection.execute("SELECT EXISTS (SELECT 1 FROM search_pending)").fetchone()
        return bool(left)

    def give_up(self, error: sqlite3.Error) -> None:
        """Do without the index from now on: it is damaged."""
        log.error("the search index is damaged: %s", error)
        self.damaged = True
        self.complaint = "The search index is damaged. It is made anew at the next start."

    def mark(self, connection: sqlite3.Connection) -> None:
        """Leave word for the next start that the index is not in step; what is queued is of no use then."""
        connection.execute("UPDATE search_state SET version = 0 WHERE version <> 0")
        connection.execute("DELETE FROM search_pending")


def _make(connection: sqlite3.Connection) -> None:
    """Make the index of everything that is stored."""
    execute = connection.execute
    execute("DROP TABLE IF EXISTS search")
    execute(_CREATE)
    for name, value in _SETTINGS.items():
        execute("INSERT INTO search (search, rank) VALUES (?, ?)", (name, value))
    chats = execute("SELECT id, search_id, body FROM chats ORDER BY search_id").fetchall()
    if chats:
        log.info("making the search index of %d chats", len(chats))
    for chat_id, number, body in chats:
        title = indexed_title(_readable_title(body))
        execute("UPDATE chats SET search_title = ? WHERE id = ?", (title, chat_id))
        messages = execute(
            "SELECT id, body FROM messages WHERE chat_id = ? ORDER BY id", (chat_id,)
        ).fetchall()
        texts = [(number + id, "", indexed_text(body)) for id, body in messages if id < CHAT_STEP]
        connection.executemany(
            "INSERT INTO search (rowid, title, text) VALUES (?, ?, ?)",
            [row for row in [(number, title or "", ""), *texts] if row[1] or row[2]],
        )
    execute("DELETE FROM search_pending")
    execute("UPDATE search_state SET version = ?", (VERSION,))


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether this error of a query says that the index is damaged."""
    return _code(error) == sqlite3.SQLITE_CORRUPT


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def indexed_title(title: str | None) -> str | None:
    """Return what of a title goes into the index."""
    return apart(title) if title else None


def indexed_text(body: bytes) -> str:
    """Return what of a message's body goes into the index; nothing of one that cannot be read."""
    try:
        return apart(codec.decode_text(body)[:LONGEST_TEXT])
    except codec.UNREADABLE:
        return ""


def _readable_title(body: bytes) -> str | None:
    try:
        return codec.decode_title(body)
    except codec.UNREADABLE:
        return None


def _has_fts5(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'")
    return found.fetchone() is not None
