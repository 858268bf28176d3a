"""Providers and models that were configured over the protocol, and the choice of the default model.

API keys are not part of the records.
"""

from collections.abc import Container, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import ModelSettings


class ProviderRecord(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A provider. `has_key`: its API key is stored (see ports/secrets). Times as in Chat."""

    name: str
    type: str
    created_at: str
    updated_at: str
    display_name: str | None = None
    base_url: str | None = None
    enabled: bool = True
    has_key: bool = False


class ModelRecord(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A model of a provider. At most one record is the default.

    `provider` is the provider's name. `context_limit` is in tokens, `compression_threshold` in percent of it.
    Times as in Chat.
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
    """Return the default model if nothing else decides: the first by provider and model."""
    return min(records, key=lambda one: (one.provider, one.model), default=None)


def update_default(
    records: Sequence[ModelRecord],
    providers: Container[str],
    *,
    preferred: str | None = None,
    avoided: str | None = None,
    may_choose: bool = True,
) -> list[ModelRecord]:
    """Return the records that have to change so that one of the models in use is the default.

    A model is in use if it is enabled and `providers` contains its provider. The default is, in this order:
    the model with the id `preferred`; the present default, unless that is `avoided`; with `may_choose`, the
    first other model, or `avoided` if there is no other. Without `may_choose` there may be no default.
    """
    in_use = [one for one in records if one.enabled and one.provider in providers]
    chosen = next((one for one in in_use if one.id == preferred), None)
    if chosen is None:
        chosen = next((one for one in in_use if one.is_default and one.id != avoided), None)
    if chosen is None and may_choose:
        chosen = choose_default([one for one in in_use if one.id != avoided]) or choose_default(in_use)
    wanted = None if chosen is None else chosen.id
    return [
        replace(one, is_default=one.id == wanted) for one in records if one.is_default != (one.id == wanted)
    ]
