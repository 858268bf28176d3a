"""chat/create with its first message: one call, one commit, and the same answer when it is repeated."""

from typing import Any

import anyio
import pytest

from parley_protocol.errors import ErrorCode
from parley_protocol.fold import plain_text
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer

CHAT_FIELDS = {"turnId", "message"}


async def create(peer: Peer, **params: Any) -> dict[str, Any]:
    return await peer.result("chat/create", {"content": "/fast Hello.", **params})


async def test_a_chat_with_content_is_answered_as_after_a_send(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize(clientName="creator")
        await peer.result("chat/watch", {"partialResultToken": "w"})
        history = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}]
        created = await create(peer, messages=history, settings={"temperature": 0.5})
        message = created["message"]
        assert (message["id"], message["role"], message["origin"]) == (3, "user", "creator")
        assert created["turnId"] == message["turnId"]
        assert created["title"] == "/fast Hello."
        assert created["lastMessageId"] == 4
        chat_id = created["id"]
        subscribed = await peer.subscribe(chat_id, afterSeq=created["lastSeq"])
        assert subscribed["resumed"]
        ended = await peer.event("s", "turn_ended")
        assert (ended["turnId"], ended["outcome"]) == (created["turnId"], "completed")
        shown = await peer.result("chat/get", {"chatId": chat_id})
        assert [one["role"] for one in shown["messages"]] == ["user", "assistant", "user", "assistant"]
        await peer.event("w", "changed", lambda one: one["chat"]["id"] == chat_id)
        changes = [one["type"] for one in peer.events("w") if one["chat"]["id"] == chat_id]
        assert (changes[0], changes.count("created")) == ("created", 1)


async def test_without_content_the_result_is_the_chat_alone(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        created = await peer.result("chat/create")
        assert not CHAT_FIELDS & set(created)
        assert created["lastMessageId"] == 0


async def test_the_same_request_again_is_the_same_chat_and_starts_nothing(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer, unix_peer(daemon.socket) as other:
        await peer.initialize()
        await other.initialize()
        answers: list[dict[str, Any]] = []

        async def repeat(one: Peer) -> None:
            answers.append(await create(one, clientMessageId="c-1"))

        async with anyio.create_task_group() as tasks:
            for one in (peer, other, peer, other):
                tasks.start_soon(repeat, one)
        assert len({one["id"] for one in answers}) == len({one["turnId"] for one in answers}) == 1
        chat_id = answers[0]["id"]
        asked = await peer.result(
            "chat/ask", {"chatId": chat_id, "content": "/fast Hello.", "clientMessageId": "c-1"}
        )
        assert asked["turnId"] == answers[0]["turnId"]
        assert plain_text(asked["messages"][0]["content"])
        # Also if it would be refused by now, and after a restart.
        again = await create(peer, clientMessageId="c-1", model="demo:demo", parentChatId="nobody")
        assert (again["id"], again["turnId"]) == (chat_id, asked["turnId"])
        assert again["message"]["clientMessageId"] == "c-1"
        other_chat = await create(peer, clientMessageId="c-2")
        assert other_chat["id"] != chat_id
    await daemon.restart()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        again = await create(peer, clientMessageId="c-1")
        assert again["id"] == chat_id
        assert len((await peer.result("chat/get", {"chatId": chat_id}))["messages"]) == 2
        assert (await peer.result("chat/list"))["total"] == 2
        await peer.result("chat/delete", {"chatIds": [chat_id]})
        assert (await create(peer, clientMessageId="c-1"))["id"] != chat_id


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"content": " "}, ErrorCode.INVALID_PARAMS),
        ({"content": [{"type": "reference", "uri": "file:///no/such/file"}]}, ErrorCode.INVALID_PARAMS),
        ({"content": "Hi", "model": "nobody:x"}, ErrorCode.MODEL_NOT_FOUND),
        ({"content": "Hi", "parentChatId": "nobody"}, ErrorCode.CHAT_NOT_FOUND),
        ({"content": "Hi", "settings": {"outputSchema": {"type": "x"}}}, ErrorCode.INVALID_PARAMS),
    ],
)
async def test_a_refused_request_creates_no_chat(
    shared_daemon: DaemonProcess, params: dict[str, Any], code: ErrorCode
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        before = (await peer.result("chat/list", {"limit": 1}))["total"]
        assert (await peer.error("chat/create", params))["code"] == code
        assert (await peer.result("chat/list", {"limit": 1}))["total"] == before
