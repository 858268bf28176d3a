"""The engine over both stores."""

import threading
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from parley_daemon.adapters.memory.state import MemoryState
from tests.support.engine.rig import Disk, Rig, running


@pytest.fixture(autouse=True)
def no_store_left_open() -> Generator[None]:
    """Whatever happens, every thread of a store ends with its engine."""
    yield
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("store ")]
    assert names == []


@pytest.fixture(params=["memory", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """An empty disk: in memory, then a real one."""
    if request.param == "memory":
        return Disk(MemoryState())
    folder = tmp_path / "data"
    folder.mkdir()
    return Disk(folder)


@pytest.fixture
async def rig(disk: Disk) -> AsyncGenerator[Rig]:
    """An engine that runs."""
    async with running(disk) as rig:
        yield rig
