"""A toolbox that is loaded when a chat first needs its tools: most daemons serve chats that have none."""

from collections.abc import Callable, Sequence
from threading import Lock

from anyio import to_thread

from parley_daemon.core.records import Chat
from parley_daemon.ports.sandbox import SandboxState
from parley_daemon.ports.tools import Tool, Toolbox, Workspace


class LazyToolbox:
    """Implements Toolbox. `load` imports and makes the real one; it may run in a worker thread."""

    def __init__(self, load: Callable[[], Toolbox]) -> None:
        self._load = load
        self._lock = Lock()
        self._loaded: Toolbox | None = None

    def tools(self, chat: Chat) -> Sequence[Tool]:
        """See Toolbox. Call `workspace` before: then this does not have to wait for imports."""
        return self._toolbox().tools(chat)

    async def workspace(self, chat: Chat) -> Workspace:
        """See Toolbox."""
        toolbox = self._loaded or await to_thread.run_sync(self._toolbox)
        return await toolbox.workspace(chat)

    async def sandbox(self) -> SandboxState:
        """See Toolbox."""
        toolbox = self._loaded or await to_thread.run_sync(self._toolbox)
        return await toolbox.sandbox()

    def _toolbox(self) -> Toolbox:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._load()
        return self._loaded
