"""Two hundred kills while many clients work at once: nothing that was acknowledged is lost."""

import random
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Literal

import anyio
import pytest

from tests.support.crashes.acknowledgements import Acknowledgements
from tests.support.crashes.checks import AfterKill
from tests.support.crashes.clients import CONFIG, ProviderBehaviour, clients_at_work, wait_for_events
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.server import fake_provider

KILLS = 100
MOMENTS = (
    *("pending", "running", "streaming", "backing off", "interrupting", "resting", "with a queue"),
    *("answer", "title", "summary", "chat/send", "chat/interrupt", "chat/compact"),
    "chat/editMessage or chat/retry or chat/rewind or chat/selectBranch",
    "chat/create or chat/fork or chat/import",
    "chat/archive or chat/delete",
)
"""What some chat or client was doing at some kills of every run."""

Recovery = Literal["interrupt", "retry"]


@pytest.fixture(params=["interrupt", "retry"])
async def killed(
    request: pytest.FixtureRequest,
) -> AsyncGenerator[tuple[DaemonProcess, ProviderBehaviour, Recovery]]:
    """A daemon with this way of recovery, and the behaviour of its provider."""
    async with fake_provider() as provider:
        config = CONFIG.format(recovery=request.param, base_url=provider.base_url)
        async with running_daemon(config=config) as daemon:
            yield daemon, ProviderBehaviour(provider), request.param


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_kills_at_random_moments_of_everything_lose_nothing_that_was_told(
    killed: tuple[DaemonProcess, ProviderBehaviour, Recovery],
) -> None:
    daemon, behaviour, recovery = killed
    chance = random.Random(f"20260102 {recovery}")
    under_way: Counter[str] = Counter()
    kills = 0
    while kills < KILLS:
        behaviour.brief = False
        async with clients_at_work(daemon.socket, chance, str(kills)) as peers:
            await wait_for_events([*peers.values()], chance.randrange(60, 400))
            await daemon.kill()
        kills += 1
        acknowledged = Acknowledgements([peer.trace for peer in peers.values()])
        under_way += acknowledged.under_way
        behaviour.brief = True
        await daemon.start()
        if chance.random() < 0.25:  # and once more, while it looks at what the first kill left
            await anyio.sleep(chance.uniform(0, 0.02))
            await daemon.restart(kill=True)
            kills += 1
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            after_kill = AfterKill(peer, again=recovery == "retry")
            async with anyio.create_task_group() as tasks:
                for facts in acknowledged.chats.values():
                    tasks.start_soon(after_kill.check, facts)
    under_way += behaviour.cut_off
    assert all(sum(under_way[name] for name in moment.split(" or ")) for moment in MOMENTS), under_way
