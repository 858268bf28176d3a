"""What the engine asks of language models and of their catalogue. Knows no provider and no HTTP."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from parley_daemon.core.parts import Part, Piece
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.provider_records import ProviderRecord
from parley_daemon.core.records import Failure, ModelSettings, Role, Timeouts, Usage
from parley_daemon.ports.configuration import Filed, ModelSetup, Overlay, ProviderSetup

StopReason = Literal["stop", "length", "tool_calls", "content_filter", "other"]
Purpose = Literal["answer", "title", "summary"]
UnavailableReason = Literal["missing_api_key", "fetch_failed", "disabled"]


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message as a model gets it."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call. `model` is the provider's own name of it; limits in `settings.timeouts` are all set."""

    model: str
    messages: tuple[PromptMessage, ...]
    system_prompt: str | None = None
    settings: ModelSettings = field(default_factory=ModelSettings)
    purpose: Purpose = "answer"


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What the call used so far; a later report replaces an earlier one."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finish:
    """The model is done, for this reason. A stream that ends without one has failed.

    It comes as soon as it is known; a usage report may follow it.
    """

    reason: StopReason


Chunk = Piece | UsageReport | Finish
Batch = Sequence[Chunk]


class ModelError(Exception):
    """A model call that failed; `failure` says how, in words a person can act on and without secrets."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Model(Protocol):
    """One provider, ready to be asked."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        """Ask the model and yield what comes, one batch per network read.

        An empty batch is a sign of life (a keep-alive). The connect limit is kept here; the limits for the
        first part, for silence and for the whole call are kept by the caller, who may close the generator or
        cancel at any yield or wait: the connection is then closed at once.

        Raises:
            ModelError: for everything that goes wrong with the call.
        """
        ...

    async def warm(self) -> None:
        """Load what the first call needs, so that it need not wait for it. Does not touch the network."""
        ...

    async def aclose(self) -> None:
        """Close pooled connections. A call that comes later opens new ones."""
        ...


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as clients see it; `id` is "provider:model"."""

    id: str
    provider: str
    model: str
    display_name: str
    context_limit: int | None = None
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """A provider and its known models. An unavailable one says why; a local one may get what stays here."""

    provider: str
    display_name: str
    available: bool
    unavailable_reason: UnavailableReason | None
    models: tuple[ModelInfo, ...]
    unavailable_message: str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """A provider that should be asked for its models; `known`: it was asked before."""

    provider: str
    known: bool


@dataclass(frozen=True, slots=True)
class Check:
    """What came of trying a provider: the last request, if one was made, and the first lines of its answer.

    Nothing in it is a secret. `duration_ms` is the request's.
    """

    ok: bool
    method: str | None = None
    url: str | None = None
    status_code: int | None = None
    answer: str | None = None
    duration_ms: int = 0
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model reference made usable: whom to ask, under which name, with which limits and prices.

    `compression_threshold` is in percent of the context limit; None: the engine's. `local`: its provider is
    one that local-only chats may ask. `settings` are the model's own: a chat's lie over them.
    """

    id: str
    name: str
    model: Model
    timeouts: Timeouts
    context_limit: int | None = None
    pricing: Pricing | None = None
    compression_threshold: int | None = None
    local: bool = False
    settings: ModelSettings = field(default_factory=ModelSettings)

    @property
    def provider(self) -> str:
        """The name of its provider: the first half of its id."""
        return self.id.partition(":")[0]


class UnknownModelError(Exception):
    """No provider of that name, or a provider that knows all its models does not know this one."""


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
    def stand_in(self) -> str | None:
        """The model that answers for one that is gone: the default one, unless that is but the demo."""
        ...

    @property
    def complaint(self) -> str | None:
        """What is wrong with the configuration, None when nothing is."""
        ...

    @property
    def fallback_models(self) -> tuple[str, ...]:
        """The models that answer in place of another one, in chats that name none, as "provider:model"."""
        ...

    @property
    def local_only(self) -> bool:
        """Whether no chat may ask a model whose provider is not local."""
        ...

    @property
    def filed(self) -> Filed:
        """What the configuration's file says of defaults, and where it is."""
        ...

    def providers(self) -> tuple[ProviderInfo, ...]:
        """Return every provider with its known models."""
        ...

    def due(self) -> Sequence[Due]:
        """Return the providers whose lists of models are not known, or old, or on their way at last."""
        ...

    async def discover(self, provider: str) -> None:
        """Ask a provider for its models; return when it has answered, or has failed to. Raises nothing."""
        ...

    async def check(self, provider: str) -> Check | None:
        """Try a provider with the cheapest request that tells something; None: there is none of this name."""
        ...

    def resolve(self, reference: str) -> ResolvedModel:
        """Return the model behind "provider:model".

        Raises:
            UnknownModelError: nothing has that name.
            ProviderUnavailableError: its provider cannot be used now.
        """
        ...

    def setups(self) -> tuple[ProviderSetup, ...]:
        """Return how every provider is configured, then those that are supported and not configured."""
        ...

    def model_setups(self) -> tuple[ModelSetup, ...]:
        """Return how models are configured."""
        ...

    def is_preset(self, name: str) -> bool:
        """Return whether a provider of this name is there without being configured over the protocol."""
        ...

    def vet(self, record: ProviderRecord) -> None:
        """Return when there could be such a provider.

        Raises:
            UnfitProviderError: there could not.
        """
        ...

    async def adopt(self, overlay: Overlay) -> None:
        """Take over what was configured over the protocol. Calls that are under way go on as they began."""
        ...

    async def aclose(self) -> None:
        """Close what the providers hold open."""
        ...
