"""One client as an editor: its open documents by the paths of their files, and changes through it.

Theory of operation. A change is sent as `workspace/applyEdit` with the version of the text that it was made
for, so that the editor's undo works and the editor refuses a change of a text that it no longer has. Clients
that know no versions in edits get the change only while their text is still the same, as far as they have
told. The editor answers whether it applied the change, and reports it as any change of a document; what it
has then is the result.

A document is known by the file that its URI leads to. A command can replace a file on the way by a link to
another one. So that is looked at again now and then, and before each change: an editor that saves a document
must not write to what nobody has allowed.
"""

import itertools
import os
from collections.abc import Awaitable, Sequence
from time import monotonic
from typing import Any, Protocol

import anyio
from anyio import to_thread

from parley_daemon.ports.editors import EditRefusedError, OpenDocument
from parley_daemon.server.lsp.documents import Documents, DocumentState
from parley_daemon.server.wire.jsonrpc import Response, as_object
from parley_daemon.server.wire.uris import document_key, local_path

APPLY_SECONDS = 30.0
"""How long an editor may take to apply a change. It may ask the user."""

REPORT_SECONDS = 2.0
"""How long an editor may take to report a change that it has applied."""

FRESH_SECONDS = 2.0
"""How long a URI is taken to lead to the same file."""

_MAX_REASON = 500

_numbers = itertools.count(1)
_resolvers = anyio.CapacityLimiter(4)


class Requests(Protocol):
    """Requests to the client."""

    def call(self, method: str, params: Any, *, seconds: float) -> Awaitable[Response | None]:
        """Return the response, None if none comes in time."""
        ...


class ClientEditor:
    """Implements server.editors.Editor for one connection. `params` are those of its `initialize`."""

    def __init__(
        self,
        owner: str,
        origin: str | None,
        documents: Documents,
        encoding: str,
        requests: Requests,
        params: dict[str, Any],
    ) -> None:
        self.owner = owner
        self._origin = origin
        self._documents = documents
        self._encoding = encoding
        self._requests = requests
        workspace = as_object(as_object(params.get("capabilities")).get("workspace"))
        self._can_edit = workspace.get("applyEdit") is True
        self._has_versions = as_object(workspace.get("workspaceEdit")).get("documentChanges") is True
        self._prefix = f"{next(_numbers)}:"
        self._paths: dict[str, str | None] = {}
        self._looked_at = monotonic()

    def has(self, document: OpenDocument) -> bool:
        """See Editor."""
        return document.key.startswith(self._prefix)

    async def open_paths(self) -> Sequence[str]:
        """See Editor."""
        return [path for path in (await self._uris_by_path()) if path]

    async def document(self, path: str) -> tuple[int, OpenDocument] | None:
        """See Editor."""
        uri = (await self._uris_by_path()).get(path)
        state = None if uri is None else await self._documents.state(uri)
        if state is None:
            return None
        document = OpenDocument(
            self._prefix + state.uri,
            path,
            state.version,
            state.text,
            problem=state.problem,
            client=self._origin,
            can_edit=self._can_edit,
        )
        return state.change, document

    async def _uris_by_path(self) -> dict[str, str]:
        """Return the URIs of the open documents by the resolved paths of their files."""
        uris = await self._documents.uris()
        if monotonic() - self._looked_at > FRESH_SECONDS:
            self._paths, self._looked_at = {}, monotonic()
        unknown = [uri for uri in uris if uri not in self._paths]
        if unknown:
            paths = await to_thread.run_sync(
                lambda: [_resolved(uri) for uri in unknown], abandon_on_cancel=True, limiter=_resolvers
            )
            self._paths.update(zip(unknown, paths, strict=True))
        if len(self._paths) > 2 * len(uris) + 100:
            self._paths = {uri: self._paths[uri] for uri in uris if uri in self._paths}
        return {path: uri for uri in uris if (path := self._paths.get(uri)) is not None}

    async def replace(self, document: OpenDocument, text: str) -> str:
        """See Editors."""
        uri, old = document.key.removeprefix(self._prefix), document.text or ""
        if not self._can_edit:
            raise EditRefusedError(f"{self._name} cannot apply edits.")
        from parley_daemon.server.lsp.edits import text_edits  # few daemons need it

        path = await to_thread.run_sync(_resolved, uri, abandon_on_cancel=True, limiter=_resolvers)
        if path != document.path:
            self._paths.pop(uri, None)
            raise EditRefusedError(f"What is open in {self._name} is another file by now. Read it again.")
        edits = await to_thread.run_sync(text_edits, old, text, self._encoding)
        before = self._documents.state_now(uri)
        if before is None or (before.version, before.text) != (document.version, old):
            raise EditRefusedError(f"It has been changed in {self._name} meanwhile. Read the file again.")
        if not edits:
            return old
        response = await self._requests.call(
            "workspace/applyEdit", self._params(before, edits), seconds=APPLY_SECONDS
        )
        problem = _problem(response)
        if problem is None:
            with anyio.move_on_after(REPORT_SECONDS):
                await self._documents.wait_for_change(uri, before.change)
        after = await self._documents.state(uri)
        now = None if after is None else after.text
        if problem is not None and now != text:
            raise EditRefusedError(f"{self._name} {problem}")
        if now is None:
            raise EditRefusedError(f"{self._name} has closed the file. Read it again.")
        return now

    def _params(self, state: DocumentState, edits: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the params of `workspace/applyEdit` (LSP 3.17, "Applies a WorkspaceEdit")."""
        label = "parley: edit by the model"
        if not self._has_versions:
            return {"label": label, "edit": {"changes": {state.uri: edits}}}
        identifier = {"uri": state.uri, "version": state.version}
        return {"label": label, "edit": {"documentChanges": [{"textDocument": identifier, "edits": edits}]}}

    @property
    def _name(self) -> str:
        return self._origin or "The editor"


def _problem(response: Response | None) -> str | None:
    """Return why an edit was not applied, as the end of a sentence; None: it was."""
    if response is None:
        return f"has not answered within {APPLY_SECONDS:g} s. Read the file again before you try once more."
    if response.error is not None:
        return f"refused the edit: {_reason(as_object(response.error).get('message'))}"
    result = as_object(response.result)
    if result.get("applied") is True:
        return None
    return f"refused the edit: {_reason(result.get('failureReason'))}"


def _reason(given: Any) -> str:
    text = given.strip() if isinstance(given, str) else ""
    return text[:_MAX_REASON] or "without a reason"


def _resolved(uri: str) -> str | None:
    """Return the resolved path of a file URI, None for others."""
    path = local_path(document_key(uri))
    try:
        return None if path is None else os.path.realpath(path)
    except (OSError, ValueError):
        return None
