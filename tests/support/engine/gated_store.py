"""A store whose commits and reads a test can hold back or let fail. All other calls go to the real store."""

from typing import Any, cast

import anyio

from parley_daemon.ports.store import JournalEntry, LostTurn, MessagePage, Store, StoreUnavailableError
from parley_daemon.ports.store_writes import Write


class GatedStore:
    """Wraps a real store and holds nothing back at first. `commits` are those that succeeded, in order."""

    def __init__(self, store: Store) -> None:
        self.commits: list[tuple[Write, ...]] = []
        self.journaled: list[JournalEntry] = []
        self.opened = 0
        self.broken = False  # every commit fails while this is true
        self.fail_next = 0  # so many commits fail …
        self.fail_after = 0  # … once so many went through
        self.unopenable = False  # opening fails while this is true
        self.fault: Exception = StoreUnavailableError("The disk is full.")
        self._store = store
        self._free: int | None = None
        self._gate = anyio.Event()
        self._gate.set()
        self._reads = anyio.Event()
        self._reads.set()
        self._waiting = 0
        self._arrived = anyio.Event()

    @property
    def port(self) -> Store:
        """This store as the port that it is."""
        return cast("Store", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def hold(self) -> None:
        """Hold back commits from now on."""
        self._gate = anyio.Event()

    def hold_after(self, count: int) -> None:
        """Hold back all commits after the next `count` ones."""
        self._free = count

    def release(self) -> None:
        """Let the held commits and all later ones through."""
        self._free = None
        self._gate.set()

    def hold_reads(self) -> None:
        """Hold back reads of messages from now on."""
        self._reads = anyio.Event()

    def release_reads(self) -> None:
        """Let the held reads and all later ones through."""
        self._reads.set()

    async def waiting(self, count: int = 1) -> None:
        """Return once so many commits or reads are held back."""
        while self._waiting < count:
            self._arrived = anyio.Event()
            await self._arrived.wait()

    async def _pass(self, gate: anyio.Event) -> None:
        if gate.is_set():
            await gate.wait()  # others get their turn, as they would while a real store works
            return
        self._waiting += 1
        self._arrived.set()
        try:
            await gate.wait()
        finally:
            self._waiting -= 1

    async def open(self) -> tuple[LostTurn, ...]:
        """See the port."""
        self.opened += 1
        if self.unopenable:
            raise self.fault
        return await self._store.open()

    async def commit(self, *writes: Write) -> None:
        """See the port."""
        if self._free is not None:
            self._free -= 1
            if self._free < 0:
                self.hold()
        await self._pass(self._gate)
        if self.fail_after:
            self.fail_after -= 1
            self.fail_next += self.fail_after == 0
        elif self.broken or self.fail_next > 0:
            self.fail_next -= 1
            raise self.fault
        await self._store.commit(*writes)
        self.commits.append(writes)

    def journal(self, entry: JournalEntry) -> None:
        """See the port."""
        self.journaled.append(entry)
        self._store.journal(entry)

    async def path(
        self,
        chat_id: str,
        leaf_id: int | None,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        max_bytes: int | None = None,
    ) -> MessagePage:
        """See the port."""
        await self._pass(self._reads)
        return await self._store.path(
            chat_id, leaf_id, after=after, before=before, limit=limit, max_bytes=max_bytes
        )
