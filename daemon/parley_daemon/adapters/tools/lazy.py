"""A toolbox that is loaded when a chat first needs its tools: most daemons serve chats that have none."""

from collections.abc import Callable, Sequence
from threading import Lock

from anyio import to_thread

from parley_daemon.core.records import Chat
from parley_daemon.ports.sandbox import Sandbox, SandboxState
from parley_daemon.ports.tools import BackgroundJob, Tool, Toolbox, Workspace


class LazyToolbox:
    """Implements Toolbox. `load` imports and makes the real one; it may run in a worker thread.

    `load_sandbox` does the same for the sandbox alone, which `server/status` asks about.
    """

    def __init__(self, load: Callable[[], Toolbox], load_sandbox: Callable[[], Sandbox]) -> None:
        self._load = load
        self._load_sandbox = load_sandbox
        self._lock = Lock()
        self._loaded: Toolbox | None = None

    async def tools(self, chat: Chat) -> Sequence[Tool]:
        """See Toolbox."""
        toolbox = self._loaded or await to_thread.run_sync(self._toolbox)
        return await toolbox.tools(chat)

    async def names(self) -> frozenset[str]:
        """See Toolbox."""
        toolbox = self._loaded or await to_thread.run_sync(self._toolbox)
        return await toolbox.names()

    async def workspace(self, chat: Chat) -> Workspace:
        """See Toolbox."""
        toolbox = self._loaded or await to_thread.run_sync(self._toolbox)
        return await toolbox.workspace(chat)

    async def sandbox(self) -> SandboxState:
        """See Toolbox."""
        return await (await to_thread.run_sync(self._load_sandbox)).probe()

    async def jobs(self, chat_id: str) -> Sequence[BackgroundJob]:
        """See Toolbox. Without tools, nothing runs."""
        return () if self._loaded is None else await self._loaded.jobs(chat_id)

    @property
    def running_jobs(self) -> int:
        """See Toolbox."""
        return 0 if self._loaded is None else self._loaded.running_jobs

    async def stop_job(self, chat_id: str, job_id: str) -> BackgroundJob | None:
        """See Toolbox."""
        return None if self._loaded is None else await self._loaded.stop_job(chat_id, job_id)

    async def forget(self, chat_id: str) -> None:
        """See Toolbox. Without tools, nothing runs."""
        if self._loaded is not None:
            await self._loaded.forget(chat_id)

    def _toolbox(self) -> Toolbox:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._load()
        return self._loaded
