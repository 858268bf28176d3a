"""model/list; provider/list, create, update, delete, check."""

from typing import Any

from msgspec.structs import replace

from parley_daemon.core.provider_records import ProviderRecord
from parley_daemon.engine.configuration.providers import NewKey
from parley_daemon.server.call import Call
from parley_protocol.models.providers import (
    ModelListParams,
    ProviderCheckParams,
    ProviderCreateParams,
    ProviderDeleteParams,
    ProviderListParams,
    ProviderUpdateParams,
)


async def list_models(call: Call, params: ModelListParams) -> Any:
    """Return the providers and their models, and the error in the configuration file, if any."""
    engine = call.connection.app.engine
    listed = await engine.models()
    catalogue = engine.catalogue
    return {
        "providers": listed,
        "defaultModel": catalogue.default_model,
        "complaint": catalogue.complaint,
    }


async def list_providers(call: Call, params: ProviderListParams) -> Any:
    """Return the setups of all providers."""
    return {"providers": await call.connection.app.engine.providers.list()}


async def create(call: Call, params: ProviderCreateParams) -> Any:
    """Configure a provider."""
    wanted = ProviderRecord(
        params.provider,
        params.type,
        created_at="",
        updated_at="",
        display_name=params.display_name or None,
        base_url=_strip_url(params.base_url),
        enabled=params.enabled,
    )
    key = NewKey(params.api_key) if params.api_key else None
    return await call.connection.app.engine.providers.create(wanted, key)


async def update(call: Call, params: ProviderUpdateParams) -> Any:
    """Change the fields that are given. null resets a field; a field that is left out stays as it is."""
    given = params.model_fields_set

    def change(record: ProviderRecord) -> ProviderRecord:
        if "display_name" in given:
            record = replace(record, display_name=params.display_name or None)
        if "base_url" in given:
            record = replace(record, base_url=_strip_url(params.base_url))
        if "enabled" in given:
            record = replace(record, enabled=params.enabled is not False)
        return record

    key = NewKey(params.api_key or None) if "api_key" in given else None
    return await call.connection.app.engine.providers.update(params.provider, change, key)


async def check(call: Call, params: ProviderCheckParams) -> Any:
    """Try a provider."""
    return await call.connection.app.engine.providers.check(params.provider)


async def delete(call: Call, params: ProviderDeleteParams) -> Any:
    """Delete the configuration of a provider."""
    await call.connection.app.engine.providers.delete(params.provider)


def _strip_url(url: str | None) -> str | None:
    return (url or "").strip() or None
