"""The tools, resources and prompts of a real MCP server in chats of a real daemon."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.mcp.stub import StubLog, stub_command
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.processes.trace_agents import living_processes
from tests.support.providers.agents import DIALECTS, PROVIDER_TYPES, AgentProvider, Said, Turn
from tests.support.providers.built_requests import MODELS
from tests.support.providers.server import fake_provider

pytest.importorskip("mcp", reason="the extra parleyd[mcp] is not installed")
pytestmark = pytest.mark.slow

Json = dict[str, Any]
ALLOW = '[[permissions]]\neffect = "allow"\ntool = "mcp__*"\n'


def configuration(log: StubLog, *modes: str, more: str = ALLOW) -> str:
    """Return a configuration with a stub server."""
    command, *args = stub_command(log, *modes)
    how = f"command = {json.dumps(command)}\nargs = {json.dumps(args)}\n"
    return f"titles.enabled = false\n[mcp.stub]\n{how}{more}"


class Chats:
    """A daemon with a stub server, and a client of it."""

    def __init__(self, daemon: DaemonProcess, log: StubLog, peer: Peer) -> None:
        self.daemon = daemon
        self.log = log
        self.peer = peer

    async def new(self, **params: Any) -> str:
        """Return a chat with tools, whose events come under its id."""
        params.setdefault("settings", {"agent": {"mode": "ask"}})
        chat_id = await self.peer.new_chat(**params)
        await self.peer.subscribe(chat_id, chat_id)
        return chat_id

    async def begin(self, chat_id: str, tool: str, **args: Any) -> str:
        """Let the model call a tool of the server; return the turn."""
        content = f"/tool mcp__stub__{tool} {json.dumps(args)}"
        sent = await self.peer.result("chat/send", {"chatId": chat_id, "content": content})
        return str(sent["turnId"])

    async def result(self, chat_id: str, turn_id: str) -> Json:
        """Wait for the end of a turn; return the result of its call."""
        await self.peer.event(chat_id, "turn_ended", lambda event: event["turnId"] == turn_id)
        messages = (await self.peer.result("chat/get", {"chatId": chat_id}))["messages"]
        (part,) = [
            part
            for message in await self.peer.whole(messages)
            if message["role"] == "tool" and message["turnId"] == turn_id
            for part in message["content"]
        ]
        return part

    async def call(self, chat_id: str, tool: str, **args: Any) -> Json:
        """Let the model call a tool; return the result."""
        return await self.result(chat_id, await self.begin(chat_id, tool, **args))

    async def logged(self, line: str, count: int = 1) -> None:
        """Wait until the server has logged a line so often."""
        with anyio.fail_after(30):
            while self.log.count(line) < count:  # noqa: ASYNC110 - another process writes it
                await anyio.sleep(0.02)


@asynccontextmanager
async def chats(folder: Path, *modes: str, more: str = ALLOW) -> AsyncGenerator[Chats]:
    log = StubLog(folder / "stub.log")
    async with (
        running_daemon(config=configuration(log, *modes, more=more)) as daemon,
        unix_peer(daemon.socket) as peer,
    ):
        await peer.initialize()
        yield Chats(daemon, log, peer)


async def test_chats_share_a_server_and_their_calls_are_cancelled_and_lost_one_by_one(tmp_path: Path) -> None:
    async with chats(tmp_path) as rig:
        ids = [await rig.new() for _ in range(5)]
        turns = [await rig.begin(id, "echo", text=f"text {id}") for id in ids]
        for id, turn in zip(ids, turns, strict=True):
            assert (await rig.result(id, turn))["result"] == f"text {id}"
        assert len(rig.log.pids) == 1

        chat_id = ids[0]
        turn = await rig.begin(chat_id, "wait", seconds=600)
        await rig.logged("effect")
        await rig.peer.result("chat/interrupt", {"chatId": chat_id})
        with anyio.fail_after(5):
            assert (await rig.result(chat_id, turn))["outcome"] == "interrupted"
        await rig.logged("stopped waiting")
        assert (await rig.call(chat_id, "echo", text="again"))["result"] == "again"

        lost = await rig.call(chat_id, "die")
        assert (lost["outcome"], lost["isError"]) == ("failed", True)
        assert "It is not known whether mcp__stub__die has done its work" in lost["result"]
        assert rig.log.count("effect") == 2
        assert (await rig.call(chat_id, "echo", text="back"))["result"] == "back"
        assert len(rig.log.pids) == 2
        assert (await rig.call(chat_id, "fail"))["outcome"] == "failed"


async def test_results_of_any_size_are_capped_and_progress_is_streamed(tmp_path: Path) -> None:
    async with chats(tmp_path) as rig:
        chat_id = await rig.new()
        text = (await rig.call(chat_id, "long_text", bytes=50 * 2**20))["result"]
        assert text.startswith("begin")
        assert len(text.encode()) < 66 * 2**10
        items = (await rig.call(chat_id, "many_items", count=10_000))["result"]
        assert items.startswith("item 0\nitem 1\n")
        assert len(items.encode()) < 66 * 2**10
        large = await rig.call(chat_id, "image", bytes=50 * 2**20)
        assert len(json.dumps(large)) < 5 * 2**20
        (image,) = (await rig.call(chat_id, "image", bytes=100))["result"]
        assert (image["type"], image["mediaType"]) == ("file", "image/png")
        turn = await rig.begin(chat_id, "report", count=3)
        reported = await rig.result(chat_id, turn)
        assert reported["result"] == "reported"
        parts = [event["part"] for event in rig.peer.events(chat_id) if event["type"] == "message_part"]
        deltas = "".join([part.get("resultDelta", "") for part in parts])
        assert "step 1 of 3" in deltas


async def test_without_a_rule_each_call_is_asked_about_with_its_arguments(tmp_path: Path) -> None:
    async with chats(tmp_path, more="") as rig:
        chat_id = await rig.new(settings={"agent": {"mode": "auto"}})
        turn = await rig.begin(chat_id, "echo", text="hi")  # its server says that it only reads
        request = (await rig.peer.event(chat_id, "action_required"))["request"]
        assert (request["kind"], request["args"]) == ("permission", {"text": "hi"})
        assert request["title"] == "stub: The tool echo"
        await rig.peer.result(
            "chat/respond", {"chatId": chat_id, "requestId": request["id"], "decision": "allow"}
        )
        assert (await rig.result(chat_id, turn))["result"] == "hi"
        tools = (await rig.peer.result("tool/list", {"chatId": chat_id}))["tools"]
        (echo,) = [one for one in tools if one["name"] == "mcp__stub__echo"]
        assert (echo["source"], echo["kind"], echo["decision"]) == ("mcp:stub", "execute", "ask")
        assert (echo["available"], echo["reason"]) == (True, None)


async def test_a_server_asks_a_person_by_a_form(tmp_path: Path) -> None:
    async with chats(tmp_path) as rig:
        chat_id = await rig.new()
        turn = await rig.begin(chat_id, "ask")
        request = (await rig.peer.event(chat_id, "action_required"))["request"]
        form = request["preview"]["form"]
        assert (request["kind"], form["server"], form["message"]) == ("elicitation", "stub", "Who are you?")
        answer: Json = {"chatId": chat_id, "requestId": request["id"], "decision": "allow"}
        error = await rig.peer.error("chat/respond", {**answer, "result": {"answers": {"name": 1}}})
        assert error["code"] == -32602
        await rig.peer.result("chat/respond", {**answer, "result": {"answers": {"name": "Ada"}}})
        reply = json.loads((await rig.result(chat_id, turn))["result"])
        assert (reply["action"], reply["content"]) == ("accept", {"name": "Ada"})
        nobody = await rig.new(settings={"agent": {"mode": "ask", "interactive": False}})
        assert json.loads((await rig.call(nobody, "ask"))["result"])["action"] == "decline"


async def test_a_call_under_way_is_not_made_again_after_a_kill(tmp_path: Path) -> None:
    async with chats(tmp_path) as rig:
        chat_id = await rig.new()
        turn = await rig.begin(chat_id, "wait", seconds=600)
        await rig.logged("effect")
        await rig.daemon.restart(kill=True)
        with anyio.fail_after(10):
            while living_processes(str(rig.log.path)):  # noqa: ASYNC110 - other processes
                await anyio.sleep(0.05)
        async with unix_peer(rig.daemon.socket) as peer:
            await peer.initialize()
            messages = (await peer.result("chat/get", {"chatId": chat_id}))["messages"]
            (part,) = [part for one in messages if one["role"] == "tool" for part in one["content"]]
            assert (part["outcome"], messages[-1]["turnId"]) == ("interrupted", turn)
            later = Chats(rig.daemon, rig.log, peer)
            await peer.subscribe(chat_id, chat_id)
            assert (await later.call(chat_id, "echo", text="hi"))["result"] == "hi"
        assert rig.log.count("effect") == 1


async def test_resources_and_prompts_become_parts_of_messages(tmp_path: Path) -> None:
    async with chats(tmp_path) as rig:
        chat_id = await rig.new()
        listed = await rig.peer.result("mcp/resources", {"chatId": chat_id})
        references = [one["reference"] for one in listed["resources"] if not one["isTemplate"]]
        assert "@stub:stub://note" in references
        assert listed["unavailable"] == []
        (greet,) = (await rig.peer.result("mcp/prompts", {"chatId": chat_id}))["prompts"]
        assert (greet["command"], greet["arguments"][0]["required"]) == ("/stub:greet", True)
        content: list[Json] = [
            {"type": "text", "text": "Look."},
            {"type": "reference", "uri": "@stub:stub://note"},
            {"type": "prompt", "server": "stub", "name": "greet", "arguments": {"name": "Ada"}},
        ]
        sent = await rig.peer.result("chat/send", {"chatId": chat_id, "content": content})
        text, source, prompt = sent["message"]["content"]
        assert text["text"] == "Look."
        assert (source["type"], source["url"], source["text"]) == ("source", "@stub:stub://note", "a note")
        assert prompt["text"] == "User:\nGreet Ada.\nAssistant:\nHello Ada!"
        created = await rig.peer.result("chat/create", {"content": content[1:2]})
        assert created["message"]["content"][0]["text"] == "a note"
        for bad, field in [
            ({"type": "reference", "uri": "@stub:stub://gone"}, "content[0].uri"),
            ({"type": "reference", "uri": "@other:a"}, "content[0].uri"),
            ({"type": "prompt", "server": "stub", "name": "greet"}, "content[0].name"),
            ({"type": "prompt", "server": "other", "name": "greet"}, "content[0].server"),
        ]:
            error = await rig.peer.error("chat/send", {"chatId": chat_id, "content": [bad]})
            assert (error["code"], error["data"]["fields"][0]["path"]) == (-32602, field)


async def test_a_project_starts_nothing_before_exactly_its_file_is_trusted(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    log = StubLog(tmp_path / "project.log")
    command, *args = stub_command(log, "--tools", "echo")
    file = project / ".mcp.json"
    file.write_text(json.dumps({"mcpServers": {"own": {"command": command, "args": args}}}))
    root = project.as_uri()
    async with chats(tmp_path, more="") as rig:

        async def own() -> Json:
            servers = (await rig.peer.result("mcp/list", {"root": root}))["servers"]
            return next(one for one in servers if one["name"] == "own")

        async def tools(chat_id: str) -> list[str]:
            """Return the project's tools after a turn."""
            sent = await rig.peer.result("chat/send", {"chatId": chat_id, "content": "Hi"})
            await rig.peer.event(chat_id, "turn_ended", lambda event: event["turnId"] == sent["turnId"])
            listed = (await rig.peer.result("tool/list", {"chatId": chat_id}))["tools"]
            return [one["name"] for one in listed if one["source"] == "mcp:own"]

        chat_id = await rig.new(context={"repositories": [root]})
        assert (await tools(chat_id), (await own())["state"], log.pids) == ([], "untrusted", [])
        trust: Json = {"root": root, "hash": (await own())["hash"], "trusted": True}
        await rig.peer.result("workspace/trust", trust)
        assert await tools(chat_id) == ["mcp__own__echo"]
        assert len(log.pids) == 1
        file.write_text(file.read_text() + " ")
        with anyio.fail_after(10):
            while (await own())["state"] != "untrusted":  # noqa: ASYNC110 - the file is looked at in a while
                await anyio.sleep(0.1)
        assert (await tools(chat_id), len(log.pids)) == ([], 1)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_tools_of_servers_work_in_every_dialect(dialect: str, tmp_path: Path) -> None:
    def play(turn: Turn) -> Said:
        if not turn.results:
            calls: tuple[tuple[str, str, Json], ...] = (
                ("call_1", "mcp__stub__structured", {"rows": 2}),
                ("call_2", "mcp__stub__links", {}),
            )
            return Said("I call.", "Let me call.", calls)
        return Said(f"Done: {turn.results[0]}")

    agent = AgentProvider(play)
    async with fake_provider() as server:
        server.choose = agent.choose
        base = server.base_url if dialect in ("chat", "responses") else server.origin
        more = (
            f'{ALLOW}[providers.{dialect}]\ntype = "{PROVIDER_TYPES[dialect]}"\napi_key = "sk"\n'
            f'base_url = "{base}"\n'
        )
        async with chats(tmp_path, "--bad-schemas", "12", more=more) as rig:
            chat_id = await rig.new(model=f"{dialect}:{MODELS[dialect]}")
            sent = await rig.peer.result("chat/send", {"chatId": chat_id, "content": "Go."})
            ended = await rig.peer.event(
                chat_id, "turn_ended", lambda event: event["turnId"] == sent["turnId"]
            )
            assert (ended["outcome"], agent.faults) == ("completed", [])
            messages = (await rig.peer.result("chat/get", {"chatId": chat_id}))["messages"]
            results = [part for one in messages if one["role"] == "tool" for part in one["content"]]
            assert [part["outcome"] for part in results] == ["ok", "ok"]
