"""The port to the configured providers and their models: which exist, and how they are configured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from parley_daemon.core.pricing import Pricing
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.core.records import Failure, ModelSettings, Timeouts
from parley_daemon.ports.models import Model

UnavailableReason = Literal["missing_api_key", "fetch_failed", "disabled"]
ProviderSource = Literal["database", "env_preset", "config", "supported"]
ModelSource = Literal["database", "config"]


class ModelInfo(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A model as clients see it. `id` is "provider:model"."""

    id: str
    provider: str
    model: str
    display_name: str
    context_limit: int | None = None
    capabilities: tuple[str, ...] = ()


class ProviderInfo(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A provider and its known models.

    `unavailable_reason` and `unavailable_message` say why it cannot be used; None: it can. `local`:
    local-only chats may use it. `source` is as in ProviderSetup.
    """

    provider: str
    display_name: str
    available: bool
    unavailable_reason: UnavailableReason | None
    models: tuple[ModelInfo, ...]
    unavailable_message: str | None = None
    local: bool = False
    source: ProviderSource = "config"


class PendingRefresh(msgspec.Struct, frozen=True, gc=False):
    """A provider whose list of models should be fetched. `is_known`: an earlier fetch succeeded or failed."""

    provider: str
    is_known: bool


class ProviderCheck(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The outcome of a check: the last request, if one was made, and the first lines of its response.

    Holds no secrets. `duration_ms` is that of the request. `omitted_fields` are the fields that are left out
    of requests since the provider refused them.
    """

    ok: bool
    method: str | None = None
    url: str | None = None
    status_code: int | None = None
    answer: str | None = None
    duration_ms: int = 0
    error: Failure | None = None
    omitted_fields: tuple[str, ...] = ()


class ResolvedModel(msgspec.Struct, frozen=True, gc=False):
    """A model reference, resolved: the model to call, its name there, its limits and its prices.

    `compression_threshold` is in percent of the context limit; None: the engine's default. `local`:
    local-only chats may use it. `settings` are the model's own; a chat's settings take precedence.
    """

    id: str
    name: str
    model: Model
    timeouts: Timeouts
    context_limit: int | None = None
    pricing: Pricing | None = None
    compression_threshold: int | None = None
    local: bool = False
    settings: ModelSettings = ModelSettings()

    @property
    def provider(self) -> str:
        """The name of its provider: the first half of its id."""
        return self.id.partition(":")[0]


class ProviderSetup(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How a provider is configured, and by what. `supported`: it is not configured, but can be.

    `base_url` is the configured one, without credentials; None: the default of its type. `has_key`: there is
    an API key, from any source.
    """

    name: str = msgspec.field(name="provider")
    type: str
    display_name: str
    base_url: str | None
    has_key: bool = msgspec.field(name="hasApiKey")
    enabled: bool
    source: ProviderSource


class ModelSetup(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How a model is configured, and by what. `is_default`: chats that name no model use it."""

    provider: str
    model: str
    display_name: str | None
    enabled: bool
    is_default: bool
    context_limit: int | None
    compression_threshold: int | None
    settings: ModelSettings
    pricing: Pricing | None
    source: ModelSource

    @property
    def id(self) -> str:
        """The model as chats name it: "provider:model"."""
        return f"{self.provider}:{self.model}"


class FileDefaults(msgspec.Struct, frozen=True, gc=False):
    """What the configuration file fixes for models that are configured over the protocol.

    `path` is shown to users. `default_model`: the file names the default model, and nothing overrides it.
    `has_models`: the file configures models; without another choice the first of them is the default.
    """

    path: str = "the configuration file"
    default_model: str | None = None
    has_models: bool = False


@dataclass(frozen=True, slots=True)
class Overlay:
    """What was configured over the protocol. The configuration file takes precedence over it.

    `keys` holds API keys by provider; they are secrets and not part of the repr. `key_problems` says by
    provider, in a sentence, why a stored key cannot be read.
    """

    providers: Sequence[ProviderRecord] = ()
    models: Sequence[ModelRecord] = ()
    keys: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    key_problems: Mapping[str, str] = field(default_factory=dict[str, str])


class InvalidProviderError(Exception):
    """A provider cannot be configured like this. `field` is the record's field; the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnknownModelError(Exception):
    """There is no such provider, or the provider knows all of its models and this is none of them.

    `candidates`: the ids of the models that a name without a provider may mean; several providers have it.
    """

    def __init__(self, message: str, candidates: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)


class ProviderUnavailableError(Exception):
    """The provider exists and cannot be used now."""

    def __init__(self, message: str, reason: UnavailableReason) -> None:
        super().__init__(message)
        self.reason: UnavailableReason = reason


class Catalogue(Protocol):
    """The configured providers and their models."""

    @property
    def default_model(self) -> str | None:
        """The model of chats that name none, as "provider:model"."""
        ...

    @property
    def substitute_model(self) -> str | None:
        """The model that replaces one that no longer exists: the default model, unless that is the demo."""
        ...

    @property
    def complaint(self) -> str | None:
        """What is wrong with the configuration, in a sentence; None: nothing."""
        ...

    @property
    def fallback_models(self) -> tuple[str, ...]:
        """The fallback models of chats that name none, in order, as "provider:model"."""
        ...

    @property
    def local_only(self) -> bool:
        """Whether no chat may use a model whose provider is not local."""
        ...

    @property
    def file_defaults(self) -> FileDefaults:
        """What the configuration file fixes, and where the file is."""
        ...

    def providers(self) -> tuple[ProviderInfo, ...]:
        """Return every provider with its known models."""
        ...

    def pending_refreshes(self) -> Sequence[PendingRefresh]:
        """Return the providers whose lists of models are unknown or old, or are being fetched at first."""
        ...

    async def refresh_models(self, provider: str) -> None:
        """Fetch a provider's list of models; return when that has succeeded or failed. Raises nothing."""
        ...

    async def check(self, provider: str) -> ProviderCheck | None:
        """Try a provider with the cheapest request that proves something; None: there is no such provider."""
        ...

    def resolve(self, reference: str) -> ResolvedModel:
        """Return the model of a reference: "provider:model", or a name that only one provider has.

        Raises:
            UnknownModelError: nothing has that name, or several providers have it.
            ProviderUnavailableError: its provider cannot be used now.
        """
        ...

    def full_name(self, reference: str) -> str:
        """Return the "provider:model" of a reference; unchanged if not exactly one provider has the name."""
        ...

    def needs_lists(self, references: Iterable[str | None]) -> bool:
        """Return whether the providers' lists of models are needed to tell what a reference means.

        That is so if it, or a default or fallback model, has no provider, and a list is not known yet.
        """
        ...

    def setups(self) -> tuple[ProviderSetup, ...]:
        """Return how every provider is configured, then the types that are supported and not configured."""
        ...

    def model_setups(self) -> tuple[ModelSetup, ...]:
        """Return how models are configured."""
        ...

    def is_preset(self, name: str) -> bool:
        """Return whether a provider of this name exists without being configured over the protocol."""
        ...

    def validate(self, record: ProviderRecord) -> None:
        """Check whether a provider can be configured like this.

        Raises:
            InvalidProviderError: it cannot.
        """
        ...

    async def apply_overlay(self, overlay: Overlay) -> None:
        """Replace what was configured over the protocol. Calls in progress continue unchanged."""
        ...

    async def aclose(self) -> None:
        """Close the connections of all providers."""
        ...
