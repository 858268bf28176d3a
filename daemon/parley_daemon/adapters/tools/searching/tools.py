"""list_files and search_text. The work is done in a process of its own, see `worker`."""

import os
import re
import shutil
import signal
import stat
import sys
from contextlib import suppress
from typing import Annotated, Any

import anyio
import msgspec

from parley_daemon.adapters.tools.files.contents import UnusableFileError
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.files.texts import printable
from parley_daemon.adapters.tools.paths.resolving import Target
from parley_daemon.adapters.tools.searching.worker import Request, Result
from parley_daemon.adapters.tools.workspaces import lies_below
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.globs import find_problem, matches_any
from parley_daemon.core.agents.tools import Inspection, Preview, ToolOutput, ToolSpec
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, CallMonitor, ToolInputError

MAX_HITS = 100
MAX_LISTED = 1_000
SECONDS = 30.0
"""How long a search may take, the start of its process included."""

PROCESSES = 4
"""Searches that run at once; the others wait."""

MAX_TEXTS = 16 * 1024 * 1024
"""Characters of unsaved documents that a search looks through."""

MAX_RESULT = 50 * 1024
"""Bytes of a result."""

_PASSED_ON = ("HOME", "XDG_CONFIG_HOME", "LANG", "LC_ALL", "SYSTEMROOT")
"""Variables that the process gets. The daemon's own environment has keys in it."""

PATH = "A folder, or a file to search. Relative to the first folder of the chat (the default), or absolute."
GLOB = "Only paths below it that match: `*.py` at any depth, or `src/**/*.py`."


class ListFilesArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The arguments of list_files."""

    path: Annotated[str, msgspec.Meta(description=PATH)] = "."
    glob: Annotated[str | None, msgspec.Meta(description=GLOB)] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LISTED, description="How many to show.")] = 200


class SearchTextArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The arguments of search_text."""

    pattern: Annotated[str, msgspec.Meta(min_length=1, description="A regular expression for lines.")]
    path: Annotated[str, msgspec.Meta(description=PATH)] = "."
    glob: Annotated[str | None, msgspec.Meta(description=GLOB)] = None
    literal: Annotated[bool, msgspec.Meta(description="The pattern is plain text.")] = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_HITS, description="How many lines to show.")] = MAX_HITS


class SearchTool:
    """Implements Tool for both."""

    def __init__(self, spec: ToolSpec, services: FileServices, slots: anyio.Semaphore) -> None:
        self.spec = spec
        self._services = services
        self._slots = slots
        self._arguments = SearchTextArguments if spec.name == "search_text" else ListFilesArguments

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        arguments = read_arguments(self._arguments, args)
        if arguments.glob is not None and (problem := find_problem(arguments.glob)) is not None:
            raise ToolInputError(f"The glob {problem}.")
        target = await self._services.resolve(arguments.path, context)
        what = (
            f"for {arguments.pattern!r} in" if isinstance(arguments, SearchTextArguments) else "the files of"
        )
        verb = "Search" if isinstance(arguments, SearchTextArguments) else "List"
        title = printable(f"{verb} {what} {target.shown}")
        return Inspection(title, Preview(paths=(target.path,)), paths=(target.use("read"),))

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """See Tool."""
        arguments = read_arguments(self._arguments, args)
        try:
            target = await self._services.resolve_again(arguments.path, context, inspection)
            request = await self._request(arguments, target, context)
        except UnusableFileError as error:
            return ToolOutput(str(error), "failed")
        try:
            async with self._slots:
                with anyio.fail_after(SECONDS):
                    result = await _ask_worker(request)
        except TimeoutError:
            problem = (
                f"The search took more than {SECONDS:g} s. Use a simpler pattern, or search in a folder."
            )
            return ToolOutput(problem, "timed_out")
        if result is None:
            return ToolOutput("The search process ended without an answer. Try a smaller folder.", "failed")
        if result.problem is not None:
            return ToolOutput(result.problem, "failed")
        return ToolOutput(_shown(result, request, target))

    async def _request(
        self, arguments: ListFilesArguments | SearchTextArguments, target: Target, context: CallContext
    ) -> Request:
        """Return what to search.

        Raises:
            UnusableFileError: there is nothing to search.
        """
        found = await self._services.look(target)
        if found is None:
            raise UnusableFileError(await self._services.describe_missing(target))
        is_folder = stat.S_ISDIR(found.st_mode)
        is_search = isinstance(arguments, SearchTextArguments)
        if not is_folder and not (is_search and stat.S_ISREG(found.st_mode)):
            raise UnusableFileError(f"{target.shown} is not a folder{' or a file' if is_search else ''}.")
        top, name = (target.path, None) if is_folder else os.path.split(target.path)
        # What is about the folder itself was decided with the call.
        withheld = tuple([glob for glob in context.withheld if not matches_any((glob,), target.path)])
        return Request(
            top,
            name,
            arguments.pattern if isinstance(arguments, SearchTextArguments) else None,
            literal=isinstance(arguments, SearchTextArguments) and arguments.literal,
            glob=arguments.glob,
            limit=arguments.limit,
            seconds=0.8 * SECONDS,
            texts=await self._texts(top, name, context, with_text=is_search),
            # It would read what is withheld and, elsewhere, what is hidden.
            ripgrep=_find_ripgrep(context) if is_search and target.root and not withheld else None,
            hidden=self._services.resolver.own_identities(),
            withheld=withheld,
        )

    async def _texts(
        self, top: str, name: str | None, context: CallContext, *, with_text: bool
    ) -> dict[str, str]:
        """Return the texts of the documents that clients have open below a folder, by their paths in it."""
        texts: dict[str, str] = {}
        size = 0
        for path in await self._services.editors.open_paths(context.owner):
            inner = os.path.relpath(path, top) if lies_below(path, top) and path != top else None
            if inner is None or (name is not None and inner != name) or ".git" in inner.split("/"):
                continue
            documents = await self._services.editors.documents(context.owner, path)
            text = documents[0].text if documents else None
            if text is not None and (size := size + len(text)) <= MAX_TEXTS:
                texts[inner] = printable(text) if with_text else ""
        return texts

    def sandbox(self, context: CallContext) -> None:
        """See Tool."""


def _find_ripgrep(context: CallContext) -> str | None:
    """Return ripgrep's path. It runs outside of the sandbox, so it must not be what a command has written.

    The search path can have folders of a project, such as that of an active virtual environment.
    """
    folders = [
        folder
        for folder in os.environ.get("PATH", "").split(os.pathsep)
        if os.path.isabs(folder) and not os.path.exists(os.path.join(folder, "../pyvenv.cfg"))
    ]
    found = shutil.which("rg", path=os.pathsep.join(folders))
    if found is None:
        return None
    real = os.path.realpath(found)
    is_of_project = any(lies_below(path, root) for path in (found, real) for root in context.workspace.roots)
    return None if is_of_project or "node_modules" in real.split("/") else real


def search_tools(services: FileServices) -> list[SearchTool]:
    """Return the tools list_files and search_text."""
    slots = anyio.Semaphore(PROCESSES)
    listing = ToolSpec(
        "list_files",
        "List files",
        "Lists what is in a folder and below it, the nearest first. Folders end with /, links with @. Left "
        "out are .git and what git ignores.",
        input_schema(ListFilesArguments),
        "read",
        needs_root=True,
    )
    searching = ToolSpec(
        "search_text",
        "Search text",
        f"Shows the lines of files in which a pattern is found, at most {MAX_HITS}, with unsaved changes of "
        "editors. Left out are .git, what git ignores, and binary files.",
        input_schema(SearchTextArguments),
        "read",
        needs_root=True,
    )
    return [SearchTool(spec, services, slots) for spec in (listing, searching)]


_ESCAPED = re.compile(r"\\x[89a-f][0-9a-f]")  # see `_shown` in `worker`


def _shown(result: Result, request: Request, target: Target) -> str:
    lines: list[str] = []
    size = 0
    is_cut = result.has_more
    base = os.path.dirname(target.shown) if request.name is not None else target.shown
    for hit in result.hits:
        path = hit.path if base in (".", "") else os.path.join(base, hit.path)
        line = f"{path}:{hit.line}: {hit.text}" if request.pattern is not None else path
        size += len(line.encode("utf-8", "replace")) + 1
        if size > MAX_RESULT:
            is_cut = True
            break
        lines.append(line)
    notes: list[str] = []
    if is_cut:
        notes.append(f"[There are more than these {len(lines)}. Narrow the path, the glob or the pattern.]")
    if result.is_late:
        notes.append("[Not everything was looked at in time.]")
    if result.is_withheld:
        notes.append("[Some files are left out: rules deny them, or ask about them.]")
    if any(_ESCAPED.search(hit.path) for hit in result.hits[: len(lines)]):
        notes.append("[Names with \\x… are not UTF-8. Only commands can use such files; rename them first.]")
    if result.too_large:
        notes.append(f"[{result.too_large} files are too large to be searched.]")
    if not lines:
        notes.insert(0, "Nothing was found." if request.pattern or request.glob else "The folder is empty.")
    return printable("\n".join([*lines, *notes]))


async def _ask_worker(request: Request) -> Result | None:
    """Return the answer of a process of its own, None if it ended without one. Cancelling kills it."""
    argv = [sys.executable, "-I", "-m", "parley_daemon.adapters.tools.searching.worker"]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    async with await anyio.open_process(
        argv, stderr=None, cwd="/", env=environment, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            answer = bytearray()
            with suppress(anyio.BrokenResourceError):
                await process.stdin.send(msgspec.json.encode(request))
            await process.stdin.aclose()
            async for data in process.stdout:
                answer += data
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return msgspec.json.decode(answer, type=Result) if answer else None
