"""A store that cannot be written any more, or is damaged: nothing is acknowledged and lost."""

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.limited_disk import limited
from tests.support.processes.raw_client import Peer, unix_peer

pytestmark = pytest.mark.slow

STORE_UNAVAILABLE = 1013


@pytest.fixture
async def peer(daemon: DaemonProcess) -> AsyncGenerator[Peer]:
    """A client of a daemon of this test's own."""
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        yield peer


async def store_error(peer: Peer) -> str | None:
    """Return what the daemon says is wrong with its store."""
    return (await peer.result("server/status"))["store"]["error"]


async def doctor(daemon: DaemonProcess) -> list[str]:
    """Return the lines of `parleyd doctor` that are bad."""
    command = [sys.executable, "-m", "parley_daemon", "doctor"]
    done = await anyio.run_process(command, env=daemon.env, check=False, stderr=subprocess.STDOUT)
    return [line for line in done.stdout.decode().splitlines() if line.startswith("BAD")]


async def test_a_deleted_data_directory_refuses_writes_at_once_and_is_reported(
    daemon: DaemonProcess, peer: Peer
) -> None:
    chat_id = await peer.new_chat(title="still here")
    await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast hello"})
    assert await store_error(peer) is None
    shutil.rmtree(daemon.data_dir)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("chat/create", {}),
        ("chat/send", {"chatId": chat_id, "content": "lost?"}),
        ("chat/update", {"chatId": chat_id, "title": "lost?"}),
    ]
    for method, params in calls:
        refusal = await peer.error(method, params)
        assert refusal["code"] == STORE_UNAVAILABLE
        assert f"{daemon.data_dir / 'parley.db'} was deleted or moved" in refusal["message"]
    error = await store_error(peer)
    assert "was deleted or moved while the daemon runs" in str(error)
    assert any(line.startswith("BAD store") and str(error) in line for line in await doctor(daemon))
    # What was stored can still be saved elsewhere.
    exported = await peer.result("chat/export", {"chatId": chat_id, "format": "markdown"})
    assert "hello" in exported["content"]
    assert [chat["title"] for chat in (await peer.result("chat/list"))["chats"]] == ["still here"]
    assert not daemon.data_dir.exists()


async def test_a_turn_under_way_is_not_reported_as_saved_when_the_directory_is_deleted(
    daemon: DaemonProcess, peer: Peer
) -> None:
    chat_id = await peer.new_chat()
    await peer.subscribe(chat_id)
    await peer.result("chat/send", {"chatId": chat_id, "content": "/tokens 40"})
    await peer.event("s", "message_part")
    shutil.rmtree(daemon.data_dir)
    ended = await peer.event("s", "turn_ended")
    assert ended["outcome"] == "failed"
    assert "was deleted or moved" in ended["error"]["message"]


async def test_a_disk_that_cannot_be_written_is_reported_before_and_until_it_can() -> None:
    async with limited("") as disk, unix_peer(disk.daemon.socket) as peer:
        await peer.initialize()
        await peer.new_chat()
        assert await store_error(peer) is None
        disk.fill()
        assert disk.words in str(await store_error(peer))
        assert any("store" in line and disk.words in line for line in await doctor(disk.daemon))
        assert (await peer.error("chat/create", {}))["code"] == STORE_UNAVAILABLE
        disk.free()
        assert await store_error(peer) is None


async def test_one_damaged_chat_hides_no_other_and_is_reported(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        ids = [await peer.new_chat(title=f"chat {number}") for number in range(3)]
    await daemon.stop()
    with contextlib.closing(sqlite3.connect(daemon.data_dir / "parley.db")) as store, store:
        store.execute("UPDATE chats SET body = 'garbage' WHERE id = ?", (ids[1],))
    await daemon.start()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        listed = await peer.result("chat/list", {"order": "created"})
        assert [chat["id"] for chat in listed["chats"]] == [ids[2], ids[0]]
        refusal = await peer.error("chat/get", {"chatId": ids[1]})
        assert refusal["code"] == STORE_UNAVAILABLE
        assert "a record in it cannot be read" in refusal["message"]
        await peer.result("chat/ask", {"chatId": ids[0], "content": "/fast hello"})
        assert "is damaged" in str(await store_error(peer))
    assert any("is damaged" in line for line in await doctor(daemon))
