"""The bookkeeping of checkpoints: what turns changed, which state a file is in, and what restoring it does.

Theory of operation. A checkpoint has a change for each path that its turn changed: what was there before the
turn, and what the turn's last call left there. Whether it can be restored is decided by comparing three
states: `before`, `after`, and what is there now.

- now = before: there is nothing to do.
- now = after: the file is as the tool left it, and is put back.
- otherwise somebody changed it since (a person, a command, a later turn), and it is left alone.

A document that is open in an editor has two layers: the file, and the text in the editor. A tool changes an
open document through its editor, which may save it later: then only texts are compared, wherever they are. A
command changes the file, and the editor may load it anew or not: then the file has to be as it was left, and
the text in the editor one of both.

A crash can cut off a call between keeping `before` and recording `after`. Then `after` is what the call said
it would write (`expected`), and without that it is unknown: no state equals it, so the file counts as changed
since. If a person changes a file between two calls of one turn, the turn's change of it begins anew with what
that person left: restoring never goes behind it.

A restore is a checkpoint, too. Its `before` is what it replaced, its `after` what it put there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.files.file_states import FileState, is_same, is_same_on_disk
from parley_daemon.core.agents.tools import ChangeType

LeftState = Literal["as_left", "changed_since", "gone"]
"""What a file is, compared with what the turn left. "gone": the turn left something, and nothing is there."""


class PathChange(msgspec.Struct, frozen=True, gc=False):
    """What a checkpoint knows of one path. `root` is the root that it lies below.

    `after` is None while the call that changes it runs, and for good if a crash cut that call off. `earlier`
    is then what the turn's call before that one left.
    """

    path: str
    root: str
    before: FileState
    expected: FileState | None = None
    after: FileState | None = None
    earlier: FileState | None = None


class CheckpointHead(msgspec.Struct, frozen=True, gc=False):
    """What a checkpoint is, without its files.

    Attributes:
        id: UUIDv7.
        turn_id: the turn that changed the files; None for a restore.
        message_id: the message that has the turn's first call that changed a file; None for a restore.
        at: RFC 3339.
        undoes: the checkpoint that this one, a restore, restored.
    """

    id: str
    turn_id: str | None
    message_id: int | None
    at: str
    undoes: str | None = None


class Checkpoint(msgspec.Struct, gc=False):
    """A checkpoint with its changes by their paths."""

    head: CheckpointHead
    changes: dict[str, PathChange]


class CheckpointFile(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A file of a checkpoint as clients see it. `path` is absolute."""

    path: str
    change_type: ChangeType
    restorable: bool
    state: LeftState


class CheckpointView(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint as clients see it, its files sorted by path."""

    head: CheckpointHead
    files: tuple[CheckpointFile, ...]


class RestoredFile(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A file that was put back, or would be. `change_type`: what that does to the file."""

    path: str
    change_type: ChangeType


class RestoreConflict(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A file that is left alone. `message` is a sentence that says why."""

    path: str
    state: LeftState
    message: str


class RestoreResult(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What a restore did. `checkpoint_id` is that of its own checkpoint, None: it changed nothing."""

    restored: tuple[RestoredFile, ...]
    conflicts: tuple[RestoreConflict, ...]
    checkpoint_id: str | None = None


# ------------------------------------------------------------------------------------- states


def left_states(change: PathChange, now: FileState) -> list[FileState]:
    """Return what the turn may have left at a path: one state, or two or none after a crash."""
    if change.after is not None:
        return [change.after]
    # What a call was about to write is known, but not with which mode.
    expected = None if change.expected is None else replace(change.expected, mode=now.mode)
    return [state for state in (expected, change.earlier) if state is not None]


def is_in_editor(before: FileState, left: FileState) -> bool:
    """Return whether only the text of an open document was changed, and not its file."""
    return is_same_on_disk(before, left) and before.shown_text != left.shown_text


def is_restored(change: PathChange, now: FileState) -> bool:
    """Return whether a path is as it was before the turn."""
    before = change.before
    if any(is_in_editor(before, left) for left in left_states(change, now)):
        return now.shown_text == before.shown_text
    if not is_same_on_disk(before, now):
        return False
    return now.open_text is None or now.open_text == before.shown_text


def is_as_left(change: PathChange, now: FileState) -> bool:
    """Return whether a path is as the turn left it."""
    return any(_is_left(change.before, left, now) for left in left_states(change, now))


def _is_left(before: FileState, left: FileState, now: FileState) -> bool:
    if is_in_editor(before, left):
        return now.shown_text == left.shown_text
    if not is_same_on_disk(left, now):
        return False
    return now.open_text is None or now.open_text in (left.open_text, left.text)


def left_state(change: PathChange, now: FileState) -> LeftState:
    """Return what a path is, compared with what the turn left."""
    if is_as_left(change, now):
        return "as_left"
    left = left_states(change, now)
    if now.kind == "nothing" and any(state.kind != "nothing" for state in left or [change.before]):
        return "gone"
    return "changed_since"


def change_type(before: FileState, after: FileState) -> ChangeType | None:
    """Return what has happened to a path, None: nothing."""
    if is_same(before, after):
        return None
    if before.kind == "nothing":
        return "added"
    return "deleted" if after.kind == "nothing" else "modified"


def find_renamed(changes: Mapping[str, tuple[FileState, FileState]]) -> dict[str, str]:
    """Return which of the new files were there under another name before: new path → old path.

    `changes` has (before, after) by path. A file counts as renamed if exactly one file with its bytes has
    vanished and exactly one has appeared.
    """
    gone: dict[str, list[str]] = {}
    new: dict[str, list[str]] = {}
    for path, (before, after) in changes.items():
        if before.kind == "file" and after.kind == "nothing" and before.was_read and before.size:
            gone.setdefault(before.digest or "", []).append(path)
        elif before.kind == "nothing" and after.kind == "file" and after.was_read and after.size:
            new.setdefault(after.digest or "", []).append(path)
    return {
        paths[0]: gone[digest][0]
        for digest, paths in new.items()
        if len(paths) == 1 and len(gone.get(digest, ())) == 1
    }


def is_folder(before: FileState, after: FileState) -> bool:
    """Return whether a change is one of a folder only."""
    return {before.kind, after.kind} <= {"folder", "nothing"} and not (before.open_text or after.open_text)


def shown_paths(kinds: Mapping[str, bool]) -> list[str]:
    """Return the paths to show, sorted. `kinds` says of each path whether it is a folder.

    A folder is only shown if no other path lies below it: it comes and goes with its files.
    """
    above = {path[:end] for path in kinds for end, letter in enumerate(path) if letter == "/" and end}
    return sorted(path for path, is_folder in kinds.items() if not (is_folder and path in above))


def view(
    checkpoint: Checkpoint, now: Mapping[str, FileState], has_image: Mapping[str, bool]
) -> CheckpointView:
    """Return a checkpoint as clients see it.

    `now` is what is there, `has_image` whether the content from before the turn is still kept, by path.
    """
    seen: dict[str, tuple[PathChange, FileState]] = {}
    for path, change in checkpoint.changes.items():
        left = change.after or now[path]
        if not is_same(change.before, left):
            seen[path] = (change, left)
    renamed = find_renamed({path: (change.before, left) for path, (change, left) in seen.items()})
    folders = {path: is_folder(change.before, left) for path, (change, left) in seen.items()}
    files: list[CheckpointFile] = []
    for path in shown_paths(folders):
        change, left = seen[path]
        kind = "renamed" if path in renamed else change_type(change.before, left) or "modified"
        files.append(CheckpointFile(path, kind, has_image[path], left_state(change, now[path])))
    return CheckpointView(checkpoint.head, tuple(files))


# ----------------------------------------------------------------------------------- restoring


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Why a path is left alone; a sentence."""

    message: str


def plan_restore(
    change: PathChange, now: FileState, *, has_image: bool, force: bool, changed_by: str | None = None
) -> FileState | Refusal | None:
    """Return what to put at a path: a state, None if it is there already, or why it is left alone.

    `changed_by`: the id of a later checkpoint of the chat that has this path.
    """
    before = change.before
    if is_restored(change, now):
        return None
    if before.kind == "other" or now.kind == "other":
        return Refusal("It is no file, link or folder.")
    if now.open_text is not None and before.kind not in ("file", now.kind):
        return Refusal("It is open in an editor. Close it there first.")
    if not has_image:
        return Refusal("What was there before is not kept: it was too large, too much, or too long ago.")
    if is_as_left(change, now) or force:
        return before
    if not left_states(change, now):
        if now.kind == "nothing":  # a crash hides who removed it, but there is nothing to lose
            return before
        return Refusal(
            "The daemon was stopped while a command ran, so it is not known who changed this. Restore it by "
            "its path with force, if you want to."
        )
    if changed_by is not None:
        return Refusal(f"It was changed again by a later turn. Restore the checkpoint {changed_by} first.")
    return Refusal("It was changed since. To restore it nevertheless, name its path and use force.")


def restore_order(targets: Iterable[tuple[str, FileState]]) -> list[str]:
    """Return paths in the order in which to put them back.

    First what has to go, from the bottom up; then folders from the top down; then files and links.
    """
    items = list(targets)
    gone = sorted((path for path, state in items if state.kind == "nothing"), reverse=True)
    folders = sorted(path for path, state in items if state.kind == "folder")
    rest = sorted(path for path, state in items if state.kind not in ("nothing", "folder"))
    return [*gone, *folders, *rest]


def selects(paths: Sequence[str] | None, path: str) -> bool:
    """Return whether a path is meant: named itself, or below a folder that is named. None: all are meant."""
    return paths is None or any(path == one or path.startswith(f"{one.rstrip('/')}/") for one in paths)
