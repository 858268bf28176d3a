"""chat/checkpoints and chat/restore of a real daemon, over a socket."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import Scratch, write
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer


async def scratch_of(daemon: DaemonProcess, peer: Peer, folder: Path) -> Scratch:
    """Return a tree with a chat of the daemon, in which two turns have changed files."""
    chat_id = await peer.new_chat()
    scratch = Scratch(folder, data=daemon.data_dir / "checkpoints", chat=chat_id)
    write(scratch.root / "a b.txt", "one\n")
    await scratch.write("a b.txt", "two\n", "turn-1")
    await scratch.write("new.txt", "new\n", "turn-2")
    return scratch


@pytest.fixture
async def peer_and_scratch(shared_daemon: DaemonProcess, peer: Peer, tmp_path: Path) -> tuple[Peer, Scratch]:
    return peer, await scratch_of(shared_daemon, peer, tmp_path)


async def test_checkpoints_are_listed_and_restored(peer_and_scratch: tuple[Peer, Scratch]) -> None:
    peer, scratch = peer_and_scratch
    chat = {"chatId": scratch.chat}
    newest, oldest = await peer.result("chat/checkpoints", chat)
    uri = f"{scratch.root.as_uri()}/a%20b.txt"
    assert oldest == {
        "id": oldest["id"],
        "turnId": "turn-1",
        "messageId": 2,
        "undoes": None,
        "at": oldest["at"],
        "files": [{"path": uri, "changeType": "modified", "restorable": True, "state": "as_left"}],
    }
    assert [file["changeType"] for file in newest["files"]] == ["added"]

    restore = {**chat, "checkpointId": oldest["id"]}
    planned = await peer.result("chat/restore", {**restore, "dryRun": True})
    assert planned == {
        "restored": [{"path": uri, "changeType": "modified"}],
        "conflicts": [],
        "checkpointId": None,
    }
    assert scratch.content()["a b.txt"][2] == b"two\n"
    done = await peer.result("chat/restore", restore)
    assert done == {**planned, "checkpointId": done["checkpointId"]}
    assert scratch.content()["a b.txt"][2] == b"one\n"

    write(scratch.root / "a b.txt", "three\n")
    (conflict,) = (await peer.result("chat/restore", restore))["conflicts"]
    assert (conflict["path"], conflict["state"]) == (uri, "changed_since")
    forced = await peer.result("chat/restore", {**restore, "paths": [scratch.root.as_uri()], "force": True})
    assert [file["path"] for file in forced["restored"]] == [uri]
    undone = await peer.result("chat/restore", {**chat, "checkpointId": forced["checkpointId"]})
    assert undone["conflicts"] == []
    assert scratch.content()["a b.txt"][2] == b"three\n"


async def test_what_cannot_be_restored_is_refused_in_one_sentence(
    peer_and_scratch: tuple[Peer, Scratch],
) -> None:
    peer, scratch = peer_and_scratch
    chat = {"chatId": scratch.chat}
    newest, _ = await peer.result("chat/checkpoints", chat)
    known = {**chat, "checkpointId": newest["id"]}
    before = scratch.content()
    assert (await peer.error("chat/restore", {**chat, "checkpointId": "no"}))["code"] == 1014
    assert (await peer.error("chat/restore", {"chatId": "no", "checkpointId": "no"}))["code"] == 1001
    wrong: list[tuple[dict[str, Any], str]] = [
        ({**known, "force": True}, "force"),
        ({**known, "paths": ["/not/a/uri"]}, "paths[0]"),
        ({**known, "paths": ["file:///not/in/it"]}, "paths"),
        ({**known, "paths": []}, "paths"),
    ]
    for params, path in wrong:
        error = await peer.error("chat/restore", params)
        assert (error["code"], error["data"]["fields"][0]["path"]) == (-32602, path)
    assert scratch.content() == before


async def test_no_file_is_restored_while_a_turn_runs(peer_and_scratch: tuple[Peer, Scratch]) -> None:
    peer, scratch = peer_and_scratch
    chat = {"chatId": scratch.chat}
    newest, _ = await peer.result("chat/checkpoints", chat)
    await peer.result("chat/send", {**chat, "content": "/slow hello"})
    assert (await peer.error("chat/restore", {**chat, "checkpointId": newest["id"]}))["code"] == 1003
    assert "new.txt" in scratch.content()
    await peer.result("chat/interrupt", chat)


async def test_checkpoints_go_with_their_chat(
    shared_daemon: DaemonProcess, peer_and_scratch: tuple[Peer, Scratch]
) -> None:
    peer, scratch = peer_and_scratch
    chat = {"chatId": scratch.chat}
    folder = scratch.data / "chats" / scratch.chat
    await peer.result("chat/ask", {**chat, "content": "/fast hello"})
    fork = await peer.result("chat/fork", chat)
    assert await peer.result("chat/checkpoints", {"chatId": fork["id"]}) == []
    await peer.result("chat/archive", chat)
    assert len(await peer.result("chat/checkpoints", chat)) == 2
    exported = await peer.result("chat/export", {**chat, "format": "json"})
    assert "a b.txt" not in exported["content"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in [folder, *folder.rglob("*")])
    await peer.result("chat/delete", {"chatIds": [scratch.chat]})
    assert not folder.exists()


@pytest.mark.slow
async def test_a_start_removes_checkpoints_of_chats_that_are_gone(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        scratch = await scratch_of(daemon, peer, tmp_path)
    gone = daemon.data_dir / "checkpoints" / "chats" / "00000000-0000-7000-8000-00000000dead"
    gone.mkdir(mode=0o700)
    await daemon.kill()
    await daemon.start()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        assert len(await peer.result("chat/checkpoints", {"chatId": scratch.chat})) == 2
        while gone.exists():
            await peer.result("server/status", {})
