"""MCP servers through a real daemon: shared processes, states, trust, environment, authorization, kills."""

import json
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.support.mcp.stub import StubLog, http_stub, stub_command
from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.processes.trace_agents import living_processes

pytest.importorskip("mcp", reason="the extra mcp is not installed")
pytestmark = pytest.mark.slow

Json = dict[str, Any]
ALLOW = 'titles.enabled = false\n[[permissions]]\neffect = "allow"\ntool = "mcp__*"\n'
ECHO = '/tool mcp__stub__echo {"text": "hello"}'


def table(name: str, command: list[str]) -> str:
    """Return the table of a server in the configuration file."""
    return f"[mcp.{name}]\ncommand = {json.dumps(command[0])}\nargs = {json.dumps(command[1:])}\n"


async def ask(peer: Peer, prompt: str, **chat: Any) -> list[tuple[str, Any]]:
    """Ask the demo model in a new chat; return outcome and result of each call."""
    settings: Json = {"agent": {"mode": "ask", "interactive": False}}
    chat_id = await peer.new_chat(model="demo:demo", settings=settings, **chat)
    answer = await peer.result("chat/ask", {"chatId": chat_id, "content": prompt})
    parts = [part for message in answer["messages"] for part in message["content"]]
    return [(part["outcome"], part["result"]) for part in parts if part["type"] == "tool-result"]


async def servers(peer: Peer, method: str = "mcp/list", **params: Any) -> dict[str, Json]:
    return {one["name"]: one for one in (await peer.result(method, params))["servers"]}


async def test_twenty_chats_share_one_process_that_ends_with_the_daemon(tmp_path: Path) -> None:
    log = StubLog(tmp_path / "log")
    config = ALLOW + table("stub", stub_command(log))
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        assert not log.pids
        outcomes: list[Any] = []

        async def chat() -> None:
            outcomes.extend(await ask(peer, ECHO))

        async with anyio.create_task_group() as chats:
            for _ in range(20):
                chats.start_soon(chat)
        assert [outcome for outcome, _ in outcomes] == ["ok"] * 20
        stub = (await servers(peer))["stub"]
        assert (stub["state"], stub["calls"], stub["restarts"]) == ("running", 20, 0)
        assert log.pids == [stub["pid"]]
        assert (await peer.result("server/status", {}))["mcp"] == {"running": 1, "failed": 0}

        await daemon.restart(kill=True)
        with anyio.fail_after(5):
            while living_processes(str(log.path)):
                await anyio.lowlevel.checkpoint()


async def test_a_known_server_is_started_by_its_first_call_after_a_restart(tmp_path: Path) -> None:
    log = StubLog(tmp_path / "log")
    config = ALLOW + table("stub", stub_command(log))
    async with running_daemon(config=config) as daemon:
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            assert [outcome for outcome, _ in await ask(peer, ECHO)] == ["ok"]
        await daemon.restart()
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            assert await ask(peer, "hello") == []
            stub = (await servers(peer))["stub"]
            assert (stub["state"], len(log.pids)) == ("known", 1)
            assert stub["tools"] > 0
            assert [outcome for outcome, _ in await ask(peer, ECHO)] == ["ok"]
            assert len(log.pids) == 2


async def test_a_server_that_fails_concerns_no_other(tmp_path: Path) -> None:
    good, bad, mute = (StubLog(tmp_path / name) for name in ("good", "bad", "mute"))
    config = (
        ALLOW
        + table("stub", stub_command(good, "--noise", "3"))
        + table("bad", stub_command(bad, "--die-at-start"))
        + table("gone", [str(tmp_path / "no-such-program")])
        + table("mute", stub_command(mute, "--silent"))
    )
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        assert [outcome for outcome, _ in await ask(peer, ECHO)] == ["ok"]
        listed = await servers(peer)
        assert {name: one["state"] for name, one in listed.items()} == {
            "stub": "running",
            "bad": "failed",
            "gone": "failed",
            "mute": "starting",
        }
        assert listed["stub"]["noise"] > 0
        assert listed["bad"]["error"]
        assert listed["bad"]["nextTryAt"] is not None
        assert listed["gone"]["error"]


async def test_a_server_gets_the_usual_variables_and_its_own_only(tmp_path: Path) -> None:
    log = StubLog(tmp_path / "log")
    command, *args = stub_command(log)
    env = {"ANTHROPIC_API_KEY": "sk-daemon", "GIVEN": "given"}
    async with running_daemon(config=ALLOW, env=env) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        given = {"TOKEN": "s3cret", "COPY": "${HOME}"}
        await servers(peer, "mcp/add", name="stub", command=command, args=args, env=given)
        ((outcome, result),) = await ask(peer, "/tool mcp__stub__environment {}")
        assert outcome == "ok"
        text = result if isinstance(result, str) else "".join(part.get("text", "") for part in result)
        found = json.loads(text)["environment"]
        assert (found["TOKEN"], found["COPY"]) == ("s3cret", found["HOME"])
        assert "sk-daemon" not in json.dumps(found)
        assert "GIVEN" not in found
        logs = [path.read_text("utf-8", "replace") for path in daemon.directory.rglob("*.log*")]
        assert not any("s3cret" in one for one in logs)
        assert (await servers(peer))["stub"]["env"] == ["TOKEN", "COPY"]


async def test_a_person_is_asked_to_trust_a_project_when_its_servers_are_wanted(tmp_path: Path) -> None:
    log = StubLog(tmp_path / "log")
    root = tmp_path / "project"
    root.mkdir()
    command, *args = stub_command(log)
    file = root / ".mcp.json"
    file.write_text(json.dumps({"mcpServers": {"stub": {"command": command, "args": args}}}))
    async with running_daemon(config=ALLOW) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        context = {"repositories": [root.as_uri()]}
        denied = await ask(peer, "/tool trust_project_servers {}", context=context)
        assert [outcome for outcome, _ in denied] == ["denied"]
        settings: Json = {"agent": {"mode": "ask"}}
        chat_id = await peer.new_chat(model="demo:demo", settings=settings, context=context)
        await peer.subscribe(chat_id)
        trust = "/tool trust_project_servers {}"
        prompt = f"{trust}\n/then\n{trust}\n/then\n{ECHO}"
        await peer.result("chat/send", {"chatId": chat_id, "content": prompt})
        request = (await peer.event("s", "action_required"))["request"]
        assert request["kind"] == "trust"
        assert request["preview"]["command"].startswith(f"stub: {command} ")
        assert not log.pids, "nothing is started before the answer"

        shown = (await servers(peer, root=root.as_uri()))["stub"]["hash"]
        file.write_bytes(file.read_bytes() + b"\n")  # an answer to what was shown is no trust of this
        while (await servers(peer, root=root.as_uri()))["stub"]["hash"] == shown:
            pass  # files of projects are looked at once a second
        answer = {"chatId": chat_id, "requestId": request["id"], "decision": "allow"}
        await peer.result("chat/respond", answer)
        again = (
            await peer.event("s", "action_required", lambda event: event["request"]["id"] != request["id"])
        )["request"]
        assert not log.pids
        await peer.result("chat/respond", {**answer, "requestId": again["id"]})
        ended = await peer.event("s", "turn_ended")
        assert ended["outcome"] == "completed"
        whole = await peer.result("chat/get", {"chatId": chat_id})
        parts = [part for message in whole["messages"] for part in message["content"]]
        assert [one["outcome"] for one in parts if one["type"] == "tool-result"] == ["failed", "ok", "ok"]
        assert len(log.pids) == 1
        found = (await servers(peer, root=root.as_uri()))["stub"]
        await peer.result("workspace/trust", {"root": root.as_uri(), "hash": found["hash"], "trusted": False})
        assert (await servers(peer, root=root.as_uri()))["stub"]["state"] == "untrusted"
        with anyio.fail_after(10):
            while living_processes(str(log.path)):
                await anyio.lowlevel.checkpoint()


async def test_a_server_over_http_wants_its_token(tmp_path: Path) -> None:
    log = StubLog(tmp_path / "log")
    with http_stub(log, "--token", "t0ken") as target:
        async with running_daemon(config=ALLOW) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            await servers(peer, "mcp/add", name="stub", url=target.url)
            listed = await servers(peer, "mcp/restart", name="stub")
            assert listed["stub"]["state"] == "needs_auth"
            await servers(peer, "mcp/update", name="stub", headers={"Authorization": "Bearer t0ken"})
            listed = await servers(peer, "mcp/restart", name="stub")
            assert (listed["stub"]["state"], listed["stub"]["error"]) == ("running", None)
            assert [outcome for outcome, _ in await ask(peer, ECHO)] == ["ok"]
