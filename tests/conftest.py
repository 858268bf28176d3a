"""Fixtures every test may use."""

from collections.abc import AsyncGenerator, Generator

import pytest

from tests.support.processes.daemon import DaemonProcess, private_places, running_daemon


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def shared_daemon(anyio_backend: str) -> AsyncGenerator[DaemonProcess]:
    """A daemon process for all tests that leave it as it was: they share it, not their chats."""
    async with running_daemon() as process:
        yield process


@pytest.fixture
def places() -> Generator[dict[str, str]]:
    """The environment of processes that share nothing with those of other tests; no daemon runs there."""
    with private_places() as environment:
        yield environment


@pytest.fixture
async def daemon() -> AsyncGenerator[DaemonProcess]:
    """A daemon process of this test's own, with the demo model."""
    async with running_daemon() as process:
        yield process


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is slow: at the end, one worker would be left alone with it."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
