"""A chat of large parts over a socket: it opens at once, and everything in it can be read."""

import base64
import json
from typing import Any

import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer

MIB = 2**20
IMAGES = 10
DATA = [base64.b64encode(bytes([n]) * 2_500_000).decode() for n in range(IMAGES)]
TEXT = "word " * 800_000


def bytes_of(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def image(n: int) -> list[dict[str, Any]]:
    file = {"type": "file", "mediaType": "image/png", "data": DATA[n], "title": f"{n}.png"}
    return [{"type": "text", "text": f"What is {n}?"}, file]


async def chat_of_images(peer: Peer) -> str:
    """Return a chat of 32 MiB."""
    messages: list[dict[str, Any]] = []
    for n in range(IMAGES):
        messages.append({"role": "user", "content": image(n)})
        messages.append({"role": "assistant", "content": f"It is {n}."})
    return await peer.new_chat(messages=messages)


async def pages(peer: Peer, chat_id: str, *, forwards: bool = False) -> list[dict[str, Any]]:
    """Return all messages of a chat, oldest first. Each page is within its bound."""
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {"chatId": chat_id, **({"afterMessageId": 0} if forwards else {})}
    while True:
        page = await peer.result("chat/get", params)
        assert bytes_of(page) <= 8 * MIB
        assert page["messages"]
        found = found + page["messages"] if forwards else page["messages"] + found
        if not page["hasMore"]:
            return found
        if forwards:
            params["afterMessageId"] = found[-1]["id"]
        else:
            params["beforeMessageId"] = found[0]["id"]


@pytest.mark.parametrize("is_loaded", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_a_chat_of_large_images_opens_and_every_image_can_be_read(
    daemon: DaemonProcess, is_loaded: bool
) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await chat_of_images(peer)
        if not is_loaded:
            await daemon.restart()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        if is_loaded:
            await peer.result("chat/compact", {"chatId": chat_id})
        snapshot = (await peer.subscribe(chat_id))["snapshot"]
        assert bytes_of(snapshot) <= MIB
        shown = snapshot["messages"]
        assert shown[-1]["content"] == [{"type": "text", "text": "It is 9."}]
        assert shown[-2]["content"][1] == {
            "type": "file",
            "mediaType": "image/png",
            "title": "9.png",
            "size": 2_500_000,
            "ref": True,
        }
        messages = await pages(peer, chat_id)
        assert [message["id"] for message in messages] == list(range(1, 2 * IMAGES + 1))
        assert await pages(peer, chat_id, forwards=True) == messages
        for n in range(IMAGES):
            params = {"chatId": chat_id, "messageId": messages[2 * n]["id"], "index": 1}
            assert await peer.result("chat/file", params) == image(n)[1]


async def test_a_long_text_is_read_whole_and_other_indexes_are_refused(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(messages=[{"role": "user", "content": TEXT}])
        (message,) = (await peer.subscribe(chat_id))["snapshot"]["messages"]
        (part,) = message["content"]
        assert (part["type"], part["size"], part["ref"]) == ("text", len(TEXT), True)
        assert TEXT.startswith(part["text"])
        whole = {"type": "text", "text": TEXT}
        params = {"chatId": chat_id, "messageId": message["id"], "index": 0}
        assert await peer.result("chat/file", params) == whole
        assert (await peer.error("chat/file", {**params, "index": 1}))["code"] == -32602
        assert (await peer.error("chat/file", {**params, "messageId": 99}))["code"] == 1002
        assert (await peer.error("chat/file", {"chatId": chat_id, "index": 0}))["code"] == -32602
        refused = await peer.error("chat/send", {"chatId": chat_id, "content": [part]})
        assert refused["code"] == -32602, "a reference is no content"


async def test_a_queued_image_can_be_read(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        await peer.result("chat/send", {"chatId": chat_id, "content": "/stall"})
        for n in range(4):
            sent = await peer.result("chat/send", {"chatId": chat_id, "content": image(n)})
            assert sent["disposition"] == "queued"
        snapshot = (await peer.subscribe(chat_id))["snapshot"]
        assert bytes_of(snapshot) <= MIB
        params: dict[str, Any] = {}
        for n, queued in enumerate(snapshot["queuedMessages"]):
            assert queued["content"][1]["ref"]
            params = {"chatId": chat_id, "queuedMessageId": queued["id"], "index": 1}
            assert await peer.result("chat/file", params) == image(n)[1]
        assert (await peer.error("chat/file", {**params, "queuedMessageId": "x"}))["code"] == 1002
