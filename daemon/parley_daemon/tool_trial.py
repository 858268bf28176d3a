"""Calls the tool of a package without a daemon, for the package's own tests."""

from os import PathLike
from pathlib import Path
from typing import Any

import anyio
import msgspec

from parley_daemon.adapters.tools.packages.protocol import Tool
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.tools import FileChange, Inspection, ToolOutput
from parley_daemon.ports.tools import (
    CallContext,
    ToolFailedError,
    ToolInputError,
    Workspace,
)


class Trial(msgspec.Struct, frozen=True, gc=False):
    """What came of a call that was tried.

    `output` is what the model would get. `inspection` is what the policy and a person see of the call, None
    if it could not be inspected. `reported` is what was shown while it ran.
    """

    output: ToolOutput
    inspection: Inspection | None = None
    reported: str = ""


class _Reports:
    """Implements CallMonitor."""

    def __init__(self) -> None:
        self.text = ""

    async def report(self, text: str) -> None:
        self.text += text

    def note_changes(self, files: tuple[FileChange, ...], checkpoint_id: str | None) -> None:
        return


def try_tool(
    tool: Tool, args: dict[str, Any], *roots: str | PathLike[str], answer: Answer | None = None
) -> Trial:
    """Call a tool in a chat with these folders, as if everything was allowed; return what came of it.

    `answer` is that of a person, for a tool that asks a question. It cannot be called in an event loop.

    Raises:
        ToolDefinitionError: the daemon would not take this tool.
    """
    return anyio.run(_try, tool, args, tuple([str(Path(root).resolve()) for root in roots]), answer)


async def _try(tool: Tool, args: Any, roots: tuple[str, ...], answer: Answer | None) -> Trial:
    # A daemon that loads a package needs none of this.
    from tempfile import TemporaryDirectory

    from parley_daemon.adapters.checkpoints.checkpoints import FileCheckpoints
    from parley_daemon.adapters.os.clock import SystemClock
    from parley_daemon.adapters.tools.commands.storage import OutputFiles
    from parley_daemon.adapters.tools.files.changes import Changes
    from parley_daemon.adapters.tools.files.family import file_services
    from parley_daemon.adapters.tools.packages.guard import GuardedTool, PackageServices
    from parley_daemon.adapters.tools.packages.loading import read_tool
    from parley_daemon.adapters.tools.packages.thread import PackageThread
    from parley_daemon.adapters.tools.workspaces import DaemonFolders
    from parley_daemon.server.editors import OpenEditors

    offered = read_tool(tool, "tried")
    with TemporaryDirectory(prefix="parleyd-") as scratch:
        own = [str(Path(scratch) / name) for name in ("data", "run", "config.toml")]
        editors = OpenEditors()
        files = file_services(DaemonFolders(*own, home=str(Path.home())), editors)
        checkpoints = FileCheckpoints(Path(scratch) / "checkpoints", SystemClock(), editors)
        services = PackageServices(files, Changes(files, checkpoints), OutputFiles(Path(scratch) / "outputs"))
        guarded = GuardedTool(offered.spec, offered.tool, "tried", PackageThread("tried"), services)
        context = CallContext("trial", "local", "turn", 1, "call", "auto", Workspace(roots))
        inspection, reports = None, _Reports()
        try:
            inspection = await guarded.inspect(args, context)
            with anyio.fail_after((offered.spec.timeout_ms or 0) / 1000):
                output = await guarded.run(args, context, inspection, reports, answer)
        except TimeoutError:
            output = ToolOutput("The call took longer than its limit.", "timed_out")
        except (ToolInputError, ToolFailedError) as error:
            output = ToolOutput(str(error), "failed")
        await checkpoints.aclose()
        return Trial(output, inspection, reports.text)
