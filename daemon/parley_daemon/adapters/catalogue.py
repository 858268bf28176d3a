"""The providers and models of a configuration, and what keeps one of them from being used.

Knows neither the configuration's file nor the process's environment: both come in as values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from parley_daemon.adapters.provider_types import TYPES, Access, ProviderType, provider_type
from parley_daemon.adapters.wires.addresses import endpoint
from parley_daemon.adapters.wires.failures import is_local
from parley_daemon.core.chats import Timeouts
from parley_daemon.core.pricing import Pricing
from parley_daemon.ports.model import (
    Model,
    ModelInfo,
    ProviderInfo,
    ProviderUnavailableError,
    ResolvedModel,
    UnavailableReason,
    UnknownModelError,
)

DEMO_MODEL = "demo:demo"
DEFAULT_TIMEOUTS = Timeouts(connect_ms=10_000, first_part_ms=120_000, idle_ms=60_000, total_ms=None)


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """A provider as configured. `api_key` goes before the variable that `api_key_env` names.

    `headers` go with every request. `options` are the settings of its type. `local` says whether local-only
    chats may ask it; None: when its address is on this machine. Keys and headers are secrets: they are not
    part of the repr.
    """

    name: str
    type: str = "openai-compat"
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_key_env: str | None = None
    display_name: str | None = None
    enabled: bool = True
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    local: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model as configured; `id` is "provider:model"."""

    id: str
    context_limit: int | None = None
    display_name: str | None = None
    pricing: Pricing | None = None
    compression_threshold: int | None = None


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why a provider cannot be used. `fault`: its configuration is wrong."""

    reason: UnavailableReason
    message: str
    fault: bool = False


@dataclass(slots=True)
class _Provider:
    """A provider: how its adapter is made, once there is nothing against it, and the adapter."""

    config: ProviderConfig
    display_name: str
    problem: _Problem | None
    make: Callable[[], Model]
    local: bool = False
    model: Model | None = None

    def opened(self) -> Model:
        if self.model is None:
            self.model = self.make()
        return self.model


class ConfiguredCatalogue:
    """The catalogue of a configuration: its providers, those that the environment presets, and the demo.

    A provider is there without being configured when the usual variable of its type is set, such as
    OPENAI_API_KEY. Any model name may be used with a provider; the demo alone has only the one. `pace` is
    the demo's. `complaint` says what of the configuration could not be read: nothing is chosen by default
    then, and whoever misses something is told. A provider that is configured wrongly keeps the demo from
    being chosen.
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
        pace: float = 1.0,
    ) -> None:
        environment = environment or {}
        configs = {config.name: config for config in providers}
        for kind in TYPES.values():
            if kind.name == "demo" or _is_preset(kind, environment):
                configs.setdefault(kind.name, ProviderConfig(kind.name, kind.name))
        self._providers = {name: _provider(config, environment, pace) for name, config in configs.items()}
        self._models = {model.id: model for model in models}
        if configs["demo"].type == "demo":
            self._models.setdefault(DEMO_MODEL, ModelConfig(DEMO_MODEL, display_name="Demo"))
        self._complaint = complaint
        self._fallback_models = tuple(fallback_models)
        self._local_only = local_only
        problems = [one.problem for one in self._providers.values() if one.problem is not None]
        self._fault = next((problem.message for problem in problems if problem.fault), None)
        # Who has begun to configure a model is not answered by the demo in its place.
        demo = None if self._fault else DEMO_MODEL
        self._default = None if complaint else default_model or next((one.id for one in models), demo)
        self._timeouts = timeouts.over(DEFAULT_TIMEOUTS)

    @property
    def default_model(self) -> str | None:
        """The model of chats that name none: the configured one, else the first configured, else the demo.

        None: the configuration is wrong, see `complaint`.
        """
        return self._default

    @property
    def complaint(self) -> str | None:
        """What is wrong with the configuration, None when nothing is."""
        return self._complaint or self._fault

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
        try:
            opened = provider.opened()
        except ValueError as error:
            raise ProviderUnavailableError(
                f'Provider "{name}" cannot be used: {error}.', "disabled"
            ) from error
        known = self._models.get(reference) or ModelConfig(reference)
        return ResolvedModel(
            reference,
            model,
            opened,
            self._timeouts,
            known.context_limit,
            known.pricing,
            known.compression_threshold,
            provider.local,
        )

    async def aclose(self) -> None:
        """Close what the providers hold open."""
        for provider in self._providers.values():
            model, provider.model = provider.model, None
            if model is not None:
                await model.aclose()

    def _info(self, name: str, provider: _Provider) -> ProviderInfo:
        models: list[ModelInfo] = []
        for config in self._models.values():
            owner, _, model = config.id.partition(":")
            if owner == name and model:
                shown = config.display_name or model
                models.append(ModelInfo(config.id, name, model, shown, config.context_limit))
        problem = provider.problem
        return ProviderInfo(
            provider=name,
            display_name=provider.display_name,
            available=problem is None,
            unavailable_reason=None if problem is None else problem.reason,
            models=tuple(models),
            unavailable_message=None if problem is None else problem.message,
            local=provider.local,
        )


def _provider(config: ProviderConfig, environment: Mapping[str, str], pace: float) -> _Provider:
    kind = provider_type(config.type)
    if kind is None:
        types = ", ".join(TYPES)
        message = f'Provider "{config.name}" has the type "{config.type}"; this version knows: {types}.'
        problem = _Problem("disabled", message, fault=True) if config.enabled else _switched_off(config)
        return _Provider(config, config.display_name or config.name, problem, _none)
    variables, key = _key(config, kind, environment)
    url, problem = _address(config, kind, environment)
    problem = problem or _odd_option(config, kind)
    if not config.enabled:
        problem = _switched_off(config)
    elif problem is None and key is None and variables:
        advice = f"set the environment variable {variables[0]} of the daemon, or api_key in its configuration"
        problem = _Problem("missing_api_key", f'Provider "{config.name}" has no API key: {advice}.')
    access = Access(config.name, url, key, config.headers, config.options, environment, pace)
    own = config.name if config.name != kind.name else kind.display_name
    local = config.local if config.local is not None else kind.local or is_local(url)
    return _Provider(config, config.display_name or own, problem, lambda: kind.make(access), local)


def _switched_off(config: ProviderConfig) -> _Problem:
    return _Problem("disabled", f'Provider "{config.name}" is switched off in the configuration.')


def _odd_option(config: ProviderConfig, kind: ProviderType) -> _Problem | None:
    """Return what is wrong with the settings that only some types have."""
    for name, value in config.options.items():
        words = kind.options.get(name)
        if words is None:
            message = f'Provider "{config.name}" is of the type "{kind.name}", which has no setting "{name}".'
            return _Problem("disabled", message, fault=True)
        if words and value not in words:
            known = " or ".join([f'"{word}"' for word in words])
            message = f'Provider "{config.name}" has {name} = "{value}"; it can be {known}.'
            return _Problem("disabled", message, fault=True)
    return None


def _none() -> Model:
    raise AssertionError("a provider with a problem is not opened")


def _key(
    config: ProviderConfig, kind: ProviderType, environment: Mapping[str, str]
) -> tuple[tuple[str, ...], str | None]:
    """Return the variables that the key has to come from (none: no key is needed), and the key."""
    variables = (config.api_key_env,) if config.api_key_env else kind.key_variables
    given = (config.api_key or "").strip() or _from_environment(variables, environment)
    return variables if kind.needs_key or config.api_key_env else (), given


def _is_preset(kind: ProviderType, environment: Mapping[str, str]) -> bool:
    """Return whether the environment has all that a provider of this kind needs."""
    address = kind.base_url or not kind.needs_url or environment.get(kind.url_variable or "", "").strip()
    return bool(address) and _from_environment(kind.key_variables, environment) is not None


def _from_environment(variables: Sequence[str], environment: Mapping[str, str]) -> str | None:
    return next((value for name in variables if (value := environment.get(name, "").strip())), None)


def _address(
    config: ProviderConfig, kind: ProviderType, environment: Mapping[str, str]
) -> tuple[str, _Problem | None]:
    url = (config.base_url or "").strip()
    if not url and kind.url_variable is not None:
        url = environment.get(kind.url_variable, "").strip()
    url = url or kind.base_url or ""
    if not kind.needs_url:
        return url, None
    try:
        if not url:
            raise ValueError("base_url is missing")
        endpoint(url, "")
    except ValueError as error:
        message = f'Provider "{config.name}" has no usable address: {error}.'
        return url, _Problem("disabled", message, fault=True)
    return url, None
