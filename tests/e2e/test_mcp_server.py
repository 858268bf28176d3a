"""`parleyd mcp` with the official client in both eras, and what it must not do."""

import json
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.processes.daemon import DaemonProcess, private_environment, running_daemon
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.script import raw
from tests.support.providers.server import fake_provider

mcp = pytest.importorskip("mcp", reason="the official library of MCP is not installed")
stdio = pytest.importorskip("mcp.client.stdio")

pytestmark = pytest.mark.slow

Json = dict[str, Any]
MODES = ("auto", "legacy")


@asynccontextmanager
async def client_of(env: Mapping[str, str], mode: str = "auto", *options: str) -> AsyncGenerator[Any]:
    """Run `parleyd mcp` with this environment as an agent does."""
    command = ["-m", "parley_daemon", "mcp", *options]
    parameters = stdio.StdioServerParameters(command=sys.executable, args=command, env=dict(env))
    info = mcp.types.Implementation(name="another agent", version="1")
    async with mcp.Client(stdio.stdio_client(parameters), mode=mode, client_info=info) as client:
        yield client


async def call(client: Any, name: str, **arguments: Any) -> Json:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refusal(client: Any, name: str, **arguments: Any) -> str:
    result = await client.call_tool(name, arguments)
    assert result.is_error
    return result.content[0].text


@pytest.mark.parametrize("mode", MODES)
async def test_another_agent_lists_searches_reads_and_asks(daemon: DaemonProcess, mode: str) -> None:
    async with client_of(daemon.env, mode) as client, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["list_chats", "search_chats", "read_chat", "list_models", "ask_chat"]
        assert "demo:demo" in (await call(client, "list_models"))["models"]
        shown: list[str] = []

        async def show(progress: float, total: float | None, message: str | None) -> None:
            shown.append(message or "")

        first = await client.call_tool(
            "ask_chat",
            {"message": f"/fast wombat {mode}", "systemPrompt": "Be brief."},
            progress_callback=show,
        )
        answer = first.structured_content
        assert (answer["outcome"], answer["nextOffset"]) == ("completed", None)
        assert f"> wombat {mode}" in answer["text"]
        assert shown
        chat_id = answer["chatId"]
        chat = (await peer.result("chat/get", {"chatId": chat_id}))["chat"]
        assert (chat["settings"]["agent"]["mode"], chat["systemPrompt"]) == ("off", "Be brief.")
        assert chat["metadata"] == {"startedBy": "another agent"}
        second = await call(client, "ask_chat", chatId=chat_id, message="/fast and again")
        assert second["chatId"] == chat_id
        found = await call(client, "search_chats", query=f'"wombat {mode}"')
        assert chat_id in {hit["chatId"] for hit in found["hits"]}
        (listed,) = [one for one in (await call(client, "list_chats"))["chats"] if one["chatId"] == chat_id]
        assert listed["canAsk"]
        page = await call(client, "read_chat", chatId=chat_id, limit=3)
        assert [one["role"] for one in page["messages"]] == ["assistant", "user", "assistant"]
        rest = await call(client, "read_chat", chatId=chat_id, **page["next"])
        assert [one["text"] for one in rest["messages"]] == [f"/fast wombat {mode}"]
        assert not rest["hasMore"]
        messages = (await peer.result("chat/get", {"chatId": chat_id}))["messages"]
        assert messages[0]["origin"] == "another agent (MCP)"


async def test_a_chat_whose_model_has_tools_is_read_and_not_asked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("canary\n")
    async with running_daemon() as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        settings = {"agent": {"mode": "auto", "interactive": False}}
        context = {"repositories": [tmp_path.as_uri()]}
        agent = await peer.new_chat(model="demo:demo", settings=settings, context=context)
        plain = await peer.new_chat(model="demo:demo", context=context)
        await peer.result("chat/ask", {"chatId": agent, "content": '/tool read_file {"path": "a.txt"}'})
        before = await peer.result("chat/get", {"chatId": agent})
        write = '/tool write_file {"path": "b.txt", "content": "x"}'
        async with client_of(daemon.env) as client:
            said = await refusal(client, "ask_chat", chatId=agent, message=write)
            assert said.startswith("The model of this chat has tools")
            assert "canary" in str(await call(client, "read_chat", chatId=agent))
            for target in ({"chatId": plain}, {}):
                answer = await call(client, "ask_chat", message=write, **target)
                assert answer["outcome"] == "completed"
            await peer.result("chat/archive", {"chatId": plain})
            said = await refusal(client, "ask_chat", chatId=plain, message="x")
            assert "is archived" in said
        assert await peer.result("chat/get", {"chatId": agent}) == before
        assert not (tmp_path / "b.txt").exists()
        async with client_of(daemon.env, "auto", "--read-only") as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert names == ["list_chats", "search_chats", "read_chat"]


async def test_a_cancelled_question_ends_its_turn_and_the_next_one_is_answered(daemon: DaemonProcess) -> None:
    async with client_of(daemon.env) as client, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = (await call(client, "ask_chat", message="/fast hello"))["chatId"]
        streamed = anyio.Event()

        async def show(progress: float, total: float | None, message: str | None) -> None:
            streamed.set()

        async def ask(scope: anyio.CancelScope) -> None:
            with scope:
                arguments = {"chatId": chat_id, "message": "/slow a long one"}
                await client.call_tool("ask_chat", arguments, progress_callback=show)

        scope = anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            await peer.subscribe(chat_id)
            tasks.start_soon(ask, scope)
            await streamed.wait()
            assert (await refusal(client, "ask_chat", chatId=chat_id, message="x")).startswith(
                "The chat is answering somebody else."
            )
            scope.cancel()
        ended = await peer.event("s", "turn_ended")
        assert ended["outcome"] == "interrupted"
        assert (await call(client, "ask_chat", chatId=chat_id, message="/fast x"))["outcome"] == "completed"


@pytest.mark.parametrize("how", ["terminate", "end of input"])
async def test_a_question_ends_with_the_agent_that_asked(daemon: DaemonProcess, how: str) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(model="demo:demo")
        await peer.subscribe(chat_id)
        command = [sys.executable, "-m", "parley_daemon", "mcp"]
        async with await anyio.open_process(command, env=daemon.env) as process:
            assert process.stdin is not None
            arguments = {"chatId": chat_id, "message": "/slow a long one"}
            params = {"name": "ask_chat", "arguments": arguments}
            request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            await process.stdin.send(json.dumps(request).encode() + b"\n")
            await peer.event("s", "message_part", lambda event: event["role"] == "assistant")
            if how == "terminate":
                process.terminate()
            else:
                await process.stdin.aclose()
            assert (await peer.event("s", "turn_ended"))["outcome"] == "interrupted"
            with anyio.fail_after(30):
                assert await process.wait() == 0


async def test_a_long_answer_is_read_in_pages() -> None:
    long = "".join([f"{number} " for number in range(200_000)])
    piece = '{"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}'
    lines = [f"data: {piece % long[at : at + 100_000]}\n\n" for at in range(0, len(long), 100_000)]
    script = [raw(line.encode()) for line in lines]
    end = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    async with fake_provider((*script, raw(end.encode()))) as server:
        config = (
            f'titles.enabled = false\n[providers.x]\ntype = "openai-compat"\nbase_url = "{server.base_url}"\n'
        )
        async with running_daemon(config=config) as daemon, client_of(daemon.env) as client:
            page = await call(client, "ask_chat", message="All numbers", model="x:y")
            ids = {"chatId": page["chatId"], "messageId": page["messageId"]}
            assert page["characters"] == len(long)
            text = page["text"]
            while page["nextOffset"] is not None:
                page = await call(client, "read_chat", **ids, offset=page["nextOffset"])
                text += page["text"]
            assert text == long
            listed = await call(client, "read_chat", chatId=ids["chatId"])
            assert listed["messages"][-1]["truncated"]


async def test_it_starts_the_daemon_when_a_tool_first_needs_it() -> None:
    with private_environment(config="titles.enabled = false\n") as env:
        async with client_of(env) as client:
            await client.list_tools()
            assert not Path(env["PARLEY_DATA_DIR"]).exists()
            answer = await call(client, "ask_chat", message="/fast hello", model="demo:demo")
            assert answer["outcome"] == "completed"
            stop = [sys.executable, "-m", "parley_daemon", "stop"]
            await anyio.run_process(stop, env=env)
            assert len((await call(client, "list_chats"))["chats"]) == 1  # another one was started
            await anyio.run_process(stop, env=env)
