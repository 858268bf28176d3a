"""The authorization of a server over HTTP, through a real daemon, its helper and the SDK."""

from typing import Any
from urllib.parse import urlencode

import aiohttp
import anyio
import anyio.lowlevel
import pytest

from tests.support.mcp.stub_granter import StubGranter, stub_granter
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer

pytest.importorskip("mcp", reason="the extra mcp is not installed")
pytestmark = pytest.mark.slow

Json = dict[str, Any]
CONFIG = 'titles.enabled = false\n[[permissions]]\neffect = "allow"\ntool = "mcp__*"\n'
ECHO = "/tool mcp__web__echo {}"


async def state_of(peer: Peer, method: str = "mcp/list", **params: Any) -> tuple[str, str | None]:
    (one,) = (await peer.result(method, params))["servers"]
    return one["state"], one["error"]


async def ask(peer: Peer, prompt: str = ECHO) -> list[tuple[str, str]]:
    settings: Json = {"agent": {"mode": "ask", "interactive": False}}
    chat_id = await peer.new_chat(model="demo:demo", settings=settings)
    answer = await peer.result("chat/ask", {"chatId": chat_id, "content": prompt})
    parts = [part for message in answer["messages"] for part in message["content"]]
    return [(one["outcome"], str(one["result"])) for one in parts if one["type"] == "tool-result"]


async def authenticate(peer: Peer, stub: StubGranter) -> None:
    """Do what a person does. Returns when the token is there."""
    asked = await peer.result("mcp/authenticate", {"name": "web"})
    before = stub.granted
    uri, answer = stub.consent(asked["url"])
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{uri}?{urlencode({**answer, 'state': 'of another'})}") as page:
            assert page.status == 400
        assert stub.granted == before
        async with session.get(f"{uri}?{urlencode(answer)}") as page:
            assert page.status == 200
    with anyio.fail_after(20):
        while stub.granted == before or (await state_of(peer))[0] in ("needs_auth", "running"):
            await anyio.lowlevel.checkpoint()


def written(daemon: DaemonProcess) -> str:
    """Return all that the daemon has written but the file of secrets."""
    files = [one for one in daemon.directory.rglob("*") if one.is_file() and one.name != "keys.json"]
    return "".join([one.read_bytes().decode("latin-1") for one in files])


async def test_a_server_is_authorized_used_and_its_token_renewed() -> None:
    with stub_granter() as stub:
        async with running_daemon(config=CONFIG) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            await peer.result("mcp/add", {"name": "web", "url": stub.mcp})
            assert (await ask(peer))[0][0] == "failed"
            assert (await state_of(peer))[0] == "needs_auth"
            stub.accepted = {"token1"}
            await authenticate(peer, stub)
            assert await ask(peer) == [("ok", "hello")]

            stub.accepted = {"token2"}  # the first one is withdrawn while the server is connected
            assert (await ask(peer))[0][0] == "failed"
            assert (await ask(peer), stub.granted, stub.effects) == ([("ok", "hello")], 2, 2)

            stub.accepted, stub.refuses = {"token3"}, "invalid_grant"  # and so is what renews it
            for _ in range(2):
                assert (await ask(peer))[0][0] == "failed"
            assert (await state_of(peer))[0] == "needs_auth"
            stub.refuses = None
            await authenticate(peer, stub)
            assert (await ask(peer), stub.effects) == ([("ok", "hello")], 3)
            text = written(daemon)
            assert not any(one in text for one in ("token1", "token2", "token3", "renewal1", "code0"))


async def test_a_server_that_wants_a_token_only_for_calls_gets_one() -> None:
    with stub_granter() as stub:
        stub.open = {"initialize", "notifications/initialized", "tools/list"}
        async with running_daemon(config=CONFIG) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            await peer.result("mcp/add", {"name": "web", "url": stub.mcp})
            assert (await state_of(peer, "mcp/restart", name="web"))[0] == "running"
            stub.accepted = {"token1"}
            await authenticate(peer, stub)
            assert await ask(peer) == [("ok", "hello")]
            stub.accepted = {"token2"}
            assert (await ask(peer))[0][0] == "failed"
            assert (await ask(peer), stub.granted) == ([("ok", "hello")], 2)
            stub.accepted = set()  # no token is of use: a person has to be asked
            assert (await ask(peer))[0][0] == "failed"
            assert (await state_of(peer))[0] == "needs_auth"
            assert (await ask(peer), stub.granted, stub.effects)[1:] == (2, 2)
