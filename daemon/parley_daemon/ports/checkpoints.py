"""The port to checkpoints: what files were before tools changed them.

Theory of operation. Before a call first changes a file in a turn, the bytes, the mode and the kind of what
is there are kept. All that one turn changed is one checkpoint. Restoring a checkpoint puts a file back only
while it is as the tool left it, and makes a checkpoint of its own, so that it can be undone, too.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from parley_daemon.core.agents.tools import FileChange
from parley_daemon.ports.tools import CallContext


class ChangeRecorder(Protocol):
    """Records what one call changes."""

    async def before_change(self, path: str) -> None:
        """Keep what is at an absolute path (a file, a link, or nothing), unless this turn has kept it.

        Call it with the path's lock held, before anything is written.
        """
        ...

    async def watch(self, roots: Sequence[str]) -> None:
        """List the files below the roots before a command runs, to find out afterwards what it changed."""
        ...

    async def finish(self) -> tuple[tuple[FileChange, ...], str | None]:
        """Return what has changed since, and the id of the checkpoint that has it; None if nothing has."""
        ...


class Checkpoints(Protocol):
    """The earlier states of files."""

    def record(self, context: CallContext) -> AbstractAsyncContextManager[ChangeRecorder]:
        """Record what a call changes, while the block runs."""
        ...
