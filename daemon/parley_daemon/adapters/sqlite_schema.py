"""The tables, as migrations that only ever grow at the end, and how a store is brought up to date.

The version of a store is SQLite's `user_version`: how many migrations it has seen.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from parley_daemon.ports.store import StoreTooNewError

M001_CHATS = """
CREATE TABLE chats (
    id             TEXT PRIMARY KEY,
    owner          TEXT NOT NULL,
    kind           TEXT NOT NULL,
    title_key      TEXT NOT NULL,
    archived       INTEGER NOT NULL,
    parent_chat_id TEXT,
    created_at     TEXT NOT NULL,
    updated_at     TEXT NOT NULL,
    body           BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX chats_by_update ON chats (owner, updated_at, id);
CREATE INDEX chats_by_creation ON chats (owner, created_at, id);
CREATE INDEX chats_by_title ON chats (owner, title_key, id);
CREATE INDEX chats_by_parent ON chats (parent_chat_id) WHERE parent_chat_id IS NOT NULL;

CREATE TABLE messages (
    chat_id           TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    id                INTEGER NOT NULL,
    parent_id         INTEGER,
    turn_id           TEXT,
    role              TEXT NOT NULL,
    client_message_id TEXT,
    body              BLOB NOT NULL,
    PRIMARY KEY (chat_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX messages_by_client_id ON messages (chat_id, client_message_id)
    WHERE client_message_id IS NOT NULL;
CREATE INDEX messages_by_parent ON messages (chat_id, parent_id);
CREATE INDEX messages_by_turn ON messages (turn_id) WHERE turn_id IS NOT NULL;

CREATE TABLE turns (
    id      TEXT PRIMARY KEY,
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    ended   INTEGER NOT NULL,
    body    BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX turns_by_chat ON turns (chat_id);
CREATE INDEX turns_under_way ON turns (id) WHERE ended = 0;

CREATE TABLE queued (
    position          INTEGER PRIMARY KEY AUTOINCREMENT,
    id                TEXT NOT NULL UNIQUE,
    chat_id           TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    client_message_id TEXT,
    body              BLOB NOT NULL
);
CREATE INDEX queued_by_chat ON queued (chat_id, position);

CREATE TABLE journal (
    position   INTEGER PRIMARY KEY,
    chat_id    TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    turn_id    TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    part       INTEGER NOT NULL,
    piece      TEXT NOT NULL
);
CREATE INDEX journal_by_message ON journal (chat_id, message_id);
CREATE INDEX journal_by_turn ON journal (turn_id);
"""

M003_SUMMARIES = """
CREATE TABLE summaries (
    chat_id    TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    after_id   INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (chat_id, after_id)
) WITHOUT ROWID;
"""

MIGRATIONS: Sequence[str] = (M001_CHATS, M003_SUMMARIES)


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the store up to date, in one transaction, after a backup of what was there.

    Raises:
        StoreTooNewError: a newer version wrote it.
        sqlite3.Error: it cannot be read or written; it is as it was.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise StoreTooNewError(
            f"{path} was written by a newer parleyd (store version {version}, this one knows "
            f"{len(migrations)}). It was left untouched: update parleyd, or use another data directory."
        )
    if version == len(migrations):
        return
    if version > 0:
        _back_up(connection, path.with_name(f"{path.name}.backup-{version}"))
    statements = "".join(f"{text}\n" for text in migrations[version:])
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{statements}PRAGMA user_version = {len(migrations)};\nCOMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise


def _back_up(connection: sqlite3.Connection, to: Path) -> None:
    to.unlink(missing_ok=True)
    target = sqlite3.connect(to)
    try:
        to.chmod(0o600)
        connection.backup(target)
    finally:
        target.close()
