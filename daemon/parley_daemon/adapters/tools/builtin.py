"""The tools of the daemon, composed: every tool that it brings, those of packages, and what they share.

A new family of tools is a module beside this one with a function that returns its tools, and one line in
`_all_tools`. What it needs from outside is a field of ToolServices, which `daemon.py` fills.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from parley_daemon.adapters.tools.commands.family import CommandFamily
from parley_daemon.adapters.tools.commands.jobs import Tasks
from parley_daemon.adapters.tools.delegation.family import delegation_tools
from parley_daemon.adapters.tools.fetch_url import FetchUrlTool
from parley_daemon.adapters.tools.files.changes import Changes
from parley_daemon.adapters.tools.files.family import file_services, file_tools
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.packages.family import PackageTools
from parley_daemon.adapters.tools.packages.guard import PackageServices
from parley_daemon.adapters.tools.questions import question_tools
from parley_daemon.adapters.tools.search_context import SearchContextTool
from parley_daemon.adapters.tools.searching.tools import search_tools
from parley_daemon.adapters.tools.workspaces import DaemonFolders, Workspaces
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.children import ChildChats
from parley_daemon.ports.catalogue import Catalogue
from parley_daemon.ports.checkpoints import Checkpoints
from parley_daemon.ports.context import ContextIndex
from parley_daemon.ports.editors import Editors
from parley_daemon.ports.sandbox import Sandbox, SandboxState
from parley_daemon.ports.schemas import Schemas
from parley_daemon.ports.tools import BackgroundJob, Tool, Workspace


@dataclass(frozen=True, slots=True)
class ToolServices:
    """What built-in tools use. `folders` are the daemon's own, which no tool may touch.

    `checkpoints` keep what files were before a tool changes them.
    `sandbox` starts processes. `outputs` is the folder for what commands write, `tasks` run jobs.
    `schemas` check what packages say of their tools.
    `children` are the chats that models delegate to, with models of the `catalogue`.
    `index` searches the contexts of chats; None: there is none.
    """

    folders: DaemonFolders
    checkpoints: Checkpoints
    editors: Editors
    sandbox: Sandbox
    outputs: Path
    tasks: Tasks
    schemas: Schemas
    children: ChildChats
    catalogue: Catalogue
    index: ContextIndex | None = None


class BuiltinToolbox:
    """Implements Toolbox. All chats have the same tools, but only root chats delegate."""

    def __init__(self, services: ToolServices) -> None:
        self._commands = CommandFamily(
            services.sandbox, services.checkpoints, services.outputs, services.tasks
        )
        files = file_services(services.folders, services.editors)
        self._own = [*self._commands.tools, *_all_tools(services, files)]
        self._delegating = delegation_tools(services.children, services.catalogue)
        self._packages = PackageTools(
            PackageServices(files, Changes(files, services.checkpoints), self._commands.files),
            services.schemas,
            [tool.spec.name for tool in (*self._own, *self._delegating)],
        )
        self._of_packages: Sequence[Tool] = ()
        self._of_children = _sorted(self._own)
        self._of_roots = _sorted([*self._own, *self._delegating])
        self._sandbox = services.sandbox
        self._workspaces = Workspaces(services.folders)

    async def tools(self, chat: Chat) -> Sequence[Tool]:
        """See Toolbox."""
        of_packages = await self._packages.tools()
        if of_packages is not self._of_packages:
            self._of_packages = of_packages
            self._of_children = _sorted([*self._own, *of_packages])
            self._of_roots = _sorted([*self._of_children, *self._delegating])
        return self._of_roots if chat.parent_chat_id is None else self._of_children

    async def names(self) -> frozenset[str]:
        """See Toolbox."""
        tools = (*self._own, *self._delegating, *await self._packages.tools())
        return frozenset([tool.spec.name for tool in tools])

    async def workspace(self, chat: Chat) -> Workspace:
        """See Toolbox."""
        return await self._workspaces.workspace(chat.context.repositories)

    async def sandbox(self) -> SandboxState:
        """See Toolbox."""
        return await self._sandbox.probe()

    async def jobs(self, chat_id: str) -> Sequence[BackgroundJob]:
        """See Toolbox."""
        return [job.record() for job in self._commands.jobs.of_chat(chat_id)]

    @property
    def running_jobs(self) -> int:
        """See Toolbox."""
        return self._commands.jobs.running

    async def stop_job(self, chat_id: str, job_id: str) -> BackgroundJob | None:
        """See Toolbox."""
        jobs = self._commands.jobs
        job = jobs.find(chat_id, job_id)
        if job is None:
            return None
        await jobs.stop(job)
        return job.record()

    async def forget(self, chat_id: str) -> None:
        """See Toolbox."""
        await self._commands.jobs.forget(chat_id)


def _sorted(tools: Iterable[Tool]) -> list[Tool]:
    return sorted(tools, key=lambda tool: tool.spec.name)


def _all_tools(services: ToolServices, files: FileServices) -> list[Tool]:
    return [
        *file_tools(files, services.checkpoints),
        *search_tools(files),
        *question_tools(),
        FetchUrlTool(),
        *([] if services.index is None else [SearchContextTool(services.index)]),
    ]
