"""The tools that run commands, composed."""

from pathlib import Path

from parley_daemon.adapters.tools.commands.job_tools import JobOutputTool, JobStopTool
from parley_daemon.adapters.tools.commands.jobs import Jobs, Tasks
from parley_daemon.adapters.tools.commands.run import RunTool
from parley_daemon.adapters.tools.commands.storage import OutputFiles
from parley_daemon.ports.checkpoints import Checkpoints
from parley_daemon.ports.sandbox import Sandbox
from parley_daemon.ports.tools import Tool


class CommandFamily:
    """`run`, `job_output` and `job_stop`, with the jobs and the files of outputs that they share.

    `folder`: for the outputs of commands. `tasks` are those that jobs run in.
    """

    def __init__(self, sandbox: Sandbox, checkpoints: Checkpoints, folder: Path, tasks: Tasks) -> None:
        self.files = OutputFiles(folder)
        self.jobs = Jobs(sandbox, self.files, tasks)
        self.tools: list[Tool] = [
            RunTool(sandbox, checkpoints, self.files, self.jobs),
            JobOutputTool(self.files, self.jobs),
            JobStopTool(self.jobs),
        ]
