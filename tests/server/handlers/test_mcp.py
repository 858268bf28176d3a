"""mcp/… over the wire of a real daemon: what people see and change. No server is started."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from parley_protocol.errors import ErrorCode
from parley_protocol.methods import METHODS
from parley_protocol.models.agents.mcp import McpAuthenticateResult
from tests.support.mcp.stub_granter import stub_granter
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer

SECRETS = ("s3cret", "t0ken")
CONFIG = """
[mcp.configured]
command = "npx"
args = ["-y", "server", "--api-key", "s3cret"]
env = { KEY = "s3cret" }

[mcp.off]
url = "https://example.org"
enabled = false
"""


class Wire:
    """A daemon with a configured server."""

    def __init__(self, daemon: DaemonProcess, peer: Peer) -> None:
        self.daemon = daemon
        self.peer = peer

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method; return the servers by name."""
        result = await self.peer.result(method, params)
        model: Any = METHODS[method].result
        assert model.model_validate(result).to_wire() == result
        assert not any(secret in json.dumps(result) for secret in SECRETS)
        return {one["name"]: one for one in result["servers"]}

    async def refused(self, method: str, **params: Any) -> tuple[int, str]:
        """Call a method that fails; return the code and the message."""
        error = await self.peer.error(method, params)
        assert not any(secret in json.dumps(error) for secret in SECRETS)
        return error["code"], error["message"]


@pytest.fixture(scope="module")
async def wire(anyio_backend: str) -> AsyncGenerator[Wire]:
    async with running_daemon(config=CONFIG) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        yield Wire(daemon, peer)


async def test_servers_are_added_changed_listed_and_removed(wire: Wire) -> None:
    assert list(await wire.call("mcp/list")) == ["configured"]
    added = await wire.call(
        "mcp/add", name="web", url="https://u:s3cret@example.org/mcp?k=s3cret", headers={"X-Key": "t0ken"}
    )
    web = added["web"]
    assert (web["url"], web["headers"], web["command"]) == ("https://example.org/mcp", ["X-Key"], None)
    assert (web["state"], web["source"], web["scope"], web["tools"]) == ("configured", "user", "always", None)
    one = (await wire.call("mcp/list"))["configured"]
    assert one["command"] == ["npx", "-y", "server", "--api-key", "…"]
    assert (one["source"], one["env"]) == ("config", ["KEY"])

    changed = await wire.call("mcp/update", name="web", headers={"X-Key": None, "X-Other": "t0ken"})
    assert changed["web"]["headers"] == ["X-Other"]
    local = await wire.call(
        "mcp/update", name="web", url=None, headers=None, command="npx", args=["-y", "x"], env={"A": "t0ken"}
    )
    assert (local["web"]["command"], local["web"]["env"]) == (["npx", "-y", "x"], ["A"])
    assert list(await wire.call("mcp/remove", name="web")) == ["configured"]


@pytest.mark.parametrize(
    ("method", "params", "code", "problem"),
    [
        ("mcp/add", {"name": "configured", "command": "x"}, ErrorCode.CONFLICT, "configuration file"),
        ("mcp/add", {"name": "x"}, ErrorCode.INVALID_PARAMS, "command: is missing"),
        ("mcp/add", {"name": "x", "url": "ftp://s3cret"}, ErrorCode.INVALID_PARAMS, "url: must begin"),
        ("mcp/add", {"name": "x y", "command": "x"}, ErrorCode.INVALID_PARAMS, "name: "),
        ("mcp/add", {"name": "x", "command": "x", "cwd": "y"}, ErrorCode.INVALID_PARAMS, "cwd: must be"),
        (
            "mcp/add",
            {"name": "x", "command": "x", "env": {"A B": "s3cret"}},
            ErrorCode.INVALID_PARAMS,
            "env: has a name",
        ),
        (
            "mcp/add",
            {"name": "x", "command": "x", "scope": {"root": "file:///gone/x"}},
            ErrorCode.INVALID_PARAMS,
            "scope.root: must be",
        ),
        (
            "mcp/add",
            {"name": "x", "command": "x", "scope": {"chatId": "gone"}},
            ErrorCode.CHAT_NOT_FOUND,
            "There is no chat",
        ),
        ("mcp/update", {"name": "configured", "args": []}, ErrorCode.NOT_ALLOWED, "configuration file"),
        (
            "mcp/update",
            {"name": "gone", "args": []},
            ErrorCode.TOOL_NOT_FOUND,
            "There is no MCP server 'gone'",
        ),
        ("mcp/remove", {"name": "configured"}, ErrorCode.NOT_ALLOWED, "configuration file"),
        ("mcp/remove", {"name": "gone"}, ErrorCode.TOOL_NOT_FOUND, "There is no MCP server"),
        ("mcp/restart", {"name": "gone"}, ErrorCode.TOOL_NOT_FOUND, "There is no MCP server"),
        ("mcp/list", {"chatId": "c", "root": "file:///"}, ErrorCode.INVALID_PARAMS, "root: cannot be given"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_reason(
    wire: Wire, method: str, params: dict[str, Any], code: int, problem: str
) -> None:
    found, message = await wire.refused(method, **params)
    assert (found, problem in message) == (code, True), message
    assert list(await wire.call("mcp/list")) == ["configured"]


async def test_the_servers_of_a_project_wait_for_trust_of_the_file(wire: Wire, tmp_path: Path) -> None:
    root = tmp_path.resolve()
    file = root / ".mcp.json"
    file.write_text(json.dumps({"mcpServers": {"db": {"command": "db", "env": {"A": "s3cret"}}}}))
    chat_id = await wire.peer.new_chat(context={"repositories": [root.as_uri()]})
    db = (await wire.call("mcp/list", chatId=chat_id))["db"]
    assert (db["state"], db["source"], db["root"]) == ("untrusted", "project", root.as_uri())
    assert "db" not in await wire.call("mcp/list")
    assert (await wire.refused("mcp/restart", name="db", chatId=chat_id))[0] == ErrorCode.NOT_TRUSTED
    trust = {"root": root.as_uri(), "hash": db["hash"]}
    await wire.peer.result("workspace/trust", {**trust, "trusted": True})
    assert (await wire.call("mcp/list", root=root.as_uri()))["db"]["state"] == "configured"
    file.write_bytes(file.read_bytes() + b" ")
    with anyio.fail_after(30):  # files of projects are looked at once a second
        while (await wire.call("mcp/list", chatId=chat_id))["db"]["state"] != "untrusted":
            pass


async def test_a_server_for_a_chat_is_removed_with_it(wire: Wire) -> None:
    chat_id = await wire.peer.new_chat()
    added = await wire.call("mcp/add", name="mine", command="x", scope={"chatId": chat_id})
    assert added["mine"]["scope"] == {"chatId": chat_id}
    assert "mine" not in await wire.call("mcp/list", root="file:///")
    await wire.peer.result("chat/delete", {"chatIds": [chat_id]})
    with anyio.fail_after(30):
        while "mine" in await wire.call("mcp/list"):
            pass


async def test_the_configuration_is_reloaded_and_a_bad_server_is_named_by_its_line(wire: Wire) -> None:
    more = '\n[mcp.more]\nurl = "https://example.org"\n'
    wire.daemon.config_path.write_text(CONFIG + more, "utf-8")
    with anyio.fail_after(30):
        while "more" not in await wire.call("mcp/list"):
            pass
    wire.daemon.config_path.write_text(CONFIG + more.replace("https", "ftp"), "utf-8")
    with anyio.fail_after(30):
        while not (complaint := await _complaint(wire)):
            pass
    assert complaint.endswith(
        "line 12: url of the MCP server more must begin with http:// or https:// and a host."
    )
    assert "more" in await wire.call("mcp/list"), "the last valid configuration stays in force"


async def _complaint(wire: Wire) -> str | None:
    return (await wire.peer.result("server/status", {}))["configuration"]["error"]


async def test_a_person_authorizes_a_server_by_a_browser_that_comes_back(wire: Wire) -> None:
    with stub_granter() as stub:
        await wire.call("mcp/add", name="web", url=stub.mcp)
        answer = await wire.peer.result("mcp/authenticate", {"name": "web"})
        assert McpAuthenticateResult.model_validate(answer).to_wire() == answer
        assert answer["url"].startswith(f"{stub.url}/authorize?")
        uri, parameters = stub.consent(answer["url"])
        async with aiohttp.ClientSession() as browser:
            async with browser.get(uri, params={**parameters, "state": "of another"}) as page:
                assert page.status == 400
            async with browser.get(uri, params=parameters) as page:
                assert page.status == 200
        with anyio.fail_after(30):
            while not stub.granted:
                await wire.call("mcp/list")
    await wire.call("mcp/remove", name="web")
    code, message = await wire.refused("mcp/authenticate", name="configured")
    assert (code, "is started by a command" in message) == (ErrorCode.NOT_ALLOWED, True)
