"""Implements the port to contexts with a worker process, which runs while contexts are searched.

Theory of operation. Files are read, cut and searched in the worker; see `worker/`. Here, a request gets the
texts of open documents, and is sent. A folder that the worker does not know yet answers with little, so the
first search of one is repeated for a moment until it is done. A worker that has ended, because nothing was
asked for some time or because something killed it, is started again by the next request.
"""

import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Literal, Protocol, TypeVar

import anyio
import msgspec
from anyio import to_thread

from parley_daemon.adapters.context import frames
from parley_daemon.adapters.context.process import ProcessEndedError, WorkerProcess
from parley_daemon.ports.context import ContextError, ContextScope, Found, NamedPlace, Passage, RootStatus
from parley_daemon.ports.editors import Editors

SECONDS = 20.0
"""Limit of one request; the worker is killed then."""

IDLE_SECONDS = 900.0
"""How long the worker stays when nothing is asked."""

FIRST_SECONDS = 1.5
"""How long a search waits for a folder that the worker has not looked at completely yet."""

MAX_TEXTS = 4 * 2**20
"""Characters of open documents that are sent with a request; of the others, the files count."""

MAX_LIMIT = 200
MAX_BYTES = 4 * 2**20
"""Passages of an answer, and bytes of their texts, at most."""

_PAUSE = 0.05
_Value = TypeVar("_Value")


class Tasks(Protocol):
    """Runs tasks as long as the daemon does."""

    def start(self, work: Callable[[], Coroutine[Any, Any, None]], name: str | None = None) -> None:
        """Start a task. The work does not raise."""
        ...


class WorkerContextIndex:
    """Implements ContextIndex. It costs nothing until something is asked.

    Args:
        tasks: runs the worker. When they end, it ends.
        folder: where the indexes lie.
        editors: the open documents.
        left_out: absolute folders that are in no index, such as those of the daemon.
        environment: the daemon's.
        idle_seconds: how long the worker stays when nothing is asked.
        first_seconds: see FIRST_SECONDS.
    """

    def __init__(
        self,
        tasks: Tasks,
        folder: Path,
        editors: Editors,
        left_out: Sequence[str] = (),
        *,
        environment: Mapping[str, str] = os.environ,
        idle_seconds: float = IDLE_SECONDS,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        self._tasks = tasks
        self._folder = str(folder)
        self._editors = editors
        self._arguments = [self._folder, f"{idle_seconds:g}", *map(os.path.realpath, left_out)]
        self._environment = environment
        self._first_seconds = first_seconds
        self._process: WorkerProcess | None = None

    @property
    def worker_pid(self) -> int | None:
        """The worker, None if none runs."""
        process = self._process
        return None if process is None or process.ended.is_set() else process.pid

    async def search(
        self, scope: ContextScope, queries: Sequence[str], *, limit: int, max_bytes: int
    ) -> Found:
        """See ContextIndex."""
        documents = await self._documents(scope)
        asked = tuple([_clean(query) for query in queries[:4]])
        limit, max_bytes = min(limit, MAX_LIMIT), min(max_bytes, MAX_BYTES)
        begun = monotonic()
        while True:
            found, is_first = await self._ask(
                lambda id: frames.Search(id, _checked(scope), asked, limit, max_bytes, documents), Found
            )
            if not is_first or monotonic() - begun > self._first_seconds:
                return msgspec.structs.replace(found, took_ms=(monotonic() - begun) * 1000)
            await anyio.sleep(_PAUSE)

    async def verify(self, scope: ContextScope, passage: Passage) -> Passage | None:
        """See ContextIndex."""
        documents = await self._documents(scope, os.path.basename(passage.path))
        found, _ = await self._ask(
            lambda id: frames.Verify(id, _checked(scope), passage, documents), Passage | None
        )
        return found

    async def find_names(
        self, scope: ContextScope, text: str, kind: Literal["file", "symbol"], *, limit: int
    ) -> Sequence[NamedPlace]:
        """See ContextIndex."""
        begun = monotonic()
        while True:
            found, is_first = await self._ask(
                lambda id: frames.FindNames(
                    id, _checked(scope), _clean(text)[:200], kind, min(limit, MAX_LIMIT)
                ),
                list[NamedPlace],
            )
            if found or not is_first or monotonic() - begun > self._first_seconds:
                return found
            await anyio.sleep(_PAUSE)

    async def status(self, roots: Sequence[str]) -> Sequence[RootStatus]:
        """See ContextIndex."""
        from parley_daemon.adapters.context.worker.roots import read_status

        known: Sequence[RootStatus | None] = [None] * len(roots)
        if self.worker_pid is not None:
            wanted = tuple(map(_clean, roots))
            known, _ = await self._ask(lambda id: frames.Status(id, wanted), list[RootStatus | None])
        return [
            one or await to_thread.run_sync(read_status, self._folder, root)
            for one, root in zip(known, roots, strict=True)
        ]

    def notice_change(self, owner: str, path: str) -> None:
        """See ContextIndex. Documents are asked for when a search needs them."""
        if self._process is not None:
            self._process.tell(frames.Changed(path))

    async def aclose(self) -> None:
        """See ContextIndex."""
        process = self._process
        if process is not None and process.pid is not None:
            process.stop()
            await process.ended.wait()

    async def _ask(
        self, make: Callable[[int], frames.Request], kind: type[_Value] | Any
    ) -> tuple[_Value | Any, bool]:
        """Return the answer to a request, and whether a folder was not looked at completely yet.

        Raises:
            ContextError: there is none.
        """
        for _ in range(2):  # a worker may have ended by itself just now
            process = self._use()
            try:
                with anyio.fail_after(SECONDS):
                    answer = await process.ask(make)
            except TimeoutError:
                process.stop()
                raise ContextError(f"The context was not searched within {SECONDS:g} s.") from None
            except frames.FrameError as error:
                raise ContextError(f"The context cannot be searched: {error}.") from None
            except ProcessEndedError:
                continue
            if isinstance(answer, frames.Failed):
                raise ContextError(answer.message)
            return msgspec.json.decode(answer.value, type=kind), answer.is_first
        raise ContextError("The process that searches contexts has ended without an answer.")

    def _use(self) -> WorkerProcess:
        """Return the worker, started if need be."""
        if self._process is None or not self._process.is_usable:
            self._process = WorkerProcess(self._arguments, self._environment)
            self._tasks.start(self._process.run, "context worker")
        return self._process

    async def _documents(self, scope: ContextScope, name: str | None = None) -> tuple[frames.Document, ...]:
        """Return the open documents that a scope covers, those with this name if one is given."""
        paths = await self._editors.open_paths(scope.owner)
        if not paths:
            return ()
        covered = await to_thread.run_sync(lambda: [*map(os.path.realpath, (*scope.roots, *scope.files))])
        tops = tuple([f"{path.rstrip('/')}/" for path in covered])
        found: list[frames.Document] = []
        room = MAX_TEXTS
        for path in paths:
            if name not in (None, os.path.basename(path)) or not f"{path}/".startswith(tops):
                continue
            opened = await self._editors.documents(scope.owner, path)
            text = opened[0].text if opened else None
            if text is not None and _is_clean(path) and len(text) <= room:
                room -= len(text)
                found.append(frames.Document(path, _clean(text)))
        return tuple(found)


def _checked(scope: ContextScope) -> ContextScope:
    if not all(map(_is_clean, (*scope.roots, *scope.files))):
        raise ContextError("A folder whose name is not UTF-8 cannot be a context.")
    return scope


def _is_clean(text: str) -> bool:
    return _clean(text) == text


def _clean(text: str) -> str:
    """Return a text that can be sent as JSON, of the same hash."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
