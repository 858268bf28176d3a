"""Chats of the client: created with their first message, listed by folder, and all deleted."""

import sys
from collections.abc import Generator

import pytest

from parley_clients import InvalidParamsError, connect, sync
from tests.support.processes.daemon import DaemonProcess, private_environment


async def test_a_chat_is_created_with_its_first_message_once(daemon: DaemonProcess) -> None:
    async with connect(f"unix:{daemon.socket}") as client:
        chat = await client.create_chat(content="/fast /tokens 2", client_message_id="mine")
        assert chat.record is not None
        assert chat.record.turn_id == chat.record.raw["message"]["turnId"]
        again = await client.create_chat(content="/fast /tokens 2", client_message_id="mine")
        assert again.id == chat.id
        answer = await chat.ask("/fast /tokens 2", client_message_id="mine")
        assert (answer.turn_id, answer.text) == (chat.record.turn_id, "1 2 ")
        assert (await client.create_chat(content="/fast Hi")).id != chat.id
        empty = await client.create_chat()
        assert empty.record is not None
        assert empty.record.turn_id is None
        with pytest.raises(InvalidParamsError) as refused:
            await client.create_chat(content=" ")
        assert refused.value.client_message_id


async def test_chats_of_a_folder_are_listed_and_all_are_deleted(daemon: DaemonProcess) -> None:
    async with connect(f"unix:{daemon.socket}") as client:
        here = await client.create_chat(context={"repositories": ["file:///work/a/"]})
        below = await client.create_chat(context={"repositories": ["file:///work/a/b"]})
        await client.create_chat()
        page = await client.list_chats(cwd="file:///work/a")
        assert [one.id for one in page.chats] == [here.id]
        found = [one.id async for one in client.all_chats(cwd="file:///work/a", below=True)]
        assert set(found) == {here.id, below.id}
        with pytest.raises(ValueError, match="all=True"):
            await client.delete_chats()
        with pytest.raises(ValueError, match="all=True"):
            await client.delete_chats([here.id], all=True)
        assert (await client.delete_chats([])).raw == {"deleted": [], "errors": []}
        assert len((await client.delete_chats(all=True)).model.deleted) == 3
        assert (await client.list_chats()).total == 0


@pytest.fixture
def address() -> Generator[list[str]]:
    """A daemon of one's own as a child process."""
    with private_environment():
        yield [sys.executable, "-m", "parley_daemon", "stdio", "--in-memory"]


def test_the_same_without_async(address: list[str]) -> None:
    with sync.connect(address) as client:
        uri = "file:///work/a"
        chat = client.create_chat(content="/fast /tokens 2", context={"repositories": [uri]})
        assert chat.record is not None
        assert chat.record.turn_id is not None
        assert [one.id for one in client.list_chats(cwd=f"{uri}/").chats] == [chat.id]
        assert [one.id for one in client.all_chats(cwd="file:///work", below=True)] == [chat.id]
        assert client.delete_chats(all=True).raw["deleted"] == [chat.id]
        schema = {"outputSchema": {"const": [1]}}
        chat = client.create_chat(settings=schema)
        assert chat.ask("What?").output == chat.retry().output == chat.edit(1, "Which?").output == [1]
