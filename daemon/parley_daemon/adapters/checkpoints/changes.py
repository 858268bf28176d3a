"""What a call changed, as the event `files_changed` tells it."""

from collections.abc import Sequence
from time import monotonic

import msgspec

from parley_daemon.core.agents.files.checkpoints import (
    change_type,
    find_renamed,
    is_folder,
    shown_paths,
)
from parley_daemon.core.agents.files.file_states import FileState
from parley_daemon.core.agents.files.line_counts import count_changed_lines
from parley_daemon.core.agents.tools import FileChange

MAX_TOLD = 500
"""Files that are told of one call; the checkpoint has them all."""

COUNT_SECONDS = 0.5
"""How long lines are counted for one call; files after that have no counts."""


class Changed(msgspec.Struct, frozen=True, gc=False):
    """A path before and after a call, with its bytes (None: they are not known)."""

    path: str
    before: FileState
    after: FileState
    before_data: bytes | None
    after_data: bytes | None
    has_image: bool


def file_changes(changed: Sequence[Changed]) -> tuple[FileChange, ...]:
    """Return what to tell of a call, sorted by path."""
    by_path = {one.path: one for one in changed}
    renamed = find_renamed({path: (one.before, one.after) for path, one in by_path.items()})
    moved_away = set(renamed.values())
    folders = {path: is_folder(one.before, one.after) for path, one in by_path.items()}
    deadline = monotonic() + COUNT_SECONDS
    told: list[FileChange] = []
    for path in shown_paths(folders)[:MAX_TOLD]:
        one = by_path[path]
        kind = "renamed" if path in renamed else change_type(one.before, one.after) or "modified"
        if path in renamed or path in moved_away:
            counts = (0, 0)
        else:
            counts = _count(one) if monotonic() < deadline else None
        added, deleted = counts or (None, None)
        told.append(FileChange(path, kind, added, deleted, one.has_image))
    return tuple(told)


def _count(one: Changed) -> tuple[int, int] | None:
    """Return the added and the deleted lines, None: they cannot be counted."""
    before = b"" if one.before.kind == "nothing" and one.before_data is None else one.before_data
    after = b"" if one.after.kind == "nothing" and one.after_data is None else one.after_data
    if before is None or after is None or "folder" in (one.before.kind, one.after.kind):
        return None
    return count_changed_lines(before, after)
