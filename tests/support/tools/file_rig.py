"""Calls the tools for files in a folder, as the turn of a chat does: inspect, then run."""

import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import msgspec

from parley_daemon.adapters.checkpoints.checkpoints import FileCheckpoints
from parley_daemon.adapters.sandbox.preparation import SandboxPaths
from parley_daemon.adapters.sandbox.system import SystemSandbox
from parley_daemon.adapters.tools.builtin import BuiltinToolbox, ToolServices
from parley_daemon.adapters.tools.workspaces import DaemonFolders
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.tools import FileChange, Inspection, Preview, ToolOutput
from parley_daemon.core.records import Chat, Context
from parley_daemon.engine.agents.children import ChildChats
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.ports.catalogue import Catalogue
from parley_daemon.ports.editors import Editors, EditRefusedError, OpenDocument
from parley_daemon.ports.sandbox import SandboxSettings
from parley_daemon.ports.tools import CallContext, OtherTurns, Tool
from tests.support.engine.rig import FakeClock, InProcessSchemas
from tests.support.sandbox.ordinary_user import find_bubblewrap


class NoEditors:
    """No client has a document open."""

    async def documents(self, owner: str, path: str) -> Sequence[OpenDocument]:
        """See Editors."""
        return ()

    async def open_paths(self, owner: str) -> Sequence[str]:
        """See Editors."""
        return ()

    async def replace(self, document: OpenDocument, text: str) -> str:
        """See Editors."""
        raise EditRefusedError("There is no editor.")


class Monitor:
    """Keeps what a call reports."""

    def __init__(self, reported: list[str] | None = None) -> None:
        self.reported: list[str] = [] if reported is None else reported
        self.changes: tuple[tuple[FileChange, ...], str | None] = ((), None)

    async def report(self, text: str) -> None:
        """See CallMonitor."""
        self.reported.append(text)

    def note_progress(self, text: str) -> None:
        """See CallMonitor."""

    def wait_for_others(self) -> AbstractAsyncContextManager[OtherTurns]:
        """See CallMonitor."""
        raise AssertionError("no call of these tools waits for another chat")

    async def ask(self, title: str, preview: Preview) -> Answer:
        """See the port."""
        return Answer("denied")

    def note_changes(self, files: tuple[FileChange, ...], checkpoint_id: str | None) -> None:
        """See CallMonitor."""
        self.changes = files, checkpoint_id


class FileRig:
    """A home directory with a project in it, and the tools of a chat in that project."""

    def __init__(
        self, home: Path, editors: Editors | None = None, *, sandbox: SandboxSettings | None = None
    ) -> None:
        self.home = home
        self.root = home / "project"
        for folder in (self.root, home / "data", home / "run"):
            folder.mkdir(parents=True, exist_ok=True)
        own = [str(home / name) for name in ("data", "run", "config.toml")]
        folders = DaemonFolders(*own, home=str(home))
        self.editors = editors or NoEditors()
        self.checkpoints = FileCheckpoints(home / "data/checkpoints", FakeClock(), self.editors)
        self.reported: list[str] = []
        self.tasks = BackgroundTasks()
        paths = SandboxPaths(
            tuple(map(Path, own)), home / "data/scratch", home / "data/kept", (home / "config.toml",)
        )
        search = f"{find_bubblewrap() or ''}:{os.environ['PATH']}"
        self.sandbox = SystemSandbox(sandbox or SandboxSettings(), paths, {"PATH": search, "HOME": str(home)})
        self.toolbox = BuiltinToolbox(
            ToolServices(
                folders,
                self.checkpoints,
                self.editors,
                sandbox=self.sandbox,
                outputs=home / "data/outputs",
                tasks=self.tasks,
                schemas=InProcessSchemas(),
                children=cast("ChildChats", None),  # no call delegates
                catalogue=cast("Catalogue", None),
            )
        )
        self.chat = Chat("a", "local", "", "", context=Context(repositories=(self.root.as_uri(),)))

    async def tool(self, name: str) -> Tool:
        """Return a tool of the chat."""
        (found,) = [tool for tool in await self.toolbox.tools(self.chat) if tool.spec.name == name]
        return found

    async def context(self, chat_id: str = "a") -> CallContext:
        """Return the context of a call."""
        workspace = await self.toolbox.workspace(self.chat)
        return CallContext(chat_id, "local", "turn", 1, "call", "auto", workspace)

    async def inspect(self, name: str, **args: Any) -> Inspection:
        """Return what a call would do."""
        return await (await self.tool(name)).inspect(args, await self.context())

    async def run(self, name: str, inspection: Inspection, **args: Any) -> ToolOutput:
        """Run a call that was inspected before."""
        return await (await self.tool(name)).run(args, await self.context(), inspection, Monitor(), None)

    async def call(self, name: str, *, chat_id: str = "a", **args: Any) -> ToolOutput:
        """Inspect and run a call. The output can be sent as JSON."""
        context = await self.context(chat_id)
        inspection = await (await self.tool(name)).inspect(args, context)
        output = await (await self.tool(name)).run(args, context, inspection, Monitor(self.reported), None)
        msgspec.json.encode((inspection, output))
        return output

    async def read(self, path: str, **args: Any) -> str:
        """Return what read_file shows of a text file, without the line that describes it."""
        output = await self.call("read_file", path=path, **args)
        assert not output.is_error, output.result
        return str(output.result).partition("]\n")[2]
