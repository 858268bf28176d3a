"""The checkpoints of all chats in one folder, and the calls that are recorded now.

    chats/CHAT/journal    what was kept and what was left, a line each
    chats/CHAT/images/    the content, under its digest
    chats/CHAT/watch-*    a command that runs, or that a crash cut off
    spool/                copies of what commands may be about to change

Only their owner can read them. A chat has at most 64 MiB of images, and all chats 1 GiB: the images of the
chats that were longest not used go first.
"""

import os
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from anyio import to_thread

from parley_daemon.adapters.checkpoints.comparing import compare, find_first_changes
from parley_daemon.adapters.checkpoints.documents import Documents
from parley_daemon.adapters.checkpoints.history import CHAT_BYTES, History
from parley_daemon.adapters.checkpoints.images import Images
from parley_daemon.adapters.checkpoints.journal import Kept, Line
from parley_daemon.adapters.checkpoints.paths import read_path, with_document
from parley_daemon.adapters.checkpoints.recorder import Recorder
from parley_daemon.adapters.checkpoints.restoring import Restorer
from parley_daemon.adapters.checkpoints.spool import Spool
from parley_daemon.adapters.checkpoints.watching import PREFIX, end_watch, load_watch
from parley_daemon.core.agents.files.checkpoints import (
    CheckpointHead,
    CheckpointView,
    RestoreResult,
    view,
)
from parley_daemon.core.agents.files.file_states import NOTHING, FileState
from parley_daemon.ports.checkpoints import (
    ChangedFile,
    ChangeRecorder,
    CheckpointsUnavailableError,
    RestoreRequest,
)
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.editors import Editors
from parley_daemon.ports.tools import CallContext

ALL_BYTES = 2**30
"""Bytes of the images of all chats."""

HISTORIES = 32
"""Chats whose checkpoints stay in memory."""

_CHAT_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Archive:
    """The checkpoints below a folder."""

    def __init__(
        self, folder: Path, clock: Clock, editors: Editors | None, *, limit: int = ALL_BYTES
    ) -> None:
        self._chats = folder / "chats"
        self._refused = (os.path.realpath(Path.home()), os.path.realpath(folder))
        self._spool = Spool(folder / "spool")
        self._clock = clock
        self._editors = editors
        self._limit = limit
        self._histories: OrderedDict[str, History] = OrderedDict()
        self._recorders: set[Recorder] = set()
        self._sizes: dict[str, int] | None = None

    @contextmanager
    def _history(self, chat_id: str) -> Generator[History]:
        """Yield the history of a chat. While it is used, all users get the same object."""
        if not _CHAT_ID.fullmatch(chat_id):
            raise ValueError(f"{chat_id!r} cannot be the name of a folder.")
        history = self._histories.get(chat_id) or History(self._chats / chat_id)
        self._histories[chat_id] = history
        self._histories.move_to_end(chat_id)
        history.users += 1
        try:
            yield history
        finally:
            history.users -= 1
            for other in list(self._histories)[:-HISTORIES]:
                if not self._histories[other].users:
                    del self._histories[other]

    # --------------------------------------------------------------------------- recording

    @asynccontextmanager
    async def record(self, context: CallContext) -> AsyncGenerator[ChangeRecorder]:
        """See Checkpoints."""
        with self._history(context.chat_id) as history:
            with _translated_errors():
                async with history.lock:
                    head = await self._head(history, context)
                    await to_thread.run_sync(self._make_room, context.chat_id)
            documents = Documents(self._editors, context.owner)
            recorder = Recorder(
                context, history, head, self._spool, documents, self._recorders, self._refused
            )
            self._recorders.add(recorder)
            is_interrupted = True
            try:
                yield recorder
                is_interrupted = False
            finally:
                try:
                    await recorder.finish(hurry=is_interrupted)
                finally:
                    self._recorders.discard(recorder)
                    if self._sizes is not None:
                        self._sizes[context.chat_id] = history.images.size

    async def _head(self, history: History, context: CallContext) -> CheckpointHead:
        """Return the checkpoint of a turn, a new one if this is the turn's first call that records."""
        known = await to_thread.run_sync(history.of_turn, context.turn_id)
        if known is not None:
            return known.head
        return CheckpointHead(self._clock.new_id(), context.turn_id, context.message_id, self._clock.now())

    def _make_room(self, chat_id: str) -> None:
        """Remove images of other chats if the chats would take more than their limit together."""
        if self._sizes is None:
            self._sizes = {path.name: _images(path).size for path in _folders(self._chats)}
        total = sum(self._sizes.values()) + CHAT_BYTES - self._sizes.get(chat_id, 0)
        if total <= self._limit:
            return
        by_age = sorted((_last_use(self._chats / one), one) for one in self._sizes if one != chat_id)
        for _, one in by_age:
            history = self._histories.get(one)
            if history is not None and history.users:
                continue
            images = _images(self._chats / one) if history is None else history.images
            total -= images.size
            images.keep_only(())
            self._sizes[one] = 0
            if total <= self._limit:
                return

    # ------------------------------------------------------------------- listing, restoring

    async def list(self, chat_id: str, owner: str) -> Sequence[CheckpointView]:
        """See Checkpoints."""
        await self.recover(chat_id)
        with self._history(chat_id) as history, _translated_errors():
            async with history.lock:
                paths = await to_thread.run_sync(_paths_of, history)
                texts = await Documents(self._editors, owner).texts(paths)
                return await to_thread.run_sync(_views, history, paths, texts)

    async def changed_files(
        self, chat_id: str, owner: str, since: int | None, prefixes: Mapping[str, str]
    ) -> Sequence[ChangedFile]:
        """See Checkpoints."""
        await self.recover(chat_id)
        with self._history(chat_id) as history, _translated_errors():
            async with history.lock:
                changes = await to_thread.run_sync(find_first_changes, history, since)
                texts = await Documents(self._editors, owner).texts(changes)
                return await to_thread.run_sync(compare, history, changes, texts, prefixes)

    async def restore(self, request: RestoreRequest) -> RestoreResult:
        """See Checkpoints."""
        await self.recover(request.chat_id)

        def new_head() -> CheckpointHead:
            return CheckpointHead(self._clock.new_id(), None, None, self._clock.now(), request.checkpoint_id)

        with self._history(request.chat_id) as history, _translated_errors():
            async with history.lock:
                documents = Documents(self._editors, request.owner)
                result = await Restorer(history, request, documents).restore(new_head)
        for recorder in self._recorders:
            recorder.foreign |= {one.path for one in result.restored}
        return result

    # ------------------------------------------------------------------------------ upkeep

    async def forget(self, chat_id: str) -> None:
        """See Checkpoints."""
        with self._history(chat_id) as history:
            async with history.lock:
                await to_thread.run_sync(history.remove)
        self._histories.pop(chat_id, None)
        if self._sizes is not None:
            self._sizes.pop(chat_id, None)

    def chats(self) -> Sequence[str]:
        """Return the ids of the chats that have checkpoints."""
        return [path.name for path in _folders(self._chats)]

    async def recover(self, chat_id: str) -> None:
        """See Checkpoints."""
        with self._history(chat_id) as history, _translated_errors():
            async with history.lock:
                await to_thread.run_sync(self._recover, history)

    def _recover(self, history: History) -> None:
        history.remove_leftovers()
        for file in history.folder.glob(f"{PREFIX}*"):
            if file.name.removeprefix(PREFIX) in history.running:
                continue
            watch = load_watch(file)
            if watch is not None:
                found, _ = end_watch(watch, set(), self._spool)
                copies = {one.path: one.copy for one in found if one.copy is not None}
                self._spool.give(history.images, copies)
                present = history.checkpoints.get(watch.head.id)
                known = {} if present is None else present.changes
                lines: list[Line] = [
                    Kept(watch.head.id, one.path, one.root, one.before)
                    for one in found
                    if one.path not in known
                ]
                if lines:
                    history.write([*history.opening(watch.head), *lines])
            file.unlink(missing_ok=True)


def _paths_of(history: History) -> dict[str, str]:
    """Return the root of each path of a chat's checkpoints."""
    changes = [change for one in history.checkpoints.values() for change in one.changes.values()]
    return {change.path: change.root for change in changes}


def _views(history: History, paths: dict[str, str], texts: dict[str, str | None]) -> Sequence[CheckpointView]:
    now: dict[str, FileState] = {}
    for path, root in paths.items():
        try:
            now[path] = with_document(read_path(root, path)[0], texts[path])
        except OSError:
            now[path] = NOTHING
    views: list[CheckpointView] = []
    for checkpoint in reversed(history.checkpoints.values()):
        kept = {path: history.has_image(one.before) for path, one in checkpoint.changes.items()}
        shown = view(checkpoint, now, kept)
        if shown.files:
            views.append(shown)
    return views


def _images(folder: Path) -> Images:
    return Images(folder / "images", CHAT_BYTES)


def _folders(folder: Path) -> Sequence[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _last_use(folder: Path) -> float:
    try:
        return (folder / "journal").stat().st_mtime
    except FileNotFoundError:
        return 0.0


@contextmanager
def _translated_errors() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointsUnavailableError(
            f"The checkpoints cannot be read or written: {error.strerror or type(error).__name__}."
        ) from error
