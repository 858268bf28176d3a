"""Tools of a client: functions that a model calls, whatever becomes of the function, turn or connection."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from parley_clients import ActionRequest, Chat, Client, ConflictError, connect, sync
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.relay import relay_to

WHOLE = 30


@pytest.fixture
async def client(shared_daemon: DaemonProcess) -> AsyncGenerator[Client]:
    """A client of its own name, so that it takes no tools of others over."""
    async with connect(f"unix:{shared_daemon.socket}", client_name="tools") as client:
        yield client


def add(a: int, b: int = 2) -> int:
    """Add numbers."""
    if a < 0:
        raise ValueError("too small")
    return a + b


async def results(chat: Chat, *calls: tuple[str, dict[str, Any]]) -> list[tuple[str, Any]]:
    """Let the demo model make calls in one message; return the outcomes and results."""
    lines = [f"/tool {name} {json.dumps(args)}" for name, args in calls]
    answer = await chat.ask("/fast " + "\n".join(lines), timeout=WHOLE)
    parts = [part for message in answer.raw["messages"] for part in message["content"]]
    return [(part["outcome"], part["result"]) for part in parts if part["type"] == "tool-result"]


async def test_a_model_gets_what_a_function_returns_or_raises(client: Client) -> None:
    async def where(request: ActionRequest) -> dict[str, str | None]:
        """Say where this is."""
        return {"chat": request.chat_id}

    tool = await client.register_tool(add, kind="read", name="add_numbers")
    await client.register_tool(where, kind="read")
    chat = await client.create_chat(agent="ask")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("add_numbers", {"a": 1}),
        ("add_numbers", {"a": -1}),
        ("add_numbers", {"a": [1]}),
        ("where", {}),
    ]
    whole, raised, invalid, place = await results(chat, *calls)
    assert whole == ("ok", 3)
    assert raised == ("failed", "ValueError: too small")
    assert invalid[0] == "failed"
    assert place == ("ok", {"chat": chat.id})
    with pytest.raises(ConflictError):
        await client.register_tool(add, kind="read", name="add_numbers")
    await tool.unregister()
    ((outcome, said),) = await results(chat, ("add_numbers", {"a": 1}))
    assert outcome == "failed"
    assert "There is no tool 'add_numbers'" in said


async def test_a_tool_of_some_chats_is_none_of_others_and_all_end_with_their_client(
    shared_daemon: DaemonProcess, client: Client
) -> None:
    chat, other = await client.create_chat(agent="ask"), await client.create_chat(agent="ask")
    async with connect(f"unix:{shared_daemon.socket}", client_name="other tools") as host:
        await host.register_tool(add, kind="read", name="add_here", chats=[chat.id])
        assert await results(chat, ("add_here", {"a": 1})) == [("ok", 3)]
        assert (await results(other, ("add_here", {"a": 1})))[0][0] == "failed"


async def test_a_call_ends_with_its_turn(client: Client) -> None:
    begun, cancelled = anyio.Event(), anyio.Event()

    async def wait_for_ever() -> None:
        """Wait."""
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    await client.register_tool(wait_for_ever, kind="read")
    chat = await client.create_chat(agent="ask")
    with anyio.fail_after(WHOLE):
        await chat.send("/fast /tool wait_for_ever {}")
        await begun.wait()
        await chat.interrupt()
        await cancelled.wait()


async def test_a_function_goes_on_while_the_connection_is_lost_and_runs_once(daemon: DaemonProcess) -> None:
    begun, goes_on, runs = anyio.Event(), anyio.Event(), 0

    async def slow() -> str:
        """Take long."""
        nonlocal runs
        runs += 1
        begun.set()
        await goes_on.wait()
        return "done"

    async with (
        relay_to(daemon.socket) as relay,
        connect(relay.address, client_name="host") as host,
        connect(f"unix:{daemon.socket}") as asker,
    ):
        await host.register_tool(slow, kind="read")
        chat = await asker.create_chat(agent="ask")
        with anyio.fail_after(WHOLE):
            async with chat.attach() as live, host.watch() as changes:
                await chat.send("/fast /tool slow {}")
                await begun.wait()
                relay.cut()
                async for change in changes:
                    if change.type == "reset":  # on the next connection
                        break
                goes_on.set()
                async for event in live:
                    if event.type == "turn_ended":
                        break
                message = next(m for m in live.state.messages if m["role"] == "tool")
    assert [(part["outcome"], part["result"]) for part in message["content"]] == [("ok", "done")]
    assert runs == 1


def test_functions_are_tools_of_the_blocking_client_too(shared_daemon: DaemonProcess) -> None:
    with sync.connect(f"unix:{shared_daemon.socket}", client_name="blocking tools") as client:
        tool = client.register_tool(add, kind="read", name="add_blocking")
        assert tool.input_schema["required"] == ["a"]
        chat = client.create_chat(agent="ask")
        assert "`add_blocking`: ok" in chat.ask('/fast /tool add_blocking {"a": 1}').text
        tool.unregister()
