"""What a command changed below the roots: a list before it, a list after it, and what differs.

Theory of operation. The list is written to a file before the command runs, and removed when its changes are
recorded. So after a crash the file says that a command was cut off, and what was there before it
(`recover_watches`). What the command left is not known then: a person may have changed files since.

What other chats' tools change in the same folders meanwhile is not the command's change (`foreign`). What a
person saves meanwhile cannot be told from it.
"""

import os
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from time import monotonic

import msgspec

from parley_daemon.adapters.checkpoints.history import History
from parley_daemon.adapters.checkpoints.images import make_private_folder
from parley_daemon.adapters.checkpoints.journal import to_path, to_text
from parley_daemon.adapters.checkpoints.paths import digest_of, file_state, read_path
from parley_daemon.adapters.checkpoints.spool import Spool
from parley_daemon.adapters.checkpoints.tree import (
    MAX_ENTRIES,
    MAX_SECONDS,
    Listing,
    Stamp,
    find_changed,
    list_tree,
)
from parley_daemon.core.agents.files.checkpoints import CheckpointHead
from parley_daemon.core.agents.files.file_states import NOTHING, FileState

MAX_CHANGES = 5_000
"""Changed paths that are recorded of a command."""

PREFIX = "watch-"


class WatchedRoot(msgspec.Struct, gc=False):
    """A root before the command: its list, and the digests of the copies by path, relative to the root."""

    listing: Listing
    copies: dict[str, str]


class Watch(msgspec.Struct, gc=False):
    """What is known from before a command. `head` is the checkpoint that its changes belong to."""

    head: CheckpointHead
    roots: list[WatchedRoot]


class Found(msgspec.Struct, frozen=True, gc=False):
    """A path that has changed. `data` are the bytes of the file or link before, None: they are not kept."""

    path: str
    root: str
    before: FileState
    after: FileState
    data: bytes | None
    after_data: bytes | None
    copy: str | None


def begin_watch(
    head: CheckpointHead, roots: Sequence[str], spool: Spool, refused: Sequence[str] = ()
) -> tuple[Watch, list[str]]:
    """List the roots and copy what is small. Return what is not watched, too, as sentences.

    A root that has one of the folders in `refused` in it, or is one, is not watched.
    """
    watch, notes, room = Watch(head, []), list[str](), MAX_ENTRIES
    for root in _without_inner(roots):
        inner = next((one for one in refused if f"{one}/".startswith(f"{root.rstrip('/')}/")), None)
        if inner is not None:
            notes.append(f"Changes in {root} are not recorded and cannot be undone: {inner} is in it.")
            continue
        try:
            listing = list_tree(root, room=room)
        except OSError as error:
            notes.append(f"Changes in {root} cannot be undone: {error.strerror or 'it cannot be read'}.")
            continue
        room -= len(listing.stamps)
        if not listing.is_complete:
            notes.append(
                f"{root} has more files than are watched ({MAX_ENTRIES:,} files, {MAX_SECONDS:g} s): changes "
                f"in {_missing(listing)} are not recorded and cannot be undone."
            )
        watch.roots.append(WatchedRoot(listing, spool.copy(listing)))
    return watch, notes


def _missing(listing: Listing) -> str:
    """Return which folders are not watched, in words."""
    top = sorted(path for path, stamp in listing.stamps.items() if stamp.kind == "folder" and "/" not in path)
    missing = [f"{path}/" for path in top if path not in listing.folders]
    if not missing:
        return "its deeper folders" if listing.folders else "it"
    return ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")


def _without_inner(roots: Sequence[str]) -> list[str]:
    """Return the roots that do not lie below another one."""
    distinct = sorted(set(roots))
    return [root for root in distinct if not any(root.startswith(f"{one}/") for one in distinct)]


def end_watch(
    watch: Watch, foreign: set[str], spool: Spool, seconds: float | None = None
) -> tuple[list[Found], bool]:
    """Return what has changed since the watch began, and whether that is all.

    `seconds`: how long that may take; None: as long as it needs, within the bounds of a list.
    """
    end = inf if seconds is None else monotonic() + seconds
    found: list[Found] = []
    is_complete = True
    for watched in watch.roots:
        root = watched.listing.root
        try:
            after = list_tree(root, watched.listing, seconds=min(MAX_SECONDS, end - monotonic()))
        except OSError:
            after = Listing(root, {}, set(), set(), is_complete=False)  # the root itself may be gone
        for path in sorted(find_changed(watched.listing, after)):
            if f"{root}/{path}" in foreign:
                continue
            if len(found) >= MAX_CHANGES or monotonic() > end:
                is_complete = False
                break
            if (one := _look(watched, path, spool)) is not None:
                found.append(one)
    return found, is_complete and monotonic() <= end


def _look(watched: WatchedRoot, path: str, spool: Spool) -> Found | None:
    """Return a path with its states before and now, None if it has not changed."""
    root = watched.listing.root
    full = f"{root}/{path}"
    try:
        after, after_data = read_path(root, full)
    except OSError:
        return None
    copy = watched.copies.get(path)
    data = None if copy is None else spool.read(copy)
    before = _state_before(watched.listing.stamps.get(path), data)
    if (before.kind, before.mode, before.digest) == (after.kind, after.mode, after.digest):
        return None
    return Found(full, root, before, after, data, after_data, copy if data is not None else None)


def _state_before(stamp: Stamp | None, data: bytes | None) -> FileState:
    match stamp:
        case None:
            return NOTHING
        case Stamp(kind="file") if data is not None:
            return file_state(data, stamp.mode)
        case Stamp(kind="link") if data is not None:
            return FileState("link", 0, len(data), digest_of(data))
        case Stamp(kind="file" | "link"):
            mark = f"stat:{stamp.size}:{stamp.mtime_ns}:{stamp.ctime_ns}:{stamp.number}"
            return FileState(stamp.kind, stamp.mode, stamp.size, mark)
        case _:
            return FileState(stamp.kind, stamp.mode)


# ------------------------------------------------------------------------- the file of a watch


def watch_file(history: History, mark: str) -> Path:
    """Return the file that a watch is written to."""
    return history.folder / f"{PREFIX}{mark}"


def save_watch(path: Path, watch: Watch) -> None:
    """Write a watch to a file.

    Raises:
        OSError: it cannot be written.
    """
    make_private_folder(path.parent)
    data = msgspec.msgpack.encode(_converted(watch, to_text))
    new = path.with_name(f"new-{path.name}")
    with open(new, "wb", opener=_open_private) as file:
        file.write(data)
    new.rename(path)


def _open_private(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CLOEXEC, 0o600)


def load_watch(path: Path) -> Watch | None:
    """Return the watch in a file, None if it is damaged."""
    try:
        return _converted(msgspec.msgpack.decode(path.read_bytes(), type=Watch), to_path)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return None


def _converted(watch: Watch, convert: Callable[[str], str]) -> Watch:
    """Return a watch with other spellings of its paths."""
    return Watch(
        watch.head,
        [
            WatchedRoot(
                Listing(
                    convert(one.listing.root),
                    {convert(path): stamp for path, stamp in one.listing.stamps.items()},
                    {convert(path) for path in one.listing.folders},
                    {convert(path) for path in one.listing.ignored},
                    one.listing.is_complete,
                ),
                {convert(path): digest for path, digest in one.copies.items()},
            )
            for one in watch.roots
        ],
    )
