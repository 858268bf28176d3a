"""The port to checkpoints: what files were before tools changed them.

Theory of operation. Before a call first changes a file in a turn, the bytes, the mode and the kind of what
is there are kept. All that one turn changed is one checkpoint. Restoring a checkpoint puts a file back only
while it is as the tool left it, and makes a checkpoint of its own, so that it can be undone, too.

A document that is open in an editor counts as its text there, not as the file.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

import msgspec

from parley_daemon.core.agents.tools import ChangeType, FileChange
from parley_daemon.ports.tools import CallContext

if TYPE_CHECKING:  # only chats with tools need them
    from parley_daemon.core.agents.files.checkpoints import CheckpointView, RestoreResult


NO_PREFIXES: Mapping[str, str] = {}


class CheckpointNotFoundError(Exception):
    """The chat has no such checkpoint, or not any more. The message is a sentence."""


class PathNotInCheckpointError(Exception):
    """The checkpoint has no such file. The message is a sentence; `path` is the one that was asked for."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class CheckpointsUnavailableError(Exception):
    """Checkpoints cannot be read or written (disk full, no permission). No file was changed."""


class RestoreRequest(msgspec.Struct, frozen=True, gc=False):
    """What to restore.

    Attributes:
        paths: absolute paths of files, or of folders whose files are meant; None: the whole checkpoint.
        dry_run: change nothing, only say what would be restored.
        force: also restore files that have changed since. Needs `paths`.
    """

    chat_id: str
    owner: str
    checkpoint_id: str
    paths: tuple[str, ...] | None = None
    dry_run: bool = False
    force: bool = False


class ChangedFile(msgspec.Struct, frozen=True, gc=False):
    """A file that differs from what it was before a chat's tools first changed it.

    Attributes:
        path, root: absolute; the file lies below the root.
        additions, deletions: lines; None for binary files, and where what was there is not kept any more.
        diff: in git's format, with the path relative to the root.
    """

    path: str
    root: str
    change_type: ChangeType
    additions: int | None
    deletions: int | None
    diff: bytes


class ChangeRecorder(Protocol):
    """Records what one call changes."""

    async def before_change(self, path: str, after: bytes | None = None) -> None:
        """Keep what is at an absolute path (a file, a link, or nothing), unless this turn has kept it.

        Call it with the path's lock held, before anything is written. `after` are the bytes that the file
        will have, if the call knows them: after a crash, its change can then be told from later ones.

        Raises:
            CheckpointsUnavailableError: it cannot be kept. The file must not be changed then.
        """
        ...

    async def watch(self, roots: Sequence[str]) -> Sequence[str]:
        """List the files below the roots before a command runs, to find out afterwards what it changed.

        Return sentences about what is not watched, for the result of the call.
        """
        ...

    async def finish(self) -> tuple[tuple[FileChange, ...], str | None]:
        """Return what has changed since, and the id of the checkpoint that has it; None if nothing has.

        A file that cannot be recorded any more, such as on a full disk, is returned as not restorable.
        """
        ...


class Checkpoints(Protocol):
    """The earlier states of files."""

    def record(self, context: CallContext) -> AbstractAsyncContextManager[ChangeRecorder]:
        """Record what a call changes, while the block runs. The end of the block does what `finish` does.

        Raises:
            CheckpointsUnavailableError: at the beginning of the block.
        """
        ...

    async def list(self, chat_id: str, owner: str) -> "Sequence[CheckpointView]":
        """Return the checkpoints of a chat, the newest first.

        Raises:
            CheckpointsUnavailableError: they cannot be read.
        """
        ...

    async def changed_files(
        self, chat_id: str, owner: str, since: int | None = None, prefixes: Mapping[str, str] = NO_PREFIXES
    ) -> Sequence[ChangedFile]:
        """Return what the chat's tools have changed in all, sorted by path.

        `since`: only what was changed from this message of the chat on. `prefixes`: what stands before the
        paths in the diffs, by root.

        Raises:
            CheckpointsUnavailableError: the checkpoints cannot be read.
        """
        ...

    async def restore(self, request: RestoreRequest) -> "RestoreResult":
        """Put files back. No turn of the chat may run meanwhile.

        Raises:
            CheckpointNotFoundError, PathNotInCheckpointError: see there.
            CheckpointsUnavailableError: what is there now cannot be kept.
        """
        ...

    async def forget(self, chat_id: str) -> None:
        """Remove the checkpoints of a chat that was deleted."""
        ...

    async def chats(self) -> Sequence[str]:
        """Return the ids of the chats that have checkpoints, without loading anything if there are none."""
        ...

    async def recover(self, chat_id: str) -> None:
        """Finish the record of a command that a crash of the daemon cut off."""
        ...

    async def aclose(self) -> None:
        """Remove what was only kept for the life of the daemon."""
        ...
