"""modelConfig/list, create, update, delete."""

from typing import Any

from msgspec.structs import replace

from parley_daemon.core.provider_records import ModelRecord
from parley_daemon.core.records import AgentSettings
from parley_daemon.core.records import ModelSettings as Settings
from parley_daemon.server.call import Call
from parley_daemon.server.wire.configuration import check_settings, core_pricing, model_config
from parley_daemon.server.wire.errors import invalid_params
from parley_protocol.models.providers import (
    ModelConfigCreateParams,
    ModelConfigDeleteParams,
    ModelConfigListParams,
    ModelConfigUpdateParams,
)
from parley_protocol.models.settings import ModelSettings


async def list_configs(call: Call, params: ModelConfigListParams) -> Any:
    """Return the setups of models."""
    found = await call.connection.app.engine.model_configs.list(params.provider)
    return {"modelConfigs": [model_config(one) for one in found]}


async def create(call: Call, params: ModelConfigCreateParams) -> Any:
    """Configure a model."""
    wanted = ModelRecord(
        params.provider,
        params.model,
        created_at="",
        updated_at="",
        display_name=params.display_name or None,
        enabled=params.enabled,
        context_limit=params.context_limit,
        compression_threshold=params.compression_threshold,
        settings=await _settings(call, params.settings),
        pricing=core_pricing(params.pricing),
    )
    configs = call.connection.app.engine.model_configs
    return model_config(await configs.create(wanted, default=params.is_default))


async def update(call: Call, params: ModelConfigUpdateParams) -> Any:
    """Change the fields that are given. null resets a field; `settings` and `pricing` are replaced."""
    given = params.model_fields_set
    settings = await _settings(call, params.settings)
    pricing = core_pricing(params.pricing)

    def change(record: ModelRecord) -> ModelRecord:
        if "display_name" in given:
            record = replace(record, display_name=params.display_name or None)
        if "enabled" in given:
            record = replace(record, enabled=params.enabled is not False)
        if "context_limit" in given:
            record = replace(record, context_limit=params.context_limit)
        if "compression_threshold" in given:
            record = replace(record, compression_threshold=params.compression_threshold)
        if "settings" in given:
            record = replace(record, settings=settings)
        if "pricing" in given:
            record = replace(record, pricing=pricing)
        return record

    default = params.is_default is True if "is_default" in given else None
    configs = call.connection.app.engine.model_configs
    changed = await configs.update(params.provider, params.model, change, default=default)
    return model_config(changed)


async def delete(call: Call, params: ModelConfigDeleteParams) -> Any:
    """Delete the configuration of a model."""
    await call.connection.app.engine.model_configs.delete(params.provider, params.model)


async def _settings(call: Call, sent: ModelSettings | None) -> Settings:
    """Return the settings of a model.

    Raises:
        WireError: -32602, see `check_settings`; or they say what the model may do.
    """
    settings = await check_settings(sent, call.connection.app.engine)
    if settings.agent != AgentSettings():
        problem = "belongs to a chat or a turn, not to a model"
        raise invalid_params([{"path": "settings.agent", "problem": problem}])
    return settings
