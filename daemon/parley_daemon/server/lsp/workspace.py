"""The workspace of one client, as LSP calls it, kept by a pygls protocol object. The only importer of pygls.

Used of pygls is how it keeps documents and folders: positions, encodings, incremental changes. Its transport
and dispatch are not used, and what it would send is dropped, since the connection sends all responses.
"""

import logging
from typing import Any

from cattrs import ClassValidationError
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, default_converter

from parley_daemon.server.wire.jsonrpc import Incoming
from parley_protocol.version import VERSION

log = logging.getLogger(__name__)

# pygls logs whole messages at INFO and quotes unreadable ones at ERROR. Documents must not be in the log.
logging.getLogger("pygls").setLevel(logging.CRITICAL)

_CONVERTER = default_converter()


class _Protocol(LanguageServerProtocol):
    """pygls' protocol without the parts that would keep it in memory or write to the client."""

    def get_message_type(self, method: str) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Return the type of a message. pygls caches it in a way that would keep this object alive."""
        return types.METHOD_TO_TYPES.get(method, (None,))[0]

    def _send_data(self, data: Any) -> None:
        """Send nothing: the connection sends all responses."""


class Workspaces:
    """The documents and folders that one client has open."""

    def __init__(self, initialize_params: dict[str, Any]) -> None:
        server = LanguageServer(
            "parleyd", VERSION, protocol_cls=_Protocol, converter_factory=lambda: _CONVERTER
        )
        self._protocol = server.protocol
        folders = initialize_params.get("workspaceFolders")
        # `initialize` was answered with UTF-16 as the encoding. Some clients send null for no folders.
        params: dict[str, Any] = {
            "processId": None,
            "rootUri": None,
            "capabilities": {},
            "workspaceFolders": folders,
        }
        self._handle("initialize", {"id": 0, "params": params})

    def notify(self, note: Incoming) -> None:
        """Take a notification. One that pygls cannot read is ignored, as LSP requires."""
        self._handle(note.method, {"params": note.params})

    def text(self, uri: str) -> str | None:
        """Return the text of an open document, None when it is not open."""
        document = self._protocol.workspace.text_documents.get(uri)
        return None if document is None else document.source

    def _handle(self, method: str, envelope: dict[str, Any]) -> None:
        kind = self._protocol.get_message_type(method)
        if kind is None:
            return
        try:
            message = _CONVERTER.structure({"jsonrpc": "2.0", "method": method, **envelope}, kind)
            self._protocol.handle_message(message)
        except (ClassValidationError, JsonRpcException, KeyError, TypeError, ValueError) as error:
            log.warning("a %s notification was dropped: %s", method, type(error).__name__)
