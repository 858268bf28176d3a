"""A toolbox with the tools and the folders that a test gives to all chats."""

from collections.abc import Sequence

from parley_daemon.core.records import Chat
from parley_daemon.ports.sandbox import SandboxState
from parley_daemon.ports.tools import BackgroundJob, Tool, Workspace


class GivenToolbox:
    """Implements Toolbox."""

    def __init__(self, *tools: Tool, roots: Sequence[str] = (), sandbox: SandboxState | None = None) -> None:
        self._sandbox = sandbox or SandboxState("none")
        self._tools = sorted(tools, key=lambda tool: tool.spec.name)
        self._workspace = Workspace(tuple(roots), None if roots else "This chat has no folder.")

    async def tools(self, chat: Chat) -> Sequence[Tool]:
        """See Toolbox."""
        return self._tools

    async def names(self) -> frozenset[str]:
        """See Toolbox."""
        return frozenset([tool.spec.name for tool in self._tools])

    async def workspace(self, chat: Chat) -> Workspace:
        """See Toolbox."""
        return self._workspace

    async def sandbox(self) -> SandboxState:
        """See Toolbox."""
        return self._sandbox

    async def jobs(self, chat_id: str) -> Sequence[BackgroundJob]:
        """See Toolbox."""
        return ()

    @property
    def running_jobs(self) -> int:
        """See Toolbox."""
        return 0

    async def stop_job(self, chat_id: str, job_id: str) -> BackgroundJob | None:
        """See Toolbox."""

    async def forget(self, chat_id: str) -> None:
        """See Toolbox."""
