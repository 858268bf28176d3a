"""Commands in the background: they belong to a chat, and go on when the turn that started them has ended."""

import logging
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import anyio

from parley_daemon.adapters.tools.commands.output import FILE_BYTES, MAX_LIMIT, Output
from parley_daemon.adapters.tools.commands.storage import OutputFiles
from parley_daemon.ports.sandbox import Command, Process, Sandbox, SandboxError
from parley_daemon.ports.tools import BackgroundJob

log = logging.getLogger(__name__)

MAX_RUNNING = 8
"""Jobs of one chat that run at the same time."""

MAX_RUNNING_IN_ALL = 64
MAX_REMEMBERED = 32
"""Ended jobs of one chat that are listed."""

_SHOWN_BYTES = 4_096


class Tasks(Protocol):
    """Starts tasks in the background."""

    def start(self, work: Callable[[], Coroutine[Any, Any, None]], name: str | None = None) -> None:
        """Start a task. The work must not raise."""
        ...


class JobLimitError(Exception):
    """Too many jobs run. The message is a sentence for the model."""


@dataclass(eq=False, slots=True)
class Job:
    """A command in the background.

    Attributes:
        status: its exit status, None while it runs, or if it never did.
        problem: why it could not be started.
        notes: sentences about protected files that it changed.
        began, ran: when it began, and how long it ran, in seconds of the event loop.
    """

    id: str
    chat_id: str
    command: str
    output: Output
    status: int | None = None
    problem: str | None = None
    is_stopped: bool = False
    notes: tuple[str, ...] = ()
    process: Process | None = None
    began: float = field(default_factory=anyio.current_time)
    ran: float | None = None
    started: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    changed: anyio.Event = field(default_factory=anyio.Event)

    def describe(self) -> str:
        """Return its state in a few words."""
        if self.problem is not None:
            return f"not started: {self.problem}"
        if not self.ended.is_set():
            return "running"
        how = "stopped" if self.is_stopped else "ended"
        return f"{how} with exit status {self.status}"

    def record(self) -> BackgroundJob:
        """Return it as it is now."""
        is_running = not self.ended.is_set()
        ran = anyio.current_time() - self.began if self.ran is None else self.ran
        return BackgroundJob(
            id=self.id,
            command=self.command,
            state="running" if is_running else "stopped" if self.is_stopped else "ended",
            exit_status=None if is_running else self.status,
            ran_ms=round(ran * 1000),
            output_bytes=self.output.size,
            tail=self.output.last(_SHOWN_BYTES),
            notes=self.notes,
        )

    async def wait_for_more(self, size: int) -> None:
        """Return when there is more output than `size` bytes, or when it has ended."""
        while self.output.size <= size and not self.ended.is_set():
            await self.changed.wait()

    def note_change(self) -> None:
        """Wake up who waits for more output."""
        changed, self.changed = self.changed, anyio.Event()
        changed.set()


class Jobs:
    """The jobs of all chats."""

    def __init__(self, sandbox: Sandbox, files: OutputFiles, tasks: Tasks) -> None:
        self._sandbox = sandbox
        self._files = files
        self._tasks = tasks
        self._jobs: dict[str, dict[str, Job]] = {}

    @property
    def running(self) -> int:
        """The number of jobs of all chats that run."""
        return sum(not job.ended.is_set() for own in self._jobs.values() for job in own.values())

    def of_chat(self, chat_id: str) -> list[Job]:
        """Return the jobs of a chat, the oldest first."""
        return list(self._jobs.get(chat_id, {}).values())

    def find(self, chat_id: str, id: str) -> Job | None:
        """Return a job of a chat."""
        return self._jobs.get(chat_id, {}).get(id)

    async def start(self, chat_id: str, text: str, command: Command) -> Job:
        """Start a command in the background.

        Raises:
            JobLimitError: too many run already.
            SandboxError: it cannot be started.
        """
        jobs = self._jobs.setdefault(chat_id, {})
        running = [job for job in jobs.values() if not job.ended.is_set()]
        if len(running) >= MAX_RUNNING or self.running >= MAX_RUNNING_IN_ALL:
            names = ", ".join(job.id for job in running) or "those of other chats"
            raise JobLimitError(f"Too many jobs run: {names}. Stop one with job_stop.")
        for job in [job for job in jobs.values() if job.ended.is_set()][: -MAX_REMEMBERED + 1]:
            del jobs[job.id]
        id = self._files.new_id()
        path = self._files.path(chat_id, id)
        assert path is not None, "ids of chats are names of folders"
        job = Job(id, chat_id, text, Output(MAX_LIMIT, path, is_file_needed=True))
        jobs[id] = job
        self._tasks.start(partial(self._serve, job, command), f"job {id}")
        await job.started.wait()
        if job.problem is not None:
            del jobs[id]
            raise SandboxError(job.problem)
        return job

    async def _serve(self, job: Job, command: Command) -> None:
        try:
            async with self._sandbox.start(command) as process:
                job.process = process
                job.started.set()
                async with aclosing(process.output()) as pieces:
                    async for piece in pieces:
                        await job.output.add(piece)
                        job.note_change()
                job.status = await process.wait()
        except SandboxError as error:
            job.problem = str(error)
        finally:
            if job.process is not None:
                job.notes = job.process.findings
                for note in job.notes:  # who looks at the job may never come
                    log.warning("job %s of chat %s: %s", job.id, job.chat_id, note)
            with anyio.CancelScope(shield=True):
                await job.output.add(b"", is_last=True)
            job.ran = anyio.current_time() - job.began
            job.started.set()
            job.ended.set()
            job.note_change()

    async def stop(self, job: Job) -> None:
        """Stop a job with all its processes, and wait for its end."""
        if job.process is not None and not job.ended.is_set():
            job.is_stopped = True
            await job.process.stop()
            await job.ended.wait()

    async def forget(self, chat_id: str) -> None:
        """Stop the jobs of a chat that was deleted, and remove what they wrote."""
        for job in self._jobs.pop(chat_id, {}).values():
            await self.stop(job)
        await self._files.forget(chat_id)
        await self._sandbox.remove_scratch(chat_id)


def is_cut(output: Output) -> bool:
    """Return whether the file of an output lacks its end."""
    return output.size > FILE_BYTES
