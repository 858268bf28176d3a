"""Models and providers: what can be asked, and how it is configured. An API key is written, never read."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from parley_protocol.models.base import Id, Params, PositiveInt, Wire
from parley_protocol.models.objects import TurnError
from parley_protocol.models.settings import ModelSettings

ProviderSource = Literal["database", "env_preset", "config", "supported"]
ModelSource = Literal["database", "config"]
UnavailableReason = Literal["missing_api_key", "fetch_failed", "disabled"]

_NO_KEY = re.compile(r"[^\x21-\x7e]")


def _as_key(value: str) -> str:
    """Return a key as it is sent; what was copied along with it, around it, is no part of it."""
    key = value.strip()
    if _NO_KEY.search(key):
        raise ValueError("holds characters that no key has")
    return key


Percent = Annotated[int, Field(ge=0, le=100)]
Price = Annotated[float, Field(ge=0)]
DisplayName = Annotated[str, Field(max_length=255)]
ProviderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
ProviderType = Annotated[str, Field(min_length=1)]
ApiKey = Annotated[str, Field(max_length=16_384), AfterValidator(_as_key)]


class Model(Wire):
    """A model that can be asked. `id` is "provider:model"; `capabilities` are words such as "reasoning".

    Those are "tools", "reasoning", "images", "files", "audio", "video" and "structured-output", so far.
    """

    id: str
    provider: str
    model: str
    display_name: str
    context_limit: int | None = None
    capabilities: list[str]


class ModelProvider(Wire):
    """A provider and its models. One that cannot be used says why: in a word, and in a sentence.

    `local`: chats with `localOnly` may ask it.
    """

    provider: str
    display_name: str
    available: bool
    unavailable_reason: UnavailableReason | None = None
    unavailable_message: str | None = None
    local: bool = False
    models: list[Model]


class ModelListParams(Params):
    """Params of `model/list`."""


class ModelListResult(Wire):
    """Result of `model/list`. `complaint` says what is wrong with the configuration, if anything."""

    providers: list[ModelProvider]
    complaint: str | None = None


class Provider(Wire):
    """A provider as it is configured. `provider` is its name, the first half of its models' ids.

    `type` is "openai", "openai-compat", "anthropic", "google", "azure", "bedrock", "openrouter", "vercel",
    "demo", or what a package brings. `baseUrl` is null for the usual one of the type. `source` is what
    configures it; one that is "supported" could be configured.
    """

    provider: str
    type: str
    display_name: str
    base_url: str | None = None
    has_api_key: bool
    enabled: bool
    source: ProviderSource


class ProviderListParams(Params):
    """Params of `provider/list`."""


class ProviderListResult(Wire):
    """Result of `provider/list`: configured ones, and those that are supported and not configured."""

    providers: list[Provider]


class ProviderCreateParams(Params):
    """Params of `provider/create`. An empty `apiKey` is none: one of the environment is used, then."""

    provider: ProviderName
    type: ProviderType
    display_name: DisplayName | None = None
    base_url: str | None = None
    api_key: Annotated[ApiKey | None, Field(repr=False)] = None
    enabled: bool = True


class ProviderUpdateParams(Params):
    """Params of `provider/update`. What is left out stays as it is; null clears."""

    provider: ProviderName
    display_name: DisplayName | None = None
    base_url: str | None = None
    api_key: Annotated[ApiKey | None, Field(repr=False)] = None
    enabled: bool | None = None


class ProviderDeleteParams(Params):
    """Params of `provider/delete`."""

    provider: ProviderName


class ProviderCheckParams(Params):
    """Params of `provider/check`."""

    provider: ProviderName


class ProviderCheckResult(Wire):
    """What was asked of the provider and the first lines of what it answered, never the key.

    `method` and `url` are null when nothing had to be asked to see what is wrong. `error` says it.
    """

    ok: bool
    method: str | None = None
    url: str | None = None
    status_code: int | None = None
    answer: str | None = None
    duration_ms: int
    error: TurnError | None = None


class ModelPricing(Wire):
    """US dollars per million tokens. Without prices of their own, cached tokens cost what input costs."""

    input_per_million: Price | None = None
    output_per_million: Price | None = None
    cache_creation_per_million: Price | None = None
    cache_read_per_million: Price | None = None


class ModelConfig(Wire):
    """What is configured for one model. `compressionThreshold` is in percent of `contextLimit`.

    `settings` lie under those of chats; null: none. `source` is what configures it.
    """

    provider: str
    model: str
    display_name: str | None = None
    enabled: bool
    is_default: bool
    context_limit: int | None = None
    compression_threshold: int | None = None
    settings: ModelSettings | None = None
    pricing: ModelPricing | None = None
    source: ModelSource


class ModelConfigListParams(Params):
    """Params of `modelConfig/list`."""

    provider: ProviderName | None = None


class ModelConfigListResult(Wire):
    """Result of `modelConfig/list`."""

    model_configs: list[ModelConfig]


class ModelConfigCreateParams(Params):
    """Params of `modelConfig/create`."""

    provider: ProviderName
    model: Id
    display_name: DisplayName | None = None
    enabled: bool = True
    is_default: bool = False
    context_limit: PositiveInt | None = None
    compression_threshold: Percent | None = None
    settings: ModelSettings | None = None
    pricing: ModelPricing | None = None


class ModelConfigUpdateParams(Params):
    """Params of `modelConfig/update`. What is left out stays as it is; null clears."""

    provider: ProviderName
    model: Id
    display_name: DisplayName | None = None
    enabled: bool | None = None
    is_default: bool | None = None
    context_limit: PositiveInt | None = None
    compression_threshold: Percent | None = None
    settings: ModelSettings | None = None
    pricing: ModelPricing | None = None


class ModelConfigDeleteParams(Params):
    """Params of `modelConfig/delete`."""

    provider: ProviderName
    model: Id
