"""permission/…, workspace/trust and agent/instructions over the wire of a real daemon."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest

from parley_protocol.errors import ErrorCode
from parley_protocol.methods import METHODS
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer

CONFIG = """
[titles]
enabled = false

[[permissions]]
effect = "deny"
tool = "read_file"
paths = ["*.pem"]
"""
PROJECT = '[[permissions]]\neffect = "allow"\ntool = "write_file"\npaths = ["new.txt"]\n'


class Wire:
    """A daemon with a configured rule, and a chat in a project."""

    def __init__(self, daemon: DaemonProcess, peer: Peer, root: Path) -> None:
        self.daemon = daemon
        self.peer = peer
        self.root = root
        self.chat_id = ""

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method; its result has every field of its object and no other."""
        result = await self.peer.result(method, params)
        model = METHODS[method].result
        if model is None:
            assert result is None
        else:
            assert model.model_validate(result).to_wire() == result, method
        return result

    async def refused(self, method: str, **params: Any) -> tuple[int, str]:
        """Call a method that fails; return the code and the message."""
        error = await self.peer.error(method, params)
        return error["code"], error["message"]

    async def explain(self, path: str) -> Any:
        """Ask what would become of reading a file."""
        args = {"path": path}
        return await self.call("permission/explain", chatId=self.chat_id, toolName="read_file", args=args)

    async def explain_writing(self) -> Any:
        """Ask what would become of writing a new file."""
        args = {"path": "new.txt", "content": "x"}
        return await self.call("permission/explain", chatId=self.chat_id, toolName="write_file", args=args)


@pytest.fixture(scope="module")
async def wire(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Wire]:
    root = tmp_path_factory.mktemp("project").resolve()
    (root / "a.txt").write_text("a\n")
    (root / "a.pem").write_text("a\n")
    async with running_daemon(config=CONFIG) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        one = Wire(daemon, peer, root)
        context = {"repositories": [root.as_uri()]}
        settings = {"agent": {"mode": "ask"}}
        one.chat_id = await peer.new_chat(context=context, settings=settings)
        yield one


async def test_rules_are_added_listed_and_removed(wire: Wire) -> None:
    rule = {
        "effect": "ask",
        "tool": "run",
        "command": "git push",
        "human": True,
        "scope": {"root": wire.root.as_uri()},
        "expiresAt": "2030-01-01T01:00:00+01:00",
        "match": ["git push origin", "timeout 5 git -C x push"],
        "notMatch": ["git status"],
    }
    made = await wire.call("permission/add", **rule)
    assert made == {
        **rule,
        "id": made["id"],
        "exact": False,
        "paths": None,
        "hosts": None,
        "network": None,
        "expiresAt": "2030-01-01T00:00:00.000Z",
        "source": "user",
        "text": "ask run: git push …, by a person only until 2030-01-01T00:00:00.000Z",
    }
    in_chat = await wire.call("permission/add", effect="deny", scope={"chatId": wire.chat_id}, paths=["x"])
    listed = await wire.call("permission/list", chatId=wire.chat_id)
    assert [one["id"] for one in listed["rules"]] == [made["id"], in_chat["id"], "config:1"]
    other = await wire.peer.new_chat()
    listed = await wire.call("permission/list", chatId=other)
    assert [one["id"] for one in listed["rules"]] == [made["id"], "config:1"]
    for one in (made, in_chat):
        await wire.call("permission/remove", id=one["id"])
        assert (await wire.refused("permission/remove", id=one["id"]))[0] == ErrorCode.INVALID_PARAMS
    assert (await wire.refused("permission/remove", id="config:1"))[0] == ErrorCode.NOT_ALLOWED
    assert len((await wire.call("permission/list"))["rules"]) == 1


async def test_a_rule_that_makes_no_sense_is_refused_by_name(wire: Wire) -> None:
    allow: dict[str, Any] = {"effect": "allow", "tool": "run", "command": "git log"}
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"match": ["git push"]}, "match[0]", "is not matched by the rule: 'git push'"),
        ({"notMatch": ["x", "git log -3"]}, "notMatch[1]", "is matched by the rule: 'git log -3'"),
        ({"command": "git log | x"}, "command", "has several"),
        ({"scope": "never"}, "scope", 'must be {"chatId"}, {"root"} or "always"'),
        ({"scope": {"root": "http://x/"}}, "scope.root", "file: URI"),
        ({"scope": {"root": "file:///gone/for/good"}}, "scope.root", "folder on this machine"),
        ({"scope": {"chatId": wire.chat_id, "root": "file:///"}}, "scope", "is not a field"),
        ({"effect": "maybe"}, "effect", "must be"),
        ({"network": "none"}, "network", "must be"),
        ({"network": "all", "tool": "*"}, "network", 'needs the tool "run"'),
        ({"network": "all", "effect": "deny"}, "network", 'needs the effect "allow"'),
        ({"paths": []}, "paths", "1 or more"),
        ({"expiresAt": "tomorrow"}, "expiresAt", ""),
    ]
    for wrong, path, what in cases:
        code, message = await wire.refused("permission/add", **{**allow, **wrong})
        assert (code, message.startswith(path), what in message) == (-32602, True, True), message
    code, _ = await wire.refused("permission/add", **allow, scope={"chatId": "nobody's"})
    assert code == ErrorCode.CHAT_NOT_FOUND
    assert len((await wire.call("permission/list"))["rules"]) == 1


async def test_a_call_is_explained_and_not_run(wire: Wire) -> None:
    inside = await wire.explain("a.txt")
    assert (inside["decision"], inside["rules"], inside["rememberable"]) == ("allow", [], False)
    outside = await wire.explain("/etc/hostname")
    assert (outside["decision"], outside["rememberable"]) == ("ask", True)
    assert {"allow read_file in /etc/hostname"} <= {one["text"] for one in outside["offers"]}
    denied = await wire.explain("a.pem")
    assert (denied["decision"], denied["rules"]) == ("deny", ["config:1"])
    assert denied["why"] == "By a rule: deny read_file in *.pem."

    explain = {"chatId": wire.chat_id, "toolName": "read_file"}
    assert (await wire.refused("permission/explain", **explain, args={"path": 7}))[0] == -32602
    code, _ = await wire.refused("permission/explain", **{**explain, "toolName": "nothing"}, args={})
    assert code == ErrorCode.TOOL_NOT_FOUND
    off = await wire.peer.new_chat()
    found = await wire.call("permission/explain", **{**explain, "chatId": off}, args={"path": "a.txt"})
    assert found["decision"] == "deny"


async def test_a_command_does_not_run_unasked_where_it_could_use_what_a_rule_denies(wire: Wire) -> None:
    settings = {"agent": {"mode": "auto"}}
    context = {"repositories": [wire.root.as_uri()]}
    chat_id = await wire.peer.new_chat(context=context, settings=settings)
    explain = {"chatId": chat_id, "toolName": "run", "args": {"command": "ls"}}
    found = await wire.call("permission/explain", **explain)
    status = await wire.call("server/status")
    if status["sandbox"]["kind"] == "bwrap":
        assert "Rules deny" not in found["why"]
    else:
        sentence = f"Rules deny {wire.root}/a.pem, and the sandbox cannot keep the command from it."
        assert (found["decision"], found["why"].endswith(sentence), found["offers"]) == ("ask", True, [])


async def test_a_rule_lets_a_command_reach_more(wire: Wire, tmp_path: Path) -> None:
    context = {"repositories": [tmp_path.resolve().as_uri()]}
    chat_id = await wire.peer.new_chat(context=context, settings={"agent": {"mode": "ask"}})
    rule = {"effect": "allow", "tool": "run", "command": "npm ci", "network": "all"}
    made = await wire.call("permission/add", **rule)
    assert (made["network"], made["text"]) == ("all", "allow run: npm ci … with network")
    assert made in (await wire.call("permission/list"))["rules"]
    for command, decision, network in (("npm ci -s", "allow", "all"), ("npm ci && ls", "ask", None)):
        explained = await wire.call(
            "permission/explain", chatId=chat_id, toolName="run", args={"command": command}
        )
        assert (explained["decision"], explained["network"]) == (decision, network)
        assert ("By a rule it gets network." in explained["why"]) == (network is not None)
    await wire.call("permission/remove", id=made["id"])


async def test_a_project_is_trusted_by_the_hash_of_its_files(wire: Wire) -> None:
    (wire.root / ".parley").mkdir()
    (wire.root / ".parley" / "permissions.toml").write_text(PROJECT)
    (wire.root / "AGENTS.md").write_text("Use tabs.\n")
    uri = wire.root.as_uri()
    (project,) = (await _fresh(wire, "permission/list"))["projects"]
    (file,) = (await _fresh(wire, "agent/instructions"))["files"]
    assert (project["root"], project["uri"], project["trusted"]) == (
        uri,
        f"{uri}/.parley/permissions.toml",
        False,
    )
    assert (file["root"], file["state"], file["text"]) == (uri, "untrusted", "Use tabs.\n")
    assert (await wire.explain_writing())["decision"] == "ask"

    stale = {"root": uri, "hash": "sha256:0", "trusted": True}
    assert (await wire.refused("workspace/trust", **stale))[0] == ErrorCode.CONFLICT
    assert (await wire.refused("workspace/trust", **{**stale, "trusted": False}))[0] == ErrorCode.NOT_TRUSTED
    assert (await wire.refused("workspace/trust", **{**stale, "root": "file:///gone/x"}))[0] == -32602
    for one in (project, file):
        assert await wire.call("workspace/trust", root=uri, hash=one["hash"], trusted=True) == {
            "trusted": True
        }
    assert (await wire.explain_writing())["decision"] == "allow"
    assert (await _fresh(wire, "agent/instructions"))["files"][0]["state"] == "used"
    in_folder = await wire.call("permission/list", root=uri)
    assert in_folder["projects"] == [{**project, "trusted": True}]
    assert (await wire.call("agent/instructions", root=uri))["files"][0]["state"] == "used"
    both = {"root": uri, "chatId": wire.chat_id}
    assert (await wire.refused("permission/list", **both))[0] == -32602
    assert (await wire.refused("agent/instructions", **both))[0] == -32602
    assert (await wire.refused("agent/instructions"))[0] == -32602
    for one in (project, file):
        await wire.call("workspace/trust", root=uri, hash=one["hash"], trusted=False)
    assert (await wire.explain_writing())["decision"] == "ask"


async def _fresh(wire: Wire, method: str) -> Any:
    """Return a result as soon as the daemon, which looks at files once a second, has seen them."""
    with anyio.fail_after(30):
        while True:  # of another process
            result = await wire.call(method, chatId=wire.chat_id)
            if result.get("projects") or result.get("files"):
                return result
            await anyio.sleep(0.05)
