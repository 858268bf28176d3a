"""The tools `job_output` and `job_stop`."""

from typing import Annotated, Any

import anyio
import msgspec
from anyio import to_thread

from parley_daemon.adapters.tools.commands.jobs import Job, Jobs, is_cut
from parley_daemon.adapters.tools.commands.output import find_limit, read_file
from parley_daemon.adapters.tools.commands.storage import OutputFiles
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, ToolOutput, ToolSpec
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, CallMonitor

MAX_WAIT_MS = 60_000
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=16)]
_Offset = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class JobOutputArguments(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The arguments of `job_output`."""

    id: Annotated[_Id | None, msgspec.Meta(description="The job; absent: list the jobs of the chat.")] = None
    offset: Annotated[
        _Offset | None, msgspec.Meta(description="Bytes to skip; absent: what is new since the last call.")
    ] = None
    wait_ms: Annotated[
        int,
        msgspec.Meta(ge=0, le=MAX_WAIT_MS, description="Milliseconds to wait for more output or the end."),
    ] = 0


class JobStopArguments(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The arguments of `job_stop`."""

    id: _Id


class JobOutputTool:
    """`job_output`: see ToolSpec."""

    spec = ToolSpec(
        "job_output",
        "Read a job's output",
        "Read the output of a background job, or the whole output of an earlier command that was cut.",
        input_schema(JobOutputArguments),
        "read",
    )

    def __init__(self, files: OutputFiles, jobs: Jobs) -> None:
        self._files = files
        self._jobs = jobs
        self._read: dict[tuple[str, str], int] = {}

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        given = read_arguments(JobOutputArguments, args)
        return Inspection("List the jobs" if given.id is None else f"Read the output of job {given.id}")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return the output; see Tool."""
        given = read_arguments(JobOutputArguments, args)
        if given.id is None:
            return ToolOutput(describe_jobs(self._jobs, context.chat_id))
        job = self._jobs.find(context.chat_id, given.id)
        path = self._files.path(context.chat_id, given.id)
        key = context.chat_id, given.id
        offset = self._read.get(key, 0) if given.offset is None else given.offset
        if job is not None and given.wait_ms:
            with anyio.move_on_after(given.wait_ms / 1000):
                await job.wait_for_more(offset)
        try:
            if path is None:
                raise FileNotFoundError
            text, end, size = await to_thread.run_sync(
                read_file, path, offset, find_limit(context.context_limit)
            )
        except OSError:
            if job is None:
                return ToolOutput(_describe_unknown(given.id, self._jobs, context), "failed")
            text, end, size = "", 0, 0
        if job is not None and given.offset is None:
            self._read = {
                known: at for known, at in self._read.items() if self._jobs.find(*known) is not None
            }
            self._read[key] = end
        notes = [] if job is None else [f"Job {job.id}: {job.describe()}.", *job.notes]
        if end < size:
            notes.append(f'{size - end:,} more bytes: go on with "offset": {end}.')
        elif job is not None and is_cut(job.output):
            notes.append("The rest of the output was too long to be kept.")
        start = end - len(text.encode("utf-8"))
        notes.append(f"Bytes {start:,} to {end:,} of {size:,}." if text else "No more output.")
        line_end = "" if not text or text.endswith("\n") else "\n"
        return ToolOutput(f"{text}{line_end}[{' '.join(notes)}]")

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


class JobStopTool:
    """`job_stop`: see ToolSpec."""

    spec = ToolSpec(
        "job_stop",
        "Stop a job",
        "Stop a background job with all its processes.",
        input_schema(JobStopArguments),
        "agent",
    )

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        return Inspection(f"Stop job {read_arguments(JobStopArguments, args).id}")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Stop the job; see Tool."""
        given = read_arguments(JobStopArguments, args)
        job = self._jobs.find(context.chat_id, given.id)
        if job is None:
            return ToolOutput(_describe_unknown(given.id, self._jobs, context), "failed")
        await self._jobs.stop(job)
        notes = " ".join((f"Job {job.id}: {job.describe()}.", *job.notes))
        return ToolOutput(notes)

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


def describe_jobs(jobs: Jobs, chat_id: str) -> str:
    """Return a line for each job of a chat."""
    return "\n".join(map(_line, jobs.of_chat(chat_id))) or "This chat has no jobs."


def _line(job: Job) -> str:
    return (
        f"{job.id}  {job.describe()}  {job.output.size:,} bytes  {job.command.strip().splitlines()[0][:100]}"
    )


def _describe_unknown(id: str, jobs: Jobs, context: CallContext) -> str:
    return f"There is no job {id} in this chat.\n{describe_jobs(jobs, context.chat_id)}"
