"""The daemon is killed while a command changes files: what can be taken back after the next start."""

from pathlib import Path

import pytest

from tests.support.checkpoints import Scratch, write
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import unix_peer

pytestmark = pytest.mark.slow

COMMAND = """\
/tool write_file {"path": "b.txt", "content": "tool\\n"}
/tool run {"command": "echo two > a.txt; rm c.txt; touch new; echo $((6*7)) done; sleep 60"}
"""


async def test_a_command_that_was_cut_off_is_taken_back_by_name(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "one\n")
    write(scratch.root / "c.txt", "c\n")
    before = scratch.content()
    async with unix_peer(daemon.socket, check=False) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(
            settings={"agent": {"mode": "edits"}}, context={"repositories": [scratch.root.as_uri()]}
        )
        await peer.subscribe(chat_id)
        await peer.result("chat/send", {"chatId": chat_id, "content": COMMAND})
        request = (await peer.event("s", "action_required"))["request"]
        await peer.result(
            "chat/respond", {"chatId": chat_id, "requestId": request["id"], "decision": "allow"}
        )
        await peer.event("s", "message_part", lambda event: "42 done" in str(event["part"]))
        await daemon.kill()
    await daemon.start()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        (checkpoint,) = await peer.result("chat/checkpoints", {"chatId": chat_id})
        states = {file["path"].rpartition("/")[2]: file["state"] for file in checkpoint["files"]}
        assert states == {
            "a.txt": "changed_since",
            "b.txt": "as_left",
            "c.txt": "gone",
            "new": "changed_since",
        }
        params = {"chatId": chat_id, "checkpointId": checkpoint["id"]}
        result = await peer.result("chat/restore", params)
        assert [file["path"].rpartition("/")[2] for file in result["restored"]] == ["b.txt", "c.txt"]
        named = [file["path"] for file in result["conflicts"]]
        await peer.result("chat/restore", {**params, "paths": named, "force": True})
        assert scratch.content() == before
