"""Both stores, to run the same tests over."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from parley_daemon.adapters.memory.state import MemoryState
from parley_daemon.adapters.memory.store import MemoryStore
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.ports.store import Store

Make = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return a maker of stores over the same data: each is what a new process would open."""
    if request.param == "memory":
        state = MemoryState()
        return lambda: MemoryStore(state)
    return lambda: SqliteStore(tmp_path / "parley.db")


@pytest.fixture
async def store(make: Make) -> AsyncIterator[Store]:
    store = make()
    await store.open()
    yield store
    await store.aclose()
