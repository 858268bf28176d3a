"""chat/list of a real daemon whose chats are used, retitled, made and deleted while somebody pages."""

import random
from typing import Any

import pytest

from parley_daemon.ports.store import ChatQuery
from parley_protocol.models.chats import ChatListParams
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer

CHATS = 30


async def change(peer: Peer, chat_id: str, what: int) -> None:
    """Let a chat move in every order that has something to move by."""
    if what % 3 == 0:
        await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast hello"})
    elif what % 3 == 1:
        await peer.result("chat/update", {"chatId": chat_id, "title": f"{what % 7} again"})
    else:
        await peer.result("chat/setModel", {"chatId": chat_id, "model": "demo:demo"})


@pytest.mark.parametrize("order", ["updated", "created", "title"])
async def test_pages_hold_each_chat_once_while_chats_change(daemon: DaemonProcess, order: str) -> None:
    chance = random.Random(order)
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chats = [await peer.new_chat(title=f"{number % 7} chat") for number in range(CHATS)]
        doomed = chance.sample(chats, 6)
        seen: list[str] = []
        params: dict[str, Any] = {"order": order, "limit": 4}
        page: dict[str, Any] = {}
        for _ in range(2 * CHATS):
            page = await peer.result("chat/list", params)
            seen += [chat["id"] for chat in page["chats"]]
            if page["nextCursor"] is None:
                break
            params["cursor"] = page["nextCursor"]
            for what in range(3):
                await change(peer, chance.choice([one for one in chats if one not in doomed]), what)
            if doomed:
                gone = doomed.pop()
                chats.remove(gone)
                await peer.result("chat/delete", {"chatIds": [gone]})
            await peer.new_chat(title="0 new")
        assert page["nextCursor"] is None
        assert len(seen) == len(set(seen))
        assert set(chats) <= set(seen)


def test_the_params_of_a_list_are_the_filters_of_the_store() -> None:
    in_the_store, on_the_wire = set(ChatQuery.__struct_fields__) - {"owner"}, set(ChatListParams.model_fields)
    assert in_the_store == on_the_wire, "ChatQuery and ChatListParams have the same fields, except owner"
