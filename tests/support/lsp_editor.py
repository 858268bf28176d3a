"""A client with open documents that applies edits, as an editor does, with pygls' documents."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.workspace import PositionCodec, TextDocument

from parley_daemon.server.editors import OpenEditors
from parley_daemon.server.lsp.client_editor import ClientEditor
from parley_daemon.server.lsp.documents import Documents
from parley_daemon.server.wire.jsonrpc import Response
from tests.support.lsp_notes import changed, opened

ALL = {"workspace": {"applyEdit": True, "workspaceEdit": {"documentChanges": True}}}


class Editor:
    """Applies edits, and reports them. `respond` may refuse."""

    def __init__(self, owner: str = "local", capabilities: Any = ALL) -> None:
        self.documents = Documents("utf-16", lambda work: None, lambda is_needed: None)
        self.texts: dict[str, TextDocument] = {}
        self.requests: list[tuple[str, Any]] = []
        self.respond: Callable[[Any], Response | None] = self.apply
        self.editor = ClientEditor(
            owner, "Vi", self.documents, "utf-16", self, {"capabilities": capabilities}
        )

    def open(self, path: Path, text: str) -> None:
        uri = path.as_uri()
        self.texts[uri] = TextDocument(uri, text, position_codec=PositionCodec())
        self.documents.notify(opened(text, uri))

    async def call(self, method: str, params: Any, *, seconds: float) -> Response | None:
        self.requests.append((method, params))
        return self.respond(params["edit"])

    def apply(self, edit: Any) -> Response:
        for change in edit.get("documentChanges", []):
            self.apply_to(change["textDocument"]["uri"], change["edits"])
        for uri, edits in edit.get("changes", {}).items():
            self.apply_to(uri, edits)
        return Response(1, {"applied": True}, None)

    def apply_to(self, uri: str, edits: Any) -> None:
        document = self.texts[uri]
        for edit in reversed(edits):
            start, end = (lsp.Position(**edit["range"][side]) for side in ("start", "end"))
            document.apply_change(
                lsp.TextDocumentContentChangePartial(range=lsp.Range(start, end), text=edit["newText"])
            )
        self.documents.notify(changed({"text": document.source}, uri=uri))


def with_editors(*clients: Editor) -> OpenEditors:
    editors = OpenEditors()
    for client in clients:
        editors.add(client.editor)
    return editors
