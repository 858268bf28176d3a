"""What servers offered when they ran last, kept in the store under the keys of their definitions."""

import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from parley_daemon.engine.mcp.listing import ServerEntry
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.mcp import McpManifest
from parley_daemon.ports.store import Store, StoreUnavailableError
from parley_daemon.ports.store_writes import PutMcpManifest

log = logging.getLogger(__name__)

MAX_MANIFEST = 4 * 2**20
"""Bytes of what a server offers, as JSON, up to which it is kept."""


class KeptManifests:
    """The manifests of earlier runs. `open_store` opens the store."""

    def __init__(self, store: Store, open_store: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._store = store
        self._open_store = open_store
        self._clock = clock
        self._known: dict[str, McpManifest | None] = {}  # None: the store has none

    async def load(self, entries: Sequence[ServerEntry]) -> None:
        """Read the manifests of servers, as far as they are not known.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        unknown = [key for one in entries if (key := one.key) not in self._known]
        if not unknown:
            return
        await self._open_store()
        found = await self._store.mcp_manifests(unknown)
        for key in unknown:
            self._known.setdefault(key, found.get(key))

    def find(self, entry: ServerEntry) -> McpManifest | None:
        """Return the manifest of a server, once it is loaded; None: there is none."""
        return self._known.get(entry.key)

    async def keep(self, entry: ServerEntry, manifest: McpManifest) -> None:
        """Keep a manifest, also for later daemons unless it is very large."""
        self._known[entry.key] = manifest
        if len(msgspec.json.encode(manifest)) > MAX_MANIFEST:
            return
        try:
            await self._open_store()
            await self._store.commit(PutMcpManifest(entry.key, self._clock.now(), manifest))
        except StoreUnavailableError as error:
            log.warning("what the MCP server %s offers cannot be kept: %s", entry.name, error)
