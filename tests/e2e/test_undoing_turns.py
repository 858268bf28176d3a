"""A model changes files in a turn, with the tools that it really has, and a person takes that back."""

import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from lsprotocol import types as lsp
from pygls.workspace import PositionCodec, TextDocument

from tests.support.checkpoints import Scratch, write
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.demo_chats import begin, calls, request, respond
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.processes.trace_agents import living_processes

pytestmark = pytest.mark.slow

LEFT_BEHIND = f"sleep {30_000 + os.getpid()}"  # that of another run of this test has other seconds

TURN = """\
/tool write_file {"path": "new/b.txt", "content": "b\\n"}
/tool read_file {"path": "a.txt"}
/then
/tool edit_file {"path": "a.txt", "oldText": "one", "newText": "two"}
/tool move_file {"path": "c.txt", "to": "new/c.txt"}
"""

EDIT = """\
/tool read_file {"path": "a.txt"}
/then
/tool edit_file {"path": "a.txt", "oldText": "one", "newText": "two"}
"""

# The last name is no UTF-8.
COMMAND = r"""
/tool run {"command": "echo two > a.txt; mkdir b; mv c.txt b/d.txt; echo x > \"$(printf 'e\\377')\""}
"""

EDITOR = {"workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True}}}


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


async def test_an_open_document_is_changed_and_restored_in_its_editor(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "zero\none\n")
    async with unix_peer(shared_daemon.socket) as peer, anyio.create_task_group() as tasks:
        params = {"processId": None, "initializationOptions": {}, "capabilities": EDITOR}
        await peer.result("initialize", params)
        await peer.notify("initialized")
        editor = Editor(peer, (scratch.root / "a.txt").as_uri(), "mine\none\n")
        await editor.open()
        tasks.start_soon(editor.serve)
        chat_id = await peer.new_chat(
            settings={"agent": {"mode": "edits"}}, context={"repositories": [scratch.root.as_uri()]}
        )
        await peer.result("chat/ask", {"chatId": chat_id, "content": EDIT})
        assert editor.text == "mine\ntwo\n"
        (checkpoint,) = await peer.result("chat/checkpoints", {"chatId": chat_id})
        assert [(file["changeType"], file["state"]) for file in checkpoint["files"]] == [
            ("modified", "as_left")
        ]
        undone = await restore(peer, chat_id, checkpoint["id"])
        assert editor.text == "mine\none\n"
        await restore(peer, chat_id, undone["checkpointId"])
        assert editor.text == "mine\ntwo\n"
        assert (scratch.root / "a.txt").read_text() == "zero\none\n"
        tasks.cancel_scope.cancel()


class Editor:
    """A client with one open document, in which it applies what the daemon asks for."""

    def __init__(self, peer: Peer, uri: str, text: str) -> None:
        self.peer = peer
        self.uri = uri
        self.version = 1
        self.document = TextDocument(uri, text, position_codec=PositionCodec())

    @property
    def text(self) -> str:
        """What it shows."""
        return self.document.source

    async def open(self) -> None:
        """Open the document."""
        item = {"uri": self.uri, "languageId": "plaintext", "version": 1, "text": self.text}
        await self.peer.notify("textDocument/didOpen", {"textDocument": item})

    async def serve(self) -> None:
        """Apply edits until the test ends."""
        answered: set[Any] = set()
        while True:
            asked = await self.peer.find(
                lambda m: m.get("method") == "workspace/applyEdit" and m["id"] not in answered
            )
            answered.add(asked["id"])
            (change,) = asked["params"]["edit"]["documentChanges"]
            for edit in reversed(change["edits"]):
                start, end = (lsp.Position(**edit["range"][side]) for side in ("start", "end"))
                self.document.apply_change(
                    lsp.TextDocumentContentChangePartial(range=lsp.Range(start, end), text=edit["newText"])
                )
            self.version += 1
            document = {"uri": self.uri, "version": self.version}
            changes = [{"text": self.text}]
            await self.peer.notify(
                "textDocument/didChange", {"textDocument": document, "contentChanges": changes}
            )
            await self.peer.send({"jsonrpc": "2.0", "id": asked["id"], "result": {"applied": True}})


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


async def test_what_a_command_changed_is_taken_back(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "one\n")
    write(scratch.root / "c.txt", "c\n")
    before = scratch.content()
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(
            settings={"agent": {"mode": "edits"}}, context={"repositories": [scratch.root.as_uri()]}
        )
        await peer.subscribe(chat_id)
        await peer.result("chat/send", {"chatId": chat_id, "content": COMMAND})
        request = (await peer.event("s", "action_required"))["request"]
        answer = {"chatId": chat_id, "requestId": request["id"], "decision": "allow"}
        await peer.result("chat/respond", answer)
        told = (await peer.event("s", "files_changed"))["files"]
        assert [(file["changeType"], file["restorable"]) for file in told] == [
            ("modified", True),
            ("renamed", True),
            ("deleted", True),
            ("added", True),
        ]
        assert told[-1]["path"] == f"{scratch.root.as_uri()}/e%FF"
        await peer.event("s", "turn_ended")
        (checkpoint,) = await peer.result("chat/checkpoints", {"chatId": chat_id})
        await restore(peer, chat_id, checkpoint["id"])
        assert scratch.content() == before


async def test_what_an_interrupted_command_changed_is_told_and_taken_back(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    scratch = Scratch(tmp_path)
    write(scratch.root / "a.txt", "one\n")
    before = scratch.content()
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        prompt = calls(("run", {"command": f"echo two > a.txt; echo done; {LEFT_BEHIND}"}))
        chat_id = await begin(peer, prompt, "edits", scratch.root.as_uri())
        assert "result" in await respond(peer, await request(peer, chat_id))
        await peer.event(
            chat_id, "message_part", lambda event: "done" in event["part"].get("resultDelta", "")
        )
        await peer.result("chat/interrupt", {"chatId": chat_id})
        await peer.event(chat_id, "turn_ended")
        (told,) = [event for event in peer.events(chat_id) if event["type"] == "files_changed"]
        assert [file["path"] for file in told["files"]] == [(scratch.root / "a.txt").as_uri()]
        await restore(peer, chat_id, told["checkpointId"])
        assert scratch.content() == before
        assert living_processes(LEFT_BEHIND) == []
