"""Tools that are one function: the decorator `tool`, and what it makes."""

import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from os import fspath
from typing import Any, Final, cast, get_args, get_type_hints

import msgspec

from parley_daemon.adapters.tools.packages.protocol import CallMonitor
from parley_daemon.adapters.tools.packages.running import RunningCall, ToolRun
from parley_daemon.adapters.tools.packages.thread import BlockingCalls
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, PathUse, Preview, ToolKind, ToolOutput, ToolSpec
from parley_daemon.ports.tool_arguments import input_schema as schema_of
from parley_daemon.ports.tool_arguments import read_arguments
from parley_daemon.ports.tools import CallContext, ToolInputError

MAX_PATHS = 100
"""Paths that one call may name."""

KINDS: Final = frozenset(get_args(ToolKind))
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TITLE = 300

ToolFunction = Callable[..., Any]


class ToolDefinitionError(ValueError):
    """A tool is not defined as it must be. The message is a sentence that says what to change."""


def tool(
    *,
    kind: ToolKind,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    input_schema: dict[str, Any] | None = None,
    reads: Sequence[str] = (),
    edits: Sequence[str] = (),
    host: str | None = None,
    timeout_ms: int | None = None,
) -> Callable[[ToolFunction], "FunctionTool"]:
    """Make a function a tool: `@tool(kind="read")` above `def count_lines(args: Arguments, run: ToolRun)`.

    The function may be `async`. One that blocks runs in a thread. It returns what the model reads: a string,
    any other JSON value, a msgspec struct or a dataclass, a list of parts (`text_part`, `file_part`), or a
    ToolOutput. It raises ToolFailedError with a sentence for the model. The second parameter may be left out.

    - `kind` is what a call does at most. The mode of a chat decides by it.
    - `name` and `description` are those of the function, that is its name and its docstring.
    - `title` is for people; without one it is made of the name.
    - `input_schema` is the JSON Schema of the arguments, which are a dict then. Without one, the first
      parameter is annotated with a msgspec struct, from which the schema is derived.
    - `reads`, `edits`: the names of the arguments that are paths of files or folders, or lists of them. The
      policy decides on each path. A tool of kind "edit" names what it edits.
    - `host`: the host that the function connects to. Rules about hosts count for it.
    - `timeout_ms`: how long a call may take, 1 to 600,000 milliseconds; None: 120,000.

    Raises:
        ToolDefinitionError: one of them does not fit.
    """

    def define(function: ToolFunction) -> FunctionTool:
        called = name or getattr(function, "__name__", "")
        arguments = None if input_schema is not None else _arguments_of(function, called)
        spec = ToolSpec(
            called,
            title or called.replace("_", " ").replace("-", " ").capitalize(),
            description or inspect.getdoc(function) or "",
            schema_of(arguments) if arguments is not None else input_schema or {},
            kind,
            needs_root=bool(reads or edits),
            timeout_ms=timeout_ms,
        )
        if not spec.description.strip():
            raise ToolDefinitionError(f"{called} has no description: write a docstring, the model reads it.")
        if kind == "edit" and not edits:
            raise ToolDefinitionError(f'{called} edits: name its paths in edits, or make it kind="execute".')
        _check_names(spec, arguments, (*reads, *edits))
        return FunctionTool(spec, function, arguments, tuple(reads), tuple(edits), host)

    return define


class FunctionTool:
    """A tool that is one function (implements Tool). Made by `tool`; calling it calls the function."""

    def __init__(
        self,
        spec: ToolSpec,
        function: ToolFunction,
        arguments: type[msgspec.Struct] | None,
        reads: tuple[str, ...],
        edits: tuple[str, ...],
        host: str | None,
    ) -> None:
        self.spec = spec
        self._function = function
        self._arguments = arguments
        self._reads = reads
        self._edits = edits
        self._host = host
        self._calls = BlockingCalls(spec.name)
        self._takes_run = len(inspect.signature(function).parameters) > 1

    @property
    def has_own_schema(self) -> bool:
        """Whether its schema was given, and not derived from a struct."""
        return self._arguments is None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function(*args, **kwargs)

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        given = self._read(args)
        uses = [PathUse(path, "read", "elsewhere") for path in _paths_in(given, self._reads)]
        uses += [PathUse(path, "edit", "elsewhere") for path in _paths_in(given, self._edits)]
        if len(uses) > MAX_PATHS:
            raise ToolInputError(f"they name {len(uses)} paths; one call may name {MAX_PATHS}")
        shown = ", ".join([use.path for use in uses]) or (msgspec.json.encode(args).decode() if args else "")
        title = f"{self.spec.title}: {shown}" if shown else self.spec.title
        return Inspection(
            title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…",
            Preview(),
            tuple(uses),
            host=self._host,
        )

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """See Tool. The monitor is that of a call of a package."""
        given = self._read(args)
        values = (given, ToolRun(cast("RunningCall", monitor))) if self._takes_run else (given,)
        if inspect.iscoroutinefunction(self._function):
            result = await self._function(*values)
        else:
            result = await self._calls.run(partial(self._function, *values))
            if inspect.isawaitable(result):
                result = await result
        return result if isinstance(result, ToolOutput) else ToolOutput(result)

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None

    def _read(self, args: Any) -> Any:
        return args if self._arguments is None else read_arguments(self._arguments, args)


def _arguments_of(function: ToolFunction, name: str) -> type[msgspec.Struct]:
    """Return the struct that a function takes.

    Raises:
        ToolDefinitionError: it takes something else.
    """
    parameters = [*inspect.signature(function).parameters]
    hints = get_type_hints(function)
    of = hints.get(parameters[0]) if parameters else None
    if not isinstance(of, type) or not issubclass(of, msgspec.Struct) or len(parameters) > 2:
        raise ToolDefinitionError(
            f"{name} must take its arguments as a msgspec.Struct (annotate the first parameter with it, or "
            "give an input_schema), and may take a ToolRun as the second parameter."
        )
    return of


def _check_names(spec: ToolSpec, arguments: type[msgspec.Struct] | None, names: Sequence[str]) -> None:
    """Check that the arguments that are paths exist.

    Raises:
        ToolDefinitionError: one of them does not.
    """
    known = spec.input_schema.get("properties", {}) if arguments is None else arguments.__struct_fields__
    for name in names:
        if name not in known:
            raise ToolDefinitionError(f"{spec.name} has no argument {name!r}, which reads or edits names.")


def _paths_in(given: Any, names: Sequence[str]) -> list[str]:
    paths: list[str] = []
    for name in names:
        value = cast("dict[str, Any]", given).get(name) if isinstance(given, dict) else getattr(given, name)
        if value is None:
            continue
        several = (
            cast("Sequence[Any]", value) if isinstance(value, list | tuple | set | frozenset) else (value,)
        )
        try:
            paths += [fspath(one) for one in several]
        except TypeError:
            raise ToolInputError(f"{name}: must be a path") from None
    return paths
