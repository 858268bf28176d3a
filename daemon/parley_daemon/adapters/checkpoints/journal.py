"""The journal of a chat's checkpoints: what was kept and what was left, one line of JSON for each.

Theory of operation. Lines are only ever added, and a line is on the disk before the file that it is about is
changed. A crash can leave half a line at the end, which is skipped. A path may contain bytes that are not
UTF-8; so a line has each byte of a path as the character of the same number.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from parley_daemon.adapters.checkpoints.images import make_private_folder
from parley_daemon.core.agents.files.checkpoints import Checkpoint, CheckpointHead, PathChange
from parley_daemon.core.agents.files.file_states import FileState

CHECKPOINTS = 500
"""Checkpoints of a chat that are remembered, the newest ones."""

JOURNAL_BYTES = 8 * 2**20
"""Size of a journal from which on only the newest half of its checkpoints is remembered."""


_LINE_BYTES = 64 * 1024  # more than any line: it has two paths of at most 4,096 bytes


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """A checkpoint begins."""

    head: CheckpointHead


class Kept(msgspec.Struct, frozen=True, tag="kept", omit_defaults=True):
    """What was at a path is kept; the call is about to change it, to `expected` if that is known.

    A second line about the same path replaces the first one.
    """

    checkpoint: str
    path: str
    root: str
    before: FileState
    expected: FileState | None = None


class Left(msgspec.Struct, frozen=True, tag="left", omit_defaults=True):
    """A call has ended and left this at the path. None: another call is about to change it again."""

    checkpoint: str
    path: str
    after: FileState | None = None
    expected: FileState | None = None


Line = Opened | Kept | Left

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def to_text(path: str) -> str:
    """Return a path as a text that JSON can carry."""
    return os.fsencode(path).decode("latin-1")


def to_path(text: str) -> str:
    """Return the path that `to_text` made a text of."""
    return os.fsdecode(text.encode("latin-1"))


def apply(checkpoints: dict[str, Checkpoint], line: Line) -> None:
    """Take over a line. One about an unknown checkpoint is skipped. Paths are real paths."""
    if isinstance(line, Opened):
        checkpoints[line.head.id] = Checkpoint(line.head, {})
        return
    checkpoint = checkpoints.get(line.checkpoint)
    if checkpoint is None:
        return
    if isinstance(line, Kept):
        change = PathChange(line.path, line.root, line.before, line.expected)
        checkpoint.changes[line.path] = change
    elif (change := checkpoint.changes.get(line.path)) is not None:
        earlier = (change.after or change.earlier) if line.after is None else None
        checkpoint.changes[line.path] = replace(
            change, after=line.after, expected=line.expected, earlier=earlier
        )


class Journal:
    """The journal in a file, which is created with its first line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_whole = False

    def load(self) -> dict[str, Checkpoint]:
        """Return the checkpoints by their ids, the oldest first.

        Raises:
            OSError: the file cannot be read.
        """
        checkpoints: dict[str, Checkpoint] = {}
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return checkpoints
        for line in data.split(b"\n"):
            try:
                apply(checkpoints, _with_paths(_decoder.decode(line), to_path))
            except (msgspec.MsgspecError, UnicodeError):
                continue
        return checkpoints

    def is_cut_off(self) -> bool:
        """Return whether the last line has no end: a call runs, or a crash has cut it off.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LINE_BYTES))
                lines = file.read().rstrip(b"\n").split(b"\n")
        except FileNotFoundError:
            return False
        try:
            line = _decoder.decode(lines[-1])
        except (msgspec.MsgspecError, UnicodeError):
            return True  # half a line
        return not isinstance(line, Left) or line.after is None

    def append(self, lines: Sequence[Line]) -> None:
        """Add lines. What was kept is on the disk when this returns, even if the machine stops then.

        What was left is in the system's hands: if it gets lost, the file counts as it does after a crash.

        Raises:
            OSError: they cannot be written.
        """
        data = b"".join([_encoder.encode(_with_paths(line, to_text)) + b"\n" for line in lines])
        make_private_folder(self.path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            if not self._is_whole:
                size = os.fstat(descriptor).st_size
                data = data if not size or os.pread(descriptor, 1, size - 1) == b"\n" else b"\n" + data
            while data:
                data = data[os.write(descriptor, data) :]
            if any(isinstance(line, Kept) for line in lines):
                os.fsync(descriptor)
            self._is_whole = True
        except OSError:
            self._is_whole = False
            raise
        finally:
            os.close(descriptor)

    def drop_old(self, checkpoints: dict[str, Checkpoint]) -> bool:
        """Write the journal anew without the oldest checkpoints if it is too long. Return whether it was."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return False
        if len(checkpoints) <= CHECKPOINTS and size <= JOURNAL_BYTES:
            return False
        for checkpoint_id in list(checkpoints)[: -max(1, min(len(checkpoints), CHECKPOINTS) // 2)]:
            del checkpoints[checkpoint_id]
        new = Journal(self.path.with_name("journal.new"))
        new.path.unlink(missing_ok=True)
        new.append([line for one in checkpoints.values() for line in _lines_of(one)])
        new.path.rename(self.path)
        return True


def _lines_of(checkpoint: Checkpoint) -> Iterable[Line]:
    yield Opened(checkpoint.head)
    for change in checkpoint.changes.values():
        yield Kept(checkpoint.head.id, change.path, change.root, change.before, change.expected)
        if change.earlier is not None:
            yield Left(checkpoint.head.id, change.path, change.earlier)
            yield Left(checkpoint.head.id, change.path, None, change.expected)
        elif change.after is not None:
            yield Left(checkpoint.head.id, change.path, change.after)


def _with_paths(line: Line, convert: Callable[[str], str]) -> Line:
    if isinstance(line, Kept):
        return replace(line, path=convert(line.path), root=convert(line.root))
    return replace(line, path=convert(line.path)) if isinstance(line, Left) else line
