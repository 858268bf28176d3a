"""Configuring models over the protocol: what may be configured, and which of them is the default."""

import logging
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from parley_daemon.core.provider_records import ModelRecord, settled
from parley_daemon.engine.configuration.providers import names_of, unknown_provider
from parley_daemon.engine.configuration.state import ConfigurationState
from parley_daemon.engine.errors import ConflictError, FixedError, UnfitConfigurationError
from parley_daemon.ports.catalogue import Catalogue, ModelSetup, UnknownModelError
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.store import DropModel, PutModel, StoreUnavailableError

log = logging.getLogger(__name__)


class ModelConfigs:
    """The models of a catalogue, as far as they can be configured here."""

    def __init__(self, state: ConfigurationState, catalogue: Catalogue, clock: Clock) -> None:
        self._state = state
        self._catalogue = catalogue
        self._clock = clock

    async def list(self, provider: str | None = None) -> Sequence[ModelSetup]:
        """Return how models are configured, of one provider or of all; without the store the file's.

        Raises:
            UnknownProviderError: there is none of this name.
        """
        try:
            await self._state.load()
        except StoreUnavailableError as error:
            log.warning("what was configured over the protocol is not known: %s", error)
        found = self._catalogue.model_setups()
        if provider is None:
            return found
        of_it = [one for one in found if one.provider == provider]
        if not of_it and all(one.name != provider for one in self._catalogue.setups()):
            raise unknown_provider(self._catalogue, provider)
        return of_it

    async def create(self, wanted: ModelRecord, *, default: bool = False) -> ModelSetup:
        """Configure a model. Its times are filled in here; the first one becomes the default by itself.

        Raises:
            UnknownProviderError: its provider is not there.
            ConflictError: it is configured already.
            FixedError: it shall be the default, and the file names another one.
            UnfitConfigurationError: it shall be the default, and is switched off.
        """
        await self._state.load()
        async with self._state.lock:
            if wanted.provider not in names_of(self._catalogue):
                raise unknown_provider(self._catalogue, wanted.provider)
            there = self._find(wanted.id)
            if there is not None:
                where = f" in {self._catalogue.file_defaults.path}" if there.source == "config" else ""
                raise ConflictError(f'The model "{wanted.id}" is configured already{where}.')
            now = self._clock.now()
            return await self._put(replace(wanted, created_at=now, updated_at=now), default or None)

    async def update(
        self,
        provider: str,
        model: str,
        change: Callable[[ModelRecord], ModelRecord],
        *,
        default: bool | None = None,
    ) -> ModelSetup:
        """Change how a model is configured. `default`: whether it shall be the default; None: as it is.

        When the default shall be it no more, another one becomes it, if there is one.

        Raises:
            UnknownModelError: it is not configured.
            FixedError: the configuration's file sets it, or the default.
            UnfitConfigurationError: it shall be the default, and is switched off.
        """
        await self._state.load()
        async with self._state.lock:
            before = self._changeable(f"{provider}:{model}")
            return await self._put(replace(change(before), updated_at=self._clock.now()), default)

    async def delete(self, provider: str, model: str) -> None:
        """Forget how a model is configured. It can still be asked; if it was the default, another one is.

        Raises:
            UnknownModelError: it is not configured.
            FixedError: the configuration's file sets it.
        """
        await self._state.load()
        async with self._state.lock:
            gone = self._changeable(f"{provider}:{model}")
            changed = self._settled([one for one in self._state.models.values() if one.id != gone.id])
            await self._state.commit(DropModel(provider, model), *[PutModel(one) for one in changed])

    async def _put(self, record: ModelRecord, default: bool | None) -> ModelSetup:
        fixed = self._catalogue.file_defaults.default_model
        if default is not None and fixed is not None and default != (fixed == record.id):
            where = self._catalogue.file_defaults.path
            raise FixedError(f'The default model, "{fixed}", is set in {where}; change it there.')
        if default and not record.enabled:
            raise UnfitConfigurationError("cannot be true of a model that is switched off", "is_default")
        records = [*[one for one in self._state.models.values() if one.id != record.id], record]
        wish, not_this = (record.id if default else None), (record.id if default is False else None)
        changed = {record.id: record, **{one.id: one for one in self._settled(records, wish, not_this)}}
        await self._state.commit(*[PutModel(one) for one in changed.values()])
        found = self._find(record.id)
        assert found is not None, "it was just put there"
        return found

    def _settled(
        self, records: Sequence[ModelRecord], wish: str | None = None, not_this: str | None = None
    ) -> Sequence[ModelRecord]:
        """Return what has to change for there to be one default. The file's first model is one without."""
        elect = not self._catalogue.file_defaults.has_models
        return settled(records, names_of(self._catalogue), wish=wish, not_this=not_this, elect=elect)

    def _find(self, id: str) -> ModelSetup | None:
        return next((one for one in self._catalogue.model_setups() if one.id == id), None)

    def _changeable(self, id: str) -> ModelRecord:
        found = self._find(id)
        if found is not None and found.source == "config":
            path = self._catalogue.file_defaults.path
            raise FixedError(f'The model "{id}" is set in {path}; change it there.')
        record = self._state.models.get(id)
        if record is None:
            raise UnknownModelError(f'The model "{id}" is not configured.')
        return record
