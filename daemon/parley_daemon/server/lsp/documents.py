"""The documents that one client has open, for references to files with unsaved changes.

Theory of operation. pygls keeps the documents (positions, encodings, incremental changes). It takes a tenth
of a second to load, so a thread loads it when the first client sends a notification about documents, and it
stays loaded for all clients. Notifications that come meanwhile wait in order. Only notifications go to pygls;
it never sees the transport. Each is structured once at its top level, so that nothing that a client nests in
its params can be taken for a message.
"""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from parley_daemon.server.wire.jsonrpc import Incoming

if TYPE_CHECKING:
    from parley_daemon.server.lsp.workspace import Workspaces

MAX_WAITING = 10_000
"""Notifications that may wait while pygls is loaded. More would mean that the oldest ones are dropped."""


class Documents:
    """One client's documents. Takes notifications at once; `text` waits until all of them are applied."""

    def __init__(
        self,
        initialize_params: dict[str, Any],
        start: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        self._initialize_params = initialize_params
        self._waiting: deque[Incoming] = deque(maxlen=MAX_WAITING)
        self._workspaces: Workspaces | None = None
        self._is_loaded = anyio.Event()
        start(self._load)

    async def _load(self) -> None:
        workspaces_class = await to_thread.run_sync(_import_workspaces)
        self._workspaces = workspaces_class(self._initialize_params)
        while self._waiting:
            self._workspaces.notify(self._waiting.popleft())
        self._is_loaded.set()

    def notify(self, note: Incoming) -> None:
        """Take a notification about documents or workspace folders."""
        if self._workspaces is None:
            self._waiting.append(note)
        else:
            self._workspaces.notify(note)

    async def text(self, uri: str) -> str | None:
        """Return the text of an open document as the client has it now, None if it is not open."""
        await self._is_loaded.wait()
        assert self._workspaces is not None
        return self._workspaces.text(uri)


def _import_workspaces() -> "type[Workspaces]":
    from parley_daemon.server.lsp.workspace import Workspaces

    return Workspaces
