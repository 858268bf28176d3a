"""Older, newer and unfinished versions of a store."""

import sqlite3
from pathlib import Path

import pytest

from parley_daemon.adapters.sqlite.schema import MIGRATIONS
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.ports.store import StoreTooNewError, StoreUnavailableError
from parley_daemon.ports.store_writes import PutChat
from tests.support.engine.records import a_chat


async def test_an_older_store_is_backed_up_and_migrated(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(PutChat(a_chat()))
    await store.aclose()

    newer = SqliteStore(path, migrations=(*MIGRATIONS, "CREATE TABLE extra (x);"))
    await newer.open()
    stored = await newer.chat("c1")
    await newer.aclose()

    assert stored is not None
    backup = sqlite3.connect(tmp_path / f"parley.db.backup-{len(MIGRATIONS)}")
    assert backup.execute("SELECT id FROM chats").fetchall() == [("c1",)]
    assert backup.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    backup.close()


async def test_a_failed_migration_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(PutChat(a_chat()))
    await store.aclose()

    broken = SqliteStore(path, migrations=(*MIGRATIONS, "CREATE TABLE extra (x); SELECT nonsense;"))
    with pytest.raises(StoreUnavailableError):
        await broken.open()

    await store.open()
    assert await store.chat("c1") is not None
    await store.aclose()


async def test_a_newer_store_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    future = sqlite3.connect(path)
    future.execute("CREATE TABLE tomorrow (x)")
    future.execute("PRAGMA user_version = 99")
    future.close()
    before = path.read_bytes()
    with pytest.raises(StoreTooNewError, match=r"newer parleyd.*parley\.db|parley\.db.*newer parleyd"):
        await SqliteStore(path).open()
    assert path.read_bytes() == before
