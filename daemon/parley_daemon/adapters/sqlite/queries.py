"""The queries of the store, except lists and searches. They run in the reader's thread."""

import json
import logging
import sqlite3

from parley_daemon.adapters.sqlite import codec
from parley_daemon.adapters.sqlite.health import is_damage
from parley_daemon.core.compaction import Summary
from parley_daemon.core.parts import Piece
from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn
from parley_daemon.ports.store import ChatTooLargeError, LostTurn, MessagePage, StoredChat, WholeChat

log = logging.getLogger(__name__)

# SQLite's largest integer: "no limit", "no upper bound".
_MAX_INTEGER = 2**63 - 1


def chat(connection: sqlite3.Connection, chat_id: str) -> StoredChat | None:
    """Return a chat with its queue."""
    row = connection.execute("SELECT body FROM chats WHERE id = ?", (chat_id,)).fetchone()
    if row is None:
        return None
    queue = connection.execute(
        f"SELECT {codec.QUEUED_COLUMNS} FROM queued WHERE chat_id = ? ORDER BY position", (chat_id,)
    )
    return StoredChat(codec.decode_chat(row[0]), tuple(map(codec.read_queued, queue)))


def whole_chat(connection: sqlite3.Connection, chat_id: str, max_bytes: int | None) -> WholeChat | None:
    """Return a chat with everything that belongs to it, read in one transaction.

    Raises:
        ChatTooLargeError: its messages take more than `max_bytes`.
    """
    connection.execute("BEGIN")
    try:
        stored = chat(connection, chat_id)
        if stored is None:
            return None
        found: list[Message] = []
        size = 0
        for row in connection.execute(
            f"SELECT {codec.MESSAGE_COLUMNS}, '' FROM messages WHERE chat_id = ? ORDER BY id", (chat_id,)
        ):
            size += len(row[-2])
            if max_bytes is not None and size > max_bytes:
                raise ChatTooLargeError(max_bytes)
            found.append(codec.read_message(row))
        turns = connection.execute("SELECT body FROM turns WHERE chat_id = ? ORDER BY id", (chat_id,))
        return WholeChat(
            stored.chat,
            tuple(found),
            tuple([codec.decode_turn(body) for (body,) in turns]),
            stored.queue,
        )
    finally:
        connection.execute("COMMIT")


def child_chats(connection: sqlite3.Connection, chat_id: str) -> tuple[Chat, ...]:
    """Return the chats of kind "agent" directly below this one, oldest first."""
    found: list[Chat] = []
    for id, body in connection.execute(
        "SELECT id, body FROM chats WHERE parent_chat_id = ? AND kind = 'agent' ORDER BY id", (chat_id,)
    ):
        try:
            found.append(codec.decode_chat(body))
        except codec.UNREADABLE:
            log.exception("the child chat %s cannot be read and is left out", id)
    return tuple(found)


def descendants(connection: sqlite3.Connection, chat_id: str) -> tuple[str, ...]:
    """Return the ids of all chats below this one, by parent, or by root if a parent was deleted."""
    rows = connection.execute(
        """
        WITH RECURSIVE family (id) AS (
            VALUES (?1)
            UNION
            SELECT chats.id FROM family JOIN chats ON parent_chat_id = family.id
        )
        SELECT id FROM family
        UNION
        SELECT id FROM chats
        WHERE parent_chat_id IS NOT NULL AND json_extract(CAST(body AS TEXT), '$.root_chat_id') = ?1
        ORDER BY id
        """,
        (chat_id,),
    )
    return tuple([id for (id,) in rows if id != chat_id])


def chat_ids(connection: sqlite3.Connection, owner: str) -> tuple[str, ...]:
    """Return the ids of an owner's chats, oldest first."""
    rows = connection.execute("SELECT id FROM chats WHERE owner = ? ORDER BY created_at, id", (owner,))
    return tuple([id for (id,) in rows])


def find_created(connection: sqlite3.Connection, owner: str, creation_id: str) -> str | None:
    """Return the id of the chat that a client created with a first message of this id."""
    row = connection.execute(
        "SELECT chat_id FROM creations WHERE owner = ? AND creation_id = ?", (owner, creation_id)
    ).fetchone()
    return None if row is None else row[0]


def count_chats(connection: sqlite3.Connection) -> int:
    """Return the number of stored chats."""
    (count,) = connection.execute("SELECT count(*) FROM chats").fetchone()
    return count


def path(
    connection: sqlite3.Connection,
    chat_id: str,
    leaf_id: int | None,
    after: int | None,
    before: int | None,
    limit: int | None,
    max_bytes: int | None = None,
) -> MessagePage:
    """Return a page of the branch that ends at `leaf_id`. Reads only the messages of the page.

    A search for one message compares whole rows, which takes milliseconds where rows have megabytes. So the
    page is one range of rows, and those of other branches are passed over.
    """
    wanted = None if limit is None or after is not None else limit + 1
    ids = _branch(
        connection, chat_id, leaf_id, after or 0, _MAX_INTEGER if before is None else before, wanted
    )
    if after is not None:
        ids.reverse()
    page = ids[:limit]
    if not page:
        return MessagePage((), len(ids) > 0)
    rows = connection.execute(
        f"""
        {codec.SELECT_MESSAGE} FROM messages m
        WHERE m.chat_id = ? AND m.id BETWEEN ? AND ? AND +m.id IN (SELECT value FROM json_each(?))
        ORDER BY m.id {"ASC" if after is not None else "DESC"}
        """,
        (chat_id, min(page), max(page), json.dumps(page)),
    )
    chosen: list[Message] = []
    size = 0
    for row in rows:  # each is read when it is its turn
        size += len(row[-2])  # the body
        if chosen and max_bytes is not None and size > max_bytes:
            break
        chosen.append(codec.read_message(row))
    has_more = len(chosen) < len(ids)
    return MessagePage(tuple(chosen if after is not None else chosen[::-1]), has_more)


def _branch(
    connection: sqlite3.Connection,
    chat_id: str,
    leaf_id: int | None,
    after: int,
    before: int,
    count: int | None,
) -> list[int]:
    """Return ids of the branch that ends at `leaf_id`, newest first: at most `count`, between the two others.

    One pass over the index from the leaf towards the root, without the rows: parents have smaller ids, so
    each message is found behind its child.
    """
    if leaf_id is None:
        return []
    ids: list[int] = []
    at = leaf_id
    for id, parent_id in connection.execute(
        """
        SELECT id, parent_id FROM messages INDEXED BY messages_by_parent
        WHERE chat_id = ?1 AND parent_id < ?2 ORDER BY parent_id DESC
        """,
        (chat_id, leaf_id),
    ):
        if id != at:
            continue
        if at <= after or len(ids) == count:
            return ids
        if at < before:
            ids.append(at)
        at = parent_id
    if after < at < before and len(ids) != count and _is_root(connection, chat_id, at):
        ids.append(at)
    return ids


def _is_root(connection: sqlite3.Connection, chat_id: str, message_id: int) -> bool:
    found = connection.execute(
        """
        SELECT 1 FROM messages INDEXED BY messages_by_parent
        WHERE chat_id = ? AND parent_id IS NULL AND id = ?
        """,
        (chat_id, message_id),
    )
    return found.fetchone() is not None


def children(connection: sqlite3.Connection, chat_id: str, parent_id: int | None) -> tuple[int, ...]:
    """Return the ids of the messages that follow this one, oldest first."""
    rows = connection.execute(
        "SELECT id FROM messages WHERE chat_id = ? AND parent_id IS ? ORDER BY id", (chat_id, parent_id)
    )
    return tuple([id for (id,) in rows])


def newest_leaf(connection: sqlite3.Connection, chat_id: str, message_id: int) -> int | None:
    """Return the newest message below this one, or itself: children have greater ids than their parents."""
    (leaf,) = connection.execute(
        """
        WITH RECURSIVE below (message_id) AS (
            SELECT id FROM messages WHERE chat_id = ?1 AND id = ?2
            UNION ALL
            SELECT id FROM below JOIN messages ON chat_id = ?1 AND parent_id = message_id
        )
        SELECT max(message_id) FROM below
        """,
        (chat_id, message_id),
    ).fetchone()
    return leaf


def summaries(connection: sqlite3.Connection, chat_id: str) -> tuple[Summary, ...]:
    """Return the summaries of a chat's branches, oldest first."""
    rows = connection.execute(
        "SELECT after_id, message_id, body FROM summaries WHERE chat_id = ? ORDER BY message_id", (chat_id,)
    )
    return tuple([codec.read_summary(chat_id, *row) for row in rows])


def message(connection: sqlite3.Connection, chat_id: str, message_id: int) -> Message | None:
    """Return one message."""
    row = connection.execute(
        f"{codec.SELECT_MESSAGE} FROM messages m WHERE chat_id = ? AND id = ?", (chat_id, message_id)
    ).fetchone()
    return None if row is None else codec.read_message(row)


def client_message(
    connection: sqlite3.Connection, chat_id: str, client_message_id: str
) -> Message | QueuedMessage | None:
    """Return the message with this client message id, stored or queued."""
    wanted = chat_id, client_message_id
    row = connection.execute(
        f"{codec.SELECT_MESSAGE} FROM messages m WHERE chat_id = ? AND client_message_id = ?", wanted
    ).fetchone()
    if row is not None:
        return codec.read_message(row)
    row = connection.execute(
        f"SELECT {codec.QUEUED_COLUMNS} FROM queued WHERE chat_id = ? AND client_message_id = ?", wanted
    ).fetchone()
    return None if row is None else codec.read_queued(row)


def turn(connection: sqlite3.Connection, chat_id: str, turn_id: str) -> Turn | None:
    """Return one turn."""
    row = connection.execute(
        "SELECT body FROM turns WHERE id = ? AND chat_id = ?", (turn_id, chat_id)
    ).fetchone()
    return None if row is None else codec.decode_turn(row[0])


def turn_messages(connection: sqlite3.Connection, chat_id: str, turn_id: str) -> tuple[Message, ...]:
    """Return a turn's messages, oldest first."""
    rows = connection.execute(
        f"{codec.SELECT_MESSAGE} FROM messages m WHERE turn_id = ? AND chat_id = ? ORDER BY id",
        (turn_id, chat_id),
    )
    return tuple(map(codec.read_message, rows))


def lost_turns(connection: sqlite3.Connection) -> tuple[LostTurn, ...]:
    """Return the turns that were running when the previous process ended, with their journals.

    Turns and pieces that cannot be read are logged and left out.
    """
    lost: list[LostTurn] = []
    for id in _turns_under_way(connection):
        try:
            (body,) = connection.execute("SELECT body FROM turns WHERE id = ?", (id,)).fetchone()
            turn: Turn = codec.decode_turn(body)
            chat(connection, turn.chat_id)  # the recovery of the turn needs it
            rows = connection.execute(
                "SELECT message_id, piece FROM journal WHERE turn_id = ? ORDER BY position", (turn.id,)
            ).fetchall()
        except codec.UNREADABLE:
            log.exception("turn %s was running and cannot be read", id)
            continue
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            log.error("turn %s was running and cannot be read: %s", id, error)
            continue
        message_id = rows[-1][0] if rows else None
        lost.append(
            LostTurn(turn, message_id, _pieces(turn, [piece for id, piece in rows if id == message_id]))
        )
    return tuple(lost)


def _turns_under_way(connection: sqlite3.Connection) -> list[str]:
    try:
        return [id for (id,) in connection.execute("SELECT id FROM turns WHERE ended = 0 ORDER BY id")]
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        log.error("which turns were running cannot be read: %s", error)
        return []


def _pieces(turn: Turn, bodies: list[str]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for body in bodies:
        try:
            pieces.append(codec.decode_piece(body))
        except codec.UNREADABLE:
            log.exception("a streamed piece of turn %s cannot be read", turn.id)
    return tuple(pieces)
