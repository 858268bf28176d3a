"""Turns of a real daemon are stopped in every phase and every way: they end soon and once; nothing is left.

Turns with tools are stopped in `test_any_agent_conversation`.
"""

import os
import random
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.support.crashes.interrupted_chat import SLOTS, InterruptedChat
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.server import FakeProvider, fake_provider
from tests.support.providers.unreachable import deaf_server

ROUNDS_OF_A_CONNECTION = 25
WORKERS = 6  # idle threads that may be kept for later
LATER = 4  # three files of the watch on the configuration, and one that SQLite keeps after its check

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")


def config(provider: FakeProvider, deaf: int) -> str:
    """Return a configuration with the provider, one that never accepts a connection, and few slots."""
    return f"""
        default_model = "fake:any"
        [titles]
        enabled = false
        [limits]
        max_running_turns = {SLOTS}
        [retries]
        first_ms = 60000
        [providers.fake]
        type = "openai-compat"
        base_url = "{provider.base_url}"
        [providers.deaf]
        type = "openai-compat"
        base_url = "http://127.0.0.1:{deaf}/v1"
    """


@dataclass(frozen=True)
class Held:
    """What a process holds: open files and sockets (those to the provider apart), threads, children."""

    files: int
    connections: int
    threads: int
    children: int


def held(pid: int, provider: FakeProvider) -> Held:
    """Look at what the daemon holds now."""
    place = Path("/proc") / str(pid)
    threads = os.listdir(place / "task")
    children = [child for one in threads for child in (place / "task" / one / "children").read_text().split()]
    connections = provider.open_connections
    return Held(len(os.listdir(place / "fd")) - connections, connections, len(threads), len(children))


async def interrupt_often(daemon: DaemonProcess, provider: FakeProvider, count: int, seed: int) -> None:
    """Stop so many turns, each phase as often as the others, over connections that come and go."""
    chance = random.Random(seed)
    for first in range(0, count, ROUNDS_OF_A_CONNECTION):
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat = InterruptedChat(peer, provider, daemon.data_dir / "parley.db", chance)
            await chat.open()
            for number in range(first, min(count, first + ROUNDS_OF_A_CONNECTION)):
                await chat.round(number)


async def given_back(peer: Peer, daemon: DaemonProcess, provider: FakeProvider, most: int) -> Held:
    """Wait until no turn, no other client, no model call and not more files are left; return what is."""
    with anyio.fail_after(30):
        while True:
            status, now = await peer.result("server/status"), held(daemon.pid, provider)
            at_rest = status["runningTurns"] == 0 and status["clients"] == 1 and not provider.under_way
            if at_rest and now.files <= most:
                return now
            await anyio.sleep(0.01)


async def check_interrupts(count: int) -> None:
    """Stop so many turns, and compare what the daemon holds with what it held after the first few."""
    with deaf_server() as deaf:
        async with (
            fake_provider() as provider,
            running_daemon(config=config(provider, deaf)) as daemon,
            unix_peer(daemon.socket) as peer,
        ):
            await peer.initialize()
            await interrupt_often(daemon, provider, 10, seed=1)
            before = await given_back(peer, daemon, provider, most=1000)
            await interrupt_often(daemon, provider, count, seed=2)
            after = await given_back(peer, daemon, provider, before.files + LATER)
            assert after.children == before.children == 0
            assert after.connections <= SLOTS + 1, "connections that nobody will use again"
            assert after.threads <= before.threads + WORKERS
            assert "Traceback" not in daemon.stderr


@pytest.mark.slow
async def test_forty_interrupts_leave_nothing_behind() -> None:
    await check_interrupts(40)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_thousand_interrupts_leave_nothing_behind() -> None:
    await check_interrupts(1000)
