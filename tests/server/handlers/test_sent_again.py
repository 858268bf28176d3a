"""A message that is sent again is answered as the first time, also when it would be refused by now."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.server import fake_provider


@asynccontextmanager
async def talking() -> AsyncGenerator[tuple[Peer, str]]:
    """Yield a client and a chat whose provider was configured over the protocol."""
    async with (
        fake_provider() as provider,
        running_daemon(config="[titles]\nenabled = false\n") as daemon,
        unix_peer(daemon.socket) as peer,
    ):
        await peer.initialize()
        work = {"provider": "work", "type": "openai-compat", "baseUrl": provider.base_url}
        await peer.result("provider/create", work)
        yield peer, await peer.new_chat(model="work:m")


async def check_same(peer: Peer, params: dict[str, Any], first: dict[str, Any]) -> None:
    """Send and ask again; something that was not sent yet is refused."""
    assert await peer.result("chat/send", params) == first
    asked = await peer.result("chat/ask", params)
    assert (asked["turnId"], asked["outcome"]) == (first["turnId"], "completed")
    await peer.error("chat/send", {**params, "clientMessageId": "another"})


async def said(peer: Peer, params: dict[str, Any]) -> dict[str, Any]:
    """Send a message for the first time; return the answer once its turn is over."""
    await peer.subscribe(params["chatId"])
    first = await peer.result("chat/send", params)
    await peer.event("s", "turn_ended")
    return first


@pytest.mark.parametrize("change", ["the chat is archived", "the model's provider is deleted"])
async def test_what_changed_since_does_not_matter(change: str) -> None:
    async with talking() as (peer, chat_id):
        params = {"chatId": chat_id, "content": "one", "model": "work:m", "clientMessageId": "c-1"}
        first = await said(peer, params)
        if "archived" in change:
            await peer.result("chat/archive", {"chatId": chat_id})
        else:
            await peer.result("provider/delete", {"provider": "work"})
        await check_same(peer, params, first)


async def test_a_file_that_it_refers_to_may_be_gone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("Some notes.", "utf-8")
    async with talking() as (peer, chat_id):
        content = [{"type": "text", "text": "See"}, {"type": "reference", "uri": file.as_uri()}]
        params = {"chatId": chat_id, "content": content, "clientMessageId": "c-1"}
        first = await said(peer, params)
        file.unlink()
        await check_same(peer, params, first)
