"""Large messages leave the daemon's memory with the chats that they were said in."""

import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import unix_peer

SIZE = 4_000_000
ROUNDS = 10


@pytest.mark.slow
async def test_memory_does_not_grow_with_large_messages_of_chats_that_are_deleted(
    daemon: DaemonProcess,
) -> None:
    grown: list[int] = []
    for _ in range(ROUNDS):
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat()
            await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast " + "x" * SIZE})
            await peer.result("chat/delete", {"chatIds": [chat_id]})
            grown.append((await peer.result("server/status"))["memoryBytes"])
    assert grown[-1] - grown[1] < SIZE * ROUNDS / 4
