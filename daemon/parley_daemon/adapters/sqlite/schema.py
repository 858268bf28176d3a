"""The tables of the store as a list of migrations, and the migration of a store.

`PRAGMA user_version` is the number of migrations that a store has had. A new migration is added at the end of
the list; an existing one is never changed. Before a store is migrated, a backup is written next to it
(`parley.db.backup-VERSION`). All missing migrations run in one transaction.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from parley_daemon.adapters.querying.folders import folder_keys
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

# A store of the first version may or may not have the index messages_by_parent.
#
# The queue of the full-text index. The index itself is built by `search_index`, which needs more than SQL.
# A chat's `search_id` is the row number of its title in the index; those of its messages follow. See there.
M002_SEARCH = """
CREATE INDEX IF NOT EXISTS messages_by_parent ON messages (chat_id, parent_id);

ALTER TABLE chats ADD COLUMN search_id INTEGER;
ALTER TABLE chats ADD COLUMN search_title TEXT;
CREATE UNIQUE INDEX chats_by_search ON chats (search_id);

CREATE TABLE search_state (version INTEGER NOT NULL);
INSERT INTO search_state VALUES (0);

CREATE TABLE search_owners (
    owner  TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    chats  INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO search_owners
    SELECT owner, row_number() OVER (ORDER BY owner), count(*) FROM chats GROUP BY owner;
CREATE TABLE numbered (id TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO numbered SELECT id, row_number() OVER (PARTITION BY owner ORDER BY created_at, id) FROM chats;
UPDATE chats SET search_id =
    (SELECT number << 47 FROM search_owners WHERE owner = chats.owner) +
    (SELECT place << 21 FROM numbered WHERE id = chats.id);
DROP TABLE numbered;

CREATE TABLE search_pending (
    position INTEGER PRIMARY KEY,
    number   INTEGER NOT NULL,
    title    TEXT NOT NULL,
    text     TEXT NOT NULL,
    gone     INTEGER NOT NULL
);
CREATE TRIGGER chat_is_new AFTER INSERT ON chats BEGIN
    INSERT INTO search_owners SELECT new.owner, (SELECT ifnull(max(number), 0) + 1 FROM search_owners), 0
        WHERE NOT EXISTS (SELECT 1 FROM search_owners WHERE owner = new.owner);
    UPDATE search_owners SET chats = chats + 1 WHERE owner = new.owner;
    UPDATE chats SET search_id =
        (SELECT (number << 47) + (chats << 21) FROM search_owners WHERE owner = new.owner)
        WHERE id = new.id;
    INSERT INTO search_pending (number, title, text, gone)
        SELECT search_id, search_title, '', 0 FROM chats WHERE id = new.id AND search_title IS NOT NULL;
END;
CREATE TRIGGER chat_has_another_title AFTER UPDATE OF search_title ON chats
WHEN old.search_title IS NOT new.search_title BEGIN
    INSERT INTO search_pending (number, title, text, gone)
        SELECT old.search_id, old.search_title, '', 1 WHERE old.search_title IS NOT NULL;
    INSERT INTO search_pending (number, title, text, gone)
        SELECT new.search_id, new.search_title, '', 0 WHERE new.search_title IS NOT NULL;
END;
CREATE TRIGGER chat_is_gone AFTER DELETE ON chats WHEN old.search_title IS NOT NULL BEGIN
    INSERT INTO search_pending (number, title, text, gone) VALUES (old.search_id, old.search_title, '', 1);
END;
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

M004_CONFIGURATION = """
CREATE TABLE providers (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE models (
    provider TEXT NOT NULL,
    model    TEXT NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (provider, model)
) WITHOUT ROWID;
"""

# Few chats are pinned. The index has only those, so that a commit of any other chat does not write to it.
M005_PINNED = """
ALTER TABLE chats ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX chats_pinned ON chats (owner, updated_at, id) WHERE pinned = 1;
"""

# `folders` has the keys of the chat's repositories as JSON (see querying/folders.py), null: it has none.
# The table has a row for each. `folder_keys` is a function of this module.
#
# `creations` has the chats that were created with a first message, by the client's id of that message.
M006_FOLDERS = """
ALTER TABLE chats ADD COLUMN folders TEXT;
CREATE TABLE chat_folders (
    owner   TEXT NOT NULL,
    folder  TEXT NOT NULL,
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    PRIMARY KEY (owner, folder, chat_id)
) WITHOUT ROWID;
CREATE INDEX chat_folders_by_chat ON chat_folders (chat_id);
CREATE TRIGGER chat_has_folders AFTER INSERT ON chats WHEN new.folders IS NOT NULL BEGIN
    INSERT INTO chat_folders SELECT new.owner, value, new.id FROM json_each(new.folders);
END;
CREATE TRIGGER chat_has_other_folders AFTER UPDATE OF folders ON chats
WHEN old.folders IS NOT new.folders BEGIN
    DELETE FROM chat_folders WHERE chat_id = new.id;
    INSERT INTO chat_folders SELECT new.owner, value, new.id FROM json_each(new.folders);
END;
UPDATE chats SET folders = folder_keys(json_extract(CAST(body AS TEXT), '$.context.repositories'))
    WHERE CASE WHEN json_valid(CAST(body AS TEXT))
        THEN json_array_length(CAST(body AS TEXT), '$.context.repositories') > 0 END;

CREATE TABLE creations (
    owner       TEXT NOT NULL,
    creation_id TEXT NOT NULL,
    chat_id     TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    PRIMARY KEY (owner, creation_id)
) WITHOUT ROWID;
CREATE INDEX creations_by_chat ON creations (chat_id);
"""

# A rule for one chat is deleted with it. `root` is the URI of a folder, `hash` that of a file in it.
M007_PERMISSIONS = """
CREATE TABLE rules (
    id      TEXT PRIMARY KEY,
    owner   TEXT NOT NULL,
    chat_id TEXT REFERENCES chats (id) ON DELETE CASCADE,
    body    BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX rules_by_owner ON rules (owner, id);
CREATE INDEX rules_by_chat ON rules (chat_id) WHERE chat_id IS NOT NULL;
CREATE TABLE trusted (
    owner TEXT NOT NULL,
    root  TEXT NOT NULL,
    hash  TEXT NOT NULL,
    PRIMARY KEY (owner, root, hash)
) WITHOUT ROWID;
"""

# The key of a manifest names the definition of a server.
M008_MCP = """
CREATE TABLE mcp_servers (
    id      TEXT PRIMARY KEY,
    owner   TEXT NOT NULL,
    body    BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX mcp_servers_by_owner ON mcp_servers (owner);
CREATE TABLE mcp_manifests (key TEXT PRIMARY KEY, at TEXT NOT NULL, body BLOB NOT NULL);
"""

# A chat counts its children of kind "agent". A damaged chat stays as it is.
M009_CHILDREN = """
UPDATE chats SET body = CAST(json_set(CAST(body AS TEXT), '$.child_count', (
    SELECT count(*) FROM chats AS child WHERE child.parent_chat_id = chats.id AND child.kind = 'agent'
)) AS BLOB)
WHERE id IN (SELECT parent_chat_id FROM chats WHERE kind = 'agent' AND parent_chat_id IS NOT NULL)
AND json_valid(CAST(body AS TEXT));
"""

MIGRATIONS: Sequence[str] = (
    M001_CHATS,
    M002_SEARCH,
    M003_SUMMARIES,
    M004_CONFIGURATION,
    M005_PINNED,
    M006_FOLDERS,
    M007_PERMISSIONS,
    M008_MCP,
    M009_CHILDREN,
)


def refuse_newer(path: Path, migrations: Sequence[str]) -> None:
    """Check the version of the store without changing any file, not even a write-ahead log.

    Raises:
        StoreTooNewError: a newer version of parleyd has written the store.
        sqlite3.Error: it cannot be read.
    """
    if not path.exists() or not path.stat().st_size:
        return
    with closing(connect_unchanged(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise StoreTooNewError(
            f"{path} was written by a newer parleyd (store version {version}, supported: up to "
            f"{len(migrations)}). It was not changed. Update parleyd, or use another data directory."
        )


def connect_unchanged(path: Path) -> sqlite3.Connection:
    """Open a connection that reads a store and changes no file. No process may be using the store."""
    log = path.with_name(f"{path.name}-wal")
    # A connection that can write empties the log when it closes. Without a log, even a reader creates one.
    mode = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Run the missing migrations in one transaction, after a backup.

    Raises:
        sqlite3.Error: the store cannot be read or written. It is unchanged.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == len(migrations):
        return
    if version > 0:
        _back_up(connection, path.with_name(f"{path.name}.backup-{version}"))
    statements = "".join(f"{text}\n" for text in migrations[version:])
    add_functions(connection)
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{statements}PRAGMA user_version = {len(migrations)};\nCOMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise


def add_functions(connection: sqlite3.Connection) -> None:
    """Add the functions that migrations use to a connection."""
    connection.create_function("folder_keys", 1, _folder_keys, deterministic=True)


def _folder_keys(uris: str | None) -> str | None:
    """Return the keys of the folders in a JSON array of URIs, as JSON."""
    try:
        return encode_folders(msgspec.json.decode(uris or "[]", type=list[str]))
    except msgspec.DecodeError:
        return None  # the chat is damaged


def encode_folders(uris: Sequence[str]) -> str | None:
    """Return the value of the column `folders` for a chat with these repositories."""
    return msgspec.json.encode(folder_keys(uris)).decode() if uris else None


def _back_up(connection: sqlite3.Connection, to: Path) -> None:
    to.unlink(missing_ok=True)
    target = sqlite3.connect(to)
    try:
        to.chmod(0o600)
        connection.backup(target)
    finally:
        target.close()
