"""model/list of a real daemon: what it waits for, and for how long."""

import time

import anyio

from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.script import silence, status
from tests.support.providers.server import fake_provider

LIST = {"data": [{"id": "m", "context_length": 4096, "supported_parameters": ["tools"]}]}


def config(*origins: str) -> str:
    return "".join(
        [
            f'[providers.p{number}]\ntype = "openai-compat"\nbase_url = "{origin}"\n'
            for number, origin in enumerate(origins)
        ]
    )


async def test_the_first_list_waits_a_moment_and_no_longer() -> None:
    late = anyio.Event()
    async with (
        fake_provider((status(200, LIST),)) as quick,
        fake_provider((silence(late), status(200, LIST))) as slow,
    ):
        place = running_daemon(config=config(quick.origin, slow.origin))
        async with place as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            assert quick.requests == []  # nothing is asked before somebody wants to know
            began = time.monotonic()
            first, second, demo, *_ = (await peer.result("model/list"))["providers"]
            assert 1.0 < time.monotonic() - began < 20.0
            assert first["models"] == [
                {
                    "id": "p0:m",
                    "provider": "p0",
                    "model": "m",
                    "displayName": "m",
                    "contextLimit": 4096,
                    "capabilities": ["tools"],
                }
            ]
            assert (second["available"], second["models"]) == (True, [])
            assert demo["provider"] == "demo"
            late.set()
            with anyio.fail_after(30):
                while not second["models"]:
                    await anyio.sleep(0.01)
                    second = (await peer.result("model/list"))["providers"][1]
            assert len(quick.requests) == len(slow.requests) == 1


async def test_what_is_known_is_told_at_once_and_a_provider_that_is_down_is_named() -> None:
    async with fake_provider((status(200, LIST),)) as server:
        place = running_daemon(config=config(server.origin, "http://127.0.0.1:9"))
        async with place as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            await peer.result("model/list")
            first, second, *_ = (await peer.result("model/list"))["providers"]
            assert len(first["models"]) == 1
            assert (second["available"], second["unavailableReason"]) == (False, "fetch_failed")
            assert "Nothing answers at http://127.0.0.1:9." in second["unavailableMessage"]
            # It may be asked all the same: then it says so itself.
            assert (await peer.new_chat(model="p1:anything")) is not None
