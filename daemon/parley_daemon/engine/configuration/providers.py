"""Providers that clients configure over the protocol, with their keys."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.core.provider_records import ProviderRecord, update_default
from parley_daemon.engine.configuration.state import ConfigurationState
from parley_daemon.engine.errors import (
    ConflictError,
    InvalidConfigurationError,
    ReadOnlyConfigurationError,
    UnknownProviderError,
)
from parley_daemon.engine.tasks import Work
from parley_daemon.ports.catalogue import Catalogue, InvalidProviderError, ProviderCheck, ProviderSetup
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.secrets import Secrets, SecretsUnavailableError
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.ports.store_writes import DropModel, DropProvider, PutModel, PutProvider

log = logging.getLogger(__name__)

MODEL_LIST_SECONDS = 1.5
"""How long `refresh_models` waits for providers whose lists of models are unknown."""


class NewKey(msgspec.Struct, frozen=True, gc=False):
    """A key to store in place of the present one; None: delete that one. The repr does not contain it."""

    value: str | None

    def __repr__(self) -> str:
        return "NewKey(…)"


class Providers:
    """Lists, configures and checks providers."""

    def __init__(
        self, state: ConfigurationState, catalogue: Catalogue, secrets: Secrets, clock: Clock
    ) -> None:
        self._state = state
        self._catalogue = catalogue
        self._secrets = secrets
        self._clock = clock

    async def list(self) -> Sequence[ProviderSetup]:
        """Return the setups of all providers. Without the store: those of the file and the environment."""
        try:
            await self._state.load()
        except StoreUnavailableError as error:
            log.warning("the providers that were configured over the protocol are not known: %s", error)
        return self._catalogue.setups()

    async def create(self, record: ProviderRecord, key: NewKey | None = None) -> ProviderSetup:
        """Configure a provider, which may be a preset one. The record's times are filled in.

        Raises:
            ConflictError: the provider is configured already.
            InvalidConfigurationError: a value is invalid.
            SecretsUnavailableError: the key cannot be stored.
        """
        await self._state.load()
        async with self._state.lock:
            present = self._find(record.name)
            if present is not None and present.source in ("database", "config"):
                where = f" in {self._catalogue.file_defaults.path}" if present.source == "config" else ""
                raise ConflictError(f'There is a provider "{record.name}" already{where}.')
            now = self._clock.now()
            return await self._put(replace(record, created_at=now, updated_at=now), key)

    async def update(
        self, name: str, change: Callable[[ProviderRecord], ProviderRecord], key: NewKey | None = None
    ) -> ProviderSetup:
        """Change the configuration of a provider. A preset one becomes a configured one.

        Raises:
            UnknownProviderError: there is no provider of this name.
            ReadOnlyConfigurationError: it is configured in the configuration file.
            InvalidConfigurationError, SecretsUnavailableError: see `create`.
        """
        await self._state.load()
        async with self._state.lock:
            present = self._find_changeable(name)
            now = self._clock.now()
            before = self._state.providers.get(name) or ProviderRecord(name, present.type, now, now)
            return await self._put(replace(change(before), updated_at=now), key)

    async def delete(self, name: str) -> None:
        """Delete the configuration of a provider and its key; also its models, unless it is a preset one.

        Raises:
            UnknownProviderError: there is no provider of this name.
            ReadOnlyConfigurationError: it is not configured over the protocol.
        """
        await self._state.load()
        async with self._state.lock:
            present = self._find_changeable(name)
            if present.source == "env_preset":
                advice = "Remove the key there, or switch the provider off."
                message = f'"{name}" comes from the environment of the daemon. {advice}'
                raise ReadOnlyConfigurationError(message)
            if present.source == "supported":
                what = "is built in. It can be switched off" if present.enabled else "is not configured"
                raise ReadOnlyConfigurationError(f'"{name}" {what}.')
            models = self._state.models.values()
            is_preset = self._catalogue.is_preset(name)
            gone = [] if is_preset else [one for one in models if one.provider == name]
            rest = [one for one in models if one not in gone]
            may_choose = not self._catalogue.file_defaults.has_models
            changed = update_default(rest, usable_provider_names(self._catalogue), may_choose=may_choose)
            had_key = self._state.providers[name].has_key
            self._state.set_key(name, None)
            await self._state.commit(
                DropProvider(name),
                *[DropModel(one.provider, one.model) for one in gone],
                *[PutModel(one) for one in changed],
            )
            if had_key:
                await self._delete_key(name)

    async def check(self, name: str) -> ProviderCheck:
        """Try a provider with the cheapest request that shows whether it works.

        Raises:
            UnknownProviderError: there is no provider of this name.
        """
        await self.list()
        result = await self._catalogue.check(name)
        if result is None:
            raise unknown_provider_error(self._catalogue, name)
        return result

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
            raise InvalidConfigurationError(str(error), error.field) from None
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
            await self._delete_key(name)
        found = self._find(name)
        assert found is not None, "it was just put there"
        return found

    async def _delete_key(self, name: str) -> None:
        try:
            await self._secrets.write(name, None)
        except SecretsUnavailableError as error:
            log.warning("the key of %s could not be deleted: %s", name, error)

    def _find(self, name: str) -> ProviderSetup | None:
        return next((one for one in self._catalogue.setups() if one.name == name), None)

    def _find_changeable(self, name: str) -> ProviderSetup:
        found = self._find(name)
        if found is None:
            raise unknown_provider_error(self._catalogue, name)
        if found.source == "config":
            raise ReadOnlyConfigurationError(
                f'"{name}" is set in {self._catalogue.file_defaults.path}. Change it there.'
            )
        return found


def unknown_provider_error(catalogue: Catalogue, name: str) -> UnknownProviderError:
    """Return the error for a name that no provider has."""
    known = ", ".join([one.name for one in catalogue.setups()])
    return UnknownProviderError(f'There is no provider "{name}"; there are: {known}.')


def usable_provider_names(catalogue: Catalogue) -> frozenset[str]:
    """Return the names of the providers that are configured or preset, not only supported."""
    return frozenset([one.name for one in catalogue.setups() if one.source != "supported" or one.enabled])
