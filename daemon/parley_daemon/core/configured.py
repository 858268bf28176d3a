"""Providers and models as somebody configured them over the protocol: plain frozen records.

An API key is no part of them. Knows no configuration file and no environment.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from parley_daemon.core.chats import ModelSettings
from parley_daemon.core.pricing import Pricing


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """A provider. `has_key`: a key was given for it and is kept elsewhere. Times as in Chat."""

    name: str
    type: str
    created_at: str
    updated_at: str
    display_name: str | None = None
    base_url: str | None = None
    enabled: bool = True
    has_key: bool = False


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model of a provider, by the provider's name. `compression_threshold` is in percent. Times as in Chat.

    Of all records at most one is the default.
    """

    provider: str
    model: str
    created_at: str
    updated_at: str
    display_name: str | None = None
    enabled: bool = True
    is_default: bool = False
    context_limit: int | None = None
    compression_threshold: int | None = None
    settings: ModelSettings = field(default_factory=ModelSettings)
    pricing: Pricing | None = None

    @property
    def id(self) -> str:
        """The model as chats name it: "provider:model"."""
        return f"{self.provider}:{self.model}"


def elected(records: Iterable[ModelRecord]) -> ModelRecord | None:
    """Return who becomes the default when nobody said who: the first one in use by provider and model."""
    return min(
        (one for one in records if one.enabled), key=lambda one: (one.provider, one.model), default=None
    )
