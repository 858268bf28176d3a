"""A tool of a package as the daemon uses it: what the package says is checked, and its faults stay there.

Theory of operation. The package's code runs in the thread of the package (see `thread`), with copies of what
the engine has. What it says is not taken as it is: its paths are resolved here, so that the policy decides on
where they lead; its result gets the limits of all tools; it can neither claim an undoable change nor change
the mode of a chat. What it raises becomes a result that names the package.
"""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, get_args

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.adapters.tools.commands.storage import OutputFiles
from parley_daemon.adapters.tools.files.changes import Changes
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.files.texts import printable
from parley_daemon.adapters.tools.packages.definition import KINDS, MAX_PATHS
from parley_daemon.adapters.tools.packages.outputs import limit_result
from parley_daemon.adapters.tools.packages.protocol import CallMonitor
from parley_daemon.adapters.tools.packages.protocol import Tool as PackageTool
from parley_daemon.adapters.tools.packages.running import RunningCall
from parley_daemon.adapters.tools.packages.thread import PackageFaultError, PackageThread
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.answers import Question
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, PathUse, ToolOutput, ToolSpec
from parley_daemon.core.parts import ToolOutcome
from parley_daemon.ports.tools import CallContext, ToolFailedError, ToolInputError

log = logging.getLogger(__name__)

INSPECT_SECONDS = 10.0
"""How long a package may take to inspect a call."""

MAX_PREVIEW = 256 * 1024
"""Bytes of what a package shows of a call, as JSON."""

_Record = TypeVar("_Record")
_OUTCOMES = frozenset(get_args(ToolOutcome))


class PackageServices(msgspec.Struct, frozen=True):
    """What tools of packages use of the daemon."""

    files: FileServices
    changes: Changes
    outputs: OutputFiles


class GuardedTool:
    """Implements Tool. `spec` is what the daemon says of the package's tool."""

    def __init__(
        self,
        spec: ToolSpec,
        tool: PackageTool,
        package: str,
        thread: PackageThread,
        services: PackageServices,
    ) -> None:
        self.spec = spec
        self._tool = tool
        self._package = package
        self._thread = thread
        self._services = services

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""

        async def inspect() -> Inspection:
            return _read_inspection(await self._tool.inspect(_copy(args), context))

        try:
            with anyio.fail_after(INSPECT_SECONDS):
                inspection = await self._thread.call(inspect)
        except TimeoutError:
            raise ToolFailedError(
                f"{self.spec.name} did not say within {INSPECT_SECONDS:g} s what the call would do. That is a"
                f" fault of the package {self._package}, or an earlier call blocks it."
            ) from None
        except PackageFaultError:
            raise self._fault("inspect") from None
        return await self._placed(inspection, context)

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """See Tool."""
        services = self._services
        call = RunningCall(context, inspection, monitor, services.files, services.changes)

        async def run() -> ToolOutput:
            output = _read_output(await self._tool.run(_copy(args), context, inspection, call, answer))
            for_all = await limit_result(output.result, context, services.outputs)
            call.note_changes(output.files, None)
            return ToolOutput(for_all, output.outcome)

        try:
            output = await self._follow(call, run)
        except BaseException as error:
            monitor.note_changes(*call.changed)
            if isinstance(error, PackageFaultError):
                raise self._fault("run") from None
            raise
        files, checkpoint_id = call.changed
        return replace(output, files=files, checkpoint_id=checkpoint_id)

    async def _follow(
        self, call: RunningCall, run: Callable[[], Coroutine[Any, Any, ToolOutput]]
    ) -> ToolOutput:
        """Run the package's code, and pass on what it reports meanwhile.

        Raises:
            ToolInputError, ToolFailedError, PackageFaultError: what came of it.
        """
        said: Exception | None = None
        output = ToolOutput(None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.stream_reports)
            try:
                output = await self._thread.call(run)
            except (ToolInputError, ToolFailedError, PackageFaultError) as error:  # not as a group of errors
                said = error
            finally:
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await call.close()
        if said is not None:
            raise said
        return output

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool: it runs in the daemon's process."""
        return None

    def _fault(self, what: str) -> ToolFailedError:
        log.exception(
            "the tool %s of the package %s failed to %s a call", self.spec.name, self._package, what
        )
        return ToolFailedError(
            f"{self.spec.name} has failed because of a fault in the package {self._package}. The daemon's log"
            " has the details."
        )

    async def _placed(self, inspection: Inspection, context: CallContext) -> Inspection:
        """Return an inspection whose paths are resolved here, and shown."""
        uses: list[PathUse] = []
        for use in inspection.paths:
            target = await self._services.files.resolve(use.path, context)
            uses.append(target.use(use.access))
        preview = inspection.preview
        if uses and preview.paths is None:
            preview = replace(preview, paths=tuple(dict.fromkeys([use.path for use in uses])))
        return replace(inspection, paths=tuple(uses), preview=preview)


def _copy(args: Any) -> Any:
    """Return a copy of arguments, which the package may change."""
    return msgspec.json.decode(msgspec.json.encode(args))


def _read_inspection(said: object) -> Inspection:
    """Return what a package says of a call, as far as it may say it.

    Raises:
        TypeError, ValueError: it is not what an inspection has.
    """
    inspection = msgspec.convert(msgspec.to_builtins(_require(said, Inspection)), Inspection)
    preview = inspection.preview
    if inspection.asks == "question":
        msgspec.convert(preview.questions, tuple[Question, ...])
    elif inspection.asks is not None:
        raise ValueError(f"the call asks {inspection.asks!r}; the tool of a package can only ask a question")
    if inspection.kind is not None and inspection.kind not in KINDS:
        raise ValueError(f"{inspection.kind!r} is no kind of a call")
    if len(inspection.paths) > MAX_PATHS:
        raise ValueError(f"the call names {len(inspection.paths)} paths; it may name {MAX_PATHS}")
    if len(msgspec.json.encode(preview)) > MAX_PREVIEW:
        raise ValueError(f"what the call shows has more than {MAX_PREVIEW:,} bytes")
    return replace(inspection, title=printable(inspection.title)[:1_000], exposed="")


def _read_output(said: object) -> ToolOutput:
    """Return what a package says that a call resulted in.

    Raises:
        TypeError, ValueError: it is not what an output has.
    """
    output = _require(said, ToolOutput)
    if output.outcome not in _OUTCOMES:
        raise ValueError(f"{output.outcome!r} is no outcome of a call")
    return output


def _require(said: object, kind: type[_Record]) -> _Record:
    if not isinstance(said, kind):
        raise TypeError(f"the tool has returned {type(said).__name__} in place of {kind.__name__}")
    return said
