"""A tool that changes files: its arguments say which, and a plan says how."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from parley_daemon.adapters.tools.files.changes import Changes, Plan
from parley_daemon.adapters.tools.files.contents import UnusableFileError
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.paths.resolving import Target
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.tools import Inspection, ToolOutput, ToolSpec
from parley_daemon.ports.tools import CallContext, CallMonitor, ToolInputError


@dataclass(frozen=True, slots=True)
class Intent:
    """What a call wants.

    Attributes:
        paths: the paths that it changes, as the model names them, and whether a link means what it leads to.
        title: one line for people, from where the paths lead.
        plan: what to change there. Raises UnusableFileError.
    """

    paths: Sequence[tuple[str, bool]]
    title: Callable[[Sequence[Target]], str]
    plan: Callable[[Sequence[Target]], Awaitable[Plan]]


class ChangingTool:
    """Implements Tool. `read` returns what arguments want; it raises ToolInputError."""

    def __init__(
        self,
        spec: ToolSpec,
        services: FileServices,
        changes: Changes,
        read: Callable[[Any, CallContext], Intent],
    ) -> None:
        self.spec = spec
        self._services = services
        self._changes = changes
        self._read = read

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        intent = self._read(args, context)
        resolve = self._services.resolve
        targets = [await resolve(path, context, follow_last=follow) for path, follow in intent.paths]
        try:
            return await self._changes.inspect(intent.title(targets), targets, lambda: intent.plan(targets))
        except UnusableFileError as error:
            raise ToolInputError(str(error)) from None

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """See Tool."""
        intent = self._read(args, context)
        again = self._services.resolve_again
        try:
            targets = [
                await again(path, context, inspection, follow_last=follow) for path, follow in intent.paths
            ]
        except (UnusableFileError, ToolInputError) as error:
            return ToolOutput(str(error), "failed")
        return await self._changes.run(targets, context, lambda: intent.plan(targets))

    def sandbox(self, context: CallContext) -> None:
        """See Tool."""
