"""The cost of a model call, computed from the prices in the model's configuration."""

import msgspec

from parley_daemon.core.records import Usage

_MILLION = 1_000_000


class Pricing(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Prices in US dollars per million tokens. None: cached tokens have the price of input tokens."""

    input_per_million: float
    output_per_million: float
    cache_read_per_million: float | None = None
    cache_creation_per_million: float | None = None


def compute_cost(usage: Usage, pricing: Pricing) -> float | None:
    """Return the cost in US dollars. None: the provider did not report the tokens.

    Cached tokens are part of the input tokens, and reasoning tokens part of the output tokens.
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    read, created = usage.cache_read_tokens or 0, usage.cache_creation_tokens or 0
    fresh = max(0, usage.input_tokens - read - created)
    per_read = _or(pricing.cache_read_per_million, pricing.input_per_million)
    per_created = _or(pricing.cache_creation_per_million, pricing.input_per_million)
    dollars = (
        fresh * pricing.input_per_million
        + read * per_read
        + created * per_created
        + usage.output_tokens * pricing.output_per_million
    )
    return dollars / _MILLION


def _or(price: float | None, other: float) -> float:
    return other if price is None else price
