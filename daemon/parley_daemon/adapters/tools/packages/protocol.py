"""What a tool of a package is, as its author sees it. It is part of the public API.

The daemon's own tools can do more (see `parley_daemon.ports.tools`), which may change at any time.
"""

from typing import Any, Protocol

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import FileChange, Inspection, ToolOutput, ToolSpec
from parley_daemon.ports.tools import CallContext


class CallMonitor(Protocol):
    """What a running call may use of its turn."""

    async def report(self, text: str) -> None:
        """Show a text to people while the call runs: at most 256 KiB a call."""
        ...

    def note_changes(self, files: tuple[FileChange, ...], checkpoint_id: str | None) -> None:
        """Say what was changed so far. It counts also if the call ends without an output."""
        ...


class Tool(Protocol):
    """A tool. One object serves the calls of all chats, in the thread of its package."""

    @property
    def spec(self) -> ToolSpec:
        """What the tool is. It does not change."""
        ...

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """Return what a call with these arguments would do. Changes nothing.

        Raises:
            ToolInputError: the arguments are invalid.
            ToolFailedError: it cannot be found out.
        """
        ...

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Do what the inspection says. It may be cancelled at any wait, and then leaves no process behind.

        `answer` is the answer to what the call itself asks (see Inspection.asks), otherwise None.

        Raises:
            ToolInputError: the arguments are invalid after all.
            ToolFailedError: it has failed.
        """
        ...

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """Return None: a tool of a package runs in no sandbox."""
        ...
