"""Merges the sources of the configuration into the providers and models that exist.

There are three sources. In order of precedence: the configuration file, what was configured over the protocol
(the overlay), and the presets of the environment: a provider exists without being configured when the
variable of its type's API key is set, such as OPENAI_API_KEY. The demo always exists. A provider or a model
comes whole from one source: fields of two sources are never mixed.

The default model is the one that the file names; else the one that the overlay marks; else, when the file
configures no models, the overlay's first usable one; else the first enabled model of the file; else the demo.
Two things keep the demo from being the default, because it would hide a mistake: a file that cannot be read,
and a provider that is configured wrongly.

All sources come in as values. Does no I/O.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from parley_daemon.adapters.providers.provider import Provider, ProviderConfig, build_provider, is_preset
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord, choose_default
from parley_daemon.core.records import ModelSettings, Timeouts
from parley_daemon.ports.catalogue import Overlay, ProviderSource

DEMO_MODEL = "demo:demo"
DEFAULT_TIMEOUTS = Timeouts(
    connect_ms=10_000, first_part_ms=120_000, idle_ms=60_000, total_ms=None, alive_ms=900_000
)


class ModelConfig(msgspec.Struct, frozen=True, gc=False):
    """A model as configured. `id` is "provider:model". A chat's settings take precedence over `settings`."""

    id: str
    context_limit: int | None = None
    display_name: str | None = None
    pricing: Pricing | None = None
    compression_threshold: int | None = None
    enabled: bool = True
    settings: ModelSettings = ModelSettings()


@dataclass(frozen=True, slots=True)
class FileConfig:
    """The providers and models of the configuration file, by their names and ids."""

    providers: Mapping[str, ProviderConfig] = field(default_factory=dict[str, ProviderConfig])
    models: Mapping[str, ModelConfig] = field(default_factory=dict[str, ModelConfig])
    default_model: str | None = None
    timeouts: Timeouts = DEFAULT_TIMEOUTS


@dataclass(frozen=True, slots=True)
class Merged:
    """The result. `default`: the model of chats that name none, chosen from all sources, or None.

    `fault`: the message of the first provider that is configured wrongly.
    """

    providers: Mapping[str, Provider]
    models: Mapping[str, ModelConfig]
    default: str | None
    fault: str | None


def merge_sources(file: FileConfig, overlay: Overlay, environment: Mapping[str, str], pace: float) -> Merged:
    """Return the providers and models of all sources. `pace` scales the pauses of the demo."""
    providers = {
        config.name: build_provider(config, source, environment, pace, overlay.key_problems)
        for config, source in _provider_configs(file, overlay, environment)
    }
    records = [record for record in overlay.models if record.id not in file.models]
    models = {**file.models, **{record.id: model_config(record) for record in records}}
    demo = providers.get("demo")
    if demo is not None and demo.config.type == "demo":
        models.setdefault(DEMO_MODEL, ModelConfig(DEMO_MODEL, display_name="Demo"))
    problems = [each.problem for each in providers.values() if each.problem is not None]
    fault = next((problem.message for problem in problems if problem.fault), None)
    default = file.default_model or _choose_default(file, records, providers)
    return Merged(providers, models, default, fault)


def is_preset_name(name: str, file: FileConfig, environment: Mapping[str, str]) -> bool:
    """Return whether a provider of this name exists without being configured over the protocol."""
    provider_type = TYPES.get(name)
    if name in file.providers or name == "demo":
        return True
    return provider_type is not None and is_preset(provider_type, environment)


def _provider_configs(
    file: FileConfig, overlay: Overlay, environment: Mapping[str, str]
) -> Iterator[tuple[ProviderConfig, ProviderSource]]:
    """Yield each provider once, with its source."""
    for config in file.providers.values():
        yield config, "config"
    records = [record for record in overlay.providers if record.name not in file.providers]
    for record in records:
        yield provider_config(record, overlay.keys.get(record.name)), "database"
    names = {*file.providers, *(record.name for record in records)}
    for name in TYPES:
        if name not in names and is_preset_name(name, file, environment):
            yield ProviderConfig(name, name), "supported" if name == "demo" else "env_preset"


def _choose_default(
    file: FileConfig, records: Sequence[ModelRecord], providers: Mapping[str, Provider]
) -> str | None:
    usable = [record for record in records if record.enabled and record.provider in providers]
    chosen = next((record for record in usable if record.is_default), None)
    if chosen is None and not file.models:
        chosen = choose_default(usable)
    if chosen is not None:
        return chosen.id
    return next((model.id for model in file.models.values() if model.enabled), None)


def provider_config(record: ProviderRecord, key: str | None) -> ProviderConfig:
    """Return a stored provider as configured, with its API key."""
    return ProviderConfig(
        record.name,
        record.type,
        record.base_url,
        key,
        display_name=record.display_name,
        enabled=record.enabled,
    )


def model_config(record: ModelRecord) -> ModelConfig:
    """Return a stored model as configured."""
    return ModelConfig(
        record.id,
        record.context_limit,
        record.display_name,
        record.pricing,
        record.compression_threshold,
        record.enabled,
        record.settings,
    )
