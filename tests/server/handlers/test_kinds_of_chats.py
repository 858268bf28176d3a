"""Chats of every kind can do the same, and a deletion of many says of each what became of it."""

import pytest

from parley_protocol.errors import ErrorCode
from parley_protocol.fold import plain_text
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import unix_peer


@pytest.mark.parametrize("kind", ["chat", "agent"])
@pytest.mark.parametrize("child", [False, True], ids=["a root", "a child"])
async def test_a_chat_of_this_kind_can_do_what_any_other_can(
    shared_daemon: DaemonProcess, kind: str, child: bool
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        above = {"parentChatId": await peer.new_chat()} if child else {}
        chat_id = await peer.new_chat(kind=kind, title="One", **above)
        await peer.subscribe(chat_id)
        chat = await peer.result("chat/update", {"chatId": chat_id, "title": "Two"})
        assert (chat["kind"], chat["title"]) == (kind, "Two")
        await peer.result("chat/setModel", {"chatId": chat_id, "model": "demo:demo"})
        texts: list[str] = []
        for token in ({}, {"partialResultToken": "t"}):
            answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast /tokens 3", **token})
            texts.append(plain_text(answer["messages"][0]["content"]))
        for method, params in (
            ("chat/retry", {}),
            ("chat/editMessage", {"messageId": 1, "content": "/fast /tokens 3"}),
        ):
            accepted = await peer.result(method, {"chatId": chat_id, **params})
            await peer.event("s", "turn_ended", lambda e, id=accepted["turnId"]: e["turnId"] == id)
        stored = await peer.result("chat/get", {"chatId": chat_id})
        texts += [plain_text(one["content"]) for one in stored["messages"] if one["role"] == "assistant"]
        assert texts == ["1 2 3 "] * 3
        fork = await peer.result("chat/fork", {"chatId": chat_id})
        assert fork["kind"] == kind
        await peer.result("chat/archive", {"chatId": chat_id})
        deleted = await peer.result("chat/delete", {"chatIds": [chat_id, fork["id"]]})
        assert deleted == {"deleted": [chat_id, fork["id"]], "errors": []}


async def test_a_deletion_of_many_tells_of_each_once_and_leaves_the_others(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        one, other, kept = [await peer.new_chat() for _ in range(3)]
        await peer.result("chat/send", {"chatId": other, "content": "/stall"})
        wanted = [one, "nope", other, one, "nope"]
        told = await peer.result("chat/delete", {"chatIds": wanted})
        assert told["deleted"] == [one, other]
        assert [(error["chatId"], error["code"]) for error in told["errors"]] == [
            ("nope", ErrorCode.CHAT_NOT_FOUND)
        ]
        for gone in (one, other):
            assert (await peer.error("chat/get", {"chatId": gone}))["code"] == ErrorCode.CHAT_NOT_FOUND
        assert (await peer.result("chat/get", {"chatId": kept}))["chat"]["id"] == kept
