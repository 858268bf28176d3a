"""Params that are refused by a real daemon: each names its fields, and nothing is the worse for it."""

from collections.abc import AsyncGenerator

import pytest

from parley_protocol.fold import plain_text
from tests.support.daemon import DaemonProcess
from tests.support.wire import Peer, unix_peer

INVALID_PARAMS = -32602


@pytest.fixture
async def peer(shared_daemon: DaemonProcess) -> AsyncGenerator[Peer]:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        yield peer


async def test_an_unusable_file_is_refused_and_leaves_the_chat_as_it_was(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    first = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast one"})
    for bad, field in [({"data": "!!!"}, "data"), ({"mediaType": "", "url": ""}, "mediaType")]:
        file = {"type": "file", "mediaType": "image/png", **bad}
        for method, more in [
            ("chat/send", {}),
            ("chat/ask", {}),
            ("chat/editMessage", {"messageId": first["messages"][0]["parentId"]}),
        ]:
            params = {"chatId": chat_id, "content": [file], **more}
            refused = await peer.error(method, params)
            assert refused["code"] == INVALID_PARAMS
            assert refused["data"]["fields"][0]["path"] == f"content[0].{field}"
    later = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast two"})
    assert plain_text(later["messages"][0]["content"])
    assert len((await peer.result("chat/get", {"chatId": chat_id}))["messages"]) == 4
