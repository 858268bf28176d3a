"""Providers and models as somebody configured them over the protocol: plain frozen records.

An API key is no part of them. Knows no configuration file and no environment.
"""

from collections.abc import Container, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import ModelSettings


class ProviderRecord(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A provider. `has_key`: a key was given for it and is kept elsewhere. Times as in Chat."""

    name: str
    type: str
    created_at: str
    updated_at: str
    display_name: str | None = None
    base_url: str | None = None
    enabled: bool = True
    has_key: bool = False


class ModelRecord(msgspec.Struct, frozen=True, gc=False, rename="camel"):
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
    settings: ModelSettings = ModelSettings()
    pricing: Pricing | None = None

    @property
    def id(self) -> str:
        """The model as chats name it: "provider:model"."""
        return f"{self.provider}:{self.model}"


def choose_default(records: Iterable[ModelRecord]) -> ModelRecord | None:
    """Return who becomes the default when nobody said who: the first by provider and model."""
    return min(records, key=lambda one: (one.provider, one.model), default=None)


def update_default(
    records: Sequence[ModelRecord],
    providers: Container[str],
    *,
    wish: str | None = None,
    not_this: str | None = None,
    elect: bool = True,
) -> list[ModelRecord]:
    """Return the records that have to change so that there is one default among those in use.

    Those are the enabled ones of the providers that are there. It is the one of the id `wish`, else the one
    that there is, unless that is `not_this`. When nobody is it and `elect`, one is elected: `not_this` only
    when there is no other.
    """
    in_use = [one for one in records if one.enabled and one.provider in providers]
    chosen = next((one for one in in_use if one.id == wish), None)
    if chosen is None:
        chosen = next((one for one in in_use if one.is_default and one.id != not_this), None)
    if chosen is None and elect:
        chosen = choose_default([one for one in in_use if one.id != not_this]) or choose_default(in_use)
    wanted = None if chosen is None else chosen.id
    return [
        replace(one, is_default=one.id == wanted) for one in records if one.is_default != (one.id == wanted)
    ]
