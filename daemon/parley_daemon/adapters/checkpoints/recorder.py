"""Records what one call changes.

Theory of operation. `before_change` keeps what is at a path and writes that to the journal, before the tool
writes anything. The end of the call records what is there then. In between, the journal has what the call
said it would write, so that a crash leaves a checkpoint that can still be judged.

The bytes from before the call stay in memory until its end, up to a bound, to count the changed lines.
"""

import logging
from collections.abc import Sequence
from secrets import token_hex

import anyio
import msgspec
from anyio import to_thread
from msgspec.structs import replace

from parley_daemon.adapters.checkpoints.changes import Changed, file_changes
from parley_daemon.adapters.checkpoints.documents import Documents
from parley_daemon.adapters.checkpoints.history import History, expected_state
from parley_daemon.adapters.checkpoints.journal import Kept, Left, Line
from parley_daemon.adapters.checkpoints.paths import read_path, split_path, with_document
from parley_daemon.adapters.checkpoints.spool import Spool
from parley_daemon.adapters.checkpoints.watching import (
    Found,
    Watch,
    begin_watch,
    end_watch,
    save_watch,
    watch_file,
)
from parley_daemon.core.agents.files.checkpoints import CheckpointHead
from parley_daemon.core.agents.files.file_states import NOTHING, FileState, is_same
from parley_daemon.core.agents.tools import FileChange
from parley_daemon.ports.checkpoints import CheckpointsUnavailableError
from parley_daemon.ports.tools import CallContext

log = logging.getLogger(__name__)

MEMORY_BYTES = 8 * 2**20
"""Bytes from before a call that stay in memory."""

HURRY_SECONDS = 0.7
"""How long the end of an interrupted call may look for what its command has changed."""


class Touched(msgspec.Struct, gc=False):
    """A path as it was before the call. `data`: its bytes, None: they are not in memory."""

    root: str
    before: FileState
    data: bytes | None


class Recorder:
    """Implements ChangeRecorder for one call.

    `others` are the recorders of all calls that run now, `refused` folders that no command is watched in.
    """

    def __init__(
        self,
        context: CallContext,
        history: History,
        head: CheckpointHead,
        spool: Spool,
        documents: Documents,
        others: "set[Recorder]",
        refused: Sequence[str] = (),
    ) -> None:
        self.foreign: set[str] = set()
        self._context = context
        self._history = history
        self._head = head
        self._spool = spool
        self._documents = documents
        self._others = others
        self._refused = refused
        self._touched: dict[str, Touched] = {}
        self._memory = MEMORY_BYTES
        self._watch: Watch | None = None
        self._mark: str | None = None
        self._is_complete = True
        self._result: tuple[tuple[FileChange, ...], str | None] | None = None

    # ---------------------------------------------------------------------------- one path

    async def before_change(self, path: str, after: bytes | None = None) -> None:
        """See ChangeRecorder."""
        for other in self._others:
            if other is not self:
                other.foreign.add(path)
        text = await self._documents.text(path)
        async with self._history.lock:
            try:
                await to_thread.run_sync(self._keep, path, text, after)
            except OSError as error:
                reason = error.strerror or "it cannot be written"
                raise CheckpointsUnavailableError(
                    f"What is in {path} now cannot be kept ({reason}), so it was not changed."
                ) from error

    def _keep(self, path: str, text: str | None, after: bytes | None) -> None:
        root = self._root_of(path)
        lines: list[Line] = []
        for folder in _folders_between(root, path):
            if folder not in self._touched and read_path(root, folder)[0] == NOTHING:
                self._touch(lines, folder, root, NOTHING, None, None, FileState("folder"))
        state, data = read_path(root, path)
        state = with_document(state, text)
        expected = None if after is None else expected_state(state, after, text)
        self._touch(lines, path, root, state, data, text, expected)
        self._write(lines)

    def _touch(
        self,
        lines: list[Line],
        path: str,
        root: str,
        state: FileState,
        data: bytes | None,
        text: str | None,
        expected: FileState | None,
    ) -> None:
        """Keep a path in a state, unless the turn has kept it and nobody else has changed it since."""
        history, checkpoint = self._history, self._head.id
        known = None
        if (present := history.checkpoints.get(checkpoint)) is not None:
            known = present.changes.get(path)
        if path in self._touched:
            lines.append(Left(checkpoint, path, None, expected))
            return
        if known is not None and known.after is not None and is_same(known.after, state):
            lines.append(Left(checkpoint, path, None, expected))
        else:
            history.keep(state, data, text)
            lines.append(Kept(checkpoint, path, root, state, expected))
        if data is not None and len(data) <= self._memory:
            self._memory -= len(data)
        else:
            data = None
        self._touched[path] = Touched(root, state, data)

    def _root_of(self, path: str) -> str:
        roots = [one for one in self._context.workspace.roots if path.startswith(f"{one.rstrip('/')}/")]
        try:
            root = max(roots, key=len)
            split_path(root, path)
        except ValueError:
            raise CheckpointsUnavailableError(f"{path} is not below a folder of the chat.") from None
        return root

    # --------------------------------------------------------------------------- a command

    async def watch(self, roots: Sequence[str]) -> Sequence[str]:
        """See ChangeRecorder."""
        self._watch, notes = await to_thread.run_sync(
            begin_watch, self._head, roots, self._spool, self._refused
        )
        self._mark = mark = token_hex(8)
        self._history.running.add(mark)
        try:
            await to_thread.run_sync(save_watch, watch_file(self._history, mark), self._watch)
        except OSError as error:
            raise CheckpointsUnavailableError(
                f"What the command may change cannot be recorded ({error.strerror}), so it was not run."
            ) from error
        return notes

    # ------------------------------------------------------------------------------ the end

    async def finish(self, *, hurry: bool = False) -> tuple[tuple[FileChange, ...], str | None]:
        """See ChangeRecorder. `hurry`: the call was interrupted, and its turn waits for the end.

        What a command has changed and is not found in time then counts as after a crash.
        """
        result = self._result
        if result is None:
            result = (), None
            with anyio.CancelScope(shield=True):
                result = self._result = await self._end(HURRY_SECONDS if hurry else None)
        return result

    async def _end(self, seconds: float | None) -> tuple[tuple[FileChange, ...], str | None]:
        texts = await self._documents.texts(self._touched)
        found: list[Found] = []
        if self._watch is not None:
            others = self.foreign | set(texts)
            arguments = (self._watch, others, self._spool, seconds)
            found, self._is_complete = await to_thread.run_sync(end_watch, *arguments)
        texts |= await self._documents.texts([one.path for one in found])
        async with self._history.lock:
            return await to_thread.run_sync(self._finish, texts, found)

    def _finish(
        self, texts: dict[str, str | None], found: list[Found]
    ) -> tuple[tuple[FileChange, ...], str | None]:
        lines: list[Line] = []
        changed = [
            one
            for path, touched in self._touched.items()
            if (one := self._end_touched(lines, path, touched, texts[path])) is not None
        ]
        try:
            changed += self._end_watched(lines, found, texts)
            self._write(lines)
        except OSError as error:
            # The files are changed already, and the journal has what it would have after a crash.
            log.error("what a call of chat %s changed is not recorded: %s", self._context.chat_id, error)
            return file_changes([replace(one, has_image=False) for one in changed]), None
        if self._mark is not None:
            if self._is_complete:
                watch_file(self._history, self._mark).unlink(missing_ok=True)
            self._history.running.discard(self._mark)
        return file_changes(changed), self._head.id if changed else None

    def _end_touched(
        self, lines: list[Line], path: str, touched: Touched, text: str | None
    ) -> Changed | None:
        try:
            state, data = read_path(touched.root, path)
        except OSError:
            return None  # nobody knows what is there: it stays open, as after a crash
        state = with_document(state, text)
        lines.append(Left(self._head.id, path, state))
        if is_same(touched.before, state):
            return None
        before, after = touched.data, data
        if touched.before.open_text is not None or state.open_text is not None:
            before, after = self._shown_bytes(touched, state, text, data)
        kept = self._history.checkpoints[self._head.id].changes[path].before
        return Changed(path, touched.before, state, before, after, self._history.has_image(kept))

    def _shown_bytes(
        self, touched: Touched, state: FileState, text: str | None, data: bytes | None
    ) -> tuple[bytes | None, bytes | None]:
        """Return what a person saw before and sees now, of a document that is or was open."""
        before = touched.data
        if touched.before.open_text is not None and touched.before.open_text != touched.before.text:
            before = self._history.images.read(touched.before.open_text)
        after = data if text is None else text.encode(errors="surrogatepass")
        return before, after

    def _end_watched(
        self, lines: list[Line], found: list[Found], texts: dict[str, str | None]
    ) -> list[Changed]:
        history, checkpoint = self._history, self._head.id
        present = history.checkpoints.get(checkpoint)
        kept = self._spool.give(history.images, {one.path: one.copy for one in found if one.copy is not None})
        changed: list[Changed] = []
        for one in found:
            known = None if present is None else present.changes.get(one.path)
            if known is None or known.after is None or not is_same(known.after, one.before):
                lines.append(Kept(checkpoint, one.path, one.root, one.before))
                has_image = kept.get(one.path, one.before.kind in ("nothing", "folder"))
            else:
                has_image = history.has_image(known.before)
            after = with_document(one.after, texts[one.path])
            lines.append(Left(checkpoint, one.path, after))
            changed.append(Changed(one.path, one.before, after, one.data, one.after_data, has_image))
        return changed

    def _write(self, lines: list[Line]) -> None:
        if lines:
            self._history.write([*self._history.opening(self._head), *lines])


def _folders_between(root: str, path: str) -> list[str]:
    """Return the folders that lie between a root and a path below it, from the top down."""
    names = path[len(root.rstrip("/")) + 1 :].split("/")[:-1]
    return [f"{root.rstrip('/')}/{'/'.join(names[: number + 1])}" for number in range(len(names))]
