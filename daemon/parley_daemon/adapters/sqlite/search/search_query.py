"""Queries the full-text index.

The first page ranks all hits, up to MAX_HITS of the matches in the newest chats, by BM25. The ranking itself
(row numbers and scores) is packed into the cursor, since scores change with every message that is added:
later pages continue the same ranking. Hits are looked up when their page is built, so a message that was
deleted meanwhile is skipped.
"""

import logging
import sqlite3

from parley_daemon.adapters.querying.search_cursor import (
    MAX_HITS,
    decode_search_cursor,
    encode_search_cursor,
)
from parley_daemon.adapters.querying.tokenizer import Query, Term, parse_query, separate_characters
from parley_daemon.adapters.sqlite import codec
from parley_daemon.adapters.sqlite.search.search_index import CHAT_STEP, OWNER_STEP, is_corrupt
from parley_daemon.ports.store import SearchHit, SearchPage

log = logging.getLogger(__name__)

MAX_RANKED = 10_000
"""At most so many matches are ranked, those in the newest chats. Bounds the cost of very frequent words."""

_TITLE_WEIGHT, _TEXT_WEIGHT = 2.0, 1.0

_RANK = f"""
    SELECT rowid, -score FROM (
        SELECT rowid, bm25(search, {_TITLE_WEIGHT}, {_TEXT_WEIGHT}) AS score FROM search
        WHERE search MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid DESC LIMIT {MAX_RANKED}
    ) ORDER BY score, rowid DESC LIMIT {MAX_HITS}
"""

_CHAT = "SELECT id, body FROM chats WHERE search_id = ? AND owner = ?"
_MESSAGE = "SELECT body FROM messages WHERE chat_id = ? AND id = ?"

Ranked = tuple[int, float]


class DamagedIndexError(Exception):
    """The index cannot be read; `error` is SQLite's."""

    def __init__(self, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        self.error = error


def search(
    connection: sqlite3.Connection, owner: str, text: str, cursor: str | None, limit: int
) -> SearchPage:
    """Return one page of hits, best first; with equal scores the newer chat or message first.

    Raises:
        DamagedIndexError: the index cannot be read.
        InvalidCursorError: the cursor is not valid, or belongs to another query.
    """
    query = parse_query(text)
    ranked = _rank(connection, owner, query) if cursor is None else decode_search_cursor(text, cursor, Ranked)
    hits: list[SearchHit] = []
    for position, (number, score) in enumerate(ranked):
        if len(hits) == limit:
            return SearchPage(tuple(hits), encode_search_cursor(text, ranked[position:]))
        try:
            hit = _load_hit(connection, owner, query, number, score)
        except codec.UNREADABLE:
            log.exception("row %d of the search index points to a record that cannot be read", number)
            continue
        if hit is not None:
            hits.append(hit)
    return SearchPage(tuple(hits), None)


def _rank(connection: sqlite3.Connection, owner: str, query: Query) -> list[Ranked]:
    known = connection.execute("SELECT number FROM search_owners WHERE owner = ?", (owner,)).fetchone()
    if known is None or not query.wanted:
        return []
    first = known[0] * OWNER_STEP
    exact = query.exact()
    found = _run_ranking(connection, exact, first)
    if exact != query and len(found) < MAX_HITS:
        # A prefix costs as much as all words that begin with it, so the exact word is tried first.
        found = _run_ranking(connection, query, first)
    return found


def _run_ranking(connection: sqlite3.Connection, query: Query, first: int) -> list[Ranked]:
    values = match_expression(query), first, first + OWNER_STEP - 1
    try:
        return connection.execute(_RANK, values).fetchall()
    except sqlite3.Error as error:
        if is_corrupt(error):
            raise DamagedIndexError(error) from error
        raise


def match_expression(query: Query) -> str:
    """Return the query in the syntax of FTS5. Terms are quoted, so that none is read as an operator."""
    wanted = " ".join(map(_quote, query.wanted))
    if not query.excluded:
        return wanted
    return f"{wanted} NOT ({' OR '.join(map(_quote, query.excluded))})"


def _quote(term: Term) -> str:
    return f'"{separate_characters(term.text)}"{" *" if term.prefix else ""}'


def _load_hit(
    connection: sqlite3.Connection, owner: str, query: Query, number: int, score: float
) -> SearchHit | None:
    """Return the hit for a row of the index; None when the chat or message was deleted meanwhile."""
    message_id = number % CHAT_STEP
    chat = connection.execute(_CHAT, (number - message_id, owner)).fetchone()
    if chat is None:
        return None
    chat_id, title = chat[0], codec.decode_title(chat[1])
    if message_id == 0:
        return SearchHit(chat_id, None, title, query.snippet(title or ""), score)
    message = connection.execute(_MESSAGE, (chat_id, message_id)).fetchone()
    if message is None:
        return None
    return SearchHit(chat_id, message_id, title, query.snippet(codec.decode_text(message[0])), score)
