"""Reads lists of chats in pages, for `chat/list`. The theory is in `querying.list_cursor`.

The cursor's record of the shown chats is a bit set: bit n stands for the owner's chat number n.
"""

import logging
import sqlite3
from collections.abc import Generator
from contextlib import closing
from typing import Any

from msgspec.structs import replace

from parley_daemon.adapters.querying.folders import folder_key, range_below
from parley_daemon.adapters.querying.list_cursor import (
    ListCursor,
    decode_list_cursor,
    encode_list_cursor,
    first_list_cursor,
)
from parley_daemon.adapters.sqlite import codec
from parley_daemon.adapters.sqlite.search.search_index import CHAT_STEP, OWNER_STEP
from parley_daemon.core.records import Chat
from parley_daemon.ports.store import ChatPage, ChatQuery

log = logging.getLogger(__name__)

_ORDERS = {
    "updated": ("updated_at", "DESC", "<"),
    "created": ("created_at", "DESC", "<"),
    "title": ("title_key", "ASC", ">"),
}

# The number of a chat among those of its owner, from 1, never used again. It is a part of its `search_id`.
_NUMBER = f"search_id % {OWNER_STEP} / {CHAT_STEP}"

# Above so many chats of a folder, a page is found sooner by reading all chats in order than by sorting these.
_FREQUENT = 500

Row = tuple[bytes, str, str, int]
Values = list[Any]


class _Shown:
    """The chats that were on the pages so far, one bit for each."""

    def __init__(self, bits: bytes) -> None:
        self.bits = bytearray(bits)

    def __contains__(self, number: int) -> bool:
        at, bit = divmod(number, 8)
        return at < len(self.bits) and bool(self.bits[at] & 1 << bit)

    def add(self, number: int) -> None:
        at, bit = divmod(number, 8)
        self.bits.extend(bytes(max(0, at + 1 - len(self.bits))))
        self.bits[at] |= 1 << bit


def chats(connection: sqlite3.Connection, query: ChatQuery) -> ChatPage:
    """Return one page of chats, read in one transaction, so that no chat moves meanwhile.

    Raises:
        InvalidCursorError: the cursor is not valid, or belongs to a list with another order or other filters.
    """
    after = None if query.cursor is None else decode_list_cursor(query.cursor, query)
    connection.execute("BEGIN")
    try:
        return _page(connection, query, after or _first_cursor(connection, query), _count(connection, query))
    finally:
        connection.execute("COMMIT")


def _count(connection: sqlite3.Connection, query: ChatQuery) -> int:
    """Return how many chats match. Both numbers for "not pinned" come from an index; no chat is read."""
    if query.pinned is False:
        return sum(
            sign * _count(connection, replace(query, pinned=pinned))
            for sign, pinned in ((1, None), (-1, True))
        )
    where, values = _filters(query)
    (total,) = connection.execute(f"SELECT count(*) FROM {_table(query)} WHERE {where}", values).fetchone()
    return total


def _table(query: ChatQuery) -> str:
    """Return the table to read from. Pinned chats are few: their own index is the fastest way to them."""
    return "chats INDEXED BY chats_pinned" if query.pinned else "chats"


def _first_cursor(connection: sqlite3.Connection, query: ChatQuery) -> ListCursor:
    (newest,) = connection.execute(
        "SELECT max(updated_at) FROM chats WHERE owner = ?", (query.owner,)
    ).fetchone()
    return first_list_cursor(query, newest or "")


def _page(connection: sqlite3.Connection, query: ChatQuery, after: ListCursor, total: int) -> ChatPage:
    shown, page, last = _Shown(after.shown), list[Chat](), (after.key, after.id)
    room = query.limit
    can_move = after.id and query.order != "created"
    moved = _changed_chats(connection, query, after, shown) if can_move else []
    with closing(_rest(connection, query, after, is_frequent=total > _FREQUENT)) as rest:
        for rows in (moved, rest):
            for body, key, id, number in rows:
                if number in shown:
                    continue
                if not room:
                    cursor = replace(after, key=last[0], id=last[1], shown=bytes(shown.bits))
                    return ChatPage(tuple(page), encode_list_cursor(cursor), total)
                room -= 1
                shown.add(number)
                if rows is rest:
                    last = key, id
                chat = _read_chat(body, id)
                if chat is not None:
                    page.append(chat)
    return ChatPage(tuple(page), None, total)


def _rest(
    connection: sqlite3.Connection, query: ChatQuery, after: ListCursor, *, is_frequent: bool
) -> Generator[Row, None, None]:
    """Yield the chats after the cursor's position, in order."""
    column, direction, behind = _ORDERS[query.order]
    where, values = _filters(query, is_frequent=is_frequent)
    if after.id:
        where, values = f"{where} AND ({column}, id) {behind} (?, ?)", [*values, after.key, after.id]
    yield from connection.execute(
        f"SELECT body, {column}, id, {_NUMBER} FROM {_table(query)} WHERE {where} "
        f"ORDER BY {column} {direction}, id {direction}",
        values,
    )


def _changed_chats(
    connection: sqlite3.Connection, query: ChatQuery, after: ListCursor, shown: _Shown
) -> list[Row]:
    """Return the chats before the cursor's position that were not shown, in order, at most a page of them.

    They have changed since the first page was built. Chats that were created since then are not included.
    """
    column, direction, behind = _ORDERS[query.order]
    where, values = _filters(query, is_frequent=True)  # few have changed, whatever matches
    where = f"{where} AND updated_at >= ? AND created_at <= ? AND NOT ({column}, id) {behind} (?, ?)"
    rows = connection.execute(
        f"SELECT {column}, id, {_NUMBER} FROM chats INDEXED BY chats_by_update WHERE {where} "
        f"ORDER BY {column} {direction}, id {direction}",
        [*values, after.began, after.began, after.key, after.id],
    ).fetchall()
    new = [row for row in rows if row[2] not in shown][: query.limit + 1]
    return [
        (*connection.execute("SELECT body FROM chats WHERE id = ?", (id,)).fetchone(), key, id, number)
        for key, id, number in new
    ]


def _read_chat(body: bytes, chat_id: str) -> Chat | None:
    """Return the chat, None when it cannot be read: one unreadable chat must not hide the others."""
    try:
        chat: Chat = codec.decode_chat(body)
    except codec.UNREADABLE:
        log.exception("chat %s cannot be read and is left out of the list", chat_id)
        return None
    return chat


def _filters(query: ChatQuery, *, is_frequent: bool = False) -> tuple[str, Values]:
    """Return the condition of a query. `is_frequent`: many chats match, so reading in order finds them."""
    where, values = ["owner = ?"], Values([query.owner])
    for column, wanted in (
        ("archived", query.archived),
        ("kind", query.kind),
        ("parent_chat_id", query.parent_chat_id),
    ):
        if wanted is not None:
            where.append(f"{column} = ?")
            values.append(wanted)
    if query.pinned is not None:
        where.append(f"pinned = {query.pinned:d}")  # a literal: with a parameter the index cannot be used
    if query.query:
        where.append("instr(substr(title_key, 2), ?) > 0")
        values.append(query.query.casefold())
    if query.cwd is not None:
        key = folder_key(query.cwd)
        found, bounds = "folder = ?", [key]
        if query.below:
            found, bounds = "(folder = ? OR (folder >= ? AND folder < ?))", [key, *range_below(key)]
        if is_frequent:
            where.append(f"EXISTS (SELECT 1 FROM chat_folders WHERE chat_id = chats.id AND {found})")
        else:
            where[0] = "+owner = ?"  # keeps SQLite from reading all chats of the owner in order
            where.append(f"id IN (SELECT chat_id FROM chat_folders WHERE owner = ? AND {found})")
            values.append(query.owner)
        values += bounds
    return " AND ".join(where), values
