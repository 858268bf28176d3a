"""Changes of files: planned from what is there, shown to people, and made all together or not at all.

Theory of operation. A tool plans its changes from the contents of files, which reads and changes nothing. The
plan is made twice: when the call is inspected, for the diff that people see, and when it runs, with the locks
of all its paths held. A file that the chat has not read, or that has changed since, cannot be planned for.

A change of a file that an editor shows goes to the editor if that applies edits. If it does not, and has
nothing unsaved, the file is written, and the editor finds it changed on disk. If it has unsaved changes, the
call fails. All changes go through the checkpoints, editors come first because they can refuse, and if one
change fails, those before it are taken back.
"""

import os
import stat
from collections.abc import Awaitable, Callable, Sequence

import anyio
import msgspec
from anyio import to_thread

from parley_daemon.adapters.tools.files.contents import Content, UnusableFileError
from parley_daemon.adapters.tools.files.diffs import joined, unified_diff
from parley_daemon.adapters.tools.files.read_log import fingerprint
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.files.texts import FileText, UnencodableError, line_end_of
from parley_daemon.adapters.tools.paths import opening
from parley_daemon.adapters.tools.paths.opening import ChangedMeanwhileError
from parley_daemon.adapters.tools.paths.resolving import Target
from parley_daemon.core.agents.tools import Inspection, Preview, ToolOutput
from parley_daemon.core.comparing import with_line_feeds
from parley_daemon.ports.checkpoints import Checkpoints, CheckpointsUnavailableError
from parley_daemon.ports.editors import EditRefusedError, OpenDocument
from parley_daemon.ports.tools import CallContext

TAKE_BACK_SECONDS = 1.5
"""How long it may take to take changes back that an interrupted or failed call has made."""

CHANGED_MEANWHILE = "has changed since this chat read it. Read it again, then repeat the change."


class Change(msgspec.Struct, frozen=True, gc=False):
    """One planned change.

    Attributes:
        content: what is there.
        text: the new text of a text file, as an editor has it.
        data: the new bytes on disk, None: the file is deleted, or moved.
        document: the open document through which the change is made.
        moved_to: where the file goes; a file that also changes is a new one and a deletion.
        mode: permissions of a new file, None: the usual ones.
        note: what the result says beside the change.
    """

    content: Content
    text: str | None = None
    data: bytes | None = None
    document: OpenDocument | None = None
    moved_to: Target | None = None
    mode: int | None = None
    note: str | None = None

    @property
    def target(self) -> Target:
        """What is changed."""
        return self.content.target


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What a call changes, and what its result says of it."""

    changes: tuple[Change, ...]
    result: str


Planner = Callable[[], Awaitable[Plan]]


def rewritten(content: Content, text: str, note: str | None = None) -> Change:
    """Return the change of a text file to another text, in its encoding.

    Raises:
        UnusableFileError: it cannot be written.
    """
    name = content.target.shown
    documents = content.unsaved or content.documents
    if len({with_line_feeds(document.text or "") for document in content.unsaved}) > 1:
        raise UnusableFileError(f"{name} has different unsaved changes in two editors. Ask which one counts.")
    document = next((one for one in documents if one.can_edit), None)
    if document is None and content.unsaved:
        client = content.unsaved[0].client or "an editor that"
        problem = f"{name} has unsaved changes in {client}, which does not apply edits"
        raise UnusableFileError(f"{problem}. Ask for the file to be saved.")
    on_disk = content.on_disk or FileText("")
    if document is None and content.documents:
        note = "; ".join(filter(None, [note, "an editor has the file open and may have to load it again"]))
    if document is not None:
        note = "; ".join(
            filter(None, [note, f"the change is in {document.client or 'the editor'}, not saved yet"])
        )
        return Change(content, _like(document.text or "", text), document=document, note=note)
    try:
        data = on_disk.bytes_of(text)
    except UnencodableError as error:
        raise UnusableFileError(f"{name} cannot be written: {error}.") from None
    return Change(content, text, data, note=note)


def _like(old: str, text: str) -> str:
    """Return a text with the line ends of the document that it replaces."""
    line_end = line_end_of(old)
    return text if line_end is None else with_line_feeds(text).replace("\n", line_end)


class Changes:
    """Plans and makes changes."""

    def __init__(self, services: FileServices, checkpoints: Checkpoints) -> None:
        self._services = services
        self._checkpoints = checkpoints

    async def content(self, target: Target, context: CallContext) -> Content:
        """Return what is at a path that may be changed.

        Raises:
            UnusableFileError: it must not be changed, or is no file.
        """
        self.require_place(target)
        return await self._services.contents.read(context.owner, target)

    def require_place(self, target: Target) -> None:
        """Refuse a path outside of the chat's folders, and a protected one.

        Raises:
            UnusableFileError: it is such a path.
        """
        if target.place != "root":
            reason = target.problem or "it is not below a folder of this chat"
            raise UnusableFileError(f"{target.shown} cannot be changed: {reason}.")

    async def known(self, target: Target, context: CallContext) -> Content:
        """Return what is in an existing file that this chat has read.

        Raises:
            UnusableFileError: it does not exist, was not read, or has changed since.
        """
        content = await self.content(target, context)
        if not content.exists:
            raise UnusableFileError(await self._services.describe_missing(target))
        self.require_known(content, context)
        return content

    def require_known(self, content: Content, context: CallContext) -> None:
        """Refuse a file that this chat has not read as it is.

        Raises:
            UnusableFileError: it was not read, or has changed since.
        """
        seen = self._services.read_log.seen(context.chat_id, content.target.path)
        if seen is None:
            raise UnusableFileError(f"Read {content.target.shown} before you change it.")
        if seen != content.fingerprint:
            raise UnusableFileError(f"{content.target.shown} {CHANGED_MEANWHILE}")

    async def inspect(self, title: str, targets: Sequence[Target], plan: Planner) -> Inspection:
        """Return what a call would do. A path that must not be changed is left to the policy to refuse.

        Raises:
            UnusableFileError: it would fail.
        """
        paths = tuple([target.path for target in targets])
        uses = tuple([target.use("edit") for target in targets])
        if any(target.place != "root" for target in targets):
            return Inspection(title, Preview(paths=paths), paths=uses)
        planned = await plan()
        diff = await to_thread.run_sync(_diff_of, planned.changes, abandon_on_cancel=True)
        return Inspection(title, Preview(paths=paths, diff=diff), paths=uses)

    async def run(self, targets: Sequence[Target], context: CallContext, plan: Planner) -> ToolOutput:
        """Make the changes of a plan, all or none."""
        try:
            async with self._services.locks.hold([target.path for target in targets]):
                planned = await plan()
                return await self._make(planned, context)
        except (UnusableFileError, EditRefusedError, CheckpointsUnavailableError) as error:
            return ToolOutput(str(error), "failed")
        except ChangedMeanwhileError:
            names = ", ".join(target.shown for target in targets)
            return ToolOutput(
                f"{names}: changed at this very moment; nothing was written. Read again.", "failed"
            )
        except OSError as error:
            names = ", ".join(target.shown for target in targets)
            return ToolOutput(f"{names} cannot be changed: {error.strerror}. Nothing was written.", "failed")

    async def _make(self, plan: Plan, context: CallContext) -> ToolOutput:
        done: list[Change] = []
        notes: list[str] = []
        async with self._checkpoints.record(context) as recorder:
            for change in plan.changes:
                await recorder.before_change(change.target.path, change.data)
                if change.moved_to is not None:
                    await recorder.before_change(change.moved_to.path)
            try:
                for change in sorted(plan.changes, key=_order):
                    done.append(change)
                    notes += await self._make_one(change, context)
            except BaseException:
                with anyio.move_on_after(TAKE_BACK_SECONDS, shield=True):
                    await self._take_back(done, context)
                raise
            files, checkpoint_id = await recorder.finish()
        notes = [note for change in plan.changes if (note := change.note)] + notes
        result = f"{plan.result} ({'; '.join(dict.fromkeys(notes))})" if notes else plan.result
        return ToolOutput(result, files=files, checkpoint_id=checkpoint_id)

    async def _make_one(self, change: Change, context: CallContext) -> list[str]:
        """Make a change, and remember what the file is then. Return what is worth saying."""
        log, path = self._services.read_log, change.target.path
        notes: list[str] = []
        if change.document is not None and change.text is not None:
            now = await self._services.editors.replace(change.document, change.text)
            log.note(context.chat_id, path, fingerprint(with_line_feeds(now)))
            if with_line_feeds(now) != with_line_feeds(change.text):
                log.forget(context.chat_id, path)
                notes.append(f"the editor has made another text of {change.target.shown}: read it again")
            return notes
        await to_thread.run_sync(_write, change)
        seen = log.seen(context.chat_id, path)
        if change.data is None:
            log.forget(context.chat_id, path)
        if change.moved_to is not None and seen is not None:
            log.note(context.chat_id, change.moved_to.path, seen)
        if change.data is not None:
            text = change.text
            seen = fingerprint(with_line_feeds(text) if text is not None else change.data)
            log.note(context.chat_id, path, seen)
        found = change.content.found
        if change.data is not None and found is not None and found.st_nlink > 1:
            notes.append(f"other names of {change.target.shown} (hard links) keep the old content")
        return notes

    async def _take_back(self, done: Sequence[Change], context: CallContext) -> None:
        """Undo changes; the last of them may not have been made."""
        for change in reversed(done):
            self._services.read_log.forget(context.chat_id, change.target.path)
            if change.document is not None and change.text is not None:
                for document in await self._services.editors.documents(context.owner, change.target.path):
                    if document.key == change.document.key and document.text != change.document.text:
                        try:
                            await self._services.editors.replace(document, change.document.text or "")
                        except EditRefusedError:
                            continue  # the editor's own undo has it
            else:
                await to_thread.run_sync(_write_back, change)


def _order(change: Change) -> int:
    """Editors first, since they can refuse, and deletions last."""
    return 0 if change.document is not None else 2 if change.data is None else 1


def _write(change: Change) -> None:
    path, found = change.target.path, change.content.found
    if change.moved_to is not None and found is not None:
        opening.move_file(path, change.moved_to.path, found)
    elif change.data is not None:
        opening.write_file(path, change.data, found, mode=change.mode)
    elif found is not None:
        opening.delete_file(path, found)


def _write_back(change: Change) -> None:
    """Put back what was there, if it is not there."""
    path, before = change.target.path, change.content
    try:
        now = opening.look(path)
        if before.found is not None and now is not None and _is_same(now, before.found):
            return
        if change.moved_to is not None and now is None:
            moved = opening.look(change.moved_to.path)
            if moved is not None:
                opening.move_file(change.moved_to.path, path, moved)
        elif before.found is None and now is not None and change.data is not None:
            data, found = opening.read_whole(path, len(change.data) + 1)
            if data == change.data:
                opening.delete_file(path, found)
        elif before.found is not None and before.data is not None:
            opening.write_file(path, before.data, now, mode=stat.S_IMODE(before.found.st_mode))
    except (OSError, ChangedMeanwhileError):
        return  # the checkpoint has it, too


def _is_same(now: os.stat_result, before: os.stat_result) -> bool:
    return opening.version_of(now) == opening.version_of(before)


def _diff_of(changes: Sequence[Change]) -> str:
    diffs: list[str] = []
    for change in changes:
        name, before = change.target.shown, change.content.text
        if change.moved_to is not None:
            diffs.append(f"rename from {name}\nrename to {change.moved_to.shown}\n")
        elif change.data is None and change.text is None:
            diffs.append(f"delete {name}\n" if before is None else unified_diff(before, None, name))
        elif change.content.exists and before is None:
            diffs.append(f"replace the binary file {name}\n" + unified_diff(None, change.text, name))
        else:
            diffs.append(unified_diff(before if change.content.exists else None, change.text, name))
    return joined(diffs)
