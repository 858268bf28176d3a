"""Puts files back.

Theory of operation. First all paths are compared with what the checkpoint knows (`plan_restore`). Then what
is there now is kept for those that will be replaced, and the journal has it as a checkpoint of its own. Only
then files are changed, one after the other, each looked at once more. What fails is left alone and named.
"""

import errno
from collections.abc import Callable, Sequence

import anyio
import msgspec
from anyio import to_thread
from msgspec.structs import replace

from parley_daemon.adapters.checkpoints.documents import Documents, shown_text
from parley_daemon.adapters.checkpoints.history import History
from parley_daemon.adapters.checkpoints.journal import Kept, Left, Line
from parley_daemon.adapters.checkpoints.paths import put_path, read_path, split_path, with_document
from parley_daemon.core.agents.files.checkpoints import (
    Checkpoint,
    CheckpointHead,
    PathChange,
    Refusal,
    RestoreConflict,
    RestoredFile,
    RestoreResult,
    change_type,
    is_folder,
    is_in_editor,
    left_state,
    left_states,
    plan_restore,
    restore_order,
    selects,
    shown_paths,
)
from parley_daemon.core.agents.files.file_states import FileState, is_same
from parley_daemon.core.comparing import with_line_feeds
from parley_daemon.ports.checkpoints import (
    CheckpointNotFoundError,
    CheckpointsUnavailableError,
    PathNotInCheckpointError,
    RestoreRequest,
)
from parley_daemon.ports.editors import EditRefusedError, OpenDocument


class Step(msgspec.Struct, gc=False):
    """One path that is put back. `data`: the bytes to write; `text`: the text for open documents.

    `on_disk`: whether the file is written.
    """

    change: PathChange
    now: FileState
    documents: Sequence[OpenDocument]
    on_disk: bool
    data: bytes | None
    text: str | None


class Restorer:
    """Carries out one request. `history.lock` is held."""

    def __init__(self, history: History, request: RestoreRequest, documents: Documents) -> None:
        self._history = history
        self._request = request
        self._documents = documents
        self._conflicts: dict[str, RestoreConflict] = {}

    async def restore(self, new_head: Callable[[], CheckpointHead]) -> RestoreResult:
        """See Checkpoints.restore."""
        checkpoint = await to_thread.run_sync(self._find)
        changes = self._selected(checkpoint)
        documents = {change.path: await self._documents.at(change.path) for change in changes}
        steps = await to_thread.run_sync(self._plan, checkpoint, changes, documents)
        if self._request.dry_run or not steps:
            return self._result(steps, None)
        head = new_head()
        done: list[Step] = []
        with anyio.CancelScope(shield=True):
            steps = await to_thread.run_sync(self._keep_present, head, steps)
            done = await self._carry_out(head, steps)
        return self._result(done, head.id if done else None)

    def _find(self) -> Checkpoint:
        checkpoint = self._history.checkpoints.get(self._request.checkpoint_id)
        if checkpoint is None:
            raise CheckpointNotFoundError(
                f"The chat has no checkpoint {self._request.checkpoint_id}, or not any more. "
                "chat/checkpoints lists those that it has."
            )
        return checkpoint

    def _selected(self, checkpoint: Checkpoint) -> list[PathChange]:
        """Return the changes that are meant.

        Raises:
            PathNotInCheckpointError: a path is none of the checkpoint's.
        """
        for asked in self._request.paths or ():
            if not any(selects([asked], path) for path in checkpoint.changes):
                raise PathNotInCheckpointError(f"The checkpoint has no change of {asked}.", asked)
        return [change for path, change in checkpoint.changes.items() if selects(self._request.paths, path)]

    # ----------------------------------------------------------------------------- planning

    def _plan(
        self,
        checkpoint: Checkpoint,
        changes: Sequence[PathChange],
        documents: dict[str, Sequence[OpenDocument]],
    ) -> list[Step]:
        steps: dict[str, Step] = {}
        for change in changes:
            opened = documents[change.path]
            try:
                now = _look(change, shown_text(opened))
            except OSError as error:
                self._refuse(change, change.before, f"It cannot be read: {error.strerror}.")
                continue
            target = plan_restore(
                change,
                now,
                has_image=self._history.has_image(change.before),
                force=self._request.force,
                changed_by=self._history.later_change(checkpoint.head.id, change.path),
            )
            if isinstance(target, Refusal):
                self._refuse(change, now, target.message)
            elif target is not None and (step := self._step(change, now, opened)) is not None:
                steps[change.path] = step
        order = restore_order((path, step.change.before) for path, step in steps.items())
        return [steps[path] for path in order]

    def _step(self, change: PathChange, now: FileState, documents: Sequence[OpenDocument]) -> Step | None:
        before = change.before
        if ".git" in split_path(change.root, change.path):
            self._refuse(change, now, "It belongs to git itself, which is never changed.")
            return None
        in_editor = any(is_in_editor(before, left) for left in left_states(change, now))
        text = self._history.read_text(before) if documents else None
        problem = _editor_problem(documents, text)
        if problem is not None:
            self._refuse(change, now, problem)
            return None
        on_disk = not (documents and in_editor)
        data = self._history.read_bytes(before) if on_disk and before.kind in ("file", "link") else None
        if on_disk and before.kind in ("file", "link") and data is None:
            self._refuse(change, now, "What was there before is damaged in the daemon's data directory.")
            return None
        return Step(change, now, documents, on_disk, data, text)

    def _refuse(self, change: PathChange, now: FileState, message: str) -> None:
        self._conflicts[change.path] = RestoreConflict(change.path, left_state(change, now), message)

    # ------------------------------------------------------------------------- carrying out

    def _keep_present(self, head: CheckpointHead, steps: list[Step]) -> list[Step]:
        """Keep what will be replaced, and write the checkpoint of this restore. Return the steps to take.

        Raises:
            CheckpointsUnavailableError: it cannot be written. No file has been changed.
        """
        history = self._history
        pinned = {step.change.before.digest or "" for step in steps}
        pinned |= {step.change.before.open_text or "" for step in steps}
        taken: list[Step] = []
        lines: list[Line] = [*history.opening(head)]
        try:
            for step in steps:
                change = step.change
                present, data = read_path(change.root, change.path)
                text = shown_text(step.documents)
                present = with_document(present, text)
                if not is_same(present, step.now):
                    self._refuse(change, present, "It is being changed right now.")
                elif not history.keep(present, data, text, pinned=pinned):
                    self._refuse(
                        change,
                        present,
                        "What is there now is too large to keep, so this could not be taken back.",
                    )
                else:
                    pinned |= {present.digest or "", present.open_text or ""}
                    lines.append(Kept(head.id, change.path, change.root, present, _target(step)))
                    taken.append(step)
            if taken:
                history.write(lines)
        except OSError as error:
            raise CheckpointsUnavailableError(
                f"What is there now cannot be kept ({error.strerror}), so nothing was restored."
            ) from error
        return taken

    async def _carry_out(self, head: CheckpointHead, steps: Sequence[Step]) -> list[Step]:
        done: list[Step] = []
        for step in steps:
            change = step.change
            try:
                for document in step.documents:
                    await self._documents.replace(document, step.text or "")
                if step.on_disk:
                    await to_thread.run_sync(self._put, step)
            except EditRefusedError as error:
                self._refuse(change, step.now, f"The editor did not take the change: {error}")
                continue
            except OSError as error:
                self._refuse(change, step.now, _why(error))
                continue
            done.append(step)
        for step in reversed(done):  # a folder that its owner may not write to gets its mode at last
            if step.change.before.kind == "folder" and step.change.before.mode & 0o700 != 0o700:
                before = step.change.before
                await to_thread.run_sync(put_path, step.change.root, step.change.path, before, None)
        texts = await self._documents.texts([step.change.path for step in steps])
        await to_thread.run_sync(self._record, head, steps, texts)
        return done

    def _put(self, step: Step) -> None:
        change = step.change
        if not is_same(_look(change, shown_text(step.documents)), step.now):
            raise OSError(0, "it is being changed right now")
        target = change.before
        if target.kind == "folder":
            target = replace(target, mode=target.mode | 0o700)
        put_path(change.root, change.path, target, step.data)

    def _record(self, head: CheckpointHead, steps: Sequence[Step], texts: dict[str, str | None]) -> None:
        """Record what is there after the restore."""
        lines: list[Line] = []
        for step in steps:
            try:
                state = _look(step.change, texts[step.change.path])
            except OSError:
                continue
            lines.append(Left(head.id, step.change.path, state))
        try:
            self._history.write(lines)
        except OSError:
            return  # as after a crash: the journal says what was going to be there

    def _result(self, steps: Sequence[Step], checkpoint_id: str | None) -> RestoreResult:
        targets = {step.change.path: (step.now, step.change.before) for step in steps}
        folders = {path: is_folder(now, before) for path, (now, before) in targets.items()}
        restored = [
            RestoredFile(path, change_type(*targets[path]) or "modified") for path in shown_paths(folders)
        ]
        conflicts = [self._conflicts[path] for path in sorted(self._conflicts)]
        return RestoreResult(tuple(restored), tuple(conflicts), checkpoint_id)


def _look(change: PathChange, text: str | None) -> FileState:
    return with_document(read_path(change.root, change.path)[0], text)


def _editor_problem(documents: Sequence[OpenDocument], text: str | None) -> str | None:
    """Return why open documents cannot get this text, as a sentence; None: they can."""
    if not documents:
        return None
    if text is None:
        return "It is open in an editor, and was no text before."
    for document in documents:
        name = document.client or "an editor"
        if document.text is None:
            return f"It is open in {name}, and what that has is not known. Close it there first."
        if with_line_feeds(document.text) != with_line_feeds(documents[0].text or ""):
            return "It is open in several editors with different texts. Save and close it there first."
        if not document.can_edit and with_line_feeds(document.text) != with_line_feeds(text):
            return f"It is open in {name}, which takes no changes. Close it there first."
    return None


def _target(step: Step) -> FileState:
    """Return what will be at a path."""
    before = step.change.before
    open_text = before.shown_text if step.documents else None
    on_disk = before if step.on_disk else step.now
    return replace(on_disk, open_text=open_text)


def _why(error: OSError) -> str:
    reason = error.strerror or "it cannot be written"
    if isinstance(error, NotADirectoryError):
        reason = "a folder on its way is a link or a file by now"
    elif error.errno in (errno.ENOTEMPTY, errno.EEXIST):
        reason = "the folder is not empty"
    return f"It was left as it is: {reason}."
