"""o: what thousands of edits of an open document cost, and what other clients notice of them."""

import os
import random
import signal
import time
from typing import Any, Never

import msgspec
from lsprotocol import types
from pygls.workspace import TextDocument

from tests.bench.driver import Driver, RefusedError
from tests.bench.flow import median, new_chats, percentile, prompt, through_parleyd
from tests.bench.processes import Daemon, Workshop
from tests.bench.report import Row

_URI = "file:///bench/document.py"
_LINE = "def work(number: int) -> int:  # a line\n"
_LINES = 1_000_000 // len(_LINE)
_EDITS = 5000
_PLAIN_EDITS = 20
_RATE = 200


def measure(shop: Workshop) -> list[Row]:
    """Edit a document of 1 MB in 5,000 places with one notification, alone and beside a stream."""
    seconds = 4 if shop.quick else 8
    with Daemon(shop.place()) as daemon:
        editor, _ = daemon.join()
        chat = str(editor.call("chat/create", {})["id"])
        _open(editor)
        unchanged = median([_until_read(editor, chat) for _ in range(20)])
        taken = [
            _edit(editor, chat, _change(_edits(seed))) - unchanged for seed in range(5 if shop.quick else 20)
        ]
    quiet, beside = _stream(shop, seconds, edits=False), _stream(shop, seconds, edits=True)
    edits = f"{_EDITS:,} edits of 1 MB in one notification"
    return [
        Row("o", edits, "ms", median(taken), 50, {"pygls": _plain()}),
        Row("o", "the same, each in a notification of its own", "ms", _single_edits(shop)),
        Row(
            "o",
            f"added per delta, p99, of another client at {_RATE}/s meanwhile",
            "ms",
            percentile(beside, 99),
            None,
            {"no edits": percentile(quiet, 99)},
        ),
    ]


def _change(edits: list[dict[str, Any]]) -> msgspec.Raw:
    """Return the params of a change, encoded beforehand: the driver shall not compete with the daemon."""
    params = {"textDocument": {"uri": _URI, "version": 2}, "contentChanges": edits}
    return msgspec.Raw(msgspec.json.encode(params))


def _edits(seed: int) -> list[dict[str, Any]]:
    """Return edits at random places. Each leaves the text as long as it was."""
    rng = random.Random(seed)
    edits: list[dict[str, Any]] = []
    for _ in range(_EDITS):
        line, character = rng.randrange(_LINES), rng.randrange(len(_LINE) - 2)
        start, end = {"line": line, "character": character}, {"line": line, "character": character + 1}
        edits.append({"range": {"start": start, "end": end}, "text": "x"})
    return edits


def _open(editor: Driver) -> None:
    document = {"uri": _URI, "languageId": "python", "version": 1, "text": _LINE * _LINES}
    editor.notify("textDocument/didOpen", {"textDocument": document})


def _until_read(editor: Driver, chat: str) -> float:
    """Return how long a reference takes that is refused once the document has been looked at, in ms."""
    reference = {"type": "reference", "uri": _URI, "startLine": 10 * _LINES}
    begin = time.monotonic_ns()
    try:
        editor.call("chat/send", {"chatId": chat, "content": [reference]})
    except RefusedError:
        return (time.monotonic_ns() - begin) / 1e6
    raise RuntimeError("a line beyond the end was not refused")


def _edit(editor: Driver, chat: str, change: msgspec.Raw) -> float:
    """Return how long it takes until a reference gets the text with these edits, in ms."""
    editor.notify("textDocument/didChange", change)
    begin = editor.written_ns
    _until_read(editor, chat)
    return (editor.read_ns - begin) / 1e6


def _single_edits(shop: Workshop) -> float:
    """Return how long it takes to send and make the edits one by one, in ms."""
    with Daemon(shop.place()) as daemon:
        editor, _ = daemon.join()
        chat = str(editor.call("chat/create", {})["id"])
        _open(editor)
        _until_read(editor, chat)
        changes = [_change([edit]) for edit in _edits(0)]
        begin = time.monotonic_ns()
        for change in changes:
            editor.notify("textDocument/didChange", change)
        _until_read(editor, chat)
        return (editor.read_ns - begin) / 1e6


def _stream(shop: Workshop, seconds: int, *, edits: bool) -> list[float]:
    """Return the latencies of a turn, in ms, while another client edits without a pause, or does nothing."""
    with Daemon(shop.place()) as daemon:
        chats = new_chats(daemon.driver, 1)
        through_parleyd(daemon.driver, chats, [prompt("warm", deltas=1, rate=0)])
        editor, _ = daemon.join()
        chat = str(editor.call("chat/create", {})["id"])
        _open(editor)
        _until_read(editor, chat)
        child = os.fork() if edits else None  # a client of its own shares no interpreter lock with this one
        if child == 0:
            _edit_without_end(editor, chat)
        try:
            (turn,) = through_parleyd(
                daemon.driver, chats, [prompt("beside", deltas=_RATE * seconds, rate=_RATE)]
            )
        finally:
            if child is not None:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        return turn.latencies


def _edit_without_end(editor: Driver, chat: str) -> Never:
    """Edit until this process is killed."""
    change = _change(_edits(0))
    try:
        while True:
            _edit(editor, chat, change)
            time.sleep(0.2)
    finally:
        os._exit(1)


def _plain() -> float:
    """Return how long pygls' document takes for as many edits, in ms: measured with a few of them."""
    document = TextDocument(_URI, _LINE * _LINES)
    begin = time.monotonic_ns()
    for edit in _edits(0)[:_PLAIN_EDITS]:
        start, end = edit["range"]["start"], edit["range"]["end"]
        where = types.Range(types.Position(**start), types.Position(**end))
        document.apply_change(types.TextDocumentContentChangePartial(range=where, text=edit["text"]))
    return (time.monotonic_ns() - begin) / 1e6 * _EDITS / _PLAIN_EDITS
