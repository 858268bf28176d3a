"""Providers and models, and how they are configured, to wire JSON and back: a part of `convert`."""

from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.catalogue import ModelSetup, ProviderCheck, ProviderInfo, ProviderSetup
from parley_daemon.server.wire import records
from parley_daemon.server.wire.errors import invalid_params
from parley_daemon.server.wire.records import Json
from parley_protocol.models.providers import ModelPricing


def listed_provider(one: ProviderInfo) -> Json:
    """Return a provider of model/list."""
    return {
        "provider": one.provider,
        "displayName": one.display_name,
        "available": one.available,
        "unavailableReason": one.unavailable_reason,
        "unavailableMessage": one.unavailable_message,
        "local": one.local,
        "models": [
            {
                "id": each.id,
                "provider": each.provider,
                "model": each.model,
                "displayName": each.display_name,
                "contextLimit": each.context_limit,
                "capabilities": each.capabilities,
            }
            for each in one.models
        ],
    }


def provider(one: ProviderSetup) -> Json:
    """Return a Provider."""
    return {
        "provider": one.name,
        "type": one.type,
        "displayName": one.display_name,
        "baseUrl": one.base_url,
        "hasApiKey": one.has_key,
        "enabled": one.enabled,
        "source": one.source,
    }


def check(one: ProviderCheck) -> Json:
    """Return what came of provider/check."""
    return {
        "ok": one.ok,
        "method": one.method,
        "url": one.url,
        "statusCode": one.status_code,
        "answer": one.answer,
        "durationMs": one.duration_ms,
        "error": records.failure(one.error),
    }


def model_config(one: ModelSetup) -> Json:
    """Return a ModelConfig."""
    return {
        "provider": one.provider,
        "model": one.model,
        "displayName": one.display_name,
        "enabled": one.enabled,
        "isDefault": one.is_default,
        "contextLimit": one.context_limit,
        "compressionThreshold": one.compression_threshold,
        "settings": None if one.settings == ModelSettings() else records.settings(one.settings),
        "pricing": _pricing(one.pricing),
        "source": one.source,
    }


def _pricing(one: Pricing | None) -> Json | None:
    if one is None:
        return None
    return {
        "inputPerMillion": one.input_per_million,
        "outputPerMillion": one.output_per_million,
        "cacheCreationPerMillion": one.cache_creation_per_million,
        "cacheReadPerMillion": one.cache_read_per_million,
    }


def core_pricing(one: ModelPricing | None) -> Pricing | None:
    """Read a ModelPricing; one without any price is none.

    Raises:
        WireError: only some of the prices that are needed are there.
    """
    if one is None or not any(price is not None for price in one.model_dump().values()):
        return None
    if one.input_per_million is None or one.output_per_million is None:
        name = "inputPerMillion" if one.input_per_million is None else "outputPerMillion"
        raise invalid_params([{"path": f"pricing.{name}", "problem": "is needed beside the other prices"}])
    return Pricing(
        one.input_per_million,
        one.output_per_million,
        one.cache_read_per_million,
        one.cache_creation_per_million,
    )
