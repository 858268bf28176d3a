"""The providers and models of a configuration. The one place that knows which adapter a provider type is.

Knows neither the configuration's file nor the process's environment: both come in as values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from parley_daemon.adapters.demo import DemoModel
from parley_daemon.adapters.openai_chat import OpenAIChatModel, endpoint
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
PROVIDER_TYPES = ("openai-compat", "openai", "demo")
_OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """A provider as configured. `api_key` goes before the variable that `api_key_env` names.

    `headers` go with every request. Keys and headers are secrets: they are not part of the repr.
    """

    name: str
    type: str = "openai-compat"
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_key_env: str | None = None
    display_name: str | None = None
    enabled: bool = True
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


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
    problem: _Problem | None
    make: Callable[[], Model]
    model: Model | None = None

    def opened(self) -> Model:
        if self.model is None:
            self.model = self.make()
        return self.model


class ConfiguredCatalogue:
    """The catalogue of a configuration: its providers, those that the environment presets, and the demo.

    A provider "openai" is there whenever OPENAI_API_KEY is set, OPENAI_BASE_URL is its address. Any model
    name may be used with a provider; the demo alone has only the one. `pace` is the demo's. `complaint` says
    what of the configuration could not be read: nothing is chosen by default then, and whoever misses
    something is told. A provider that is configured wrongly keeps the demo from being chosen.
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
        pace: float = 1.0,
    ) -> None:
        environment = environment or {}
        configs = {config.name: config for config in providers}
        if environment.get("OPENAI_API_KEY", "").strip():
            configs.setdefault("openai", ProviderConfig("openai", "openai", display_name="OpenAI"))
        configs.setdefault("demo", ProviderConfig("demo", "demo", display_name="parleyd demo"))
        self._providers = {name: _provider(config, environment, pace) for name, config in configs.items()}
        self._models = {model.id: model for model in models}
        if configs["demo"].type == "demo":
            self._models.setdefault(DEMO_MODEL, ModelConfig(DEMO_MODEL, display_name="Demo"))
        self._complaint = complaint
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
        known = self._models.get(reference) or ModelConfig(reference)
        return ResolvedModel(
            reference,
            model,
            provider.opened(),
            self._timeouts,
            known.context_limit,
            known.pricing,
            known.compression_threshold,
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
            display_name=provider.config.display_name or name,
            available=problem is None,
            unavailable_reason=None if problem is None else problem.reason,
            models=tuple(models),
            unavailable_message=None if problem is None else problem.message,
        )


def _provider(config: ProviderConfig, environment: Mapping[str, str], pace: float) -> _Provider:
    if config.type == "demo":
        problem = None if config.enabled else _disabled(config)
        return _Provider(config, problem, lambda: DemoModel(pace))
    variable, key = _key(config, environment)
    url, problem = _address(config, environment)
    if not config.enabled:
        problem = _disabled(config)
    elif config.type not in PROVIDER_TYPES:
        types = ", ".join(PROVIDER_TYPES)
        message = f'Provider "{config.name}" has the type "{config.type}"; this version knows: {types}.'
        problem = _Problem("disabled", message, fault=True)
    elif problem is None and key is None and variable is not None:
        advice = f"set the environment variable {variable} of the daemon, or api_key in its configuration"
        problem = _Problem("missing_api_key", f'Provider "{config.name}" has no API key: {advice}.')

    def make() -> Model:
        return OpenAIChatModel(
            config.name,
            url,
            api_key=key,
            headers=config.headers,
            dialect="openai" if config.type == "openai" else "openai-compat",
        )

    return _Provider(config, problem, make)


def _disabled(config: ProviderConfig) -> _Problem:
    return _Problem("disabled", f'Provider "{config.name}" is switched off in the configuration.')


def _key(config: ProviderConfig, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the variable that the key has to come from (None: no key is needed), and the key."""
    variable = config.api_key_env or ("OPENAI_API_KEY" if config.type == "openai" else None)
    given = config.api_key or (environment.get(variable) if variable else None)
    return variable, (given or "").strip() or None


def _address(config: ProviderConfig, environment: Mapping[str, str]) -> tuple[str, _Problem | None]:
    url = (config.base_url or "").strip()
    if not url and config.type == "openai":
        url = environment.get("OPENAI_BASE_URL", "").strip() or _OPENAI_URL
    try:
        if not url:
            raise ValueError("base_url is missing")
        endpoint(url)
    except ValueError as error:
        message = f'Provider "{config.name}" has no usable address: {error}.'
        return url, _Problem("disabled", message, fault=True)
    return url, None
