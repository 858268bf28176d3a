"""The tool `run`: a shell command, in the foreground or as a job."""

import os
import shutil
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any

import anyio
import msgspec
from anyio import to_thread

from parley_daemon.adapters.tools.commands.denied import Denied, find_denied
from parley_daemon.adapters.tools.commands.hints import (
    describe_denied,
    describe_left_behind,
    explain_refusals,
)
from parley_daemon.adapters.tools.commands.jobs import JobLimitError, Jobs
from parley_daemon.adapters.tools.commands.output import Output, find_limit
from parley_daemon.adapters.tools.commands.scripts import hash_named_files
from parley_daemon.adapters.tools.commands.storage import OutputFiles
from parley_daemon.adapters.tools.paths.resolving import find_git_folder
from parley_daemon.adapters.tools.workspaces import lies_below
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import FileChange, Inspection, Preview, ToolOutput, ToolSpec
from parley_daemon.ports.checkpoints import ChangeRecorder, Checkpoints, CheckpointsUnavailableError
from parley_daemon.ports.sandbox import Command, Process, Sandbox, SandboxError
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, CallMonitor, ToolInputError

DEFAULT_MS, MAX_MS = 120_000, 600_000
_REPORT_SECONDS = 0.1
_SHELLS = ("bash", "sh")
_MAX_TITLE = 100


class RunArguments(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The arguments of `run`."""

    command: Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]
    cwd: Annotated[str | None, msgspec.Meta(description="Folder; default: the chat's first folder.")] = None
    timeout_ms: Annotated[
        int, msgspec.Meta(ge=1, le=MAX_MS, description="Milliseconds until it is ended; not for jobs.")
    ] = DEFAULT_MS
    background: Annotated[
        bool, msgspec.Meta(description="Start a job, such as a server, and return its id at once.")
    ] = False


class RunTool:
    """`run`: see ToolSpec."""

    spec = ToolSpec(
        "run",
        "Run a command",
        "Run a command in a shell (bash where there is one) and return its output with the exit status. The"
        " command has no standard input and cannot ask anything. It may run in a sandbox: it can change files"
        " only below the chat's folders and in $TMPDIR, /tmp is its own, and the network may be closed."
        " Processes that it leaves behind are ended; use background for those that are to go on.",
        input_schema(RunArguments),
        "execute",
        needs_root=True,
    )

    def __init__(self, sandbox: Sandbox, checkpoints: Checkpoints, files: OutputFiles, jobs: Jobs) -> None:
        self._sandbox = sandbox
        self._checkpoints = checkpoints
        self._files = files
        self._jobs = jobs

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        given = read_arguments(RunArguments, args)
        if not given.command.strip() or "\0" in given.command:
            raise ToolInputError("The command is blank, or has a NUL character.")
        await self._sandbox.probe()  # what `sandbox` says has to be known before the decision
        cwd = await to_thread.run_sync(_find_folder, given.cwd, context, abandon_on_cancel=True)
        named = await to_thread.run_sync(hash_named_files, given.command, cwd, abandon_on_cancel=True)
        exposed = ""
        if context.denied and not self._sandbox.state.can_hide(_writable(context)):
            roots = context.workspace.roots
            denied = await to_thread.run_sync(find_denied, roots, context.denied, abandon_on_cancel=True)
            exposed = denied.describe()
        first, *more = given.command.strip().splitlines()
        title = first if len(first) <= _MAX_TITLE else first[: _MAX_TITLE - 1]
        if more or len(first) > _MAX_TITLE:
            title = f"{title} …"
        if exposed:
            title = f"{title} (it could use {exposed}: rules deny that, and the sandbox cannot hide it)"
        return Inspection(
            f"Start {title}" if given.background else f"Run {title}",
            Preview(command=given.command, cwd=cwd),
            command=given.command,
            cwd=cwd,
            bound_to=named,
            exposed=exposed,
        )

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Run the command; see Tool."""
        given = read_arguments(RunArguments, args)
        state = await self._sandbox.probe()
        if context.mode == "plan" and state.kind == "none":
            return ToolOutput(
                "In the mode plan, commands run only in a sandbox, and there is none.", "failed"
            )
        roots = context.workspace.roots
        denied = Denied()
        if context.denied and state.can_hide(_writable(context)):
            denied = await to_thread.run_sync(find_denied, roots, context.denied, abandon_on_cancel=True)
        command = Command(
            argv=(_find_shell(), "-c", given.command),
            cwd=inspection.cwd or roots[0],
            readable=roots,
            writable=_writable(context),
            scratch=context.chat_id,
            network=context.network,
            hidden=tuple(denied.hidden),
            read_only=tuple(denied.read_only),
            kept_apart=tuple(denied.kept_apart),
        )
        notes = describe_denied(denied, inspection.exposed)
        await self._files.clean()
        try:
            if given.background:
                return await self._start(given, context, command, notes)
            return await self._run(given, context, command, monitor, notes)
        except (SandboxError, JobLimitError) as error:
            return ToolOutput(str(error), "failed")
        except CheckpointsUnavailableError as error:
            return ToolOutput(f"The command was not run: {error}", "failed")

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return self._sandbox.state.kind

    async def _start(
        self, given: RunArguments, context: CallContext, command: Command, notes: list[str]
    ) -> ToolOutput:
        job = await self._jobs.start(context.chat_id, given.command, command)
        return ToolOutput(
            f'Job {job.id} runs in the background. Read its output with job_output {{"id": "{job.id}"}}, end'
            f' it with job_stop {{"id": "{job.id}"}}. '
            + " ".join(["It ends with the daemon or the chat.", *notes])
        )

    async def _run(
        self,
        given: RunArguments,
        context: CallContext,
        command: Command,
        monitor: CallMonitor,
        notes: list[str],
    ) -> ToolOutput:
        id = self._files.new_id()
        path = self._files.path(context.chat_id, id)
        assert path is not None, "ids of chats are names of folders"
        output = Output(find_limit(context.context_limit), path, is_file_needed=False)
        recorder: ChangeRecorder | None = None
        changes: tuple[tuple[FileChange, ...], str | None] = ((), None)
        try:
            async with AsyncExitStack() as stack:
                if command.writable:
                    recorder = await stack.enter_async_context(self._checkpoints.record(context))
                    notes += await recorder.watch(command.writable)
                async with self._sandbox.start(command) as process:
                    is_late = await self._follow(process, output, monitor, given.timeout_ms / 1000)
                    status = await process.wait()
                if recorder is not None:
                    changes = await recorder.finish()
        except BaseException:
            if recorder is not None:
                monitor.note_changes(*await recorder.finish())  # it has finished; this returns at once
            raise
        excerpt = output.excerpt()
        last = output.take_last(excerpt)
        text = excerpt.head
        if excerpt.omitted:
            # In the streamed text, what is left out is marked by take_last, or not left out at all.
            start = len(excerpt.head.encode("utf-8"))
            more = f'; job_output {{"id": "{id}", "offset": {start}}} has them' if output.is_in_file else ""
            text = f"{excerpt.head}\n[{excerpt.omitted:,} bytes are left out{more}]\n{excerpt.tail}"
        state = self._sandbox.state
        ending = [f"Exit status {status}."]
        if is_late:
            ending = [f"Ended at the limit of {given.timeout_ms} ms. Use a larger timeoutMs, or background."]
        ending += describe_left_behind(process.left_behind)
        ending += process.findings
        ending += explain_refusals(excerpt.head + excerpt.tail, status, state, given.command, context)
        end = f"{'' if not text or text.endswith(chr(10)) else chr(10)}[{' '.join(ending + notes)}]"
        await monitor.report(last + end)
        outcome = "timed_out" if is_late else "ok" if status == 0 else "failed"
        return ToolOutput(text + end, outcome, changes[0], changes[1])

    async def _follow(self, process: Process, output: Output, monitor: CallMonitor, seconds: float) -> bool:
        """Read the output to its end, and stream it; return whether the limit was reached."""
        is_late = False
        has_more = anyio.Event()

        async def limit() -> None:
            nonlocal is_late
            await anyio.sleep(seconds)
            is_late = True
            await process.stop()

        async def stream() -> None:
            nonlocal has_more
            while True:
                await has_more.wait()
                has_more = anyio.Event()
                text = output.take_live()
                if text:
                    await monitor.report(text)
                await anyio.sleep(_REPORT_SECONDS)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(limit)
            tasks.start_soon(stream)
            async with aclosing(process.output()) as pieces:
                async for piece in pieces:
                    await output.add(piece)
                    has_more.set()
            await output.add(b"", is_last=True)
            tasks.cancel_scope.cancel()
        return is_late


def _writable(context: CallContext) -> tuple[str, ...]:
    """Return the folders that commands of a call may write to."""
    return () if context.mode == "plan" else context.workspace.roots


def _find_shell() -> str:
    return next((path for name in _SHELLS if (path := shutil.which(name))), "/bin/sh")


def _find_folder(given: str | None, context: CallContext) -> str:
    """Return the folder of a command, resolved.

    Raises:
        ToolInputError: it is no folder below a root.
    """
    roots = context.workspace.roots
    if not roots:
        raise ToolInputError(context.workspace.problem or "This chat has no folder.")
    try:
        path = os.path.realpath(os.path.join(roots[0], given or ""))
        path.encode()
    except ValueError:  # a NUL character, or a link to a name that is not UTF-8
        raise ToolInputError("cwd has a name that cannot be used: it is not UTF-8, or has a NUL.") from None
    root = next((one for one in roots if lies_below(path, one)), None)
    if root is None:
        raise ToolInputError(f"The folder {path} is not below a folder of this chat: {', '.join(roots)}.")
    if not os.path.isdir(path):
        raise ToolInputError(f"{path} is not a folder.")
    inner = find_git_folder(os.path.join(path, "."), root)
    if inner is not None and inner != root:
        # git takes it for a repository without being told so, and runs what its configuration names. A
        # foreign project can contain one, so that `git status`, if a rule allows it, would be any command.
        raise ToolInputError(f"{inner} is the inner folder of a git repository. Use another cwd.")
    return path
