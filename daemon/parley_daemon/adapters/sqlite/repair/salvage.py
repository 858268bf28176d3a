"""Reads the chats of a damaged store: all except those on damaged pages.

A query that meets a damaged page fails as a whole, also for the rows that it has passed already. So the rows
are read from both ends of the table, each time up to the first damaged page. Ids of further rows come from
the indexes, and these rows are read one by one. All of them go into a table of the same form in memory, on
which any query about chats can be run. This takes time in proportion to the number of chats.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, TypeVar

from parley_daemon.adapters.sqlite.health import StoreHealth, is_damage
from parley_daemon.adapters.sqlite.schema import MIGRATIONS, add_functions

log = logging.getLogger(__name__)

T = TypeVar("T")

_INDEXES = (
    ("chats_by_update", "owner {0}, updated_at {0}, id {0}"),
    ("chats_by_creation", "owner {0}, created_at {0}, id {0}"),
    ("chats_by_title", "owner {0}, title_key {0}, id {0}"),
)


def ask_about_chats(
    connection: sqlite3.Connection, health: StoreHealth, question: Callable[[sqlite3.Connection], T]
) -> T:
    """Return the answer to a question about all chats; on a damaged store, about those that can be read.

    Raises:
        sqlite3.Error: the store cannot be read at all.
    """
    try:
        return question(connection)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        health.note_error(error)
    with closing(copy_readable_chats(connection)) as copy:
        return question(copy)


def copy_readable_chats(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a store in memory with the readable rows of the table of chats, and nothing else.

    Raises:
        sqlite3.Error: no row can be read: an empty list would be a lie.
    """
    names = [row[1] for row in connection.execute("PRAGMA table_info(chats)")]
    columns, place = ", ".join(names), names.index("id")
    insert = f"INSERT OR IGNORE INTO chats ({columns}) VALUES ({', '.join('?' * len(names))})"
    copy = sqlite3.connect(":memory:", isolation_level=None)
    add_functions(copy)
    copy.executescript("\n".join(MIGRATIONS))
    copy.executescript("DROP TRIGGER chat_is_new")  # it would number the chats anew
    reading = _Reading(connection)
    copied: set[str] = set()

    def add(row: tuple[Any, ...]) -> None:
        copied.add(row[place])
        copy.execute(insert, row)

    for direction, behind in (("ASC", ">"), ("DESC", "<")):
        order, last = f"ORDER BY id {direction}", None
        for row in reading.rows(f"SELECT {columns} FROM chats NOT INDEXED {order}"):
            add(row)
            last = row[place]
        # Python's module reads one row ahead: the last row before a damaged page has to be asked for alone.
        for row in reading.rows(f"SELECT {columns} FROM chats WHERE id {behind} ? {order} LIMIT 1", last):
            add(row)
    missing: set[str] = set()
    for index, order in _INDEXES:
        for direction in ("ASC", "DESC"):
            question = f"SELECT id FROM chats INDEXED BY {index} ORDER BY {order.format(direction)}"
            missing.update([id for (id,) in reading.rows(question) if id not in copied])
    for id in missing:
        for row in reading.rows(f"SELECT {columns} FROM chats WHERE id = ?", id):
            add(row)
    if reading.failure is not None:
        if not copied:
            copy.close()
            raise reading.failure
        log.error("%d chats are on damaged pages of the store and are left out", len(missing - copied))
    return copy


class _Reading:
    """Reads rows as far as possible. `failure` is the last damage that was met."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.failure: sqlite3.Error | None = None

    def rows(self, question: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows up to the first damaged page."""
        try:
            yield from self._connection.execute(question, values)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.failure = error
