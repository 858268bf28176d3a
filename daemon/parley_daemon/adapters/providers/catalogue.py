"""The catalogue of a configuration: its providers, their models, and what prevents the use of a provider.

How a model is replaced while calls use it: every change of a source merges all sources again (`merge`) and
builds every provider anew, without opening anything. A provider that is reached in the same way as before
(type, address, key, headers, options) takes over the model of its predecessor, with its open connections. All
other models are retired: a retired model finishes the calls in progress and is closed after the last of them
(`draining`).
"""

from collections.abc import Iterable, Mapping, Sequence

from parley_daemon.adapters.providers.check import check_provider
from parley_daemon.adapters.providers.describe import describe_model_setup, describe_provider
from parley_daemon.adapters.providers.merge import (
    DEFAULT_TIMEOUTS,
    DEMO_MODEL,
    FileConfig,
    ModelConfig,
    is_preset_name,
    merge_sources,
    model_config,
    provider_config,
)
from parley_daemon.adapters.providers.model_lists import ModelLists
from parley_daemon.adapters.providers.model_names import find_models
from parley_daemon.adapters.providers.provider import (
    Provider,
    ProviderConfig,
    describe_setup,
    supported_provider,
    validate_config,
)
from parley_daemon.adapters.providers.registry import all_types, find_type
from parley_daemon.core.provider_records import ProviderRecord
from parley_daemon.core.records import Timeouts
from parley_daemon.ports.catalogue import (
    FileDefaults,
    ModelSetup,
    Overlay,
    PendingRefresh,
    ProviderCheck,
    ProviderInfo,
    ProviderSetup,
    ProviderUnavailableError,
    ResolvedModel,
    UnknownModelError,
)


class ConfiguredCatalogue:
    """The Catalogue of the file, the overlay and the environment.

    Any model name can be used with a provider; only the demo has just one model. `pace` scales the pauses of
    the demo. `file` is the path of the configuration file, for messages. `complaint` says what of the file
    cannot be read; then there is no default model, and the error about a missing provider repeats it.
    """

    def __init__(
        self,
        providers: Sequence[ProviderConfig] = (),
        models: Sequence[ModelConfig] = (),
        *,
        default_model: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        complaint: str | None = None,
        fallback_models: Sequence[str] = (),
        local_only: bool = False,
        file: str = "the configuration file",
        pace: float = 1.0,
    ) -> None:
        self._environment = environment or {}
        self._pace = pace
        self._file = file
        self._overlay = Overlay()
        self._notice: str | None = None
        self._providers: Mapping[str, Provider] = {}
        self._fallback_models = tuple(fallback_models)
        self._local_only = local_only
        self._model_lists = ModelLists()
        self._set(providers, models, default_model, timeouts, complaint)

    async def configure(
        self,
        providers: Sequence[ProviderConfig],
        models: Sequence[ModelConfig],
        *,
        default_model: str | None,
        timeouts: Timeouts,
        fallback_models: Sequence[str] = (),
        local_only: bool = False,
    ) -> None:
        """Replace what the file says. Calls in progress continue unchanged."""
        self._notice = None
        self._fallback_models = tuple(fallback_models)
        self._local_only = local_only
        await _retire(self._set(providers, models, default_model, timeouts, None))

    def complain(self, complaint: str) -> None:
        """Note that the file can no longer be read. What it said before stays in force."""
        if self._complaint is not None:
            self._complaint = complaint  # it could not be read at the start, either
        else:
            self._notice = complaint

    async def apply_overlay(self, overlay: Overlay) -> None:
        """Replace what was configured over the protocol. Calls in progress continue unchanged."""
        self._overlay = overlay
        await _retire(self._build())

    def _set(
        self,
        providers: Sequence[ProviderConfig],
        models: Sequence[ModelConfig],
        default_model: str | None,
        timeouts: Timeouts,
        complaint: str | None,
    ) -> list[Provider]:
        self._file_config = FileConfig(
            {config.name: config for config in providers},
            {model.id: model for model in models},
            default_model,
            timeouts.with_defaults(DEFAULT_TIMEOUTS),
        )
        self._complaint = complaint
        return self._build()

    def _build(self) -> list[Provider]:
        """Merge the sources again; return the previous providers, whose models are no longer given out.

        A provider that is reached in the same way keeps its model, and so its open connections.
        """
        before = self._providers
        merged = merge_sources(self._file_config, self._overlay, self._environment, self._pace)
        self._providers, self._models, self._fault = merged.providers, merged.models, merged.fault
        for name, provider in self._providers.items():
            old = before.get(name)
            if old is not None and old.shares_model_with(provider):
                provider.model, old.model = old.model, None
        demo_model = None if merged.fault else DEMO_MODEL
        self._default = None if self._complaint else merged.default or demo_model
        self._substitute = None if self._complaint else merged.default
        return list(before.values())

    def is_preset(self, name: str) -> bool:
        """Return whether a provider of this name exists without being configured over the protocol."""
        return is_preset_name(name, self._file_config, self._environment)

    @property
    def default_model(self) -> str | None:
        """The model of chats that name none (see `merge`); None: see `complaint`."""
        return None if self._default is None else self.full_name(self._default)

    @property
    def substitute_model(self) -> str | None:
        """The model that replaces one that no longer exists: the default model, unless that is the demo."""
        return None if self._substitute is None else self.full_name(self._substitute)

    @property
    def file_defaults(self) -> FileDefaults:
        """What the configuration file fixes, and where the file is."""
        return FileDefaults(self._file, self._file_config.default_model, bool(self._file_config.models))

    @property
    def complaint(self) -> str | None:
        """What is wrong with the configuration, None when nothing is."""
        return self._complaint or self._notice or self._fault

    @property
    def fallback_models(self) -> tuple[str, ...]:
        """The fallback models of chats that name none, in order."""
        return tuple([self.full_name(name) for name in self._fallback_models])

    @property
    def local_only(self) -> bool:
        """Whether no chat may use a model whose provider is not local."""
        return self._local_only

    def providers(self) -> tuple[ProviderInfo, ...]:
        """Return every provider with its models, then the types that are supported and not configured."""
        providers = [*self._providers.values(), *self._supported()]
        return tuple(
            [describe_provider(each, self._models.values(), self._model_lists) for each in providers]
        )

    def pending_refreshes(self) -> Sequence[PendingRefresh]:
        """Return the providers whose lists of models should be fetched."""
        return self._model_lists.pending(self._providers.values())

    async def refresh_models(self, provider: str) -> None:
        """Fetch a provider's list of models; does nothing when the provider no longer exists."""
        configured = self._providers.get(provider)
        if configured is not None:
            await self._model_lists.refresh(configured)

    async def check(self, provider: str) -> ProviderCheck | None:
        """Try a provider. When it gives no list of models, call its default model or a configured one."""
        configured = self._find(provider)
        if configured is None:
            return None
        ids = [self.default_model, *[model.id for model in self._models.values() if model.enabled]]
        names = [id.partition(":")[2] for id in ids if id and id.startswith(f"{provider}:")]
        return await check_provider(configured, names[0] if names else None, self._model_lists)

    def resolve(self, reference: str) -> ResolvedModel:
        """Return the model of a reference: "provider:model", or a name that only one provider has.

        Raises:
            UnknownModelError: nothing has that name, or several providers have it.
            ProviderUnavailableError: its provider cannot be used now; the message says what to do.
        """
        name, _, model = reference.partition(":")
        provider = self._find(name) if model else None
        if provider is None:
            full_name = self._find_by_name(reference)
            name, _, model = full_name.partition(":")
            reference, provider = full_name, self._providers[name]
        if provider.config.type == "demo" and model != "demo":
            raise UnknownModelError(f'The demo has no model "{model}", only "{name}:demo".')
        if provider.problem is not None:
            raise ProviderUnavailableError(provider.problem.message, provider.problem.reason)
        config = self._models.get(reference) or ModelConfig(reference)
        if not config.enabled:
            raise ProviderUnavailableError(f'The model "{reference}" is switched off.', "disabled")
        listed = self._model_lists.models(provider).get(model.casefold())
        return ResolvedModel(
            reference,
            model,
            provider.open_model(),
            self._file_config.timeouts,
            config.context_limit or (None if listed is None else listed.context_limit),
            config.pricing,
            config.compression_threshold,
            provider.local,
            config.settings,
        )

    def full_name(self, reference: str) -> str:
        """Return the "provider:model" of a reference (see the port)."""
        if self._has_provider(reference):
            return reference
        found = find_models(reference, self._providers.values(), self._models.values(), self._model_lists)
        return found[0] if len(found) == 1 else reference

    def needs_lists(self, references: Iterable[str | None]) -> bool:
        """Return whether lists of models are needed to tell what a reference means (see the port)."""
        names = (*references, self._default, *self._fallback_models)
        if all(name is None or self._has_provider(name) for name in names):
            return False
        return any(not due.is_known for due in self.pending_refreshes())

    def _has_provider(self, reference: str) -> bool:
        name, _, model = reference.partition(":")
        return bool(model) and self._find(name) is not None

    def _find(self, name: str) -> Provider | None:
        """Return a provider, or a supported type that is not configured, which cannot be used."""
        found = self._providers.get(name)
        if found is None and (row := find_type(name)) is not None:
            return supported_provider(row, self._environment)
        return found

    def _supported(self) -> Sequence[Provider]:
        rows = [row for row in all_types().values() if row.name not in self._providers]
        return [supported_provider(row, self._environment) for row in rows]

    def _find_by_name(self, name: str) -> str:
        """Return the id of the one model with this name.

        Raises:
            UnknownModelError: no provider has it, or several have it.
        """
        found = find_models(name, self._providers.values(), self._models.values(), self._model_lists)
        if len(found) == 1:
            return found[0]
        if found:
            message = f'Several providers have a model "{name}"; name one of: {", ".join(found)}.'
            raise UnknownModelError(message, found)
        provider, _, model = name.partition(":")
        if not model:
            raise UnknownModelError(f'"{name}" is not the name of a model; write it as "provider:model".')
        names = ", ".join(self._providers)
        others = ", ".join([each.config.name for each in self._supported()])
        not_configured = f"; not configured: {others}" if others else ""
        why = f" The configuration is broken: {self._complaint}" if self._complaint else ""
        message = f'There is no provider "{provider}"; there are: {names}{not_configured}.{why}'
        raise UnknownModelError(message)

    def setups(self) -> tuple[ProviderSetup, ...]:
        """Return how every provider is configured, then the types that are supported and not configured."""
        setups = [describe_setup(provider) for provider in self._providers.values()]
        setups += [
            ProviderSetup(row.name, row.name, row.display_name, None, False, False, "supported")
            for row in all_types().values()
            if row.name not in self._providers
        ]
        return tuple(setups)

    def model_setups(self) -> tuple[ModelSetup, ...]:
        """Return how models are configured, the file's first."""
        file = self._file_config.models
        records = [model_config(record) for record in self._overlay.models if record.id not in file]
        default = self.default_model
        return (
            *[describe_model_setup(model, "config", default) for model in file.values()],
            *[describe_model_setup(model, "database", default) for model in records],
        )

    def key_of(self, name: str) -> str | None:
        """Return the API key of a provider. It is a secret."""
        access = self._providers[name].access
        return None if access is None else access.api_key

    def validate(self, record: ProviderRecord) -> None:
        """Check whether a provider can be configured like this (see the port)."""
        validate_config(provider_config(record, None), self._environment)

    async def aclose(self) -> None:
        """Close the connections of all providers."""
        for provider in self._providers.values():
            model, provider.model = provider.model, None
            if model is not None:
                await model.aclose()


async def _retire(providers: Iterable[Provider]) -> None:
    for provider in providers:
        model, provider.model = provider.model, None
        if model is not None:
            await model.retire()
