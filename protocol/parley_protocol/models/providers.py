"""Params and results of the methods about models and providers. API keys are written, never returned."""

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


_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def _check_name(value: str) -> str:
    if _NAME.match(value) is None or value.endswith("\n"):  # "$" also matches before a last line break
        raise ValueError('must begin with a letter or digit, and have only letters, digits, ".", "_" and "-"')
    return value


def _as_key(value: str) -> str:
    """Return a key without white space around it, which is easily copied along."""
    key = value.strip()
    if _NO_KEY.search(key):
        raise ValueError("contains characters that an API key cannot have")
    return key


Percent = Annotated[int, Field(ge=0, le=100)]
Price = Annotated[float, Field(ge=0)]
DisplayName = Annotated[str, Field(max_length=255)]
ProviderName = Annotated[
    str, AfterValidator(_check_name), Field(max_length=64, json_schema_extra={"pattern": _NAME.pattern})
]
ProviderType = Annotated[str, Field(min_length=1)]
ApiKey = Annotated[str, Field(max_length=16_384), AfterValidator(_as_key)]


class Model(Wire):
    """A model that can be used.

    - `id` is "provider:model".
    - `contextLimit` is in tokens, null when unknown.
    - `capabilities` are "tools", "reasoning", "images", "files", "audio", "video" and "structured-output";
      others may be added. A missing one is unknown, not unsupported.
    """

    id: str
    """The model as chats name it: "provider:model"."""
    provider: str
    model: str
    """The provider's own name of the model."""
    display_name: str
    context_limit: int | None = None
    capabilities: list[str]
    """What the model is known to support, such as "tools", "images" or "reasoning". A missing one is unknown.
    """


class ModelProvider(Wire):
    """A provider with its models.

    - `unavailableReason` and `unavailableMessage` say why it cannot be used, as a code and as a sentence;
      null when `available`.
    - `local`: chats with `localOnly` may use it.
    - `source` is where it is configured. "supported": it is not, and `unavailableMessage` says how to do it.
    """

    provider: str
    display_name: str
    available: bool
    unavailable_reason: UnavailableReason | None = None
    unavailable_message: str | None = None
    local: bool = False
    source: ProviderSource
    models: list[Model]


class ModelListParams(Params):
    """Params of `model/list`."""


class ModelListResult(Wire):
    """Result of `model/list`. `complaint` is what is wrong with the configuration file, null if nothing.
    `defaultModel` is the model of chats that name none, null if there is none.
    """

    providers: list[ModelProvider]
    default_model: str | None = None
    complaint: str | None = None


class Provider(Wire):
    """The configuration of a provider.

    - `provider` is its name, the first half of the ids of its models.
    - `type` is "openai", "openai-compat", "anthropic", "google", "azure", "bedrock", "openrouter", "vercel",
      "demo", or one that a plug-in adds.
    - `baseUrl` is null for the type's default.
    - `source` is where it is configured: over the protocol ("database"), by an environment variable
      ("env_preset") or in the file ("config"). "supported": not configured yet.
    """

    provider: str
    type: str
    """The type of the provider: "openai", "openai-compat", "anthropic", "google", "azure", "bedrock",
    "openrouter", "vercel", "demo", or one that a package adds.
    """
    display_name: str
    base_url: str | None = None
    has_api_key: bool
    enabled: bool
    source: ProviderSource


class ProviderListParams(Params):
    """Params of `provider/list`."""


class ProviderListResult(Wire):
    """Result of `provider/list`: the configured providers, then those that could be configured."""

    providers: list[Provider]


class ProviderCreateParams(Params):
    """Params of `provider/create`.

    - `provider` is a new name: 1 to 64 letters, digits and ".", "_", "-", starting with a letter or digit.
    - `baseUrl`: null for the type's default.
    - `apiKey` is stored in the system keyring or a private file and never returned. Empty or null: a key
      from the environment is used, if there is one.
    """

    provider: ProviderName
    """The name of the new provider: letters, digits and ".", "_", "-", the first a letter or digit."""
    type: ProviderType
    """The type of the provider, see `Provider`."""
    display_name: DisplayName | None = None
    base_url: str | None = None
    api_key: Annotated[ApiKey | None, Field(repr=False)] = None
    enabled: bool = True


class ProviderUpdateParams(Params):
    """Params of `provider/update`. Absent fields stay unchanged; null clears a field."""

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
    """The result of a test request to a provider. It never contains the key.

    - `method` and `url` are the request, null when none was needed to find the error.
    - `statusCode` is the HTTP status, null without a response. `answer` is the beginning of the response.
    - `error` is null when `ok`.
    """

    ok: bool
    method: str | None = None
    url: str | None = None
    """The URL of the request, without query and credentials; null: none was needed to find the error."""
    status_code: int | None = None
    answer: str | None = None
    duration_ms: int
    error: TurnError | None = None
    omitted_fields: list[str] = Field(default_factory=list[str])
    """Fields that the daemon adds to requests on its own, and leaves out here since the provider refused
    them; behind a field that is left out for one model only, the model in brackets."""


class ModelPricing(Wire):
    """Prices in US dollars per million tokens. Cached tokens without a price of their own cost as much as
    input.
    """

    input_per_million: Price | None = None
    output_per_million: Price | None = None
    cache_creation_per_million: Price | None = None
    cache_read_per_million: Price | None = None


class ModelConfig(Wire):
    """The configuration of one model.

    - `contextLimit` is in tokens. `compressionThreshold` is in percent of it: above, older messages are
      summarized.
    - `settings` apply where the chat and the turn set none; null: none.
    - `source` is where it is configured: over the protocol or in the file.
    """

    provider: str
    model: str
    """The provider's own name of the model."""
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
    """Only models of this provider; null: of all."""


class ModelConfigListResult(Wire):
    """Result of `modelConfig/list`."""

    model_configs: list[ModelConfig]


class ModelConfigCreateParams(Params):
    """Params of `modelConfig/create`."""

    provider: ProviderName
    model: Id
    """The provider's own name of the model."""
    display_name: DisplayName | None = None
    enabled: bool = True
    is_default: bool = False
    context_limit: PositiveInt | None = None
    compression_threshold: Percent | None = None
    settings: ModelSettings | None = None
    pricing: ModelPricing | None = None


class ModelConfigUpdateParams(Params):
    """Params of `modelConfig/update`. Absent fields stay unchanged; null clears a field."""

    provider: ProviderName
    model: Id
    """The provider's own name of the model."""
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
    """The provider's own name of the model."""
