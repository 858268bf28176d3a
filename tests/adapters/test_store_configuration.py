"""What every store must do with providers and models that were configured over the protocol."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import ModelSettings, Timeouts
from parley_daemon.ports.store import Store, StoredConfiguration, StoreUnavailableError
from parley_daemon.ports.store_writes import (
    AddMessage,
    DropModel,
    DropProvider,
    PutChat,
    PutModel,
    PutProvider,
)
from tests.support.engine.old_stores import CHAT, make_old_store
from tests.support.engine.records import a_chat, a_message, a_model, a_provider

Make = Callable[[], Store]

FULL = a_model(
    "llama:8b",
    display_name="Llama 👋",
    enabled=False,
    context_limit=32768,
    compression_threshold=0,
    settings=ModelSettings(
        temperature=0.5, timeouts=Timeouts(idle_ms=5), provider_options={"openaiCompat": {"user": "me"}}
    ),
    pricing=Pricing(1.5, 2.5, cache_read_per_million=0.1),
)


async def test_an_empty_store_has_nothing_configured(store: Store) -> None:
    assert await store.configuration() == StoredConfiguration()


async def test_the_configuration_is_there_after_reopening(make: Make, store: Store) -> None:
    work = a_provider("work", display_name="Work", enabled=False, has_key=True)
    await store.commit(PutModel(FULL), PutProvider(work), PutProvider(a_provider()))
    await store.commit(PutModel(a_model("alpha", is_default=True)))
    await store.aclose()
    again = make()
    await again.open()
    assert await again.configuration() == StoredConfiguration(
        (a_provider(), work), (a_model("alpha", is_default=True), FULL)
    )
    await again.aclose()


async def test_putting_again_replaces_and_dropping_removes(store: Store) -> None:
    await store.commit(PutProvider(a_provider()), PutProvider(a_provider("work")))
    await store.commit(PutModel(a_model()), PutModel(a_model(provider="work")))
    await store.commit(PutProvider(a_provider(base_url=None)), PutModel(a_model(context_limit=1)))
    await store.commit(DropProvider("work"), DropModel("work", "llama"), DropModel("work", "never"))
    assert await store.configuration() == StoredConfiguration(
        (a_provider(base_url=None),), (a_model(context_limit=1),)
    )


async def test_a_provider_can_be_dropped_without_its_models(store: Store) -> None:
    await store.commit(PutProvider(a_provider()), PutModel(a_model()))
    await store.commit(DropProvider("local"))
    assert await store.configuration() == StoredConfiguration((), (a_model(),))


async def test_a_configuration_is_committed_atomically_with_other_changes(store: Store) -> None:
    await store.commit(PutChat(a_chat()), AddMessage(a_message(1)), PutProvider(a_provider()))
    with pytest.raises(StoreUnavailableError):
        await store.commit(DropProvider("local"), PutModel(a_model()), AddMessage(a_message(1)))
    assert await store.configuration() == StoredConfiguration((a_provider(),))


async def test_an_unreadable_row_does_not_hide_others(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    store = SqliteStore(path)
    await store.open()
    await store.commit(PutProvider(a_provider()), PutProvider(a_provider("work")), PutModel(a_model()))
    await store.commit(PutModel(a_model("phi")))
    await store.aclose()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE providers SET body = 'nonsense' WHERE name = 'work'")
        file.execute("UPDATE models SET body = '{}' WHERE model = 'phi'")
    file.close()
    await store.open()
    assert await store.configuration() == StoredConfiguration((a_provider(),), (a_model(),))
    await store.aclose()


async def test_a_store_of_the_version_before_is_brought_up_to_date_after_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "parley.db"
    make_old_store(path, "2")
    store = SqliteStore(path)
    await store.open()
    await store.commit(PutProvider(a_provider()))
    assert await store.chat(CHAT) is not None
    assert (await store.configuration()).providers == (a_provider(),)
    await store.aclose()
    backup = sqlite3.connect(tmp_path / "parley.db.backup-2")
    assert (CHAT,) in backup.execute("SELECT id FROM chats").fetchall()
    backup.close()
