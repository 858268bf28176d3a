"""Fixtures every test may use."""

import gc
import signal
from collections.abc import AsyncGenerator, Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.examples import THOROUGH
from tests.support.processes.daemon import DaemonProcess, private_environment, running_daemon
from tests.support.processes.provided_daemon import running_with_provider
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.server import FakeProvider

# Processes inherit ignored signals: of a shell's background job (SIGINT, SIGQUIT) or of nohup (SIGHUP). Tests
# that send signals expect what a process in the foreground does.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes, or how long it takes to draw one, says nothing on a loaded machine.
settings.register_profile(
    "fast", deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(THOROUGH, settings.get_profile("fast"), max_examples=100)  # make test SLOW=1
settings.load_profile("fast")

# Thousands of collected tests are long-lived objects, which full collections would look at again and again.
gc.set_threshold(20_000, 20, 100)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def shared_daemon(anyio_backend: str) -> AsyncGenerator[DaemonProcess]:
    """A daemon process for all tests that leave it as it was: they share it, not their chats."""
    async with running_daemon() as process:
        yield process


@pytest.fixture(scope="session")
async def provided_daemon(anyio_backend: str) -> AsyncGenerator[tuple[DaemonProcess, FakeProvider]]:
    """A daemon process on a fake provider, shared by the tests of a worker."""
    async with running_with_provider() as provided:
        yield provided


@pytest.fixture
async def shared_provided(
    provided_daemon: tuple[DaemonProcess, FakeProvider],
) -> AsyncGenerator[tuple[DaemonProcess, FakeProvider]]:
    """The same, for tests that leave its configuration as it was: it has no chats, scripts or requests."""
    daemon, provider = provided_daemon
    provider.scripts.clear()
    provider.requests.clear()
    provider.choose = lambda _: None
    yield daemon, provider
    async with unix_peer(daemon.socket, check=False) as peer:
        await peer.initialize()
        await peer.result("chat/delete", {"all": True})
    assert provider.faults == []


@pytest.fixture
def places() -> Generator[dict[str, str]]:
    """The environment of processes that share nothing with those of other tests; no daemon runs there."""
    with private_environment() as environment:
        yield environment


@pytest.fixture
async def daemon() -> AsyncGenerator[DaemonProcess]:
    """A daemon process of this test's own, with the demo model."""
    async with running_daemon() as process:
        yield process


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is slow: at the end, one worker would be left alone with it."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Leave out of garbage collections what the collected tests have loaded."""
    gc.collect()
    gc.freeze()
