"""The index of the daemon, used as the daemon uses it: through its port."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from parley_daemon.adapters.context.index import WorkerContextIndex
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.ports.context import ContextIndex, ContextScope, Passage
from parley_daemon.server.editors import OpenEditors
from tests.retrieval.corpus import Corpus
from tests.retrieval.measures import Hit, is_verbatim

_PATIENCE = 120.0  # seconds
_PASSAGES = 100


class Indexed:
    """Searches one folder, and counts the passages that are not what the file has."""

    name = "index"

    def __init__(self, index: ContextIndex, corpus: Corpus) -> None:
        self._index = index
        self._corpus = corpus
        self._scope = ContextScope("local", (str(corpus.folder),))
        self.passages = 0
        self.verbatim = 0
        self.took_ms: list[float] = []

    async def wait_until_ready(self) -> None:
        """Let the index be made.

        Raises:
            TimeoutError: it is not ready after two minutes.
        """
        with anyio.fail_after(_PATIENCE):
            state = "none"
            while state != "ready":
                state = (await self._index.search(self._scope, ["main"], limit=1, max_bytes=1_000)).state
                await anyio.sleep(0.1)

    async def search(self, queries: Sequence[str], max_bytes: int) -> list[Hit]:
        """Return what the index finds."""
        found = await self._index.search(self._scope, queries, limit=_PASSAGES, max_bytes=max_bytes)
        self.took_ms.append(found.took_ms)
        hits = [self._hit(one) for one in found.passages]
        self.passages += len(hits)
        files = self._corpus.files
        self.verbatim += sum(hit.path in files and is_verbatim(hit, files[hit.path]) for hit in hits)
        return hits

    def _hit(self, passage: Passage) -> Hit:
        path = Path(passage.path).relative_to(self._corpus.folder).as_posix()
        return Hit(path, passage.start_line, passage.end_line, passage.text)


@asynccontextmanager
async def open_index(folder: Path) -> AsyncGenerator[ContextIndex]:
    """Open the daemon's index, with its files in a folder, while the block runs."""
    tasks = BackgroundTasks()
    async with tasks.running():
        index = WorkerContextIndex(tasks, folder, OpenEditors())
        try:
            yield index
        finally:
            await index.aclose()
