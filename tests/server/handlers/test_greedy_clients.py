"""Numbers and sizes with which one client could stop the daemon for all: each is refused."""

from typing import Any

import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer

KIB = 1024


async def refused(peer: Peer, method: str, params: dict[str, Any], path: str) -> str:
    """Return what is said of a field that is refused."""
    error = await peer.error(method, params)
    assert error["code"] == -32602, error
    (field,) = error["data"]["fields"]
    assert field["path"] == path
    assert len(str(error)) < 3 * KIB
    return field["problem"]


@pytest.mark.parametrize(
    "schema",
    [{"type": "array", "minItems": 1e9}, {"type": "array", "minItems": 10**9}, {"minLength": 1e10}],
)
async def test_an_output_schema_of_the_demo_stops_nobody(
    shared_daemon: DaemonProcess, schema: dict[str, Any]
) -> None:
    async with unix_peer(shared_daemon.socket) as greedy, unix_peer(shared_daemon.socket) as other:
        for peer in (greedy, other):
            await peer.initialize()
        chat_id = await greedy.new_chat()
        asked = {"chatId": chat_id, "content": "Hi", "settings": {"outputSchema": schema}}
        id = await greedy.start("chat/ask", asked)
        await other.alive()
        answer = (await greedy.response(id))["result"]
        assert (answer["outcome"], answer["error"]["kind"]) == ("failed", "invalid_request")
        assert "at most 50,000 elements" in answer["error"]["message"]
        await other.alive()


async def test_what_a_client_sends_is_bounded(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        chat: dict[str, Any] = {"chatId": chat_id}
        long = "x" * 300 * KIB

        said = await refused(peer, "chat/update", {**chat, "systemPrompt": long}, "systemPrompt")
        assert said == "takes 307200 bytes; the limit is 262144"
        await refused(peer, "chat/create", {"systemPrompt": "é" * 200 * KIB}, "systemPrompt")
        schema = {"outputSchema": {"description": long}}
        for method in ("chat/update", "chat/send", "chat/retry"):
            content = {"content": "Hi"} if method == "chat/send" else {}
            said = await refused(peer, method, {**chat, "settings": schema, **content}, "settings")
            assert said.endswith("bytes of JSON; the limit is 131072")
        files = [f"file:///{n:0>1000}" for n in range(100)]
        await refused(peer, "chat/setContext", {**chat, "files": files}, "files")
        await refused(peer, "chat/create", {"context": {"files": files}}, "context.files")
        text = {"type": "text", "text": "x"}
        await refused(peer, "chat/send", {**chat, "content": [text] * 1001}, "content")
        await refused(
            peer, "chat/create", {"messages": [{"role": "user", "content": "x"}] * 10_001}, "messages"
        )
        await refused(peer, "chat/list", {"query": long}, "query")
        await refused(peer, "chat/list", {"cursor": "x" * 2048 * KIB}, "cursor")
        await refused(peer, "chat/get", {"chatId": long}, "chatId")
        await refused(peer, "chat/delete", {"chatIds": ["x"] * 10_001}, "chatIds")
        await refused(peer, "chat/watch", {"partialResultToken": long}, "partialResultToken")
        await refused(peer, "chat/subscribe", {**chat, "partialResultToken": long}, "partialResultToken")
        reference = {"type": "reference", "uri": "file:///etc/hostname"}
        said = await refused(peer, "chat/send", {**chat, "content": [reference] * 65}, "content[64]")
        assert said == "is one of 65 references; a message may have 64"
        await peer.alive()


async def test_a_page_of_chats_with_long_prompts_is_bounded(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        cwd = "file:///long/prompts"
        chats = [
            await peer.new_chat(systemPrompt="x" * 250 * KIB, context={"repositories": [cwd]})
            for _ in range(40)
        ]
        seen: list[str] = []
        params: dict[str, Any] = {"cwd": cwd, "limit": 200}
        while True:
            page = await peer.result("chat/list", params)
            assert len(page["chats"]) < 33
            seen += [chat["id"] for chat in page["chats"]]
            if page["nextCursor"] is None:
                break
            params["cursor"] = page["nextCursor"]
        assert sorted(seen) == sorted(chats)


async def test_a_count_of_the_demo_has_few_digits(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.result("chat/send", {"chatId": chat_id, "content": f"/tokens {'9' * 5000}"})
        await peer.subscribe(chat_id)
        await peer.event("s", "message_part")
        await peer.result("chat/interrupt", {"chatId": chat_id})
        ended = await peer.event("s", "turn_ended")
        assert ended["outcome"] == "interrupted"
