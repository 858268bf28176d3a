"""The checkpoints of one chat: their journal, and the images that they need."""

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import anyio

from parley_daemon.adapters.checkpoints.images import Images
from parley_daemon.adapters.checkpoints.journal import Journal, Line, Opened, apply
from parley_daemon.adapters.checkpoints.leftovers import remove_leftovers
from parley_daemon.adapters.checkpoints.paths import digest_of, digest_of_text, encode_text
from parley_daemon.core.agents.files.checkpoints import Checkpoint, CheckpointHead
from parley_daemon.core.agents.files.file_states import FileState
from parley_daemon.core.agents.files.line_counts import text_of
from parley_daemon.core.comparing import with_line_feeds

CHAT_BYTES = 64 * 2**20
"""Bytes of images of a chat."""


class History:
    """One chat's checkpoints. The methods run in worker threads, while `lock` is held.

    `checkpoints` are by id, the oldest first. `running` are the marks of the commands that are watched now.
    `users` counts the calls that are recorded now.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = anyio.Lock()
        self.images = Images(folder / "images", CHAT_BYTES)
        self.running: set[str] = set()
        self.users = 0
        self._journal = Journal(folder / "journal")
        self._checkpoints: dict[str, Checkpoint] | None = None

    @property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """All checkpoints. The first use reads the journal.

        Raises:
            OSError: it cannot be read.
        """
        if self._checkpoints is None:
            loaded = self._journal.load()
            if self._journal.drop_old(loaded):
                self.images.keep_only(_used_images(loaded.values()))
            self._checkpoints = loaded
        return self._checkpoints

    def remove_leftovers(self) -> None:
        """Remove the temporary files of a call that was cut off, if the last one was.

        Raises:
            OSError: the journal cannot be read.
        """
        if self._journal.is_cut_off():
            remove_leftovers(self.checkpoints.values())

    def of_turn(self, turn_id: str) -> Checkpoint | None:
        """Return the checkpoint of a turn."""
        for checkpoint in reversed(self.checkpoints.values()):
            if checkpoint.head.turn_id == turn_id:
                return checkpoint
        return None

    def write(self, lines: Sequence[Line]) -> None:
        """Add lines to the journal, and take them over.

        Raises:
            OSError: they cannot be written; nothing is taken over.
        """
        checkpoints = self.checkpoints
        if lines:
            self._journal.append(lines)
        for line in lines:
            apply(checkpoints, line)

    def opening(self, head: CheckpointHead) -> list[Line]:
        """Return the line that begins a checkpoint, nothing if it has begun."""
        return [] if head.id in self.checkpoints else [Opened(head)]

    def keep(
        self,
        state: FileState,
        data: bytes | None,
        open_text: str | None,
        *,
        pinned: Collection[str] = (),
    ) -> bool:
        """Keep the content of a state: a file's bytes or a link's target, and a document's text.

        Return whether it can be restored later.

        Raises:
            OSError: it cannot be written.
        """
        is_kept = True
        if data is not None and state.digest is not None:
            is_kept = self.images.put(data, state.digest, pinned=pinned)
        elif state.kind == "file":
            is_kept = False
        if open_text is not None and state.open_text is not None and state.open_text != state.text:
            text = encode_text(with_line_feeds(open_text))
            is_kept = self.images.put(text, state.open_text, pinned=pinned) and is_kept
        return is_kept

    def has_image(self, state: FileState) -> bool:
        """Return whether the content of a state is kept."""
        has_own_text = state.open_text is not None and state.open_text != state.text
        if has_own_text and not self.images.has(state.open_text):
            return False
        return state.kind in ("nothing", "folder") or (state.was_read and self.images.has(state.digest))

    def read_text(self, state: FileState) -> str | None:
        """Return the text that was shown in a state."""
        if state.open_text is not None and state.open_text != state.text:
            data = self.images.read(state.open_text)
            return None if data is None else data.decode(errors="surrogatepass")
        if state.kind == "nothing":
            return ""
        data = None if state.digest is None else self.images.read(state.digest)
        return None if data is None else text_of(data)

    def read_bytes(self, state: FileState) -> bytes | None:
        """Return the bytes of a file in a state. Text that was never saved gets the file's own line ends."""
        saved = None if state.digest is None else self.images.read(state.digest)
        if state.open_text is None or state.open_text == state.text:
            return saved
        text = self.read_text(state)
        if text is None:
            return None
        before = saved or b""
        if b"\r\n" in before:
            text = text.replace("\n", "\r\n")
        mark = b"\xef\xbb\xbf" if before.startswith(b"\xef\xbb\xbf") else b""
        return mark + encode_text(text)

    def later_change(self, checkpoint_id: str, path: str) -> str | None:
        """Return the id of the newest later checkpoint of a turn that has this path."""
        for one in reversed(self.checkpoints.values()):
            if one.head.id == checkpoint_id:
                return None
            if path in one.changes and one.head.turn_id is not None:
                return one.head.id
        return None

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._checkpoints = None


def expected_state(before: FileState, after: bytes, open_text: str | None) -> FileState:
    """Return what will be at a path when a call has written these bytes."""
    text = text_of(after)
    text_digest = None if text is None else digest_of_text(text)
    if open_text is not None:  # the editor gets the text, and the file stays as it is
        return FileState(before.kind, before.mode, before.size, before.digest, before.text, text_digest)
    return FileState("file", before.mode, len(after), digest_of(after), text_digest)


def _used_images(checkpoints: Collection[Checkpoint]) -> set[str]:
    states = [change.before for one in checkpoints for change in one.changes.values()]
    return {name for state in states for name in (state.digest, state.open_text) if name is not None}
