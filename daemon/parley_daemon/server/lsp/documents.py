"""The documents that one client has open, for references to files with unsaved changes.

Theory of operation. Notifications about documents are handled in the order of their arrival, and so are the
reads between them. A small notification is handled at once. A large one waits in a queue for a task of its
own, and so does everything after it: the task parses it, gives the event loop back after a few edits, and
a thread handles long texts, so that other clients are served meanwhile. JSON is decoded edit by edit, too.

The documents of a client have limits. One that exceeds them, or that gets a change which cannot be read, is
no longer known: its text is dropped, and a reference to it is refused with the reason, because the text on
disk is not what the editor shows. It is known again once it is opened again or gets a whole new text.

More than PAUSE_ABOVE bytes in the queue (see `work_queue`) stop the connection from reading: it is bounded.
"""

import itertools
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import msgspec

from parley_daemon.server.lsp import sync
from parley_daemon.server.lsp.text import DocumentText
from parley_daemon.server.lsp.work_queue import Steps, WorkQueue
from parley_daemon.server.wire import jsonrpc
from parley_daemon.server.wire.jsonrpc import LARGE_NOTIFICATION, Incoming
from parley_daemon.server.wire.uris import document_key

MAX_DOCUMENT = 16 * 1024 * 1024
"""Characters of one document."""

MAX_ALL_DOCUMENTS = 4 * MAX_DOCUMENT
"""Characters of all open documents of one client."""

MAX_DOCUMENTS = 10_000
"""Open documents of one client that are kept."""

_LONG_TEXT = 256 * 1024  # characters, about 0.5 ms of work; more goes to a thread
_EDITS_AT_ONCE = 8  # about 0.06 ms of work

_TOO_LONG = (
    f"has more than {MAX_DOCUMENT:,} characters in the editor, the limit of an open document; "
    "close it there to refer to the file on disk"
)
_TOO_MUCH = (
    f"is not kept: the open documents of this client have more than {MAX_ALL_DOCUMENTS:,} characters; "
    "close some of them, then open this one again"
)
_TOO_MANY = (
    f"may have unsaved changes: this client has had more than {MAX_DOCUMENTS:,} documents open at the same "
    "time; connect again with fewer of them"
)
_NOT_UNDERSTOOD = (
    "is not known as the editor has it, because a change could not be read; close and open it again"
)

_changes = itertools.count(1)

log = logging.getLogger(__name__)


class DocumentLines(msgspec.Struct, gc=False):
    """What a read found. `text` is None if the lines are too long. `problem`: why nothing can be read."""

    text: str | None = None
    line_count: int = 0
    problem: str | None = None


class DocumentState(msgspec.Struct, frozen=True, gc=False):
    """A document as it is now. `text` is None if it is not known; `problem` then says why.

    `uri` and `version` are the client's own. `change` grows with each change of any document of any client.
    """

    uri: str
    version: int | None
    text: str | None
    problem: str | None
    change: int


class _Document:
    """An open document. `problem` says why its text is not known, None if it is."""

    __slots__ = ("change", "counted", "problem", "text", "uri", "version")

    def __init__(self, uri: str, version: int | None, encoding: str) -> None:
        self.uri = uri
        self.version = version
        self.change = 0
        self.text = DocumentText("", encoding)
        self.problem: str | None = None
        self.counted = 0

    def forget(self, problem: str) -> None:
        """Drop the text."""
        log.warning("an open document %s", problem)
        self.text.replace_all("")
        self.problem = problem


class Documents:
    """One client's documents. `encoding` is that of its positions. `start` runs a task.

    `pause` is called with True if the queue is long, and with False when it is no longer.
    """

    def __init__(
        self,
        encoding: str,
        start: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
        pause: Callable[[bool], None],
    ) -> None:
        self._encoding = encoding
        self._queue = WorkQueue(start, pause)
        self._documents: dict[str, _Document] = {}
        self._all_counted = 0
        self._has_dropped_some = False
        self._is_closed = False
        self._changed = anyio.Event()

    # ---------------------------------------------------------------- notifications

    def notify(self, note: Incoming) -> None:
        """Take a notification. Those that are not about documents are ignored."""
        handle = self._handler(note.method)
        if handle is None:
            return
        params = msgspec.json.encode(note.params)
        if self._queue or len(params) > LARGE_NOTIFICATION:
            self._queue.put(len(params), lambda: handle(params))
        else:
            _run(handle(params))

    def take_large(self, body: bytes, otherwise: Callable[[bytes], None]) -> None:
        """Take the body of what seems to be a large notification about documents.

        `otherwise` gets the body if it is none.
        """

        def parse() -> Steps:
            note = jsonrpc.parse_large_notification(body)
            yield None
            if note is None:
                otherwise(body)
                return
            method, params = note
            handle = self._handler(method)
            if handle is not None:
                yield from handle(params)

        self._queue.put(len(body), parse)

    def _handler(self, method: str) -> Callable[[bytes | msgspec.Raw], Steps] | None:
        if method == "textDocument/didOpen":
            return self._open
        if method == "textDocument/didChange":
            return self._change
        return self._close if method == "textDocument/didClose" else None

    def _open(self, params: bytes | msgspec.Raw) -> Steps:
        try:
            uri, version, text = sync.read_opened(params)
        except sync.UNREADABLE:
            return
        key = document_key(uri)
        self._remove(key)
        if len(self._documents) >= MAX_DOCUMENTS:
            self._has_dropped_some = True
            return
        document = self._documents[key] = _Document(uri, version, self._encoding)
        if text is None:
            document.forget(_NOT_UNDERSTOOD)
        else:
            yield from self._replace_all(document, text)
        self._count(document)

    def _change(self, params: bytes | msgspec.Raw) -> Steps:
        try:
            uri, version, changes = sync.read_changed(params)
        except sync.UNREADABLE:
            return
        document = self._documents.get(document_key(uri))
        if document is None:
            return
        if changes is None:
            document.forget(_NOT_UNDERSTOOD)
            changes = []
        try:
            for number, raw in enumerate(changes):
                if number % _EDITS_AT_ONCE == 0:
                    yield None
                change = sync.read_change(raw)
                if change.range is None:
                    yield from self._replace_all(document, change.text)
                elif document.problem is None:
                    yield from _edit(document, change)
        except sync.UNREADABLE:
            document.forget(_NOT_UNDERSTOOD)
        document.version = version
        self._count(document)

    def _close(self, params: bytes | msgspec.Raw) -> Steps:
        try:
            self._remove(document_key(sync.read_uri(params)))
        except sync.UNREADABLE:
            return
        yield None

    def _replace_all(self, document: _Document, text: str) -> Steps:
        document.problem = None
        if len(text) > MAX_DOCUMENT:
            document.forget(_TOO_LONG)
        elif len(text) > _LONG_TEXT:
            yield lambda: document.text.replace_all(text)
        else:
            document.text.replace_all(text)

    def _count(self, document: _Document) -> None:
        """Count what the document has now, and drop its text if that is too much."""
        self._all_counted -= document.counted
        if self._all_counted + document.text.length > MAX_ALL_DOCUMENTS:
            document.forget(_TOO_MUCH)
        document.counted = document.text.length
        self._all_counted += document.counted
        document.change = next(_changes)
        self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _remove(self, key: str) -> None:
        document = self._documents.pop(key, None)
        if document is not None:
            self._all_counted -= document.counted
            self._note_change()

    # ------------------------------------------------------------------------ reads

    async def read_lines(
        self, uri: str, first: int, last: int | None, max_length: int
    ) -> DocumentLines | None:
        """Return lines of a document as the client has it now, None if it is not open.

        `first` and `last` count from 1; `last` None means the last line. Lines beyond the end are left out.
        `max_length` is in characters.
        """
        key = document_key(uri)

        def read() -> DocumentLines | None:
            document = self._documents.get(key)
            if document is not None:
                return _lines(document, first, last, max_length)
            return DocumentLines(problem=_TOO_MANY) if self._has_dropped_some else None

        return await self._queue.read(read)

    async def uris(self) -> tuple[str, ...]:
        """Return the URIs of the open documents, as the client spells them."""
        documents = self._documents
        return await self._queue.read(lambda: tuple([one.uri for one in documents.values()])) or ()

    async def state(self, uri: str) -> DocumentState | None:
        """Return a document as the client has it now, None if it is not open."""
        return await self._queue.read(lambda: self.state_now(uri))

    def state_now(self, uri: str) -> DocumentState | None:
        """Return a document as it is after the notifications that have been handled."""
        document = self._documents.get(document_key(uri))
        if document is None:
            return None
        text = str(document.text) if document.problem is None else None
        return DocumentState(document.uri, document.version, text, document.problem, document.change)

    def close(self) -> None:
        """The client has left: nobody waits for it any more."""
        self._is_closed = True
        self._queue.close()
        self._changed.set()

    async def wait_for_change(self, uri: str, since: int) -> None:
        """Wait until a document has changed since a state, or is closed."""
        while True:
            document = self._documents.get(document_key(uri))
            if document is None or document.change != since or self._is_closed:
                return
            await self._changed.wait()


def _run(steps: Steps) -> None:
    """Do all the work now."""
    for long_step in steps:
        if long_step is not None:
            long_step()


def _edit(document: _Document, change: sync.Change) -> Steps:
    assert change.range is not None
    start, end, text = change.range.start, change.range.end, document.text
    if len(change.text) > _LONG_TEXT:
        if len(change.text) > MAX_DOCUMENT:
            document.forget(_TOO_LONG)
            return
        yield lambda: text.edit((start.line, start.character), (end.line, end.character), change.text)
    else:
        text.edit((start.line, start.character), (end.line, end.character), change.text)
    if text.length > MAX_DOCUMENT:
        document.forget(_TOO_LONG)


def _lines(document: _Document, first: int, last: int | None, max_length: int) -> DocumentLines:
    if document.problem is not None:
        return DocumentLines(problem=document.problem)
    count = document.text.line_count
    last = count if last is None else min(last, count)
    text = document.text.lines(first - 1, last - 1, max_length) if first <= last else ""
    return DocumentLines(text, count)
