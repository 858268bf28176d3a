"""A key that was given over the protocol is in its file, or in the keyring, and in requests: nowhere else."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.processes.daemon import DaemonProcess, private_environment, running_daemon
from tests.support.processes.raw_client import Peer, stdio_peer, unix_peer
from tests.support.providers.script import done, finish, status, text
from tests.support.providers.server import FakeProvider, fake_provider

pytestmark = pytest.mark.slow

CANARY = "sk-canary-0123456789abcdef"
OTHER = "canary-of-no-known-shape-98765"
ODD = "canary/with+signs/0123456789=="
KEYS = {"x": CANARY, "y": OTHER, "z": ODD}
CONFIG = "retries.attempts = 1\n[titles]\nenabled = false\n"
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def debugging(env: Mapping[str, str] | None = None) -> AsyncGenerator[DaemonProcess]:
    """Run a daemon that logs everything that any package has to say."""
    site = {"PYTHONPATH": str(ROOT / "tests" / "support" / "processes" / "debugging"), **(env or {})}
    async with running_daemon(config=CONFIG, env=site) as daemon:
        yield daemon


def holding(directory: Path, canary: str) -> set[str]:
    """Return the names of the files that hold this."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert any(path.name == "parley.db" for path in files)
    return {path.name for path in files if canary.encode() in path.read_bytes()}


def forms(key: str) -> set[str]:
    """Return a key as it may stand in a text: plain, in JSON (and JSON in JSON), in a URL."""
    escaped = key.replace("/", "\\/")
    return {key, escaped, json.dumps(escaped)[1:-1], quote(key), quote(key, safe="")}


async def used(peer: Peer, server: FakeProvider) -> None:
    """Give keys, use them, let them be refused, change one, and ask for everything that can be read."""
    for name, key in KEYS.items():
        given = {"provider": name, "type": "openai-compat", "baseUrl": server.origin, "apiKey": key}
        await peer.result("provider/create", given)
        await peer.error("provider/create", given)
        await peer.error("provider/create", {**given, "provider": f"{name}2", "type": "nope"})
        await peer.error("provider/create", {**given, "provider": f"{name}2", "colour": "red"})
        refusal = {"error": {"message": f"Incorrect API key provided: {key}", "code": "invalid_api_key"}}
        server.scripts += [(status(401, refusal),), (status(500, {"error": key}),)]
        server.scripts.append((text("Yes."), finish(), done()))
        chat_id = await peer.new_chat(model=f"{name}:m")
        await peer.subscribe(chat_id)
        for outcome in ("failed", "failed", "completed"):
            told = await peer.result("chat/ask", {"chatId": chat_id, "content": "Hi"})
            assert told["outcome"] == outcome
        for form in ("json", "markdown"):
            await peer.result("chat/export", {"chatId": chat_id, "format": form})
        server.scripts.append((status(401, refusal),))
        assert not (await peer.result("provider/check", {"provider": name}))["ok"]
        for body in (json.dumps(refusal).replace("/", "\\/"), f"no {quote(key, safe='')}, no {quote(key)}"):
            server.scripts.append((status(401, body),))
            told = await peer.result("provider/check", {"provider": name})
            assert "[removed]" in told["answer"]
        await peer.result("provider/update", {"provider": name, "displayName": "Renamed"})
    for method in ("provider/list", "model/list", "modelConfig/list", "server/status"):
        await peer.result(method)


def check_wire(peer: Peer) -> None:
    """Nothing that the daemon said holds a key."""
    received = json.dumps([message for way, message in peer.trace if way == "received"])
    assert "Renamed" in received
    for canary in KEYS.values():
        assert not any(form in received for form in forms(canary))


async def test_a_key_that_was_given_over_the_wire_is_in_its_file_alone() -> None:
    async with fake_provider() as server, debugging() as daemon:
        async with unix_peer(daemon.socket) as peer:
            await peer.result("initialize", {"capabilities": {}, "trace": "verbose"})
            await used(peer, server)
            check_wire(peer)
        await daemon.stop()
        assert "DEBUG" in (daemon.data_dir / "log" / "parleyd.log").read_text("utf-8")
        for canary in KEYS.values():
            assert holding(daemon.directory, canary) == {"keys.json"}
            for form in forms(canary) - {canary}:
                assert holding(daemon.directory, form) == set()
            assert not any(form in daemon.stderr for form in forms(canary))
            assert canary in str([one.headers for one in server.requests])
        path = daemon.data_dir / "keys.json"
        assert path.stat().st_mode & 0o777 == 0o600
        assert set(json.loads(path.read_bytes())["keys"]) == set(KEYS)


async def test_with_a_keyring_a_key_is_in_no_file_of_the_daemon_and_survives_a_restart(
    tmp_path: Path,
) -> None:
    ring = tmp_path / "ring.json"
    env = {"PYTHON_KEYRING_BACKEND": "ring_in_a_file.Ring", "RING": str(ring)}
    async with fake_provider() as server, debugging(env) as daemon:
        async with unix_peer(daemon.socket) as peer:
            await peer.result("initialize", {"capabilities": {}, "trace": "verbose"})
            await used(peer, server)
            check_wire(peer)
        await daemon.restart()
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            server.scripts.append((text("Yes."), finish(), done()))
            chat_id = await peer.new_chat(model="y:m")
            assert (await peer.result("chat/ask", {"chatId": chat_id, "content": "Hi"}))[
                "outcome"
            ] == "completed"
            assert server.requests[-1].headers["authorization"] == f"Bearer {OTHER}"
            assert CANARY in ring.read_text("utf-8")
            await peer.result("provider/delete", {"provider": "x"})
            assert CANARY not in ring.read_text("utf-8")
        await daemon.stop()
        for canary in KEYS.values():
            assert holding(daemon.directory, canary) == set()


async def test_a_daemon_in_memory_writes_no_key() -> None:
    with private_environment(config=CONFIG) as places:
        async with fake_provider() as server, stdio_peer(places, "--in-memory") as peer:
            await peer.initialize()
            await used(peer, server)
            check_wire(peer)
        files = [path for path in Path(places["HOME"]).rglob("*") if path.is_file()]
        assert [path for path in files if b"canary" in path.read_bytes()] == []
