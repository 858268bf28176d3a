"""Applies the changes of a commit to the tables."""

import sqlite3
from collections.abc import Sequence
from typing import assert_never

from parley_daemon.adapters.sqlite import codec, configuration, mcp, policy
from parley_daemon.adapters.sqlite.search.search_index import SearchIndex
from parley_daemon.adapters.sqlite.tables import CHATS, MESSAGES, QUEUED, TURNS
from parley_daemon.ports.store import JournalEntry
from parley_daemon.ports.store_writes import (
    AddMessage,
    AddSummary,
    DeleteChat,
    DropJournal,
    DropMcpServer,
    DropModel,
    DropProvider,
    DropQueued,
    DropRule,
    DropTrust,
    NameCreation,
    PutChat,
    PutMcpManifest,
    PutMcpServer,
    PutMessage,
    PutModel,
    PutProvider,
    PutQueued,
    PutRule,
    PutTrust,
    PutTurn,
    SetQueue,
    Write,
)


def apply_writes(connection: sqlite3.Connection, index: SearchIndex, writes: Sequence[Write]) -> None:
    """Apply the changes of one commit, in order. Runs in the writer's transaction."""
    for write in writes:
        _apply(connection, index, write)


def _apply(connection: sqlite3.Connection, index: SearchIndex, write: Write) -> None:
    execute = connection.execute
    match write:
        case PutChat(chat):
            execute(CHATS.upsert, CHATS.row(chat))
        case NameCreation(owner, creation_id, chat_id):
            execute("INSERT OR REPLACE INTO creations VALUES (?, ?, ?)", (owner, creation_id, chat_id))
        case DeleteChat(chat_id):
            index.delete_chat(connection, chat_id)
            execute("DELETE FROM chats WHERE id = ?", (chat_id,))
        case AddMessage(message):
            row = MESSAGES.row(message)
            execute(MESSAGES.insert, row)
            index.add_message(connection, message.chat_id, message.id, row[-1])
            drop_journal(connection, message.chat_id, message.id)
        case PutMessage(message):
            execute(MESSAGES.upsert, MESSAGES.row(message))
        case AddSummary(summary):
            message = summary.message
            execute(
                "INSERT OR REPLACE INTO summaries VALUES (?, ?, ?, ?)",
                (message.chat_id, summary.after_id, message.id, codec.encode_message(message)),
            )
        case PutTurn(turn):
            execute(TURNS.upsert, TURNS.row(turn))
        case PutQueued(queued):
            execute(QUEUED.insert, QUEUED.row(queued))
        case DropQueued(queued_id):
            execute("DELETE FROM queued WHERE id = ?", (queued_id,))
        case SetQueue(chat_id, queue):
            execute("DELETE FROM queued WHERE chat_id = ?", (chat_id,))
            for queued in queue:
                _apply(connection, index, PutQueued(queued))
        case DropJournal(chat_id, message_id):
            drop_journal(connection, chat_id, message_id)
        case PutProvider() | DropProvider() | PutModel() | DropModel():
            configuration.write(connection, write)
        case PutRule() | DropRule() | PutTrust() | DropTrust():
            policy.write(connection, write)
        case PutMcpServer() | DropMcpServer() | PutMcpManifest():
            mcp.write(connection, write)
        case _:
            assert_never(write)


def drop_journal(connection: sqlite3.Connection, chat_id: str, message_id: int) -> None:
    """Delete the journal rows of a message."""
    connection.execute("DELETE FROM journal WHERE chat_id = ? AND message_id = ?", (chat_id, message_id))


def write_journal(connection: sqlite3.Connection, entries: Sequence[JournalEntry]) -> None:
    """Insert journal rows. Rows of chats that were deleted meanwhile are skipped.

    All rows are inserted by one statement. With a statement for each row, this thread would take the
    interpreter lock for each of them, and the event loop would wait for it.
    """
    connection.execute(
        """
        INSERT INTO journal (chat_id, turn_id, message_id, part, piece)
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
            json_extract(value, '$[3]'), json_extract(value, '$[4]')
        FROM json_each(?) WHERE EXISTS (SELECT 1 FROM chats WHERE id = json_extract(value, '$[0]'))
        """,
        (codec.encode_entries(entries),),
    )
