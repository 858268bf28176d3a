"""The daemon as a language server: driven by pytest-lsp's client, as an editor would."""

import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from lsprotocol import types
from pytest_lsp import LanguageClient, client_capabilities, make_test_lsp_client

from parley_daemon.server.files.references import READ_LIMIT, REFERENCE_LIMIT
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer


@pytest.fixture
async def editor(places: dict[str, str]) -> AsyncGenerator[LanguageClient]:
    """An editor's language client on `parleyd stdio`, not initialized yet."""
    client = make_test_lsp_client()
    with anyio.fail_after(30):
        command = (sys.executable, "-m", "parley_daemon", "stdio")
        await client.start_io(*command, env=places)  # pyright: ignore[reportUnknownMemberType]
    assert isinstance(client, LanguageClient)
    yield client
    with anyio.fail_after(30):
        await client.shutdown_session()
        await client.stop()


async def initialize(editor: LanguageClient, name: str, folder: Path | None = None) -> types.InitializeResult:
    """Open the session with the capabilities of a real editor."""
    folders = [types.WorkspaceFolder(folder.as_uri(), folder.name)] if folder else None
    params = types.InitializeParams(client_capabilities(name), workspace_folders=folders)
    with anyio.fail_after(30):
        return await editor.initialize_session(params)


async def call(editor: LanguageClient, method: str, params: dict[str, Any]) -> Any:
    """Send one of our own requests."""
    with anyio.fail_after(30):
        return await editor.protocol.send_request_async(method, params)


@pytest.mark.parametrize(
    ("name", "encoding"), [("neovim", "utf-8"), ("visual_studio_code", "utf-16"), ("emacs", "utf-32")]
)
async def test_real_editors_capabilities_are_taken_and_the_answer_is_lsps(
    editor: LanguageClient, name: str, encoding: str
) -> None:
    result = await initialize(editor, name)
    capabilities = result.capabilities
    assert capabilities.position_encoding == encoding
    sync = capabilities.text_document_sync
    assert isinstance(sync, types.TextDocumentSyncOptions)
    assert (sync.open_close, sync.change) == (True, types.TextDocumentSyncKind.Incremental)
    assert capabilities.workspace is not None
    assert capabilities.workspace.workspace_folders is not None
    assert capabilities.workspace.workspace_folders.supported is True


async def test_a_reference_reads_the_buffer_as_the_editor_has_it(
    editor: LanguageClient, tmp_path: Path
) -> None:
    file = tmp_path / "code.py"
    file.write_text("on disk\n", "utf-8")
    uri = file.as_uri()
    await initialize(editor, "visual_studio_code", tmp_path)
    opened = types.TextDocumentItem(uri, "python", 1, "first 😀 line\nsecond\n")
    editor.text_document_did_open(types.DidOpenTextDocumentParams(opened))
    # Behind the emoji, which takes two units of UTF-16.
    where = types.Range(types.Position(0, 8), types.Position(0, 9))
    editor.text_document_did_change(
        types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(uri=uri, version=2),
            [types.TextDocumentContentChangePartial(range=where, text="-")],
        )
    )
    chat = await call(editor, "chat/create", {})

    async def asked() -> str:
        reference = {"type": "reference", "uri": uri, "startLine": 1, "endLine": 1}
        content = [{"type": "text", "text": "/fast look"}, reference]
        await call(editor, "chat/ask", {"chatId": chat.id, "content": content})
        stored = await call(editor, "chat/get", {"chatId": chat.id})
        questions = [message for message in stored.messages if message.role == "user"]
        return questions[-1].content[1].text

    assert await asked() == "first 😀-line\n"
    editor.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri)))
    assert await asked() == "on disk\n"


async def test_what_cannot_be_read_of_lsp_is_dropped_and_the_rest_goes_on(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    uri = (tmp_path / "x.py").as_uri()
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        for params in ({}, {"textDocument": 7}, [1], "x", {"textDocument": {"uri": uri}}):
            await peer.send({"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": params})
        await peer.notify("workspace/didChangeWorkspaceFolders", {"event": {"added": [], "removed": []}})
        await peer.notify("textDocument/didFancyThing", {})
        document = {"uri": uri, "languageId": "python", "version": 1, "text": "open\n"}
        await peer.notify("textDocument/didOpen", {"textDocument": document})
        chat_id = await peer.new_chat()
        content = [{"type": "text", "text": "/fast"}, {"type": "reference", "uri": uri}]
        await peer.result("chat/ask", {"chatId": chat_id, "content": content})
        stored = await peer.result("chat/get", {"chatId": chat_id})
        assert stored["messages"][0]["content"][1]["text"] == "open\n"


@pytest.mark.parametrize(
    ("uri", "path", "words"),
    [
        ("file:///does/not/exist.py", "content[0].uri", "cannot be read: No such file"),
        ("https://example.org/x", "content[0].uri", "not a file:// URI"),
        ("file://[", "content[0].uri", "not a file:// URI"),
        ("file:///tmp/a%00b", "content[0].uri", "not a file:// URI"),
        ("FOLDER", "content[0].uri", "not a regular file"),
        ("FOLDER/fifo", "content[0].uri", "not a regular file"),
        ("file:///dev/zero", "content[0].uri", "not a regular file"),
        ("FOLDER/image.png", "content[0].uri", "not a text file"),
        ("FOLDER/big.txt", "content[0].uri", "longer than 256 KiB"),
        ("FOLDER/short.txt", "content[0].startLine", "has 1 lines"),
    ],
)
async def test_a_reference_that_cannot_be_used_is_refused_with_the_reason(
    shared_daemon: DaemonProcess, tmp_path: Path, uri: str, path: str, words: str
) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "big.txt").write_text("x" * 300_000, "ascii")
    (tmp_path / "short.txt").write_text("one line\n", "ascii")
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        reference = {"type": "reference", "uri": uri.replace("FOLDER", tmp_path.as_uri())}
        if "short" in uri:
            reference = {**reference, "startLine": 5, "endLine": 9}  # pyright: ignore[reportAssignmentType]
        error = await peer.error("chat/send", {"chatId": chat_id, "content": [reference]})
        assert error["code"] == -32602
        (field,) = error["data"]["fields"]
        assert field["path"] == path
        assert words in field["problem"]
        assert (await peer.result("chat/get", {"chatId": chat_id}))["messages"] == []


async def referred(peer: Peer, file: Path, first: int, last: int | None) -> Any:
    """Return the text of these lines as the daemon reads it, or what it has against them."""
    chat_id = await peer.new_chat()
    reference = {"type": "reference", "uri": file.as_uri(), "startLine": first, "endLine": last}
    content = [{"type": "text", "text": "/fast"}, reference]
    answer = await peer.request("chat/send", {"chatId": chat_id, "content": content})
    if "error" in answer:
        return answer["error"]["data"]["fields"][0]
    return answer["result"]["message"]["content"][1]["text"]


async def test_lines_end_where_editors_end_them(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_bytes("one\f\v\x1c\u2028\x85one\ntwo\r\nthree\rfour".encode())
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        read = [await referred(peer, file, line, line) for line in (1, 2, 3, 4)]
        assert read == ["one\f\v\x1c\u2028\x85one\n", "two\r\n", "three\r", "four"]
        assert await referred(peer, file, 3, 9) == "three\rfour"


@pytest.mark.parametrize("padding", [0, 1])
async def test_of_a_huge_file_the_first_lines_can_be_referred_to(
    shared_daemon: DaemonProcess, tmp_path: Path, padding: int
) -> None:
    file = tmp_path / "huge.txt"
    line = "é" * 31 + "é\n"
    file.write_bytes(b"." * padding + b"first\n" + line.encode() * 80_000)
    lines = (READ_LIMIT - 6 - padding) // len(line.encode()) + 1
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        assert await referred(peer, file, 2, 2) == line
        assert await referred(peer, file, lines, lines) == line
        for first, last in ((lines, lines + 1), (lines, None), (79_000, 79_001)):
            assert "only the first 4 MiB" in (await referred(peer, file, first, last))["problem"]


async def test_an_ask_shows_its_progress_in_lsps_own_way_and_can_be_cancelled_there(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        params = {"chatId": chat_id, "content": "/tokens 1000", "workDoneToken": "w"}
        id = await peer.start("chat/ask", params)
        await peer.find(
            lambda message: "answering" in str(message.get("params", {}).get("value", {}).get("message"))
        )
        await peer.notify("window/workDoneProgress/cancel", {"token": "w"})
        answer = await peer.response(id)
        assert answer["result"]["outcome"] == "interrupted"
        shown = [(value["kind"], value.get("message", "").partition(",")[0]) for value in peer.events("w")]
        assert shown[0] == ("begin", "waiting")
        assert ("report", "waiting for the model") in shown
        assert ("report", "answering") in shown
        assert shown[-1] == ("end", "interrupted")


async def test_log_lines_come_at_the_clients_trace_level(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as verbose, unix_peer(daemon.socket) as quiet:
        await verbose.result("initialize", {"capabilities": {}})
        await quiet.initialize()
        await verbose.notify("$/setTrace", {"value": "verbose"})
        await verbose.alive()
        stopping = await anyio.run_process([sys.executable, "-m", "parley_daemon", "stop"], env=daemon.env)
        assert stopping.returncode == 0
        stopping_line = {"type": 3, "message": "stopping: SIGTERM"}
        await verbose.find(
            lambda message: (
                message.get("method") == "window/logMessage" and message["params"] == stopping_line
            )
        )
        assert [m for m in quiet.received if m.get("method") == "window/logMessage"] == []


async def test_the_limit_of_a_reference_counts_the_bytes_of_its_text_in_utf_8(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    file = tmp_path / "accents.txt"
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        file.write_text("é" * (REFERENCE_LIMIT // 2), "utf-8")
        assert len(await referred(peer, file, 1, 1)) == REFERENCE_LIMIT // 2
        file.write_text("é" * (REFERENCE_LIMIT // 2) + "x", "utf-8")
        assert "is longer than 256 KiB" in (await referred(peer, file, 1, 1))["problem"]
