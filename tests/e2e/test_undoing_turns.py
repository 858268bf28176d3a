"""A model changes files in a turn, with the tools that it really has, and a person takes that back."""

from pathlib import Path
from typing import Any

from tests.support.checkpoints import Scratch, write
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer

TURN = """\
/tool write_file {"path": "new/b.txt", "content": "b\\n"}
/tool read_file {"path": "a.txt"}
/then
/tool edit_file {"path": "a.txt", "oldText": "one", "newText": "two"}
/tool move_file {"path": "c.txt", "to": "new/c.txt"}
"""


async def test_a_turn_of_tools_is_taken_back_and_done_again(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "one\n")
    write(scratch.root / "c.txt", "c\n")
    before = scratch.content()
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await run_turn(peer, scratch)
        after = scratch.content()
        (checkpoint,) = await peer.result("chat/checkpoints", {"chatId": chat_id})
        assert {file["state"] for file in checkpoint["files"]} == {"as_left"}
        messages = (await peer.result("chat/get", {"chatId": chat_id}))["messages"]
        assert checkpoint["messageId"] in [one["id"] for one in messages if one["role"] == "assistant"]

        undone = await restore(peer, chat_id, checkpoint["id"])
        assert scratch.content() == before
        await restore(peer, chat_id, undone["checkpointId"])
        assert scratch.content() == after


async def run_turn(peer: Peer, scratch: Scratch) -> str:
    """Let the model change files, and check what clients are told of it. Return the id of the chat."""
    chat_id = await peer.new_chat(
        settings={"agent": {"mode": "edits"}}, context={"repositories": [scratch.root.as_uri()]}
    )
    await peer.subscribe(chat_id)
    await peer.result("chat/ask", {"chatId": chat_id, "content": TURN})
    told = {
        file["path"].removeprefix(f"{scratch.root.as_uri()}/"): file["changeType"]
        for event in peer.events("s")
        if event["type"] == "files_changed"
        for file in event["files"]
    }
    assert told == {
        "a.txt": "modified",
        "c.txt": "deleted",
        "new/b.txt": "added",
        "new/c.txt": "renamed",
    }
    return chat_id


async def restore(peer: Peer, chat_id: str, checkpoint_id: str) -> dict[str, Any]:
    """Restore a checkpoint without a conflict."""
    result = await peer.result("chat/restore", {"chatId": chat_id, "checkpointId": checkpoint_id})
    assert result["conflicts"] == []
    return result
