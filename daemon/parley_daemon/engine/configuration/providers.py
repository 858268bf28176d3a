"""Configuring providers over the protocol: what may be configured, and what becomes of its key and models."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.core.provider_records import ProviderRecord, settled
from parley_daemon.engine.configuration.state import ConfigurationState
from parley_daemon.engine.errors import (
    ConflictError,
    FixedError,
    UnfitConfigurationError,
    UnknownProviderError,
)
from parley_daemon.engine.tasks import Work
from parley_daemon.ports.catalogue import Catalogue, InvalidProviderError, ProviderCheck, ProviderSetup
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.secrets import Secrets, SecretsUnavailableError
from parley_daemon.ports.store import DropModel, DropProvider, PutModel, PutProvider, StoreUnavailableError

log = logging.getLogger(__name__)

MODEL_LIST_SECONDS = 1.5
"""How long `refresh_models` waits for providers whose lists of models are unknown."""


class NewKey(msgspec.Struct, frozen=True, gc=False):
    """A key to keep in place of the one that there is; None: forget that one. No part of the repr."""

    value: str | None

    def __repr__(self) -> str:
        return "NewKey(…)"


class Providers:
    """The providers of a catalogue, as far as they can be configured here."""

    def __init__(
        self, state: ConfigurationState, catalogue: Catalogue, secrets: Secrets, clock: Clock
    ) -> None:
        self._state = state
        self._catalogue = catalogue
        self._secrets = secrets
        self._clock = clock

    async def list(self) -> Sequence[ProviderSetup]:
        """Return how every provider is configured; without the store what is known without it."""
        try:
            await self._state.load()
        except StoreUnavailableError as error:
            log.warning("what was configured over the protocol is not known: %s", error)
        return self._catalogue.setups()

    async def create(self, wanted: ProviderRecord, key: NewKey | None = None) -> ProviderSetup:
        """Configure a provider, also one that is there without. The record's times are filled in here.

        Raises:
            ConflictError: it is configured already.
            UnfitConfigurationError: there could be no such provider.
            SecretsUnavailableError: its key cannot be kept.
        """
        await self._state.load()
        async with self._state.lock:
            there = self._find(wanted.name)
            if there is not None and there.source in ("database", "config"):
                where = f" in {self._catalogue.file_defaults.path}" if there.source == "config" else ""
                raise ConflictError(f'There is a provider "{wanted.name}" already{where}.')
            now = self._clock.now()
            return await self._put(replace(wanted, created_at=now, updated_at=now), key)

    async def update(
        self, name: str, change: Callable[[ProviderRecord], ProviderRecord], key: NewKey | None = None
    ) -> ProviderSetup:
        """Change how a provider is configured; one that is there without is from then on.

        Raises:
            UnknownProviderError: there is none of this name.
            FixedError: the configuration's file sets it.
            UnfitConfigurationError, SecretsUnavailableError: as of `create`.
        """
        await self._state.load()
        async with self._state.lock:
            there = self._changeable(name)
            now = self._clock.now()
            before = self._state.providers.get(name) or ProviderRecord(name, there.type, now, now)
            return await self._put(replace(change(before), updated_at=now), key)

    async def delete(self, name: str) -> None:
        """Forget how a provider is configured, with its key; with its models, too, unless it is still there.

        Raises:
            UnknownProviderError: there is none of this name.
            FixedError: it is not configured here.
        """
        await self._state.load()
        async with self._state.lock:
            there = self._changeable(name)
            if there.source == "env_preset":
                advice = "Take the key away there, or switch the provider off."
                raise FixedError(f'"{name}" is there by the environment of the daemon. {advice}')
            if there.source == "supported":
                what = "is built in; it can be switched off" if there.enabled else "is not configured"
                raise FixedError(f'"{name}" {what}.')
            models = self._state.models.values()
            stays = self._catalogue.is_preset(name)
            gone = [] if stays else [one for one in models if one.provider == name]
            rest = [one for one in models if one not in gone]
            elect = not self._catalogue.file_defaults.has_models
            changed = settled(rest, names_of(self._catalogue), elect=elect)
            had_key = self._state.providers[name].has_key
            self._state.set_key(name, None)
            await self._state.commit(
                DropProvider(name),
                *[DropModel(one.provider, one.model) for one in gone],
                *[PutModel(one) for one in changed],
            )
            if had_key:
                await self._forget(name)

    async def check(self, name: str) -> ProviderCheck:
        """Try a provider with the cheapest request that tells something.

        Raises:
            UnknownProviderError: there is none of this name.
        """
        await self.list()
        told = await self._catalogue.check(name)
        if told is None:
            raise unknown_provider(self._catalogue, name)
        return told

    async def refresh_models(self, start: Callable[[Work], None]) -> None:
        """Ask providers whose lists of models are unknown or old for them, in the background.

        Wait for the unknown ones, at most for MODEL_LIST_SECONDS; later ones are there for the next call.
        `start` starts a task.
        """
        awaited: list[anyio.Event] = []
        for due in self._catalogue.pending_refreshes():
            done = anyio.Event()
            start(partial(self._fetch_models, due.provider, done))
            if not due.is_known:
                awaited.append(done)
        with anyio.move_on_after(MODEL_LIST_SECONDS):
            for done in awaited:
                await done.wait()

    async def _fetch_models(self, provider: str, done: anyio.Event) -> None:
        try:
            await self._catalogue.refresh_models(provider)
        finally:
            done.set()

    async def _put(self, record: ProviderRecord, key: NewKey | None) -> ProviderSetup:
        try:
            self._catalogue.validate(record)
        except InvalidProviderError as error:
            raise UnfitConfigurationError(str(error), error.field) from None
        name, before = record.name, self._state.providers.get(record.name)
        if key is not None:
            record = replace(record, has_key=key.value is not None)
        if key is not None and key.value is not None:
            await self._secrets.write(name, key.value)
            self._state.set_key(name, key.value)
        elif key is not None:
            self._state.set_key(name, None)
        await self._state.commit(PutProvider(record))
        if key is not None and key.value is None and before is not None and before.has_key:
            await self._forget(name)
        found = self._find(name)
        assert found is not None, "it was just put there"
        return found

    async def _forget(self, name: str) -> None:
        try:
            await self._secrets.write(name, None)
        except SecretsUnavailableError as error:
            log.warning("the key of %s is still kept: %s", name, error)

    def _find(self, name: str) -> ProviderSetup | None:
        return next((one for one in self._catalogue.setups() if one.name == name), None)

    def _changeable(self, name: str) -> ProviderSetup:
        found = self._find(name)
        if found is None:
            raise unknown_provider(self._catalogue, name)
        if found.source == "config":
            raise FixedError(f'"{name}" is set in {self._catalogue.file_defaults.path}; change it there.')
        return found


def unknown_provider(catalogue: Catalogue, name: str) -> UnknownProviderError:
    """Return what is told of a name that no provider has."""
    known = ", ".join([one.name for one in catalogue.setups()])
    return UnknownProviderError(f'There is no provider "{name}"; there are: {known}.')


def names_of(catalogue: Catalogue) -> frozenset[str]:
    """Return the names of the providers that are there, and do not only could be."""
    return frozenset([one.name for one in catalogue.setups() if one.source != "supported" or one.enabled])
