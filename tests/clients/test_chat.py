"""Forking, archiving, exporting, importing and searching from Python, and the call of chat/compact."""

import json
import sys
from collections.abc import AsyncGenerator

import pytest

from parley_clients import (
    ChatArchivedError,
    Client,
    ConflictError,
    InvalidParamsError,
    connect,
    sync,
)
from parley_protocol.models.chats import ChatSearchResult
from tests.support.processes.daemon import DaemonProcess

ECHO = """
import json, sys
while True:
    size = 0
    while (line := sys.stdin.buffer.readline().strip()):
        size = int(line.split(b":")[1]) if line.lower().startswith(b"content-length") else size
    if not size:
        break
    asked = json.loads(sys.stdin.buffer.read(size))
    if "id" not in asked:
        continue
    parley = {"protocolVersion": 1, "features": {}}
    result = {"capabilities": {"experimental": {"parley": parley}}, "asked": asked}
    body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
async def client(shared_daemon: DaemonProcess) -> AsyncGenerator[Client]:
    """A client of a daemon that is there already."""
    async with connect(f"unix:{shared_daemon.socket}") as client:
        yield client


async def test_a_fork_is_a_chat_of_its_own(client: Client) -> None:
    chat = await client.create_chat(title="Plan")
    await chat.ask("/fast /tokens 2")
    await chat.ask("/fast /tokens 3")
    whole, half = await chat.fork(), await chat.fork(2)
    assert half.record is not None
    assert half.record.raw["forkedFrom"] == {"chatId": chat.id, "messageId": 2}
    assert [len((await one.get()).messages) for one in (chat, whole, half)] == [4, 4, 2]
    await half.ask("/fast /tokens 1")
    assert len((await chat.get()).messages) == 4


async def test_an_archived_chat_takes_no_messages_until_it_is_back(client: Client) -> None:
    chat = await client.create_chat()
    assert (await chat.archive()).raw["archived"] is True
    with pytest.raises(ChatArchivedError):
        await chat.ask("hello")
    with pytest.raises(ConflictError):
        await chat.archive()
    assert (await chat.unarchive()).raw["archived"] is False
    assert chat.record is not None
    assert chat.record.raw["archived"] is False
    assert (await chat.ask("/fast /tokens 1")).text == "1 "


async def test_the_context_is_changed_where_it_is_named_and_cleared_by_nothing(client: Client) -> None:
    chat = await client.create_chat()
    await chat.set_context(files=["file:///a"], include=["*.py"])
    record = await chat.set_context(files=[])
    context = {"repositories": [], "include": ["*.py"], "exclude": [], "files": [], "chosen": True}
    assert record.raw["context"] == context


async def test_an_exported_chat_comes_back_with_all_its_branches(client: Client) -> None:
    chat = await client.create_chat(title="Kept")
    await chat.ask("/fast /tokens 2")
    await chat.edit(1, "/fast /tokens 3")
    assert "# Kept" in await chat.export()
    content = await chat.export("json")
    assert json.loads(content)["format"] == "parley-chat"
    copy = await client.import_chat(content)
    assert copy.id != chat.id
    assert [place.siblings for place in await copy.branches()] == [[1, 3]]
    same = [{**message, "chatId": chat.id} for message in (await copy.get()).messages]
    theirs = (await chat.get()).messages
    assert [(m["id"], m["content"]) for m in same] == [(m["id"], m["content"]) for m in theirs]
    merged = await client.import_chat(content, merge=True)
    assert merged.id == chat.id
    with pytest.raises(InvalidParamsError):
        await client.import_chat("no chat")


async def test_messages_and_titles_are_found_page_by_page(client: Client) -> None:
    chats = [await client.create_chat(title="Quokka") for _ in range(3)]
    await chats[0].ask("/fast /tokens 1 quokka")
    page = await client.search("quokka", limit=3)
    assert isinstance(page.model, ChatSearchResult)
    assert page.model.to_wire() == page.raw
    rest = await client.search("quokka", limit=3, cursor=page.next_cursor)
    hits = page.hits + rest.hits
    assert rest.next_cursor is None
    assert {(hit.chat_id, hit.message_id) for hit in hits} == {
        *((chat.id, None) for chat in chats),
        (chats[0].id, 1),
    }
    assert all(hit.title == "Quokka" and "uokka" in hit.snippet and hit.score for hit in hits)
    assert (await client.search("nothinglikethis")).hits == []


async def test_chats_are_pinned_and_listed(client: Client) -> None:
    chat = await client.create_chat()
    assert chat.record is not None
    assert not chat.record.pinned
    assert (await chat.pin()).model.pinned
    assert (await chat.pin()).pinned
    assert chat.id in [record.id for record in (await client.list_chats(pinned=True)).chats]
    assert chat.id in [record.id async for record in client.all_chats(pinned=True)]
    assert not (await chat.pin(False)).pinned
    assert chat.id not in [record.id for record in (await client.list_chats(pinned=True)).chats]
    await chat.pin()
    assert not (await chat.unpin()).pinned


async def test_compacting_names_the_chat() -> None:
    async with connect([sys.executable, "-c", ECHO]) as client:
        asked = (await client.chat("mine").compact()).raw["asked"]
    assert (asked["method"], asked["params"]) == ("chat/compact", {"chatId": "mine"})


def test_all_of_it_without_async(shared_daemon: DaemonProcess) -> None:
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        chat = client.create_chat(title="Numbat")
        chat.ask("/fast /tokens 2")
        fork = chat.fork(1)
        assert isinstance(fork, sync.Chat)
        assert len(fork.get().messages) == 1
        assert fork.archive().raw["archived"]
        assert not fork.unarchive().raw["archived"]
        assert fork.pin().pinned
        pinned = [record.id for record in client.list_chats(query="numbat", pinned=True).chats]
        assert pinned == [fork.id]
        assert fork.id in [record.id for record in client.all_chats(pinned=True)]
        assert not fork.unpin().pinned
        assert chat.set_context(files=["file:///b"]).raw["context"]["files"] == ["file:///b"]
        copy = client.import_chat(chat.export("json"))
        assert {chat.id, copy.id} <= {hit.chat_id for hit in client.search("numbat").hits}
    with sync.connect([sys.executable, "-c", ECHO]) as client:
        assert client.chat("mine").compact().raw["asked"]["method"] == "chat/compact"
