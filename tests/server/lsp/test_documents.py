"""The text of open documents as references get it, over a real connection, and the limits of documents."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from parley_daemon.server.lsp import documents as documents_module
from parley_daemon.server.lsp import work_queue
from parley_daemon.server.lsp.documents import DocumentLines, Documents
from parley_daemon.server.wire.jsonrpc import (
    LARGE_NOTIFICATION,
    Incoming,
    looks_like_large_notification,
    parse_message,
)
from parley_protocol.framing import encode_frame
from tests.support.lsp_notes import URI, at, changed, closed, notification, opened
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer


class Held:
    """Documents whose task runs only when the test lets it."""

    def __init__(self) -> None:
        self.started: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.pauses: list[bool] = []
        self.others: list[bytes] = []
        self.documents = Documents("utf-16", self.started.append, self.pauses.append)

    def notify(self, note: Incoming) -> None:
        """Hand over a notification as the connection does."""
        self.receive(msgspec.json.encode({"jsonrpc": "2.0", "method": note.method, "params": note.params}))

    def receive(self, body: bytes) -> None:
        if looks_like_large_notification(body):
            self.documents.take_large(body, self.others.append)
        else:
            message = parse_message(body)
            assert isinstance(message, Incoming)
            self.documents.notify(message)

    async def text(self, uri: str = URI) -> str | None:
        """Return the whole text, None if the document is not open. A problem fails the test."""
        results: list[DocumentLines | None] = []

        async def read() -> None:
            results.append(await self.documents.read_lines(uri, 1, None, 10**9))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.lowlevel.checkpoint()
            await self.work()
        (found,) = results
        assert found is None or found.problem is None, found
        return None if found is None else found.text

    async def work(self) -> None:
        """Handle what waits."""
        while self.started:
            await self.started.pop()()

    async def problem(self, uri: str = URI) -> str | None:
        """Return why the document cannot be read."""
        await self.work()
        found = await self.documents.read_lines(uri, 1, None, 10**9)
        return None if found is None else found.problem


@pytest.fixture
def held() -> Held:
    return Held()


LARGE = "x" * LARGE_NOTIFICATION


async def test_small_notifications_are_handled_at_once(held: Held) -> None:
    held.notify(opened("one\ntwo"))
    held.notify(changed(at(1, 0, 1, 3, "TWO"), at(0, 0, 0, 0, "> ")))
    assert held.started == []
    assert await held.text() == "> one\nTWO"
    held.notify(closed())
    assert await held.text() is None


async def test_what_comes_after_a_large_notification_waits_for_it(held: Held) -> None:
    held.notify(opened("one\ntwo"))
    held.notify(changed(at(1, 0, 1, 0, LARGE)))
    held.notify(changed(at(1, 0, 1, len(LARGE), "")))
    held.notify(opened("other", "file:///other"))
    assert len(held.started) == 1
    assert await held.text() == "one\ntwo"
    assert await held.text("file:///other") == "other"


async def test_what_only_looks_like_a_large_notification_is_handed_back(held: Held) -> None:
    request = {"jsonrpc": "2.0", "method": "textDocument/didChange", "id": 1, "params": {"text": LARGE}}
    body = msgspec.json.encode(request)
    for other in (body, body[:-1]):
        held.receive(other)
        await held.work()
        assert held.others.pop() == other


async def test_reads_end_when_the_client_leaves_with_changes_waiting(held: Held) -> None:
    held.notify(opened("one"))
    held.notify(changed(at(0, 0, 0, 0, LARGE)))
    async with anyio.create_task_group() as tasks:
        state = held.documents.state_now(URI)
        assert state is not None
        tasks.start_soon(held.documents.uris)
        tasks.start_soon(held.documents.state, URI)
        tasks.start_soon(held.documents.wait_for_change, URI, state.change)
        await anyio.lowlevel.checkpoint()
        held.documents.close()
    assert held.started  # the work itself was never done


async def test_full_and_incremental_changes_can_be_mixed(held: Held) -> None:
    held.notify(opened("old"))
    edits = [at(0, 3, 0, 3, "!"), {"text": "a\r\nb"}, at(1, 0, 1, 1, "B"), {"range": None, "text": "c"}]
    held.notify(changed(*edits, at(0, 1, 0, 1, "\r"), at(1, 0, 1, 0, "\n"), at(1, 0, 1, 0, "d")))
    assert await held.text() == "c\r\nd"


async def test_thousands_of_edits_in_one_notification_let_others_run_between_them(held: Held) -> None:
    held.notify(opened("0\n" * 5000))
    held.notify(changed(*[at(line, 0, line, 1, str(line)) for line in range(5000)]))
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count_turns)
        await held.work()
        tasks.cancel_scope.cancel()
    assert turns > 100
    assert await held.text() == "".join(f"{line}\n" for line in range(5000))


async def test_long_texts_are_kept_and_changed_whole(held: Held) -> None:
    long = "é😀\n" * 200_000
    held.notify(opened(long))
    held.notify(changed(at(100_000, 0, 100_000, 3, long)))
    half = "é😀\n" * 100_000
    assert await held.text() == half + long + half[2:]
    held.notify(changed({"text": long}))
    assert await held.text() == long


async def test_integers_may_be_written_as_floats(held: Held) -> None:
    held.notify(opened("one"))
    change = {"range": {"start": {"line": 0.0, "character": 1.0}, "end": {"line": 0, "character": 3.0}}}
    held.notify(changed({**change, "text": "k", "rangeLength": 2}))
    assert await held.text() == "ok"


@pytest.mark.parametrize("padding", ["", LARGE])
async def test_half_a_surrogate_pair_takes_one_unit_and_loses_nothing(held: Held, padding: str) -> None:
    held.notify(opened("ab" + padding))
    note = changed(at(0, 1, 0, 1, "HALF" + padding))
    body = msgspec.json.encode({"jsonrpc": "2.0", "method": note.method, "params": note.params})
    held.receive(body.replace(b"HALF", rb"\ud83d"))
    held.notify(changed(at(0, 2 + len(padding), 0, 3 + len(padding), "B")))
    assert await held.text() == "a\ufffd" + padding + "B" + padding


UNREADABLE: list[Any] = [
    at(0, 0, 0, 0, "x") | {"text": 7},
    {"range": {"start": {"line": 0, "character": 0}}, "text": ""},
    {"range": {"start": {"line": None, "character": 0}, "end": {"line": 0, "character": 0}}, "text": ""},
    {"range": {"start": {"line": 0.5, "character": 0}, "end": {"line": 0, "character": 0}}, "text": ""},
    {},
    None,
    "text",
]


@pytest.mark.parametrize("change", UNREADABLE)
@pytest.mark.parametrize("padding", ["", LARGE])
async def test_after_a_change_that_cannot_be_read_the_text_is_not_guessed(
    held: Held, change: Any, padding: str
) -> None:
    held.notify(opened("one"))
    held.notify(changed(at(0, 0, 0, 0, padding), change, at(0, 0, 0, 0, "two")))
    problem = await held.problem()
    assert problem is not None
    assert "a change could not be read" in problem
    held.notify(changed(at(0, 0, 0, 0, "three")))
    assert await held.problem() is not None
    held.notify(changed({"text": "whole"}))
    assert await held.text() == "whole"


async def test_a_document_of_unreadable_text_is_not_read_from_disk(held: Held) -> None:
    held.notify(notification("textDocument/didOpen", {"textDocument": {"uri": URI, "text": None}}))
    assert await held.problem() is not None
    held.notify(closed())
    assert await held.text() is None


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents_module, "MAX_DOCUMENT", 100)
    monkeypatch.setattr(documents_module, "MAX_ALL_DOCUMENTS", 250)
    monkeypatch.setattr(documents_module, "MAX_DOCUMENTS", 5)


@pytest.mark.parametrize("grow", [{"text": "x" * 101}, at(0, 0, 0, 0, "x" * 51), at(0, 0, 0, 0, "x" * 101)])
@pytest.mark.usefixtures("small_limits")
async def test_a_document_beyond_the_limit_is_dropped_until_it_is_short_again(held: Held, grow: Any) -> None:
    held.notify(opened("y" * 50))
    held.notify(changed(grow, at(0, 0, 0, 1, "")))
    problem = await held.problem()
    assert problem is not None
    assert "the limit of an open document" in problem
    held.notify(changed({"text": "short"}))
    assert await held.text() == "short"
    held.notify(opened("x" * 101))
    assert await held.problem() is not None


@pytest.mark.usefixtures("small_limits")
async def test_all_documents_of_a_client_have_a_limit(held: Held) -> None:
    for number in range(3):
        held.notify(opened("x" * 80, f"file:///{number}"))
    held.notify(opened("y" * 20))
    problem = await held.problem()
    assert problem is not None
    assert "close some of them" in problem
    assert await held.text("file:///0") == "x" * 80
    held.notify(closed("file:///0"))
    held.notify(opened("y" * 20))
    assert await held.text() == "y" * 20


@pytest.mark.usefixtures("small_limits")
async def test_more_documents_than_are_kept_are_not_read_from_disk(held: Held) -> None:
    for number in range(5):
        held.notify(opened("x", f"file:///{number}"))
    assert await held.text("file:///5") is None
    held.notify(opened("x", "file:///5"))
    problem = await held.problem("file:///5")
    assert problem is not None
    assert "may have unsaved changes" in problem
    held.notify(opened("again", "file:///3"))
    assert await held.text("file:///3") == "again"


async def test_reading_pauses_while_many_changes_wait(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "PAUSE_ABOVE", 3 * LARGE_NOTIFICATION)
    held.notify(opened(""))
    for _ in range(6):
        held.notify(changed(at(0, 0, 0, 0, LARGE)))
    assert held.pauses == [True]
    assert await held.text() == LARGE * 6
    assert held.pauses == [True, False]


# ------------------------------------------------------------------ over a connection


@asynccontextmanager
async def editor(daemon: DaemonProcess, *encodings: str) -> AsyncGenerator[Peer]:
    """A client with these position encodings."""
    async with unix_peer(daemon.socket) as peer:
        general = {"general": {"positionEncodings": list(encodings)}} if encodings else {}
        result = await peer.result("initialize", {"processId": None, "capabilities": general})
        assert result["capabilities"]["positionEncoding"] == (encodings[0] if encodings else "utf-16")
        yield peer


async def referred(peer: Peer, uri: str) -> Any:
    """Return the text of a document as a message has it, or the problem."""
    content = [{"type": "text", "text": "/fast"}, {"type": "reference", "uri": uri}]
    response = await peer.request("chat/send", {"chatId": await peer.new_chat(), "content": content})
    if "error" in response:
        return response["error"]["data"]["fields"][0]["problem"]
    return response["result"]["message"]["content"][1]["text"]


async def notify(peer: Peer, note: Incoming) -> None:
    await peer.notify(note.method, note.params)


@pytest.mark.parametrize(("encoding", "character"), [("utf-8", 7), ("utf-16", 4), ("utf-32", 3), (None, 4)])
async def test_positions_count_the_units_of_the_encoding_that_was_chosen(
    shared_daemon: DaemonProcess, encoding: str | None, character: int
) -> None:
    async with editor(shared_daemon, *[encoding] if encoding else []) as peer:
        await notify(peer, opened("one\nä😀-x"))
        await notify(peer, changed(at(1, character, 1, character + 1, "Y")))
        assert await referred(peer, URI) == "one\nä😀-Y"


async def test_every_spelling_of_a_uri_reads_and_changes_the_same_document(
    shared_daemon: DaemonProcess,
) -> None:
    spellings = ["file:///c%3A/~a/(b)%5B1%5D.txt", "file:///C:/%7ea/%28b%29%5b1%5d.txt"]
    async with editor(shared_daemon) as peer:
        await notify(peer, opened("one", spellings[0]))
        assert await referred(peer, spellings[1]) == "one"
        await notify(peer, changed(at(0, 0, 0, 1, "O"), uri=spellings[1]))
        assert await referred(peer, spellings[0]) == "One"
        await notify(peer, closed(spellings[1]))
        assert "cannot be read" in await referred(peer, spellings[0])


async def test_a_large_message_that_is_no_notification_is_answered(shared_daemon: DaemonProcess) -> None:
    async with editor(shared_daemon) as peer:
        await notify(peer, opened(LARGE))
        assert (await peer.error("textDocument/didChange", {"text": LARGE}))["code"] == -32601
        broken = b'{"jsonrpc":"2.0","method":"textDocument/didChange","params":"' + LARGE.encode()
        await peer.send_bytes(encode_frame(broken))
        assert (await peer.response(None))["error"]["code"] == -32700


async def test_the_documents_of_one_client_are_not_those_of_another(shared_daemon: DaemonProcess) -> None:
    async with editor(shared_daemon) as one, editor(shared_daemon, "utf-8") as other:
        await notify(one, opened("of one"))
        await notify(other, opened("of the other"))
        assert [await referred(one, URI), await referred(other, URI)] == ["of one", "of the other"]


async def test_a_reference_waits_for_the_changes_before_it_and_takes_its_lines_from_them(
    shared_daemon: DaemonProcess,
) -> None:
    async with editor(shared_daemon) as peer:
        await notify(peer, opened("".join(f"{line}\n" for line in range(30_000))))
        await notify(peer, changed(*[at(line, 0, line, 0, "#") for line in range(0, 30_000, 7)]))
        chat_id = await peer.new_chat()
        reference = {"type": "reference", "uri": URI, "startLine": 29_999, "endLine": 40_000}
        sent = await peer.result("chat/send", {"chatId": chat_id, "content": [reference]})
        (source,) = sent["message"]["content"]
        assert (source["text"], source["startLine"], source["endLine"]) == ("29998\n29999\n", 29_999, 30_000)
        assert await referred(peer, URI) == "".join(
            f"{'' if line % 7 else '#'}{line}\n" for line in range(30_000)
        )


async def test_a_reference_to_a_document_that_is_not_known_is_refused_with_the_reason(
    shared_daemon: DaemonProcess,
) -> None:
    async with editor(shared_daemon) as peer:
        await notify(peer, opened("one"))
        await notify(peer, changed({"text": 7}))
        problem = "is not known as the editor has it, because a change could not be read"
        assert await referred(peer, URI) == f"{URI} {problem}; close and open it again"
