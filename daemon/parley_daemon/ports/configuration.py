"""How providers and models are configured, as the engine sees it, and where their keys are kept.

Knows neither the configuration's file nor any place for keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from parley_daemon.core.pricing import Pricing
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.core.records import ModelSettings

ProviderSource = Literal["database", "env_preset", "config", "supported"]
ModelSource = Literal["database", "config"]


@dataclass(frozen=True, slots=True)
class ProviderSetup:
    """A provider as it is configured, and by what; one that is only `supported` could be.

    `base_url` is what was configured, shown without credentials; None: the usual one of its type. `has_key`:
    there is a key, wherever it comes from.
    """

    name: str
    type: str
    display_name: str
    base_url: str | None
    has_key: bool
    enabled: bool
    source: ProviderSource


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """A model as it is configured, and by what. `is_default`: chats that name no model ask it."""

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


@dataclass(frozen=True, slots=True)
class Filed:
    """What the configuration's file has to do with what may be configured otherwise.

    `path` is told to people. `default_model`: nothing else can name another one. `has_models`: the first of
    them is the default where nothing says otherwise.
    """

    path: str = "the configuration's file"
    default_model: str | None = None
    has_models: bool = False


@dataclass(frozen=True, slots=True)
class Overlay:
    """What was configured over the protocol, to lie over what the configuration and the environment say.

    `keys` are by provider and secret: no part of the repr. `keyless` says in a sentence, by provider, why a
    key that was given is not at hand.
    """

    providers: Sequence[ProviderRecord] = ()
    models: Sequence[ModelRecord] = ()
    keys: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    keyless: Mapping[str, str] = field(default_factory=dict[str, str])


class UnfitProviderError(Exception):
    """A provider that cannot be as it is wanted: `field` is the record's, the message says what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class SecretsUnavailableError(Exception):
    """A key cannot be kept or forgotten now; the message says why, without it."""


@dataclass(frozen=True, slots=True)
class Keys:
    """API keys by provider, no part of the repr; and of those that cannot be read, why in a sentence."""

    found: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])


class Secrets(Protocol):
    """Where API keys are kept, by the names of their providers."""

    async def read(self, names: Sequence[str]) -> Keys:
        """Return the keys of these providers; one that there is none of is left out. May take seconds."""
        ...

    async def write(self, name: str, key: str | None) -> None:
        """Keep this key in place of the one that there was; None: forget it. May take seconds.

        Raises:
            SecretsUnavailableError: that cannot be done.
        """
        ...
