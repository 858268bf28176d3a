"""Raw connections to real daemons."""

from collections.abc import AsyncGenerator

import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, stdio_peer, tcp_peer, unix_peer


@pytest.fixture(params=["stdio", "unix", "tcp"])
async def wire(
    request: pytest.FixtureRequest, shared_daemon: DaemonProcess, places: dict[str, str]
) -> AsyncGenerator[Peer]:
    """An initialized connection over each transport in turn. Over stdio it has a daemon of its own."""
    if request.param == "unix":
        async with unix_peer(shared_daemon.socket) as peer:
            await peer.initialize()
            yield peer
    elif request.param == "tcp":
        async with tcp_peer(shared_daemon.tcp) as peer:
            await peer.initialize(token=shared_daemon.token)
            yield peer
    else:
        async with stdio_peer(places) as peer:
            await peer.initialize()
            yield peer


@pytest.fixture
async def peer(shared_daemon: DaemonProcess) -> AsyncGenerator[Peer]:
    """An initialized connection to the shared daemon over its Unix socket."""
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        yield peer
