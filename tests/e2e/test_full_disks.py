"""A disk that runs full under a daemon: what cannot be stored is refused, what was acknowledged is there."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

from tests.support.processes.limited_disk import Disk, limited, small_disk
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import done, finish, stall, text
from tests.support.providers.server import FakeProvider, fake_provider

pytestmark = pytest.mark.slow

Kind = Callable[[str], AbstractAsyncContextManager[Disk]]


@pytest.fixture
async def provider() -> AsyncGenerator[FakeProvider]:
    async with fake_provider() as provider:
        yield provider


@pytest.fixture(params=[limited, small_disk])
async def disk(request: pytest.FixtureRequest, provider: FakeProvider) -> AsyncGenerator[Disk]:
    """A daemon on a disk that has room so far."""
    kind: Kind = request.param
    async with kind(config_for(provider)) as disk:
        yield disk


def config_for(provider: FakeProvider) -> str:
    """Return a configuration with nothing but this provider."""
    return f"""
        default_model = "fake:any"
        titles.enabled = false
        [providers.fake]
        type = "openai-compat"
        base_url = "{provider.base_url}"
    """


def said(stored: dict[str, Any]) -> list[str]:
    """Return what the messages of a chat say."""
    return ["".join([part["text"] for part in one["content"]]) for one in stored["messages"]]


async def history(peer: Peer, chat_id: str) -> list[str]:
    """Return what the messages of a chat say, as the daemon has them now."""
    return said(await peer.result("chat/get", {"chatId": chat_id}))


def questions(texts: list[str]) -> list[str]:
    """Return what was asked with a mark for the provider."""
    return [one for one in texts if one.startswith("[[")]


async def restarted_history(disk: Disk, chat_id: str) -> list[str]:
    """Return the same as a daemon has it that comes after a kill."""
    await disk.daemon.restart(kill=True)
    async with unix_peer(disk.daemon.socket) as peer:
        await peer.initialize()
        return await history(peer, chat_id)


async def test_whatever_must_be_stored_is_refused_and_changes_nothing(disk: Disk) -> None:
    async with unix_peer(disk.daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(title="before")
        await peer.result("chat/ask", {"chatId": chat_id, "content": "[[deltas=2 size=2]] one"})
        exported = await peer.result("chat/export", {"chatId": chat_id, "format": "json"})
        before = await peer.result("chat/get", {"chatId": chat_id})
        listed = await peer.result("chat/list")
        await peer.subscribe(chat_id)
        assert (await peer.result("chat/search", {"query": "before"}))["hits"]
        disk.fill()
        calls: list[tuple[str, dict[str, Any]]] = [
            ("chat/send", {"chatId": chat_id, "content": "lost?", "clientMessageId": "mine"}),
            ("chat/ask", {"chatId": chat_id, "content": "lost?"}),
            ("chat/create", {"title": "lost?"}),
            ("chat/update", {"chatId": chat_id, "title": "lost?"}),
            ("chat/setContext", {"chatId": chat_id, "files": ["file:///lost"]}),
            ("chat/fork", {"chatId": chat_id}),
            ("chat/archive", {"chatId": chat_id}),
            ("chat/import", {"content": exported["content"]}),
            ("chat/retry", {"chatId": chat_id}),
            ("chat/editMessage", {"chatId": chat_id, "messageId": 1, "content": "lost?"}),
            ("chat/rewind", {"chatId": chat_id, "messageId": 1}),
        ]
        for method, params in calls:
            refusal = await peer.error(method, params)
            assert refusal["code"] == 1013, (method, refusal)
            assert disk.words in refusal["message"]
            assert "parley.db" in refusal["message"]
        refused = await peer.result("chat/delete", {"chatIds": [chat_id]})
        assert (refused["deleted"], refused["errors"][0]["code"]) == ([], 1013)
        # What is read goes on, and shows that nothing came of all that.
        assert await peer.result("chat/get", {"chatId": chat_id}) == before
        assert await peer.result("chat/list") == listed
        assert (await peer.result("chat/search", {"query": "before"}))["hits"]
        assert peer.events("s") == []
        disk.free()
        sent = await peer.result("chat/send", calls[0][1])
        assert (sent["disposition"], sent["message"]["id"]) == ("started", 3)
        await peer.event("s", "turn_ended")
        assert (await history(peer, chat_id))[2] == "lost?"
    assert (await restarted_history(disk, chat_id))[2] == "lost?"


async def test_a_turn_under_way_is_told_to_its_end_and_saved_once_there_is_room(
    disk: Disk, provider: FakeProvider
) -> None:
    go_on = anyio.Event()
    provider.scripts.append((text("It was "), stall(go_on), text("a night."), finish(), done()))
    async with unix_peer(disk.daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id)
        await peer.result("chat/send", {"chatId": chat_id, "content": "Once?"})
        await peer.result("chat/send", {"chatId": chat_id, "content": "[[deltas=1 size=2]] queued"})
        await peer.event("s", "message_part")
        disk.fill()
        refusal = await peer.error("chat/send", {"chatId": chat_id, "content": "refused"})
        assert refusal["code"] == 1013
        go_on.set()
        ended = await peer.event("s", "turn_ended")
        assert (ended["outcome"], ended["error"]["kind"]) == ("failed", "internal")
        assert disk.words in ended["error"]["message"]
        stored = await peer.result("chat/get", {"chatId": chat_id})
        assert said(stored) == ["Once?", "It was a night."]
        assert stored["chat"]["status"] == "error"
        assert len(stored["queuedMessages"]) == 1
        disk.free()
        await peer.result("chat/update", {"chatId": chat_id, "title": "Room"})
    assert await restarted_history(disk, chat_id) == ["Once?", "It was a night."]
    async with unix_peer(disk.daemon.socket) as peer:
        await peer.initialize()
        await peer.subscribe(chat_id)
        await peer.result("chat/send", {"chatId": chat_id, "content": "[[deltas=1 size=2]] next"})
        await peer.find(lambda _: sum(one["type"] == "turn_ended" for one in peer.events("s")) == 2)
        assert questions(await history(peer, chat_id)) == [
            *("[[deltas=1 size=2]] queued", "[[deltas=1 size=2]] next")
        ]


async def test_a_kill_while_the_disk_is_full_loses_nothing_that_was_acknowledged(
    disk: Disk, provider: FakeProvider
) -> None:
    go_on = anyio.Event()
    provider.scripts.append((text("Half "), stall(go_on), text("lost."), finish(), done()))
    async with unix_peer(disk.daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id)
        sent = await peer.result("chat/send", {"chatId": chat_id, "content": "one"})
        await peer.result("chat/send", {"chatId": chat_id, "content": "two"})
        await peer.event("s", "message_part")
        disk.fill()
        go_on.set()
        ended = await peer.event("s", "turn_ended")
        last_seq = ended["seq"]
        await disk.daemon.kill()
    await disk.daemon.start()
    async with unix_peer(disk.daemon.socket) as peer:
        await peer.initialize()
        stored = await once_there_is_room(disk, peer, chat_id)
        assert said(stored)[0] == "one"
        assert [said({"messages": [one]}) for one in stored["queuedMessages"]] == [["two"]]
        assert stored["chat"]["lastSeq"] > last_seq
        assert stored["messages"][0] == sent["message"]
        assert stored["chat"]["lastError"]["kind"] == "daemon_lost"


async def once_there_is_room(disk: Disk, peer: Peer, chat_id: str) -> dict[str, Any]:
    """Return a chat that needs a recovery, which a daemon on a full disk refuses, and does later."""
    answer = await peer.request("chat/get", {"chatId": chat_id})
    if "error" in answer:
        assert disk.words in answer["error"]["message"]
        disk.free()  # it looks at the store again after a second
    return await peer.result_in_time("chat/get", {"chatId": chat_id}, code=1013)


async def test_messages_are_taken_until_the_disk_is_full_and_those_that_were_are_there(
    provider: FakeProvider,
) -> None:
    async with small_disk(config_for(provider)) as disk:
        taken: list[str] = []
        refusal: dict[str, Any] = {}
        async with unix_peer(disk.daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat()
            while not refusal:
                content = f"[[deltas=1 size=2]] {len(taken)} {'x' * 40_000}"
                answer = await peer.request("chat/ask", {"chatId": chat_id, "content": content})
                if "result" in answer:
                    taken.append(content)
                refusal = answer.get("error", {})
            assert (refusal["code"], len(taken) > 5) == (1013, True)
            assert questions(await history(peer, chat_id)) == taken
        assert questions(await restarted_history(disk, chat_id)) == taken
