"""Settings that a client sent, checked as far as their shape does not tell: whether a schema is one."""

from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.schemas import SchemaCheckError, Schemas
from parley_daemon.server.wire import records
from parley_daemon.server.wire.errors import invalid_params
from parley_protocol.models.settings import ModelSettings as WireSettings

_PATH = "settings.outputSchema"


async def checked_settings(given: WireSettings | None, schemas: Schemas) -> ModelSettings:
    """Return the settings of params.

    Raises:
        WireError: their output schema is none.
    """
    settings = records.core_settings(given)
    if settings.output_schema is None:
        return settings
    try:
        flaw = await schemas.check_schema(settings.output_schema)
    except SchemaCheckError as error:
        raise invalid_params([{"path": _PATH, "problem": str(error)}]) from error
    if flaw is not None:
        path = f"{_PATH}.{flaw.path}" if flaw.path else _PATH
        raise invalid_params([{"path": path, "problem": flaw.problem}])
    return settings
