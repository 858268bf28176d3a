"""Several clients in one chat, over their own connections: one order, one title, every message once."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from parley_protocol.fold import ChatView, plain_text
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import at, done, finish, stall, text
from tests.support.providers.server import FakeProvider, fake_provider

ANSWER = (text("The ", "answer."), finish(), done())


@asynccontextmanager
async def daemon_on(provider: FakeProvider, titles: bool = False) -> AsyncGenerator[DaemonProcess]:
    """Run a daemon whose default model is the provider's."""
    config = f"""
        default_model = "fake:any"
        titles.enabled = {str(titles).lower()}
        [providers.fake]
        type = "openai-compat"
        base_url = "{provider.base_url}"
    """
    async with running_daemon(config=config) as daemon:
        yield daemon


@asynccontextmanager
async def peers_of(daemon: DaemonProcess, *options: dict[str, Any]) -> AsyncGenerator[list[Peer]]:
    """Connect so many clients."""
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(unix_peer(daemon.socket)) for _ in options]
        for peer, given in zip(peers, options, strict=True):
            await peer.initialize(**given)
        yield peers


def contents(messages: list[dict[str, Any]], role: str = "user") -> list[str]:
    return [plain_text(one["content"]) for one in messages if one["role"] == role]


async def test_ten_messages_of_three_clients_during_a_turn_all_run_once_in_their_order() -> None:
    go = anyio.Event()
    async with fake_provider() as provider, daemon_on(provider) as daemon:
        provider.scripts.append((text("Wait."), stall(go), finish(), done()))
        async with peers_of(daemon, {}, {}, {}) as peers:
            chat_id = await peers[0].new_chat()
            for peer in peers:
                await peer.subscribe(chat_id)
            await peers[0].result("chat/send", {"chatId": chat_id, "content": "first"})
            await peers[0].event("s", "message_part")
            accepted = [
                await peers[number % 3].result("chat/send", {"chatId": chat_id, "content": f"q{number}"})
                for number in range(10)
            ]
            assert [one["disposition"] for one in accepted] == ["queued"] * 10
            id = accepted[6]["queuedMessage"]["id"]
            changed = {"chatId": chat_id, "queuedMessageId": id, "content": "q6, better said"}
            await peers[0].result("chat/queue/update", changed)
            for peer in peers:
                await peer.event("s", "queue_update", lambda e: "better" in str(e["queuedMessages"]))
            go.set()
            last = accepted[-1]["turnId"]
            ended = [await peer.event("s", "turn_ended", lambda e: e["turnId"] == last, 20) for peer in peers]
            assert ended[0] == ended[1] == ended[2]
            stored = await peers[1].result("chat/get", {"chatId": chat_id})
            assert peers[0].events("s") == peers[1].events("s") == peers[2].events("s")
        wanted = ["first", *[f"q{number}" for number in range(10)]]
        wanted[7] = "q6, better said"
        assert contents(stored["messages"]) == wanted
        assert [request.prompt for request in provider.requests] == wanted
        assert stored["queuedMessages"] == []


@pytest.mark.parametrize("titled", ["while it is asked for", "right behind it"])
async def test_a_title_that_a_person_gives_meanwhile_is_never_overwritten(titled: str) -> None:
    go, asked = anyio.Event(), anyio.Event()
    title = (text("The model's "), at(asked), stall(go), text("title"), finish(), done())
    async with fake_provider() as provider, daemon_on(provider, titles=True) as daemon:
        provider.scripts.extend([ANSWER, title, ANSWER])
        async with peers_of(daemon, {}, {}) as (one, other):
            chat_id = await one.new_chat()
            for peer in (one, other):
                await peer.subscribe(chat_id)
            await other.result("chat/watch", {"partialResultToken": "w"})
            await one.result("chat/ask", {"chatId": chat_id, "content": "What is it?"})
            with anyio.fail_after(30):
                await asked.wait()
            if titled == "right behind it":
                go.set()
                await other.event("s", "chat", lambda e: e["chat"]["title"] == "The model's title")
            await one.result("chat/update", {"chatId": chat_id, "title": "Mine"})
            seen = {peer: len(peer.events("s")) for peer in (one, other)}
            watched = len(other.events("w"))
            go.set()
            reply = provider.requests[1].reply
            assert reply is not None
            with anyio.fail_after(30):
                while not reply.ended:
                    await anyio.lowlevel.checkpoint()
            await one.result("chat/ask", {"chatId": chat_id, "content": "And now?"})
            chat = (await one.result("chat/get", {"chatId": chat_id}))["chat"]
            assert chat["title"] == "Mine"
            for peer in (one, other):
                later = [e["chat"]["title"] for e in peer.events("s")[seen[peer] :] if e["type"] == "chat"]
                assert set(later) <= {"Mine"}
            titles = [e["chat"]["title"] for e in other.events("w")[watched:]]
            assert titles
            assert set(titles[1:]) == {"Mine"}


async def test_every_client_is_told_of_another_branch_before_it_hears_its_messages(
    shared_daemon: DaemonProcess,
) -> None:
    """Whatever pace a client asked for, and whatever it had of a turn that was stopped for it."""
    paces: list[dict[str, Any]] = [{}, {"minIntervalMs": 60_000}, {"minIntervalMs": 20}]
    async with peers_of(shared_daemon, *paces) as peers:
        chat_id = await peers[0].new_chat()
        await peers[0].result("chat/ask", {"chatId": chat_id, "content": "/fast first"})
        views: list[ChatView] = []
        for peer in peers:
            subscribed = await peer.subscribe(chat_id)
            views.append(ChatView(subscribed["snapshot"], subscribed["seq"]))
        await peers[1].result("chat/send", {"chatId": chat_id, "content": "/tokens 500"})
        await peers[0].event("s", "message_part", lambda e: "5 " in e["part"].get("text", ""))
        edited = await peers[2].result(
            "chat/editMessage", {"chatId": chat_id, "messageId": 1, "content": "/fast other"}
        )
        again = await peers[0].result("chat/retry", {"chatId": chat_id, "messageId": edited["message"]["id"]})
        for peer in peers:
            await peer.event("s", "turn_ended", lambda e: e["turnId"] == again["turnId"], 20)
        await peers[1].result("chat/selectBranch", {"chatId": chat_id, "messageId": 1})
        stored = await peers[0].result("chat/get", {"chatId": chat_id})
        last = stored["chat"]["lastSeq"]
        for peer, view in zip(peers, views, strict=True):
            await peer.find(lambda _, p=peer: p.events("s")[-1]["seq"] == last)
            shown: set[int] = {1, 2}
            for event in peer.events("s"):
                if event["type"] == "history_reset":
                    shown = {id for id in shown if id <= (event["afterMessageId"] or 0)}
                elif event["type"] == "message":
                    message = event["message"]
                    assert message["parentId"] in (None, *shown), "a message of a branch not told of yet"
                    assert all(id < message["id"] for id in shown)
                    shown.add(message["id"])
                view.apply(event)
            assert view.messages == stored["messages"]
            assert view.preview is None
            assert contents(view.messages)[-1] == "/tokens 500"
