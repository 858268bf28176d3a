"""The providers and models of a configuration, and what keeps one of them from being used.

What the file says goes before what was configured over the protocol, that before the environment's presets.
Knows neither the file nor the process's environment nor the store: all of it comes in as values.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from parley_daemon.adapters.providers.check import check_provider
from parley_daemon.adapters.providers.model_lists import ModelLists
from parley_daemon.adapters.providers.provider import (
    Provider,
    ProviderConfig,
    build_provider,
    describe_setup,
    is_preset,
    validate_config,
)
from parley_daemon.adapters.providers.registry import TYPES, all_types
from parley_daemon.adapters.providers.shared.model_list import ListedModel
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord, elected
from parley_daemon.core.records import ModelSettings, Timeouts
from parley_daemon.ports.catalogue import (
    FileDefaults,
    ModelInfo,
    ModelSetup,
    ModelSource,
    Overlay,
    PendingRefresh,
    ProviderCheck,
    ProviderInfo,
    ProviderSetup,
    ProviderSource,
    ProviderUnavailableError,
    ResolvedModel,
    UnknownModelError,
)

DEMO_MODEL = "demo:demo"
DEFAULT_TIMEOUTS = Timeouts(connect_ms=10_000, first_part_ms=120_000, idle_ms=60_000, total_ms=None)


class ModelConfig(msgspec.Struct, frozen=True, gc=False):
    """A model as configured; `id` is "provider:model". `settings` lie under those of chats."""

    id: str
    context_limit: int | None = None
    display_name: str | None = None
    pricing: Pricing | None = None
    compression_threshold: int | None = None
    enabled: bool = True
    settings: ModelSettings = ModelSettings()


class ConfiguredCatalogue:
    """The catalogue of a configuration: its providers, those that the environment presets, and the demo.

    A provider is there without being configured when the usual variable of its type is set, such as
    OPENAI_API_KEY. Any model name may be used with a provider; the demo alone has only the one. `pace` is
    the demo's. `file` is the configuration's, for those who are told to change it there. `complaint` says
    what of it could not be read: nothing is chosen by default then, and whoever misses something is told. A
    provider that is configured wrongly keeps the demo from being chosen.
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
        file: str = "the configuration's file",
        pace: float = 1.0,
    ) -> None:
        self._environment = environment or {}
        self._pace = pace
        self._file = file
        self._overlay = Overlay()
        self._notice: str | None = None
        self._providers: dict[str, Provider] = {}
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
        """Take over what the file says now. Calls that are under way go on as they began."""
        self._notice = None
        self._fallback_models = tuple(fallback_models)
        self._local_only = local_only
        await _retire(self._set(providers, models, default_model, timeouts, None))

    def complain(self, complaint: str) -> None:
        """The file cannot be read any more: what it said before stays, and whoever asks is told."""
        if self._complaint is not None:
            self._complaint = complaint  # it never could be
        else:
            self._notice = complaint

    async def apply_overlay(self, overlay: Overlay) -> None:
        """Take over what was configured over the protocol. Calls that are under way go on as they began."""
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
        self._filed = {config.name: config for config in providers}
        self._filed_models = {model.id: model for model in models}
        self._fixed_default = default_model
        self._timeouts = timeouts.over(DEFAULT_TIMEOUTS)
        self._complaint = complaint
        return self._build()

    def _build(self) -> list[Provider]:
        """Put everything together; return the providers whose adapters nobody is given any more."""
        before, self._providers = self._providers, {}
        for config, source in self._configs():
            made = build_provider(config, source, self._environment, self._pace, self._overlay.key_problems)
            old = before.get(config.name)
            if old is not None and old.shares_model_with(made):
                made.model, old.model = old.model, None
            self._providers[config.name] = made
        demo = self._providers.get("demo")
        records = [one for one in self._overlay.models if one.id not in self._filed_models]
        self._models = {**self._filed_models, **{one.id: _model_config(one) for one in records}}
        if demo is not None and demo.config.type == "demo":
            self._models.setdefault(DEMO_MODEL, ModelConfig(DEMO_MODEL, display_name="Demo"))
        problems = [one.problem for one in self._providers.values() if one.problem is not None]
        self._fault = next((problem.message for problem in problems if problem.fault), None)
        chosen = self._fixed_default or self._chosen_default(records)
        # Who has begun to configure a model is not answered by the demo in its place.
        demo_model = None if self._fault else DEMO_MODEL
        self._default = None if self._complaint else chosen or demo_model
        self._substitute = None if self._complaint else chosen
        return list(before.values())

    def _configs(self) -> Iterator[tuple[ProviderConfig, ProviderSource]]:
        """Yield each provider once, with where it comes from."""
        for config in self._filed.values():
            yield config, "config"
        overlaid = [one for one in self._overlay.providers if one.name not in self._filed]
        for record in overlaid:
            yield _provider_config(record, self._overlay.keys.get(record.name)), "database"
        names = {*self._filed, *(one.name for one in overlaid)}
        for name in TYPES:
            if name not in names and self.is_preset(name):
                yield ProviderConfig(name, name), "supported" if name == "demo" else "env_preset"

    def is_preset(self, name: str) -> bool:
        """Return whether a provider of this name is there without being configured over the protocol."""
        kind = TYPES.get(name)
        if name in self._filed or name == "demo":
            return True
        return kind is not None and is_preset(kind, self._environment)

    def _chosen_default(self, records: Sequence[ModelRecord]) -> str | None:
        usable = [one for one in records if one.enabled and one.provider in self._providers]
        chosen = next((one for one in usable if one.is_default), None)
        if chosen is None and not self._filed_models:
            chosen = elected(usable)
        if chosen is not None:
            return chosen.id
        return next((one.id for one in self._filed_models.values() if one.enabled), None)

    @property
    def default_model(self) -> str | None:
        """The model of chats that name none: the configured one, else the first configured, else the demo.

        None: the configuration is wrong, see `complaint`.
        """
        return self._default

    @property
    def substitute_model(self) -> str | None:
        """The model that answers for one that is gone: the default one, unless that is but the demo."""
        return self._substitute

    @property
    def file_defaults(self) -> FileDefaults:
        """What the file says of defaults, and where it is."""
        return FileDefaults(self._file, self._fixed_default, bool(self._filed_models))

    @property
    def complaint(self) -> str | None:
        """What is wrong with the configuration, None when nothing is."""
        return self._complaint or self._notice or self._fault

    @property
    def fallback_models(self) -> tuple[str, ...]:
        """The models that answer in place of another one, in chats that name none."""
        return self._fallback_models

    @property
    def local_only(self) -> bool:
        """Whether no chat may ask a model whose provider is not local."""
        return self._local_only

    def providers(self) -> tuple[ProviderInfo, ...]:
        """Return every provider with its configured models."""
        return tuple([self._info(name, provider) for name, provider in self._providers.items()])

    def pending_refreshes(self) -> Sequence[PendingRefresh]:
        """Return the providers that should be asked for their models."""
        return self._model_lists.pending(self._providers.values())

    async def refresh_models(self, provider: str) -> None:
        """Ask a provider for its models; one that is not there any more is not asked."""
        found = self._providers.get(provider)
        if found is not None:
            await self._model_lists.refresh(found)

    async def check(self, provider: str) -> ProviderCheck | None:
        """Try a provider; where it lists no models, one of them that is configured, or the default one."""
        found = self._providers.get(provider)
        if found is None:
            return None
        known = [self._default, *[one.id for one in self._models.values() if one.enabled]]
        models = [one.partition(":")[2] for one in known if one and one.startswith(f"{provider}:")]
        return await check_provider(found, models[0] if models else None, self._model_lists)

    def resolve(self, reference: str) -> ResolvedModel:
        """Return the model behind "provider:model".

        Raises:
            UnknownModelError: nothing has that name.
            ProviderUnavailableError: its provider cannot be used now; the message says what to do.
        """
        name, _, model = reference.partition(":")
        provider = self._providers.get(name)
        if not model:
            raise UnknownModelError(f'"{reference}" names no model; write it as "provider:model".')
        if provider is None:
            known = ", ".join(self._providers)
            why = f" The configuration is broken: {self._complaint}" if self._complaint else ""
            raise UnknownModelError(f'There is no provider "{name}"; there are: {known}.{why}')
        if provider.config.type == "demo" and model != "demo":
            raise UnknownModelError(f'The demo has no model "{model}", only "{name}:demo".')
        if provider.problem is not None:
            raise ProviderUnavailableError(provider.problem.message, provider.problem.reason)
        known = self._models.get(reference) or ModelConfig(reference)
        if not known.enabled:
            raise ProviderUnavailableError(f'The model "{reference}" is switched off.', "disabled")
        listed = self._model_lists.models(provider).get(model.casefold())
        return ResolvedModel(
            reference,
            model,
            provider.open_model(),
            self._timeouts,
            known.context_limit or (None if listed is None else listed.context_limit),
            known.pricing,
            known.compression_threshold,
            provider.local,
            known.settings,
        )

    # ------------------------------------------------------------------------ as configured

    def setups(self) -> tuple[ProviderSetup, ...]:
        """Return how every provider is configured, then those that are supported and not configured."""
        shown = [describe_setup(one) for one in self._providers.values()]
        rest = [kind for kind in all_types().values() if kind.name not in self._providers]
        shown += [
            ProviderSetup(kind.name, kind.name, kind.display_name, None, False, False, "supported")
            for kind in rest
        ]
        return tuple(shown)

    def model_setups(self) -> tuple[ModelSetup, ...]:
        """Return how models are configured, the file's first."""
        filed = [self._model_setup(one, "config") for one in self._filed_models.values()]
        records = [_model_config(one) for one in self._overlay.models if one.id not in self._filed_models]
        return (*filed, *[self._model_setup(one, "database") for one in records])

    def _model_setup(self, config: ModelConfig, source: ModelSource) -> ModelSetup:
        provider, _, model = config.id.partition(":")
        return ModelSetup(
            provider,
            model,
            config.display_name,
            config.enabled,
            config.id == self._default,
            config.context_limit,
            config.compression_threshold,
            config.settings,
            config.pricing,
            source,
        )

    def key_of(self, name: str) -> str | None:
        """Return the key that a provider is asked with. It is a secret."""
        access = self._providers[name].access
        return None if access is None else access.api_key

    def validate(self, record: ProviderRecord) -> None:
        """Return when there could be such a provider (see the port)."""
        validate_config(_provider_config(record, None), self._environment)

    async def aclose(self) -> None:
        """Close what the providers hold open."""
        for provider in self._providers.values():
            model, provider.model = provider.model, None
            if model is not None:
                await model.aclose()

    def _info(self, name: str, provider: Provider) -> ProviderInfo:
        listed, named = self._model_lists.models(provider), set[str]()
        models: list[ModelInfo] = []
        for config in self._models.values():
            owner, _, model = config.id.partition(":")
            if owner == name and model:
                named.add(model.casefold())
                if config.enabled:
                    models.append(_model_info(name, config, listed.get(model.casefold())))
        rest = [one for key, one in listed.items() if key not in named]
        models += [_model_info(name, ModelConfig(f"{name}:{one.model}"), one) for one in rest]
        problem, failure = provider.problem, self._model_lists.failure(provider)
        reason, message = None, None
        if problem is not None:
            reason, message = problem.reason, problem.message
        elif failure is not None:
            reason, message = "fetch_failed", failure.message
        return ProviderInfo(
            provider=name,
            display_name=provider.display_name,
            available=reason is None,
            unavailable_reason=reason,
            models=tuple(models),
            unavailable_message=message,
            local=provider.local,
        )


def _model_info(provider: str, config: ModelConfig, listed: ListedModel | None) -> ModelInfo:
    """Return a model as configured, and where that says nothing as its provider lists it."""
    model = config.id.partition(":")[2]
    listed = listed or ListedModel(model)
    return ModelInfo(
        config.id,
        provider,
        model,
        config.display_name or listed.display_name or model,
        config.context_limit or listed.context_limit,
        listed.capabilities,
    )


async def _retire(providers: Iterable[Provider]) -> None:
    for provider in providers:
        model, provider.model = provider.model, None
        if model is not None:
            await model.retire()


def _provider_config(record: ProviderRecord, key: str | None) -> ProviderConfig:
    return ProviderConfig(
        record.name,
        record.type,
        record.base_url,
        key,
        display_name=record.display_name,
        enabled=record.enabled,
    )


def _model_config(record: ModelRecord) -> ModelConfig:
    return ModelConfig(
        record.id,
        record.context_limit,
        record.display_name,
        record.pricing,
        record.compression_threshold,
        record.enabled,
        record.settings,
    )
