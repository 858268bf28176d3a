"""`parley mcp` and the trust in a project's servers, with a real daemon and the stub server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from anyio import to_thread

from parley_clients import connect
from tests.support.mcp.stub import StubLog, stub_command
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.parley_command import run_parley

pytest.importorskip("mcp", reason="the extra parleyd[mcp] is not installed")
pytestmark = pytest.mark.slow


async def parley(daemon: DaemonProcess, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return await to_thread.run_sync(lambda: run_parley({**daemon.env, **env}, *words))


async def test_a_server_is_added_started_and_removed_in_the_shell(tmp_path: Path) -> None:
    command = stub_command(StubLog(tmp_path / "log"))
    async with running_daemon(config='[mcp.gone]\ncommand = "/no/such/program"\n') as daemon:
        added = await parley(daemon, "mcp", "add", "stub", "--env", "TOKEN", "--", *command, TOKEN="s3cret")
        assert (added.returncode, added.stderr) == (0, "")
        assert added.stdout.startswith(f"stub  not started yet  {sys.executable} ")
        assert "s3cret" not in (await parley(daemon, "mcp", "--json")).stdout
        started = await parley(daemon, "mcp", "restart", "stub")
        assert started.returncode == 0
        assert started.stdout.startswith("stub  running, ")
        failed = await parley(daemon, "mcp", "restart", "gone")
        assert failed.returncode == 1
        assert failed.stdout.splitlines()[:2] == [
            "gone  failed, from the configuration file  /no/such/program",
            "    The program /no/such/program was not found.",
        ]
        changed = await parley(daemon, "mcp", "update", "stub", "--no-env", "TOKEN", "--json")
        (stub,) = [one for one in json.loads(changed.stdout)["servers"] if one["name"] == "stub"]
        assert stub["env"] == []
        for words, problem in (
            (("add", "x"), "Give a command after --, or --url"),
            (("add", "x", "--env", "NO_SUCH", "--", "y"), "There is no variable NO_SUCH here."),
            (("update", "stub"), "What to change?"),
            (("remove",), "remove takes the name of a server"),
            (("remove", "gone"), "gone"),
            (("auth", "stub"), "stub"),
        ):
            refused = await parley(daemon, "mcp", *words)
            assert refused.returncode != 0, words
            assert problem in refused.stderr, words
        assert (await parley(daemon, "mcp", "remove", "stub")).returncode == 0
        assert "stub" not in (await parley(daemon, "mcp")).stdout


async def test_the_servers_of_a_project_wait_for_trust(tmp_path: Path) -> None:
    command, *args = stub_command(StubLog(tmp_path / "log"))
    servers = {"mcpServers": {"theirs": {"command": command, "args": args}}}
    (tmp_path / ".mcp.json").write_text(json.dumps(servers), "utf-8")
    async with running_daemon() as daemon, connect(f"unix:{daemon.socket}") as client:
        root = ("--root", str(tmp_path))
        assert "theirs  waits for trust, of a project" in (await parley(daemon, "mcp", *root)).stdout
        assert not (tmp_path / "log").exists()
        shown = (await parley(daemon, "trust", str(tmp_path))).stdout
        assert f"{tmp_path.as_uri()}/.mcp.json\tnot trusted" in shown
        assert f"theirs: {command}" in shown
        await parley(daemon, "trust", str(tmp_path), "--yes")
        started = (await parley(daemon, "mcp", "restart", "theirs", *root)).stdout
        assert "theirs  running" in started
        chat = await client.create_chat(context={"repositories": [tmp_path.as_uri()]})
        assert "theirs  running" in (await parley(daemon, "mcp", "--chat", chat.id)).stdout


async def test_prompts_are_commands_and_resources_are_attached(tmp_path: Path) -> None:
    command, *args = stub_command(StubLog(tmp_path / "log"))
    lines = (
        "/prompts",
        "/resources",
        "/stub:greet",
        "/stub:nothing",
        "/fast",
        "/stub:greet style=short Ada Lovelace",
        "/stub:greet style=short 'Ada Lovelace'",
        "/attach @stub:stub://note",
        "/fast /tokens 2 what is this?",
        "/fast /tokens 2 and this: @stub:stub://item/7, or @other:x?",
        "/fast /tokens 2 @stub:stub://no-such",
        "/stop",
    )
    table = f"[mcp.stub]\ncommand = {json.dumps(command)}\nargs = {json.dumps(args)}\n"
    async with running_daemon(config=table) as daemon:
        chat = ("chat", "--agent", "--model", "demo:demo")
        done = await to_thread.run_sync(lambda: run_parley(daemon.env, *chat, stdin="\n".join(lines)))
        shown, wrong = done.stdout, done.stderr
        assert "/stub:greet name=… [style=…]  Greet somebody" in shown
        assert "@stub:stub://note" in shown
        assert wrong.count("Use /stub:greet name=… [style=…]") == 2  # no name; two words for one argument
        assert wrong.count("name is missing. Use /stub:greet") == 1
        assert "There is no prompt /stub:nothing. /prompts lists the prompts" in wrong
        async with connect(f"unix:{daemon.socket}") as client:
            (record,) = (await client.list_chats()).chats
            sent = [one for one in (await client.chat(record.id).get()).messages if one["role"] == "user"]
            parts = [part for message in sent for part in message["content"]]
        assert "stub://no-such" in wrong
        question = "/tokens 2 @stub:stub://note, @media:screen"
        asked = await parley(daemon, "ask", "--model", "demo:demo", question)
        assert asked.returncode == 0, asked.stderr
        async with connect(f"unix:{daemon.socket}") as client:
            last = (await client.list_chats()).chats[0]
            content = (await client.chat(last.id).get()).messages[0]["content"]
    assert any("Greet Ada Lovelace." in part.get("text", "") for part in parts)
    urls = [part["url"] for part in parts if part.get("origin") == "reference"]
    assert urls == ["@stub:stub://note", "@stub:stub://item/7"]
    assert any("@other:x" in part.get("text", "") for part in parts)
    given = [part["type"] for part in content if part.get("origin") != "retrieval"]
    assert given == ["text", "source"]
    assert content[0]["text"] == question
