"""What was configured over the protocol: read from the store once, told to the catalogue at every change.

The keys are kept elsewhere and are read behind the start. Knows no rule of what may be configured.
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
from parley_daemon.ports.store import (
    ConfigurationWrite,
    DropModel,
    DropProvider,
    PutModel,
    PutProvider,
    Store,
)

log = logging.getLogger(__name__)

KEYS_PATIENCE = 2.0
"""How long a call that needs a model waits for keys that are being read, in seconds."""

KEYS_AGAIN = 10.0
"""After how many seconds keys that could not be read are read again, when somebody needs a model."""


class ConfigurationState:
    """The records and their keys. `opened` opens the store, `start` runs work behind the calls.

    Whoever changes something holds `lock` from looking until it is done.
    """

    def __init__(
        self,
        store: Store,
        opened: Callable[[], Awaitable[None]],
        catalogue: Catalogue,
        secrets: Secrets,
        clock: Clock,
        start: Callable[[Work], None],
    ) -> None:
        self.lock = anyio.Lock()
        self.providers: dict[str, ProviderRecord] = {}
        self.models: dict[str, ModelRecord] = {}
        self._keys: dict[str, str] = {}
        self._keyless: dict[str, str] = {}
        self._store = store
        self._opened = opened
        self._catalogue = catalogue
        self._secrets = secrets
        self._clock = clock
        self._start = start
        self._loaded = False
        self._reading: anyio.Event | None = None
        self._read_at = float("-inf")

    async def load(self) -> None:
        """Return once all of it is known to the catalogue; the keys only if they are there soon.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        if not self._loaded:
            await self._opened()
        await self.load_from_open_store()

    async def load_from_open_store(self) -> None:
        """Do what `ready` does, with a store that is open or just being opened by the caller."""
        if not self._loaded:
            async with self.lock:
                if not self._loaded:
                    await self._load_records()
        if self._keyless and self._reading is None and self._clock.monotonic() - self._read_at >= KEYS_AGAIN:
            self._reading = anyio.Event()
            self._start(partial(self._read_keys, self._reading))
        if self._reading is not None:
            with anyio.move_on_after(KEYS_PATIENCE):
                await self._reading.wait()

    async def _load_records(self) -> None:
        found = await self._store.configured()
        self.providers = {one.name: one for one in found.providers}
        self.models = {one.id: one for one in found.models}
        self._keyless = {
            one.name: f'The key of provider "{one.name}" is still being read. Try again in a moment.'
            for one in found.providers
            if one.has_key
        }
        if self.providers or self.models:
            await self._tell()
        self._loaded = True

    async def _read_keys(self, done: anyio.Event) -> None:
        try:
            names = list(self._keyless)
            keys = await self._secrets.read(names)
            async with self.lock:
                for name in set(names) & set(self._keyless):  # those that nobody has given again meanwhile
                    if name in keys.found:
                        self._keys[name] = keys.found[name]
                        del self._keyless[name]
                    else:
                        why = keys.unreadable.get(name, "It is not there any more; give it again.")
                        self._keyless[name] = f'Provider "{name}" has no API key. {why}'
                        log.warning("%s", self._keyless[name])
                await self._tell()
        finally:
            self._read_at = self._clock.monotonic()
            self._reading = None
            done.set()

    async def commit(self, *writes: ConfigurationWrite) -> None:
        """Make changes durable, then take them over and tell the catalogue.

        Raises:
            StoreUnavailableError: they could not be made durable; nothing has changed.
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
            await self._tell()

    def set_key(self, name: str, key: str | None) -> None:
        """Have this key from the next `commit` on."""
        self._keyless.pop(name, None)
        self._keys.pop(name, None)
        if key is not None:
            self._keys[name] = key

    async def _tell(self) -> None:
        overlay = Overlay(
            tuple(self.providers.values()),
            tuple(self.models.values()),
            dict(self._keys),
            dict(self._keyless),
        )
        await self._catalogue.apply_overlay(overlay)
