"""What a busy chat does with a message, and the queue as an object, from Python."""

from collections.abc import AsyncGenerator

import pytest

from parley_clients import Chat, ChatBusyError, Client, MessageNotFoundError, connect
from parley_protocol.fold import plain_text
from parley_protocol.models.turns import ChatQueueResult
from tests.support.processes.daemon import DaemonProcess


@pytest.fixture
async def client(shared_daemon: DaemonProcess) -> AsyncGenerator[Client]:
    """A client of a daemon that is there already."""
    async with connect(f"unix:{shared_daemon.socket}") as client:
        yield client


async def _busy(client: Client, *waiting: str) -> Chat:
    chat = await client.create_chat()
    await chat.send("/stall")
    for content in waiting:
        assert (await chat.send(content)).disposition == "queued"
    return chat


async def _texts(chat: Chat) -> list[str]:
    return [plain_text(message["content"]) for message in (await chat.queue.list()).messages]


async def test_each_way_with_a_busy_chat_is_told(client: Client) -> None:
    chat = await _busy(client)
    with pytest.raises(ChatBusyError):
        await chat.send("no", when_busy="reject")
    assert (await chat.send("/fast one", when_busy="queue")).disposition == "queued"
    steered = await chat.send("/fast two", when_busy="steer")
    assert steered.disposition == "steered"
    answer = await chat.ask("/fast /tokens 2", when_busy="interrupt")
    assert answer.text == "1 2 "


async def test_the_queue_is_listed_changed_and_shortened(client: Client) -> None:
    chat = await _busy(client, "one", "two", "three")
    waiting = await chat.queue.list()
    assert isinstance(waiting.model, ChatQueueResult)
    assert waiting.model.to_wire() == waiting.raw
    first, second, third = [message["id"] for message in waiting.messages]
    changed = await chat.queue.update(second, "deux")
    assert [message["id"] for message in changed.messages] == [first, second, third]
    assert await _texts(chat) == ["one", "deux", "three"]
    left = await chat.queue.remove(first)
    assert left.raw == (await chat.queue.list()).raw
    assert await _texts(chat) == ["deux", "three"]
    with pytest.raises(MessageNotFoundError):
        await chat.queue.remove(first)
    await chat.delete()


async def test_a_promoted_message_runs_next(client: Client) -> None:
    chat = await _busy(client, "/stall", "/fast /tokens 3")
    async with chat.attach(tail=0) as live:
        last = (await chat.queue.list()).messages[-1]["id"]
        await chat.queue.promote(last)
        said = ""
        async for event in live:
            said += event.text
            if said.endswith("1 2 3 "):
                break
    assert said.endswith("1 2 3 ")
    await chat.delete()


async def test_an_edit_clears_the_queue(client: Client) -> None:
    chat = await _busy(client, "one")
    assert (await chat.edit(1, "/fast /tokens 1")).text == "1 "
    assert await _texts(chat) == []
