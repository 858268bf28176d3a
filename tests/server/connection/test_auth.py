"""Tokens of asks, subscriptions and watches: who may take which, and that nobody loses another's stream."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from parley_protocol.fold import PartsFold, plain_text
from parley_protocol.framing import encode_frame
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer

INVALID_PARAMS = -32602


@pytest.fixture
async def peer(shared_daemon: DaemonProcess) -> AsyncGenerator[Peer]:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        yield peer


def streamed(events: list[dict[str, Any]]) -> str:
    """Return the text that the parts under a token fold to."""
    fold = PartsFold()
    for event in events:
        if event["type"] == "message_part":
            fold.add(event["index"], event["part"])
    return plain_text(fold.parts)


async def test_of_two_asks_at_once_with_one_token_the_second_is_refused(peer: Peer) -> None:
    chats = [await peer.new_chat(), await peer.new_chat()]
    ids = [
        await peer.start("chat/ask", {"chatId": chat, "content": "/tokens 20", "partialResultToken": "p"})
        for chat in chats
    ]
    refused = await peer.response(ids[1])
    assert refused["error"]["code"] == INVALID_PARAMS
    done = (await peer.response(ids[0]))["result"]
    assert streamed(peer.events("p")) == plain_text(done["messages"][0]["content"])
    assert peer.events("p")[-1]["type"] == "turn_ended"


async def test_a_refused_ask_does_not_disarm_the_cancelling_of_another(peer: Peer) -> None:
    first, second = await peer.new_chat(), await peer.new_chat()
    await peer.subscribe(first)
    id = await peer.start("chat/ask", {"chatId": first, "content": "/slow 30", "workDoneToken": "w"})
    await peer.event("s", "message_part")
    refused = await peer.error("chat/ask", {"chatId": second, "content": "/fast", "workDoneToken": "w"})
    assert refused["code"] == INVALID_PARAMS
    await peer.notify("window/workDoneProgress/cancel", {"token": "w"})
    assert (await peer.response(id))["result"]["outcome"] == "interrupted"


async def test_a_subscription_does_not_take_the_token_of_an_ask(peer: Peer) -> None:
    asked, other = await peer.new_chat(), await peer.new_chat()
    id = await peer.start("chat/ask", {"chatId": asked, "content": "/tokens 30", "partialResultToken": "p"})
    await peer.event("p", "message_part")
    refused = await peer.error("chat/subscribe", {"chatId": other, "partialResultToken": "p"})
    assert refused["code"] == INVALID_PARAMS
    await peer.result("chat/unsubscribe", {"partialResultToken": "p"})  # that is no subscription
    done = (await peer.response(id))["result"]
    assert streamed(peer.events("p")) == plain_text(done["messages"][0]["content"])
    await peer.result("chat/subscribe", {"chatId": other, "partialResultToken": "p"})


async def test_a_watch_and_the_streams_of_a_chat_do_not_share_a_token(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    asking = {"chatId": chat_id, "content": "/tokens 30"}
    await peer.subscribe(chat_id)
    await peer.result("chat/watch", {"partialResultToken": "w"})
    id = await peer.start("chat/ask", {**asking, "partialResultToken": "p"})
    await peer.event("p", "message_part")
    for method, given, token, user in [
        ("chat/watch", {}, "s", "chat/subscribe"),
        ("chat/watch", {}, "p", "chat/ask"),
        ("chat/subscribe", {"chatId": chat_id}, "w", "chat/watch"),
        ("chat/ask", asking, "w", "another stream"),
    ]:
        refused = await peer.error(method, {**given, "partialResultToken": token})
        assert refused["code"] == INVALID_PARAMS
        problem = {"path": "partialResultToken", "problem": f"is in use by {user}"}
        assert refused["data"]["fields"] == [problem]
    await peer.response(id)
    for token in "sp":
        assert {"created", "changed"}.isdisjoint(event["type"] for event in peer.events(token))
    assert {event["type"] for event in peer.events("w")} == {"changed"}


async def test_a_token_is_free_for_another_use_once_its_stream_has_ended(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket, check=False) as peer:  # what was numbered begins anew
        await peer.initialize()
        chat_id = await peer.new_chat()
        token = {"partialResultToken": "t"}
        begin: dict[str, dict[str, Any]] = {
            "chat/subscribe": {"chatId": chat_id, **token},
            "chat/watch": token,
            "chat/ask": {"chatId": chat_id, "content": "/fast", **token},
        }
        for used, ended in [("chat/subscribe", "chat/unsubscribe"), ("chat/watch", "chat/unwatch")]:
            for method, params in begin.items():
                await peer.result(used, begin[used])
                await peer.result(used, begin[used])  # replaces
                await peer.result(ended, token)
                await peer.result(method, params)
                await peer.result("chat/unsubscribe", token)
                await peer.result("chat/unwatch", token)


async def test_a_subscription_that_fails_leaves_the_one_before_it(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    await peer.subscribe(chat_id)
    await peer.error("chat/subscribe", {"chatId": "no such chat", "partialResultToken": "s"})
    await peer.result("chat/update", {"chatId": chat_id, "title": "still heard"})
    assert (await peer.event("s", "chat"))["chat"]["title"] == "still heard"


async def test_asking_again_while_the_turn_runs_streams_it_from_its_beginning(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    question = {"chatId": chat_id, "content": "/tokens 40", "clientMessageId": "once"}
    first = await peer.start("chat/ask", {**question, "partialResultToken": "p"})
    await peer.event("p", "message_part", lambda event: "5 " in event["part"].get("text", ""))
    again = await peer.start("chat/ask", {**question, "partialResultToken": "q"})
    done = [(await peer.response(id))["result"] for id in (first, again)]
    assert done[0] == done[1]
    assert streamed(peer.events("q")) == plain_text(done[0]["messages"][0]["content"])
    assert [event["type"] for event in peer.events("q")] == [event["type"] for event in peer.events("p")]


async def test_asking_again_after_the_turn_tells_it_all_once_more(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    question = {"chatId": chat_id, "content": "/fast hello", "clientMessageId": "once"}
    first = await peer.result("chat/ask", {**question, "partialResultToken": "p"})
    again = await peer.result("chat/ask", {**question, "partialResultToken": "q"})
    assert again["messages"] == first["messages"]
    assert peer.events("q") == peer.events("p")


async def test_unsubscribing_in_the_same_breath_leaves_no_stream_behind(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as other, unix_peer(shared_daemon.socket, check=False) as peer:
        await other.initialize()
        await peer.initialize()
        chat_id = await other.new_chat()
        calls: list[tuple[str, dict[str, Any]]] = [
            ("chat/subscribe", {"chatId": chat_id, "partialResultToken": "s"}),
            ("chat/unsubscribe", {"partialResultToken": "s"}),
        ]
        frames = [
            encode_frame(_request(100 + number, method, params))
            for number, (method, params) in enumerate(calls)
        ]
        await peer.send_bytes(b"".join(frames))
        await peer.response(100)
        await peer.response(101)
        await other.result("chat/update", {"chatId": chat_id, "title": "unheard"})
        await peer.alive()
        assert peer.events("s") == []


def _request(id: int, method: str, params: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("$/cancelRequest", {"id": [1]}),
        ("$/cancelRequest", {"id": {}}),
        ("$/cancelRequest", {}),
        ("window/workDoneProgress/cancel", {"token": [1]}),
    ],
)
async def test_a_cancellation_of_nothing_sensible_is_ignored(
    peer: Peer, method: str, params: dict[str, Any]
) -> None:
    await peer.notify(method, params)
    await peer.alive()


async def test_a_cancelled_request_between_two_others_does_not_change_their_order(
    shared_daemon: DaemonProcess,
) -> None:
    path = shared_daemon.directory / "read-first.txt"
    path.write_text("x\n" * 100_000, "utf-8")
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.subscribe(chat_id)
        first = [{"type": "text", "text": "/fast FIRST"}, {"type": "reference", "uri": path.as_uri()}]
        sent = await peer.start("chat/send", {"chatId": chat_id, "content": first})
        got = await peer.start("chat/get", {"chatId": chat_id})
        await peer.notify("$/cancelRequest", {"id": got})
        await peer.response(got)
        second = await peer.start("chat/send", {"chatId": chat_id, "content": "/fast SECOND"})
        with anyio.fail_after(30):
            for id in (sent, second):
                await peer.response(id)
        await peer.event("s", "turn_ended", lambda event: event["seq"] > 10)
        stored = await peer.result("chat/get", {"chatId": chat_id})
        asked = [plain_text(one["content"]) for one in stored["messages"] if one["role"] == "user"]
        assert asked[0].startswith("/fast FIRST")
