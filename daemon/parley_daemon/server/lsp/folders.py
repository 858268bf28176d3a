"""The workspace folders that one client has open: the default context of the chats that it creates."""

from collections.abc import Iterator
from typing import Any, cast

from parley_daemon.server.wire.jsonrpc import as_object
from parley_daemon.server.wire.uris import document_key
from parley_protocol.models.base import PATHS_LIMIT, check_uri

MAX_FOLDERS = 100
"""Folders of one client that are kept. Further ones are ignored, and those beyond the limit of a context."""


class WorkspaceFolders:
    """The folders of one client, in its order and as it spells their URIs."""

    def __init__(self, initialize_params: dict[str, Any]) -> None:
        self._by_key: dict[str, str] = {}
        folders = initialize_params.get("workspaceFolders")
        if folders is None:  # clients older than LSP 3.6 have one folder
            folders = [{"uri": initialize_params.get("rootUri")}]
        self._add(folders)

    @property
    def uris(self) -> tuple[str, ...]:
        """The URIs of the folders."""
        return tuple(self._by_key.values())

    def change(self, params: dict[str, Any]) -> None:
        """Take a `workspace/didChangeWorkspaceFolders`. What cannot be read of it is ignored."""
        event = as_object(params.get("event"))
        for uri in _uris(event.get("removed")):
            self._by_key.pop(document_key(uri), None)
        self._add(event.get("added"))

    def _add(self, folders: object) -> None:
        size = sum([len(uri.encode()) for uri in self.uris])
        for uri in _uris(folders):
            if len(self._by_key) == MAX_FOLDERS:
                return
            key, length = document_key(uri), len(uri.encode())
            if key not in self._by_key and size + length <= PATHS_LIMIT:
                self._by_key[key] = uri
                size += length


def _uris(folders: object) -> Iterator[str]:
    for folder in cast("list[object]", folders) if isinstance(folders, list) else ():
        uri = as_object(folder).get("uri")
        if isinstance(uri, str):
            try:
                yield check_uri(uri)
            except ValueError:
                continue  # it could not be a chat's context
