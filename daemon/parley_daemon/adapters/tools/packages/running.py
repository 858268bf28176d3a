"""What a running call of a package's tool may use: the chat's folders and files, and its output so far."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeVar

import anyio
from msgspec.structs import replace

from parley_daemon.adapters.tools.commands.cleaning import OutputCleaner
from parley_daemon.adapters.tools.files.changes import Changes, Plan, rewritten
from parley_daemon.adapters.tools.files.contents import Content, UnusableFileError
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.files.texts import MAX_TEXT, printable
from parley_daemon.adapters.tools.packages.protocol import CallMonitor
from parley_daemon.adapters.tools.paths.resolving import Target
from parley_daemon.core.agents.globs import matches_any
from parley_daemon.core.agents.tools import FileChange, Inspection
from parley_daemon.ports.tools import CallContext, ToolFailedError

MAX_REPORTED = 256 * 1024
"""Characters that one call may report. The rest is left out."""

ENDED = "The call has ended: it was cancelled, or took too long."

Result = TypeVar("Result")
Given = str | PathLike[str]


class RunningCall:
    """A running call, on the side of the daemon (implements the CallMonitor of packages).

    Its functions are called from threads of packages, its coroutines run in the daemon's event loop. After
    `close` nothing is reported or written any more: a function that was given up does no harm.
    """

    def __init__(
        self,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        services: FileServices,
        changes: Changes,
    ) -> None:
        self.context = context
        self.inspection = inspection
        self.closed = threading.Event()
        self._monitor = monitor
        self._services = services
        self._changes = changes
        self._changed: dict[str, FileChange] = {}
        self._checkpoint_id: str | None = None
        self._loop = asyncio.get_running_loop()
        self._reports: deque[str] = deque()
        self._has_reports = anyio.Event()
        self._left = MAX_REPORTED
        self._cleaner = OutputCleaner()
        self._writing = anyio.Lock()

    @property
    def changed(self) -> tuple[tuple[FileChange, ...], str | None]:
        """What was changed so far, and the checkpoint that has what was there before."""
        return tuple(self._changed.values()), self._checkpoint_id

    async def close(self) -> None:
        """End the call. What it writes at this moment is written to its end."""
        self.closed.set()
        async with self._writing:
            await self._pass_reports_on()

    # ------------------------------------------------------------------------ reports

    async def report(self, text: str) -> None:
        """See CallMonitor."""
        self.add_report(text)

    def add_report(self, text: str) -> None:
        """Show a piece of the output to those who watch the chat."""
        text = text[: self._left]
        self._left -= len(text)
        if not text or self.closed.is_set():
            return
        self._reports.append(text)
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._has_reports.set()

    async def _pass_reports_on(self) -> None:
        text = ""
        while self._reports:
            text += self._reports.popleft()
        shown = self._cleaner.clean(printable(text).encode()) if text else ""
        if shown:
            await self._monitor.report(shown)

    async def stream_reports(self) -> None:
        """Pass reports on until this is cancelled. Runs in the daemon's event loop."""
        while True:
            await self._has_reports.wait()
            self._has_reports = anyio.Event()
            await self._pass_reports_on()

    # -------------------------------------------------------------------------- files

    def note_changes(self, files: tuple[FileChange, ...], checkpoint_id: str | None) -> None:
        """See CallMonitor. Nobody has kept what was there before."""
        for file in files:
            self._note(replace(file, restorable=False))

    def is_withheld(self, path: str) -> bool:
        """Return whether rules keep an absolute path from a call that looks through a folder."""
        return matches_any(self.context.withheld, path)

    def resolve(self, given: Given) -> str:
        """Return where a path of the arguments leads."""
        return self._ask(lambda: self._find(given)).path

    def read(self, given: Given) -> Content:
        """Return what a file of the arguments contains."""
        return self._ask(lambda: self._read(given))

    def write(self, given: Given, text: str) -> None:
        """Write a file of the arguments."""
        if len(text) > MAX_TEXT:
            raise ToolFailedError(f"{fspath(given)}: the text has more than {MAX_TEXT >> 20} MiB.")
        self._ask(lambda: self._write(given, text))

    def _ask(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run a coroutine in the daemon's event loop, and wait for it.

        Raises:
            ToolFailedError: it has failed.
        """
        if self.closed.is_set():
            raise ToolFailedError(ENDED)
        try:
            return asyncio.run_coroutine_threadsafe(work(), self._loop).result()
        except UnusableFileError as error:
            raise ToolFailedError(str(error)) from None

    async def _find(self, given: Given) -> Target:
        return await self._services.resolve_again(fspath(given), self.context, self.inspection)

    async def _read(self, given: Given) -> Content:
        target = await self._find(given)
        content = await self._services.contents.read(self.context.owner, target)
        if not content.exists:
            raise UnusableFileError(await self._services.describe_missing(target))
        return content

    async def _write(self, given: Given, text: str) -> None:
        target = await self._find(given)
        if target.use("edit") not in self.inspection.paths:
            raise UnusableFileError(f"{target.shown} was not declared as a file that the call changes.")

        async def plan() -> Plan:
            content = await self._changes.content(target, self.context)
            if content.exists and content.text is None:
                raise UnusableFileError(f"{target.shown} is a binary file; only text is written.")
            is_same = content.exists and content.text == text
            return Plan(() if is_same else (rewritten(content, printable(text)),), "")

        async with self._writing:
            if self.closed.is_set():
                raise UnusableFileError(ENDED)
            output = await self._changes.run([target], self.context, plan)
            for file in output.files:
                self._note(file)
            self._checkpoint_id = output.checkpoint_id or self._checkpoint_id
        if output.is_error:
            raise UnusableFileError(str(output.result))

    def _note(self, file: FileChange) -> None:
        before = self._changed.get(file.path)
        self._changed[file.path] = file if before is None else _joined(before, file)


def _joined(first: FileChange, second: FileChange) -> FileChange:
    """Return two changes of one file as one."""

    def both(one: int | None, other: int | None) -> int | None:
        return None if one is None or other is None else one + other

    return FileChange(
        first.path,
        "added" if first.change_type == "added" else second.change_type,
        both(first.additions, second.additions),
        both(first.deletions, second.deletions),
        first.restorable and second.restorable,
    )


class ToolRun:
    """What a tool's function gets beside its arguments.

    Its methods may be called from any thread, and wait for what they do. In an `async` function they hold up
    the other calls of the same package for that time, but not the daemon.
    """

    def __init__(self, call: RunningCall) -> None:
        self._call = call

    @property
    def chat_id(self) -> str:
        """The id of the chat."""
        return self._call.context.chat_id

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders that the chat works in. The first one is that of relative paths."""
        return tuple([Path(root) for root in self._call.context.workspace.roots])

    @property
    def is_cancelled(self) -> bool:
        """Whether the call was interrupted or is out of time. A function that blocks has to look and end."""
        return self._call.closed.is_set()

    def report(self, text: str) -> None:
        """Show a text to people while the call runs: at most 256 KiB a call. The model does not get it."""
        self._call.add_report(text)

    def path(self, given: Given) -> Path:
        """Return where a path leads that the arguments declare (`reads`, `edits`), without links in it.

        Raises:
            ToolFailedError: it leads elsewhere since the call was allowed, or was not declared.
        """
        return Path(self._call.resolve(given))

    def is_withheld(self, path: Given) -> bool:
        """Return whether rules keep an absolute path from the model. Leave it out when you walk a folder."""
        return self._call.is_withheld(fspath(path))

    def read_text(self, given: Given) -> str:
        """Return the text of a declared file, with the unsaved changes of editors.

        Raises:
            ToolFailedError: it is missing, is no text, has more than 8 MiB, or cannot be read.
        """
        text = self._call.read(given).text
        if text is None:
            raise ToolFailedError(f"{fspath(given)} is a binary file.")
        return text

    def read_bytes(self, given: Given) -> bytes:
        """Return the bytes of a declared file as they are on disk.

        Raises:
            ToolFailedError: it is missing, has more than 8 MiB, or cannot be read.
        """
        data = self._call.read(given).data
        if data is None:
            raise ToolFailedError(f"{fspath(given)} is not saved yet.")
        return data

    def write_text(self, given: Given, text: str) -> None:
        """Write a file that is declared in `edits`: a new one, with its folders, or the whole text of one.

        The change can be undone as those of other tools. A file that an editor has open is changed there.

        Raises:
            ToolFailedError: it cannot be written; it is as it was.
        """
        self._call.write(given, text)
