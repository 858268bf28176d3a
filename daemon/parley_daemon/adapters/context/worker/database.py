"""The index of one folder: a SQLite file with an FTS5 table without contents.

Theory of operation. The table of words has no text in it, so a row of it can be written, but before SQLite
3.43 not deleted: a chunk that is gone only loses its row in `chunks`, and its words are dead. When a fifth of
the words is dead, a new file is made beside this one. Texts of passages are read from the files themselves.

`detail=full`, because with less FTS5 gives every row the rank 0, without an error.
"""

import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from parley_daemon.adapters.context.worker.sources.chunking import MAX_LINE, Cut
from parley_daemon.adapters.context.worker.sources.exclusion import is_generated_text
from parley_daemon.adapters.context.worker.sources.reading import FileText
from parley_daemon.adapters.context.worker.words import index_text

FORMAT = "5"
"""Changes with everything that decides how a text is indexed: an index of another format is made again."""

DEAD_SHARE = 0.2
"""Share of dead chunks at which the index is made again."""

WEIGHTS = (2.0, 4.0, 1.0)
"""What a word counts in a path, in the names of definitions, and in the text."""

TOKENS = "porter unicode61 remove_diacritics 2 tokenchars _"

_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, size INTEGER, mtime_ns INTEGER, hash TEXT, reason TEXT,
    is_generated INTEGER
);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL, first INTEGER, last INTEGER, names TEXT
);
CREATE INDEX chunks_of_files ON chunks (file);
CREATE VIRTUAL TABLE words USING fts5(
    path, symbols, body, content='', detail=full, tokenize="{TOKENS}"
);
INSERT INTO words (words, rank) VALUES ('rank', 'bm25({", ".join(map(str, WEIGHTS))})');
"""


class KnownFile(msgspec.Struct, frozen=True, gc=False):
    """A file in the index."""

    id: int
    size: int
    mtime_ns: int
    hash: str | None


class ChunkRow(msgspec.Struct, frozen=True, gc=False):
    """A chunk in the index.

    `names`: of what is defined in it, each with its line (from 0) after a colon, in one text.
    """

    id: int
    path: str
    hash: str
    first: int
    last: int
    names: str
    is_generated: bool


class UnusableIndexError(Exception):
    """The file is damaged, or no index of this folder in this format."""


def words_of(path: str, cut: Cut) -> Iterable[tuple[int, int, str, str, str]]:
    """Yield the chunks of a text as they are written: lines, names, and the columns symbols and body."""
    for chunk in cut.chunks:
        body = "\n".join([line[:MAX_LINE] for line in cut.lines[chunk.first : chunk.last]])
        names = " ".join([f"{one.name}:{one.line}" for one in chunk.definitions if " " not in one.name])
        symbols = index_text(" ".join([*[one.name for one in chunk.definitions], *chunk.around]))
        yield chunk.first, chunk.last, names, symbols, index_text(body)


class Database:
    """One connection to an index.

    Raises (all methods):
        sqlite3.Error: it is damaged, or cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-6000", "temp_store=MEMORY"):
            self._connection.execute(f"PRAGMA {pragma}")

    @classmethod
    def create(cls, path: str, root: str) -> "Database":
        """Make an empty index. The file exists already, and is empty."""
        database = cls(path)
        database._connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        database.note("format", FORMAT)
        database.note("root", root)
        return database

    @classmethod
    def open(cls, path: str, root: str) -> "Database":
        """Open an index.

        Raises:
            UnusableIndexError: see there.
        """
        try:
            database = cls(path)
        except sqlite3.Error as error:
            raise UnusableIndexError(str(error)) from error
        try:
            if database.noted("format") == FORMAT and database.noted("root") == root:
                return database
        except sqlite3.Error as error:
            database.close()
            raise UnusableIndexError(str(error)) from error
        database.close()
        raise UnusableIndexError("another format or another folder")

    def close(self) -> None:
        """Close the connection."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def check(self) -> None:
        """Look for damage, and close the connection if there is some. Takes a second for a very large index.

        Raises:
            UnusableIndexError: see there.
        """
        try:
            found = str(self._connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.Error as error:
            found = str(error)
        if found != "ok":
            self.close()
            raise UnusableIndexError(found)

    def begin(self) -> None:
        """Begin a transaction, unless one has begun."""
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End the transaction, if one has begun."""
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")

    def roll_back(self) -> None:
        """Give up the transaction."""
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def noted(self, key: str) -> str | None:
        """Return what was noted."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def note(self, key: str, value: str) -> None:
        """Note something."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # ------------------------------------------------------------------------------ writing

    def known_files(self) -> dict[str, KnownFile]:
        """Return all files by path."""
        rows = self._connection.execute("SELECT path, id, size, mtime_ns, hash FROM files")
        return {path: KnownFile(*rest) for path, *rest in rows}

    def known_file(self, path: str) -> KnownFile | None:
        """Return one file."""
        row = self._connection.execute(
            "SELECT id, size, mtime_ns, hash FROM files WHERE path = ?", (path,)
        ).fetchone()
        return None if row is None else KnownFile(*row)

    def put(self, path: str, known: KnownFile | None, file: FileText, cut: Cut | None) -> None:
        """Write a file with its chunks. `cut` None: it has none, or they are the same as before."""
        is_generated = is_generated_text(file.text)
        values = (file.stamp.size, file.stamp.mtime_ns, file.hash or None, file.reason, is_generated)
        if known is None:
            fields = "size, mtime_ns, hash, reason, is_generated, path"
            sql = f"INSERT INTO files ({fields}) VALUES (?, ?, ?, ?, ?, ?)"
            id = self._connection.execute(sql, (*values, path)).lastrowid or 0
        else:
            id = known.id
            sql = (
                "UPDATE files SET size = ?, mtime_ns = ?, hash = ?, reason = ?, is_generated = ? WHERE id = ?"
            )
            self._connection.execute(sql, (*values, id))
            if cut is None and file.reason is None:
                return
            self._remove_chunks(id)
        if cut is None:
            return
        place = index_text(path)
        for first, last, names, symbols, body in words_of(path, cut):
            chunk = self._connection.execute(
                "INSERT INTO chunks (file, first, last, names) VALUES (?, ?, ?, ?)", (id, first, last, names)
            ).lastrowid
            self._connection.execute(
                "INSERT INTO words (rowid, path, symbols, body) VALUES (?, ?, ?, ?)",
                (chunk, place, symbols, body),
            )

    def remove(self, id: int) -> None:
        """Remove a file."""
        self._remove_chunks(id)
        self._connection.execute("DELETE FROM files WHERE id = ?", (id,))

    def _remove_chunks(self, id: int) -> None:
        self._connection.execute("DELETE FROM chunks WHERE file = ?", (id,))

    def is_worn(self) -> bool:
        """Return whether too much of it is dead."""
        live, last = self.count_chunks(), self.last_chunk()
        return last - live > max(200, DEAD_SHARE * last)

    def tidy(self) -> None:
        """Give back what is not needed between two scans."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.execute("PRAGMA shrink_memory")

    def finish(self, skipped: int) -> None:
        """Note that all files are in it. `skipped`: files whose names are not UTF-8."""
        self.note("complete", "1")
        self.note("unnamed", str(skipped))
        self.note("updated", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    # ------------------------------------------------------------------------------ reading

    def last_chunk(self) -> int:
        """Return how many chunks there have ever been: those of the table of words."""
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()
        return 0 if row is None else int(row[0])

    def count_chunks(self) -> int:
        """Return how many chunks there are."""
        return int(self._connection.execute("SELECT count(*) FROM chunks").fetchone()[0])

    def count_files(self) -> int:
        """Return how many files are indexed."""
        return int(self._connection.execute("SELECT count(*) FROM files WHERE reason IS NULL").fetchone()[0])

    def count_skipped(self) -> dict[str, int]:
        """Return how many files are left out, by reason."""
        rows = self._connection.execute(
            "SELECT reason, count(*) FROM files WHERE reason IS NOT NULL GROUP BY reason"
        )
        found = {str(reason): int(count) for reason, count in rows}
        if (unnamed := int(self.noted("unnamed") or 0)) > 0:
            found["name"] = unnamed
        return found

    def count_word(self, term: str, limit: int) -> int:
        """Return in how many chunks a term is, dead ones included, at most `limit`."""
        sql = "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)"
        return int(self._connection.execute(sql, (term, limit)).fetchone()[0])

    def search(self, terms: Sequence[str], limit: int) -> list[tuple[int, float]]:
        """Return the chunks with any of these terms and what they score, the best first; maybe dead ones."""
        sql = "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"
        return list(self._connection.execute(sql, (" OR ".join(terms), limit)))

    def chunks(self, ids: Sequence[int]) -> dict[int, ChunkRow]:
        """Return those of these chunks that are not dead."""
        marks = ",".join("?" * len(ids))
        rows = self._connection.execute(
            "SELECT c.id, f.path, f.hash, c.first, c.last, c.names, f.is_generated "
            f"FROM chunks c JOIN files f ON f.id = c.file WHERE c.id IN ({marks}) AND f.hash IS NOT NULL",
            ids,
        )
        return {
            id: ChunkRow(id, path, hash, first, last, names, bool(is_generated))
            for id, path, hash, first, last, names, is_generated in rows
        }

    def paths(self) -> Iterable[str]:
        """Yield the paths of all indexed files."""
        return [
            str(row[0]) for row in self._connection.execute("SELECT path FROM files WHERE reason IS NULL")
        ]

    def chunks_with_names(self, beginning: str, limit: int) -> list[tuple[str, str]]:
        """Return path and names of chunks that may define something with this beginning: a word."""
        rows = self._connection.execute(
            "SELECT f.path, c.names FROM words w JOIN chunks c ON c.id = w.rowid "
            "JOIN files f ON f.id = c.file WHERE words MATCH ? LIMIT ?",
            (f'symbols : "{beginning}" *', limit),
        )
        return [(str(path), str(names)) for path, names in rows]


def file_size(path: str) -> int:
    """Return the bytes of an index on the disk."""
    total = 0
    for ending in ("", "-wal"):
        with suppress(OSError):
            total += os.path.getsize(path + ending)
    return total
