"""Models that clients configure over the protocol, and which of them is the default."""

import logging
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from parley_daemon.core.provider_records import ModelRecord, update_default
from parley_daemon.engine.configuration.providers import unknown_provider_error, usable_provider_names
from parley_daemon.engine.configuration.state import ConfigurationState
from parley_daemon.engine.errors import ConflictError, InvalidConfigurationError, ReadOnlyConfigurationError
from parley_daemon.ports.catalogue import Catalogue, ModelSetup, UnknownModelError
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.ports.store_writes import DropModel, PutModel

log = logging.getLogger(__name__)


class ModelConfigs:
    """Lists and configures models."""

    def __init__(self, state: ConfigurationState, catalogue: Catalogue, clock: Clock) -> None:
        self._state = state
        self._catalogue = catalogue
        self._clock = clock

    async def list(self, provider: str | None = None) -> Sequence[ModelSetup]:
        """Return the setups of models, of one provider or of all. Without the store: those of the file.

        Raises:
            UnknownProviderError: there is no provider of this name.
        """
        try:
            await self._state.load()
        except StoreUnavailableError as error:
            log.warning("the models that were configured over the protocol are not known: %s", error)
        found = self._catalogue.model_setups()
        if provider is None:
            return found
        of_it = [one for one in found if one.provider == provider]
        if not of_it and all(one.name != provider for one in self._catalogue.setups()):
            raise unknown_provider_error(self._catalogue, provider)
        return of_it

    async def create(self, record: ModelRecord, *, default: bool = False) -> ModelSetup:
        """Configure a model. The record's times are filled in. The first model becomes the default.

        Raises:
            UnknownProviderError: there is no such provider.
            ProviderUnavailableError: its provider is supported and not configured.
            ConflictError: the model is configured already.
            ReadOnlyConfigurationError: `default` is set, and the file names another default model.
            InvalidConfigurationError: `default` is set for a model that is switched off.
        """
        await self._state.load()
        async with self._state.lock:
            if record.provider not in usable_provider_names(self._catalogue):
                if any(one.name == record.provider for one in self._catalogue.setups()):
                    self._catalogue.resolve(record.id)  # raises an error that says how to configure it
                raise unknown_provider_error(self._catalogue, record.provider)
            present = self._find(record.id)
            if present is not None:
                where = f" in {self._catalogue.file_defaults.path}" if present.source == "config" else ""
                raise ConflictError(f'The model "{record.id}" is configured already{where}.')
            now = self._clock.now()
            return await self._put(replace(record, created_at=now, updated_at=now), default or None)

    async def update(
        self,
        provider: str,
        model: str,
        change: Callable[[ModelRecord], ModelRecord],
        *,
        default: bool | None = None,
    ) -> ModelSetup:
        """Change the configuration of a model, and whether it is the default (None: as it was).

        When the default model stops being it, another model becomes the default, if there is one.

        Raises:
            UnknownModelError: the model is not configured.
            ReadOnlyConfigurationError: the model, or the default, is set in the configuration file.
            InvalidConfigurationError: `default` is set for a model that is switched off.
        """
        await self._state.load()
        async with self._state.lock:
            before = self._find_changeable(f"{provider}:{model}")
            return await self._put(replace(change(before), updated_at=self._clock.now()), default)

    async def delete(self, provider: str, model: str) -> None:
        """Delete the configuration of a model; it can still be used. A new default is chosen if it was that.

        Raises:
            UnknownModelError: the model is not configured.
            ReadOnlyConfigurationError: it is configured in the configuration file.
        """
        await self._state.load()
        async with self._state.lock:
            gone = self._find_changeable(f"{provider}:{model}")
            changed = self._default_changes([one for one in self._state.models.values() if one.id != gone.id])
            await self._state.commit(DropModel(provider, model), *[PutModel(one) for one in changed])

    async def _put(self, record: ModelRecord, default: bool | None) -> ModelSetup:
        fixed = self._catalogue.file_defaults.default_model
        if default is not None and fixed is not None and default != (fixed == record.id):
            where = self._catalogue.file_defaults.path
            raise ReadOnlyConfigurationError(
                f'The default model, "{fixed}", is set in {where}. Change it there.'
            )
        if default and not record.enabled:
            raise InvalidConfigurationError("cannot be true of a model that is switched off", "is_default")
        records = [*[one for one in self._state.models.values() if one.id != record.id], record]
        preferred, avoided = (record.id if default else None), (record.id if default is False else None)
        changed = {
            record.id: record,
            **{one.id: one for one in self._default_changes(records, preferred, avoided)},
        }
        await self._state.commit(*[PutModel(one) for one in changed.values()])
        found = self._find(record.id)
        assert found is not None, "it was just put there"
        return found

    def _default_changes(
        self, records: Sequence[ModelRecord], preferred: str | None = None, avoided: str | None = None
    ) -> Sequence[ModelRecord]:
        """Return the records that have to change so that there is one default model.

        If the file has models and names no default, its first one is the default, and none is chosen here.
        """
        may_choose = not self._catalogue.file_defaults.has_models
        return update_default(
            records,
            usable_provider_names(self._catalogue),
            preferred=preferred,
            avoided=avoided,
            may_choose=may_choose,
        )

    def _find(self, id: str) -> ModelSetup | None:
        return next((one for one in self._catalogue.model_setups() if one.id == id), None)

    def _find_changeable(self, id: str) -> ModelRecord:
        found = self._find(id)
        if found is not None and found.source == "config":
            path = self._catalogue.file_defaults.path
            raise ReadOnlyConfigurationError(f'The model "{id}" is set in {path}. Change it there.')
        record = self._state.models.get(id)
        if record is None:
            raise UnknownModelError(f'The model "{id}" is not configured.')
        return record
