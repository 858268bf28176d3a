"""The tools of packages as the daemon uses them, in a folder, without a daemon."""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec

from parley_daemon.adapters.checkpoints.checkpoints import FileCheckpoints
from parley_daemon.adapters.tools.commands.storage import OutputFiles
from parley_daemon.adapters.tools.files.changes import Changes
from parley_daemon.adapters.tools.files.family import file_services
from parley_daemon.adapters.tools.packages.guard import GuardedTool, PackageServices
from parley_daemon.adapters.tools.packages.loading import ENTRY_POINT_GROUP, Offer, read_tool
from parley_daemon.adapters.tools.packages.protocol import Tool
from parley_daemon.adapters.tools.packages.thread import PackageThread
from parley_daemon.adapters.tools.workspaces import DaemonFolders
from parley_daemon.core.agents.tools import Inspection, ToolOutput
from parley_daemon.ports.tools import CallContext, ToolFailedError, ToolInputError, Workspace
from tests.support.engine.rig import FakeClock
from tests.support.tools.file_rig import Monitor, NoEditors


class PackageRig:
    """A project, and calls of tools in it."""

    def __init__(self, home: Path) -> None:
        self.root = home / "project"
        for folder in (self.root, home / "data", home / "run"):
            folder.mkdir(parents=True)
        own = [str(home / name) for name in ("data", "run", "config.toml")]
        files = file_services(DaemonFolders(*own, home=str(home)), NoEditors())
        self.checkpoints = FileCheckpoints(home / "data/checkpoints", FakeClock(), NoEditors())
        self.outputs = OutputFiles(home / "data/outputs")
        self.services = PackageServices(files, Changes(files, self.checkpoints), self.outputs)
        self.context = CallContext("a", "local", "turn", 1, "call", "auto", Workspace((str(self.root),)))
        self.monitor = Monitor()
        self.thread = PackageThread("parleyd-tried")

    def guard(self, tool: Tool) -> GuardedTool:
        """Return a tool as the daemon uses it."""
        offered = read_tool(tool, "parleyd-tried")
        return GuardedTool(offered.spec, offered.tool, "parleyd-tried", self.thread, self.services)

    async def inspect(self, tool: Tool, **args: Any) -> Inspection:
        """Return what a call would do."""
        return await self.guard(tool).inspect(args, self.context)

    async def call(self, tool: Tool, **args: Any) -> ToolOutput:
        """Inspect and run a call; return what a model would get. It can be sent as JSON."""
        guarded = self.guard(tool)
        try:
            inspection = await guarded.inspect(args, self.context)
            output = await guarded.run(args, self.context, inspection, self.monitor, None)
        except (ToolInputError, ToolFailedError) as error:
            output = ToolOutput(str(error), "failed")
        msgspec.json.encode(output)
        return output


@contextmanager
def offering(folder: Path, modules: Mapping[str, str]) -> Generator[list[Offer]]:
    """Write modules, and yield an offer for the name TOOLS of each, in their order."""
    folder.mkdir()
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source, "utf-8")
    sys.path.insert(0, str(folder))
    try:
        yield [Offer(EntryPoint(f"of-{name}", f"{name}:TOOLS", ENTRY_POINT_GROUP)) for name in modules]
    finally:
        sys.path.remove(str(folder))
        for name in modules:
            sys.modules.pop(name, None)
