"""Params and results of the methods that take back what tools changed: checkpoints and restoring."""

from typing import Annotated, Literal

from pydantic import Field

from parley_protocol.models.base import Id, Params, Wire
from parley_protocol.models.workspace import GitChangeType

LeftState = Literal["as_left", "changed_since", "gone"]

MAX_RESTORE_PATHS = 1_000


class CheckpointFile(Wire):
    """A file that a turn changed, and what it is now."""

    path: str
    """The URI of the file."""
    change_type: GitChangeType
    restorable: bool
    """Whether what was there before the turn is still kept."""
    state: LeftState
    """Whether the file is as the turn left it. Only then it is restored without `force`."""


class Checkpoint(Wire):
    """What files were before one turn, or one restore, changed them."""

    id: str
    turn_id: str | None = None
    """The id of the turn that changed the files; null: a restore did."""
    message_id: int | None = None
    """The id of the message with the first tool call of the turn that changed a file; null: a restore did."""
    undoes: str | None = None
    """The id of the checkpoint that was restored; null: it belongs to a turn."""
    at: str
    """When the first file was changed: RFC 3339 in UTC with milliseconds."""
    files: list[CheckpointFile]
    """The files, sorted by path. A folder is only listed if it has no other file of the list in it."""


class ChatCheckpointsParams(Params):
    """Params of `chat/checkpoints`."""

    chat_id: Id


class ChatRestoreParams(Params):
    """Params of `chat/restore`."""

    chat_id: Id
    checkpoint_id: Id
    paths: Annotated[list[Id], Field(min_length=1, max_length=MAX_RESTORE_PATHS)] | None = None
    """URIs of files of the checkpoint, or of folders whose files are meant; null: all files."""
    dry_run: bool = False
    """true: change nothing, only say what would be restored."""
    force: bool = False
    """true: restore files that have changed since, too. Needs `paths`."""


class RestoredFile(Wire):
    """A file that was restored."""

    path: str
    """The URI of the file."""
    change_type: GitChangeType
    """What that does to the file: "deleted" if the turn had created it."""


class RestoreConflict(Wire):
    """A file that was left alone."""

    path: str
    """The URI of the file."""
    state: LeftState
    """Whether the file is as the turn left it."""
    message: str
    """Why it was left alone, and what to do, in a sentence."""


class ChatRestoreResult(Wire):
    """What was restored, and what was not."""

    restored: list[RestoredFile]
    """The files that were restored, or would be, sorted by path."""
    conflicts: list[RestoreConflict]
    """The files that were left alone, sorted by path."""
    checkpoint_id: str | None = None
    """The id of the checkpoint that undoes this restore; null: nothing was changed."""
