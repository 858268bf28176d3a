"""The asynchronous client against real daemon processes."""

import inspect
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from parley_clients import (
    AuthenticationError,
    Chat,
    ChatBusyError,
    ChatNotFoundError,
    Client,
    ConnectionLostError,
    DaemonUnreachableError,
    ModelNotFoundError,
    QueueFullError,
    Reconnect,
    TurnFailedError,
    connect,
)
from parley_clients.connection.session import Session
from parley_protocol.models.base import to_camel
from parley_protocol.models.chats import ChatListParams
from parley_protocol.models.turns import ChatAskResult
from tests.support.processes.daemon import DaemonProcess


async def test_an_answer_has_its_text_typed_and_raw(shared_daemon: DaemonProcess) -> None:
    async with connect(f"unix:{shared_daemon.socket}", client_name="test") as client:
        chat = await client.create_chat(title="Mine")
        answer = await chat.ask("/fast /tokens 5")
        assert answer.text == "1 2 3 4 5 "
        assert answer.outcome == "completed"
        assert isinstance(answer.model, ChatAskResult)
        assert answer.model.turn_id == answer.raw["turnId"]
        assert answer.model.to_wire() == answer.raw
        record = await chat.get()
        assert record.messages[0]["origin"] == "test"


async def test_a_stream_and_the_whole_answer_have_the_same_text(shared_daemon: DaemonProcess) -> None:
    async with connect(f"unix:{shared_daemon.socket}") as client:
        chat = await client.create_chat()
        stream = chat.stream("/fast hello")
        events = [event async for event in stream]
        assert [events[0].type, events[-1].type] == ["message", "turn_ended"]
        assert stream.answer is not None
        assert "".join([event.text for event in events]) == stream.answer.text
        assert "".join([event.reasoning for event in events]) == stream.answer.reasoning
        assert stream.answer.text.replace("\n", "") == (await chat.get()).messages[1]["content"][1][
            "text"
        ].replace("\n", "")


@pytest.mark.parametrize("how", ["unix", "tcp", "stdio", "command", "found"])
async def test_a_daemon_is_reached_in_every_way(
    shared_daemon: DaemonProcess, places: dict[str, str], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = shared_daemon
    used = places if how in ("stdio", "command") else daemon.env
    for name in ("PARLEY_DATA_DIR", "PARLEY_RUNTIME_DIR", "PARLEY_CONFIG"):
        monkeypatch.setenv(name, used[name])
    address: Any = {
        "unix": f"unix:{daemon.socket}",
        "tcp": f"tcp:{daemon.tcp}",
        "stdio": "stdio",
        "command": [sys.executable, "-m", "parley_daemon", "stdio", "--in-memory"],
        "found": None,
    }[how]
    async with connect(address) as client:
        answer = await (await client.create_chat()).ask("/fast /tokens 2")
        assert answer.text == "1 2 "


async def test_a_daemon_is_started_when_none_runs(
    places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PARLEY_DATA_DIR", "PARLEY_RUNTIME_DIR", "PARLEY_CONFIG"):
        monkeypatch.setenv(name, places[name])
    with pytest.raises(DaemonUnreachableError, match="No daemon serves"):
        async with connect(start=False):
            pass
    async with connect() as client:
        pid = (await client.status()).model.pid
    async with connect(start=False) as client:
        assert (await client.status()).model.pid == pid
    await anyio.run_process([sys.executable, "-m", "parley_daemon", "stop"], env=places)


async def test_errors_are_typed_and_say_what_to_do(shared_daemon: DaemonProcess) -> None:
    async with connect(f"unix:{shared_daemon.socket}") as client:
        with pytest.raises(ChatNotFoundError, match="no chat nope") as found:
            await client.chat("nope").ask("hello")
        assert found.value.code == 1001
        with pytest.raises(ModelNotFoundError):
            await client.create_chat(model="nope:x")
        chat = await client.create_chat()
        await chat.send("/stall")
        with pytest.raises(ChatBusyError):
            await chat.send("me", when_busy="reject")
        for _ in range(20):
            await chat.send("/fast")
        with pytest.raises(QueueFullError):
            await chat.send("one too many")
        await chat.delete()
    with pytest.raises(AuthenticationError):
        async with connect(f"tcp:{shared_daemon.tcp}", token="wrong"):
            pass
    with pytest.raises(DaemonUnreachableError, match="no such socket"):
        async with connect("unix:/nowhere.sock"):
            pass


async def test_a_failed_turn_is_an_answer_and_an_error_only_when_asked_for(
    shared_daemon: DaemonProcess,
) -> None:
    async with connect(f"unix:{shared_daemon.socket}") as client:
        answer = await (await client.create_chat()).ask("/fast /error auth")
        assert answer.outcome == "failed"
        assert answer.error is not None
        assert answer.error["kind"] == "auth"
        with pytest.raises(TurnFailedError) as failed:
            answer.raise_for_outcome()
        assert failed.value.answer is answer


async def test_twenty_chats_at_once_over_one_connection(shared_daemon: DaemonProcess) -> None:
    async with connect(f"unix:{shared_daemon.socket}") as client:
        texts: dict[int, str] = {}

        async def one(number: int) -> None:
            chat = await client.create_chat()
            texts[number] = (await chat.ask(f"/fast number {number}!")).text

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(one, number)
        assert all(f"number {number}!" in text for number, text in texts.items())
        assert len(texts) == 20


async def test_giving_up_an_ask_or_leaving_a_stream_interrupts_the_turn(shared_daemon: DaemonProcess) -> None:
    async with connect(f"unix:{shared_daemon.socket}") as client:
        chat = await client.create_chat()
        with anyio.move_on_after(0.05):
            await chat.ask("/stall")
        assert (await chat.ask("/fast /tokens 1")).text == "1 "

        async with chat.stream("/stall") as stream:
            async for event in stream:
                if event.type == "message_part":
                    break
        answer = await chat.ask("/fast /tokens 2")
        assert answer.text == "1 2 "
        messages = (await chat.get()).messages
        assert [message["complete"] for message in messages if message["role"] == "assistant"][-2:] == [
            False,
            True,
        ]


async def test_a_model_can_be_chosen_and_a_turn_interrupted(shared_daemon: DaemonProcess) -> None:
    async with connect(f"unix:{shared_daemon.socket}") as client:
        chat = await client.create_chat()
        record = await chat.set_model("demo:demo")
        assert record.raw["model"] == "demo:demo"
        async with chat.attach() as live:
            await chat.send("/stall")
            async for event in live:
                if event.type == "message_part":
                    await chat.interrupt()
                if event.type == "turn_ended":
                    assert event.raw["outcome"] == "interrupted"
                    break
        assert "demo:demo" in [
            model.id for provider in (await client.models()).model.providers for model in provider.models
        ]


async def test_calls_fail_with_one_error_when_the_daemon_dies(daemon: DaemonProcess) -> None:
    async with connect(f"unix:{daemon.socket}", reconnect=False) as client:
        chats = [await client.create_chat() for _ in range(20)]
        errors: list[str | None] = []

        async def ask(chat: Chat) -> None:
            with pytest.raises(ConnectionLostError) as lost:
                await chat.ask("/stall")
            errors.append(lost.value.client_message_id)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for chat in chats:
                    tasks.start_soon(ask, chat)
                await client.status()
                await daemon.kill()
        assert len({error for error in errors if error}) == 20
        with pytest.raises(ConnectionLostError):
            await client.status()


async def test_a_live_view_goes_on_after_the_daemon_came_back(daemon: DaemonProcess) -> None:
    socket = daemon.socket
    async with connect(f"unix:{socket}", reconnect=Reconnect()) as client:
        chat = await client.create_chat()
        async with chat.attach() as live:
            await chat.send("/tokens 400")
            async for event in live:
                if event.text.strip() == "10":
                    break
            await daemon.restart(kill=True)
            kinds: list[str] = []
            with anyio.fail_after(30):
                async for event in live:
                    kinds.append(event.type)
                    if event.type == "reset":
                        break
            await _until_connected(client)
            await chat.send("/fast /tokens 3")
            with anyio.fail_after(30):
                async for event in live:
                    if event.type == "turn_ended":
                        break
            stored = await chat.get()
            assert live.state.messages == stored.messages
            assert [message["complete"] for message in stored.messages] == [True, False, True, True]


async def _until_connected(client: Client) -> None:
    with anyio.fail_after(30):
        while True:
            try:
                await client.status()
            except ConnectionLostError:
                await anyio.sleep(0.01)
            else:
                return


async def test_what_was_lost_may_be_asked_again_and_is_not_answered_twice(daemon: DaemonProcess) -> None:
    async with connect(f"unix:{daemon.socket}") as client:
        chat = await client.create_chat()
        first = await chat.ask("/fast /tokens 3", client_message_id="mine")
        again = await chat.ask("/fast /tokens 3", client_message_id="mine")
        assert (again.turn_id, again.text) == (first.turn_id, first.text)
        assert len((await chat.get()).messages) == 2


async def test_chats_are_listed_watched_and_deleted(daemon: DaemonProcess) -> None:
    async with connect(f"unix:{daemon.socket}") as client, connect(f"unix:{daemon.socket}") as other:
        async with client.watch() as changes:
            made = [await other.create_chat(title=f"chat {number}") for number in range(5)]
            seen: list[str] = []
            with anyio.fail_after(30):
                async for change in changes:
                    seen.append(change.type)
                    if len(seen) == 5:
                        break
        assert seen == ["created"] * 5
        page = await client.list_chats(limit=2, order="title")
        assert [record.title for record in page.chats] == ["chat 0", "chat 1"]
        assert page.total == 5
        everything = [record.id async for record in client.all_chats()]
        assert set(everything) == {chat.id for chat in made}
        await made[0].delete()
        assert (await client.list_chats()).total == 4


def test_importing_the_client_loads_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys, parley_clients; print(sorted({'pygls', 'lsprotocol', 'aiohttp', 'rich', 'parley_daemon',"
        " 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_readmes_examples_are_python() -> None:
    text = (Path(__file__).parents[2] / "clients" / "README.md").read_text("utf-8")
    blocks = [block.partition("```")[0] for block in text.split("```python\n")[1:]]
    assert blocks
    for block in blocks:
        compile(block, "clients/README.md", "exec")


def fields_of(function: Any, *left_out: str) -> set[str]:
    """Return the names of a function's parameters in the protocol."""
    return {to_camel(name) for name in inspect.signature(function).parameters if name not in left_out}


async def test_lists_of_chats_take_every_filter_of_the_protocol_and_send_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    filters = {to_camel(name) for name in ChatListParams.model_fields}
    assert fields_of(Client.list_chats, "self", "timeout") == filters
    assert fields_of(Client.all_chats, "self") == filters - {"cursor", "limit"}
    sent: list[dict[str, Any]] = []

    async def call(_self: Session, _method: str, params: dict[str, Any], _timeout: float | None) -> Any:
        sent.append(params)
        return {"chats": [], "nextCursor": None, "total": 0}

    monkeypatch.setattr(Session, "call", call)
    client = Client(Session.__new__(Session))
    given: dict[str, Any] = {name: f"value of {name}" for name in ChatListParams.model_fields}
    await client.list_chats(**given)
    del given["cursor"], given["limit"]
    assert [record async for record in client.all_chats(**given)] == []
    assert [set(params) for params in sent] == [filters, filters - {"cursor"}]
