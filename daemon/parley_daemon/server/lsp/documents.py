"""LSP's own side of one connection: open documents and workspace folders, kept by a pygls protocol object.

pygls is loaded in a thread when a client first sends something of LSP's, and shared from then on; what comes
meanwhile waits in order. Only notifications go to it, each structured once at the top level, so that nothing
a client nests in its params can be taken for a message; pygls never sees the transport.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from parley_daemon.server.wire.jsonrpc import Incoming

if TYPE_CHECKING:
    from parley_daemon.server.connection.connection import Connection
    from parley_daemon.server.lsp.workspace import Workspaces

log = logging.getLogger(__name__)

WAITING_LIMIT = 10_000
"""Notifications that may wait while pygls is loaded; past it the oldest documents would be wrong anyway."""


class Documents:
    """One client's documents. Usable at once; complete when `ready`."""

    def __init__(self, connection: "Connection", tasks: TaskGroup) -> None:
        self._connection = connection
        self._waiting: deque[Incoming] = deque(maxlen=WAITING_LIMIT)
        self._lsp: Workspaces | None = None
        self._ready = anyio.Event()
        tasks.start_soon(self._load)

    async def _load(self) -> None:
        make = await to_thread.run_sync(_import_lsp)
        self._lsp = make(self._connection.initialize_params)
        while self._waiting:
            self._lsp.notify(self._waiting.popleft())
        self._ready.set()

    def notify(self, note: Incoming) -> None:
        """Take a notification of LSP's."""
        if self._lsp is None:
            self._waiting.append(note)
        else:
            self._lsp.notify(note)

    async def text(self, uri: str) -> str | None:
        """Return the text of an open document as the client has it now, None when it is not open."""
        await self._ready.wait()
        assert self._lsp is not None
        return self._lsp.text(uri)


def _import_lsp() -> "Callable[[dict[str, Any]], Workspaces]":
    from parley_daemon.server.lsp.workspace import Workspaces

    return Workspaces
