"""A model changes files over a real connection, also those that an editor has open."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer

CAPABILITIES = {"workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True}}}

EDIT = """\
/tool read_file {"path": "a.txt"}
/then
/tool edit_file {"path": "a.txt", "oldText": "two", "newText": "TWO"}
/then
/tool read_file {"path": "a.txt"}
"""


async def chat_with_open_file(peer: Peer, root: Path) -> str:
    """Open the file with unsaved changes, and create a chat that may edit."""
    (root / "a.txt").write_text("on disk\n")
    await peer.result("initialize", {"processId": None, "capabilities": CAPABILITIES})
    await peer.notify("initialized")
    document = {"uri": uri_of(root), "languageId": "text", "version": 7, "text": "one\ntwo\n"}
    await peer.notify("textDocument/didOpen", {"textDocument": document})
    return await peer.new_chat(
        settings={"agent": {"mode": "edits"}}, context={"repositories": [root.as_uri()]}
    )


def uri_of(root: Path) -> str:
    return (root / "a.txt").as_uri()


async def results(peer: Peer, chat_id: str) -> list[Any]:
    messages = (await peer.result("chat/get", {"chatId": chat_id}))["messages"]
    return [part for one in messages if one["role"] == "tool" for part in one["content"]]


async def test_the_editor_gets_the_change_and_later_reads_see_its_text(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        chat_id = await chat_with_open_file(peer, tmp_path)
        ask = await peer.start("chat/ask", {"chatId": chat_id, "content": EDIT})
        request = await peer.find(lambda message: message.get("method") == "workspace/applyEdit")
        (change,) = request["params"]["edit"]["documentChanges"]
        assert change["textDocument"] == {"uri": uri_of(tmp_path), "version": 7}
        (edit,) = change["edits"]
        assert (edit["range"]["start"], edit["newText"]) == ({"line": 1, "character": 0}, "TWO")
        changed = {"textDocument": {"uri": uri_of(tmp_path), "version": 8}}
        await peer.notify(
            "textDocument/didChange",
            {**changed, "contentChanges": [{"range": edit["range"], "text": edit["newText"]}]},
        )
        await peer.send({"jsonrpc": "2.0", "id": request["id"], "result": {"applied": True}})
        await peer.response(ask)
        _, edited, read = await results(peer, chat_id)
    assert edited["outcome"] == "ok", edited
    assert "one\nTWO\n" in str(read["result"])
    assert (tmp_path / "a.txt").read_text() == "on disk\n"


@pytest.mark.slow
@pytest.mark.parametrize("is_interrupted", [True, False])
async def test_an_editor_that_does_not_apply_the_change_does_not_hold_up_the_turn(
    shared_daemon: DaemonProcess, tmp_path: Path, is_interrupted: bool
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        chat_id = await chat_with_open_file(peer, tmp_path)
        ask = await peer.start("chat/ask", {"chatId": chat_id, "content": EDIT})
        request = await peer.find(lambda message: message.get("method") == "workspace/applyEdit")
        if is_interrupted:
            await peer.result("chat/interrupt", {"chatId": chat_id})
            await peer.find(lambda message: message.get("method") == "$/cancelRequest")
        else:
            error = {"code": -32803, "message": "the buffer is locked"}
            await peer.send({"jsonrpc": "2.0", "id": request["id"], "error": error})
        with anyio.fail_after(30):
            await peer.response(ask)
        edited = (await results(peer, chat_id))[1]
    assert edited["outcome"] == ("interrupted" if is_interrupted else "failed")
    assert is_interrupted or "the buffer is locked" in str(edited["result"])
    assert (tmp_path / "a.txt").read_text() == "on disk\n"


async def test_ten_edits_of_one_file_in_one_message_are_all_made(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("".join(f"line {number}.\n" for number in range(10)))
    edits = [
        f'/tool edit_file {{"path": "a.txt", "oldText": "line {n}.", "newText": "LINE {n}.\\nline {n + 1}!"}}'
        for n in range(10)
    ]
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(
            settings={"agent": {"mode": "edits"}}, context={"repositories": [tmp_path.as_uri()]}
        )
        content = "\n".join(['/tool read_file {"path": "a.txt"}', "/then", *edits])
        await peer.result("chat/ask", {"chatId": chat_id, "content": content})
        outcomes = [part["outcome"] for part in await results(peer, chat_id)]
    assert outcomes == ["ok"] * 11
    assert (tmp_path / "a.txt").read_text() == "".join(f"LINE {n}.\nline {n + 1}!\n" for n in range(10))
