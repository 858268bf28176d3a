"""The configuration that clients made over the protocol: loaded once, and passed to the catalogue at every
change.

Theory of operation. The records are in the store and are read on the first call that needs them. API keys
are kept elsewhere (`Secrets`), and reading them may take long, because a keyring may wait for a person. So
they are read in the background; a call that needs a model waits for them for KEYS_PATIENCE at most, and
then treats the providers as unavailable. A change is committed first, then adopted, then passed to the
catalogue. The rules for what may be configured are in `providers` and `models`.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.engine.tasks import Work
from parley_daemon.ports.catalogue import Catalogue, Overlay
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.secrets import Secrets
from parley_daemon.ports.store import Store
from parley_daemon.ports.store_writes import (
    ConfigurationWrite,
    DropModel,
    DropProvider,
    PutModel,
    PutProvider,
)

log = logging.getLogger(__name__)

KEYS_PATIENCE = 2.0
"""How many seconds a call that needs a model waits for keys that are being read."""

KEYS_AGAIN = 10.0
"""After how many seconds a call that needs a model reads keys again that could not be read."""


class ConfigurationState:
    """The records and their keys. `open_store` opens the store, `start` starts a background task.

    A change holds `lock` from reading the present state until it is committed.
    """

    def __init__(
        self,
        store: Store,
        open_store: Callable[[], Awaitable[None]],
        catalogue: Catalogue,
        secrets: Secrets,
        clock: Clock,
        start: Callable[[Work], None],
    ) -> None:
        self.lock = anyio.Lock()
        self.providers: dict[str, ProviderRecord] = {}
        self.models: dict[str, ModelRecord] = {}
        self._keys: dict[str, str] = {}
        self._missing_keys: dict[str, str] = {}
        self._store = store
        self._open_store = open_store
        self._catalogue = catalogue
        self._secrets = secrets
        self._clock = clock
        self._start = start
        self._loaded = False
        self._reading: anyio.Event | None = None
        self._read_at = float("-inf")

    async def load(self) -> None:
        """Return once the catalogue knows the configuration; wait for the keys only for KEYS_PATIENCE.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        if not self._loaded:
            await self._open_store()
        await self.load_from_open_store()

    async def load_from_open_store(self) -> None:
        """Do what `load` does, when the store is open or is being opened by the caller."""
        if not self._loaded:
            async with self.lock:
                if not self._loaded:
                    await self._load_records()
        if (
            self._missing_keys
            and self._reading is None
            and self._clock.monotonic() - self._read_at >= KEYS_AGAIN
        ):
            self._reading = anyio.Event()
            self._start(partial(self._read_keys, self._reading))
        if self._reading is not None:
            with anyio.move_on_after(KEYS_PATIENCE):
                await self._reading.wait()

    async def _load_records(self) -> None:
        found = await self._store.configuration()
        self.providers = {one.name: one for one in found.providers}
        self.models = {one.id: one for one in found.models}
        self._missing_keys = {
            one.name: f'The key of provider "{one.name}" is still being read. Try again in a moment.'
            for one in found.providers
            if one.has_key
        }
        if self.providers or self.models:
            await self._apply()
        self._loaded = True

    async def _read_keys(self, done: anyio.Event) -> None:
        try:
            names = list(self._missing_keys)
            keys = await self._secrets.read(names)
            async with self.lock:
                for name in set(names) & set(
                    self._missing_keys
                ):  # except those that were set again meanwhile
                    if name in keys.found:
                        self._keys[name] = keys.found[name]
                        del self._missing_keys[name]
                    else:
                        why = keys.unreadable.get(name, "The stored key is gone. Set it again.")
                        self._missing_keys[name] = f'Provider "{name}" has no API key. {why}'
                        log.warning("%s", self._missing_keys[name])
                await self._apply()
        finally:
            self._read_at = self._clock.monotonic()
            self._reading = None
            done.set()

    async def commit(self, *writes: ConfigurationWrite) -> None:
        """Commit changes, then adopt them and pass them to the catalogue.

        Raises:
            StoreUnavailableError: they could not be committed; nothing has changed.
        """
        with anyio.CancelScope(shield=True):
            await self._store.commit(*writes)
            for write in writes:
                match write:
                    case PutProvider(record):
                        self.providers[record.name] = record
                    case DropProvider(name):
                        self.providers.pop(name, None)
                    case PutModel(record):
                        self.models[record.id] = record
                    case DropModel(provider, model):
                        self.models.pop(f"{provider}:{model}", None)
            await self._apply()

    def set_key(self, name: str, key: str | None) -> None:
        """Set or remove a key. It takes effect with the next `commit`."""
        self._missing_keys.pop(name, None)
        self._keys.pop(name, None)
        if key is not None:
            self._keys[name] = key

    async def _apply(self) -> None:
        overlay = Overlay(
            tuple(self.providers.values()),
            tuple(self.models.values()),
            dict(self._keys),
            dict(self._missing_keys),
        )
        await self._catalogue.apply_overlay(overlay)
