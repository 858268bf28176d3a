"""What a chat's tools have changed in all, from the earliest kept state of each path to now.

A restore counts like any other change. A path that is as it was before is left out, also if it was changed
and changed back. Where an editor shows a text that is not saved, that text counts as the file.
"""

import os
from collections.abc import Mapping, Sequence

import msgspec

from parley_daemon.adapters.checkpoints.history import History
from parley_daemon.adapters.checkpoints.paths import encode_text, read_path, with_document
from parley_daemon.core.agents.files.checkpoints import PathChange
from parley_daemon.core.agents.files.file_states import FileState
from parley_daemon.core.agents.files.git_diff import FileSide, git_diff, mode_of
from parley_daemon.core.agents.files.line_counts import count_changed_lines
from parley_daemon.ports.checkpoints import ChangedFile


class _Seen(msgspec.Struct, frozen=True, gc=False):
    """A path now. `data`: the bytes of the file, or of the text that an editor shows."""

    state: FileState
    data: bytes | None


def find_first_changes(history: History, since: int | None) -> dict[str, PathChange]:
    """Return the first change of each path: of all, or of those from a message on."""
    found: dict[str, PathChange] = {}
    counts = since is None
    for checkpoint in history.checkpoints.values():
        message_id = checkpoint.head.message_id
        counts = counts or (since is not None and message_id is not None and message_id >= since)
        if counts:
            for path, change in checkpoint.changes.items():
                found.setdefault(path, change)
    return found


def compare(
    history: History,
    changes: Mapping[str, PathChange],
    texts: Mapping[str, str | None],
    prefixes: Mapping[str, str],
) -> Sequence[ChangedFile]:
    """Return what is different now, sorted by path. `texts` are what editors show, by path. `prefixes`:
    what stands before the paths in the diffs, by root.

    Raises:
        OSError: the kept contents cannot be read.
    """
    found = [
        _compare(history, changes[path], texts.get(path), prefixes.get(changes[path].root, ""))
        for path in sorted(changes)
    ]
    return [one for one in found if one is not None]


def _compare(history: History, change: PathChange, text: str | None, prefix: str) -> ChangedFile | None:
    now = _look(change, text)
    before = change.before
    if before.kind not in ("file", "link", "nothing") or now.state.kind not in ("file", "link", "nothing"):
        return None  # folders have no content of their own
    old = _side(before, history.read_bytes(before) if before.kind != "nothing" else None)
    new = _side(now.state, now.data)
    name = os.fsencode(prefix + os.path.relpath(change.path, change.root))
    diff = git_diff(name, old, new)
    if not diff:
        return None
    lines = _count_lines(old, new)
    kind = "added" if old is None else "deleted" if new is None else "modified"
    return ChangedFile(change.path, change.root, kind, *lines, diff)


def _look(change: PathChange, text: str | None) -> _Seen:
    try:
        state, data = read_path(change.root, change.path)
    except OSError:
        return _Seen(FileState("other"), None)
    if text is None or state.kind not in ("file", "nothing"):
        return _Seen(state, data)
    shown = with_document(state, text)
    if shown.open_text == state.text:
        return _Seen(state, data)
    saved = data or b""
    if b"\r\n" in saved and "\r\n" not in text:
        text = text.replace("\n", "\r\n")
    mark = b"\xef\xbb\xbf" if saved.startswith(b"\xef\xbb\xbf") else b""
    return _Seen(FileState("file", state.mode or 0o644), mark + encode_text(text))


def _side(state: FileState, data: bytes | None) -> FileSide | None:
    if state.kind == "nothing" and state.open_text is None:
        return None
    return FileSide(mode_of(state.mode, is_link=state.kind == "link"), data)


def _count_lines(old: FileSide | None, new: FileSide | None) -> tuple[int | None, int | None]:
    before = b"" if old is None else old.data
    after = b"" if new is None else new.data
    if before is None or after is None:
        return None, None
    return count_changed_lines(before, after) or (None, None)
