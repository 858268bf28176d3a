"""Settings, models and prices between core records and the wire, with the checks that models cannot express.

Other records of providers are sent unchanged.
"""

from typing import TYPE_CHECKING, Protocol

from parley_daemon.core import codec
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.catalogue import (
    Catalogue,
    ModelSetup,
    ProviderUnavailableError,
    UnknownModelError,
)
from parley_daemon.ports.schemas import SchemaCheckError, Schemas
from parley_daemon.server.wire import records
from parley_daemon.server.wire.errors import invalid_params
from parley_daemon.server.wire.records import Json
from parley_protocol.models.settings import ModelSettings as WireSettings

if TYPE_CHECKING:  # turns need the settings only
    from parley_protocol.models.providers import ModelPricing

_MODEL = codec.JsonForm(ModelSetup, frozenset())
SETTINGS_LIMIT = 128 * 1024
"""The largest settings of a chat, a turn or a model, in bytes of JSON, the output schema included."""

_SCHEMA_PATH = "settings.outputSchema"


def model_config(setup: ModelSetup) -> Json:
    """Return a ModelConfig. `settings` is null if no setting is set."""
    shown = _MODEL.to_object(setup)
    shown.settings = None if setup.settings == ModelSettings() else records.settings(setup.settings)
    return shown


def core_pricing(pricing: "ModelPricing | None") -> Pricing | None:
    """Return the prices that a client sent. None: it sent none.

    Raises:
        WireError: -32602, one of the two required prices is missing.
    """
    if pricing is None or not any(price is not None for price in pricing.model_dump().values()):
        return None
    if pricing.input_per_million is None or pricing.output_per_million is None:
        name = "inputPerMillion" if pricing.input_per_million is None else "outputPerMillion"
        raise invalid_params([{"path": f"pricing.{name}", "problem": "is needed beside the other prices"}])
    return codec.from_attributes(Pricing, pricing)


class SettingsChecks(Protocol):
    """What settings are checked against: an engine."""

    @property
    def schemas(self) -> Schemas:
        """JSON Schema."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """The providers and their models."""
        ...

    async def load_configuration(self, *references: str | None) -> None:
        """Return once the catalogue knows its providers, and the models of these references if it can."""
        ...


async def check_settings(sent: WireSettings | None, checks: SettingsChecks) -> ModelSettings:
    """Return the settings that a client sent.

    Raises:
        WireError: -32602, they are too large, the output schema is not a valid JSON Schema, or a fallback
            model is named without its provider, and no provider or several have it.
    """
    settings = records.core_settings(sent)
    size = 0 if sent is None else len(records.encode(settings))
    if size > SETTINGS_LIMIT:
        raise invalid_params(
            [{"path": "settings", "problem": f"takes {size} bytes of JSON; the limit is {SETTINGS_LIMIT}"}]
        )
    short_names = [name for name in settings.fallback_models or () if ":" not in name]
    if short_names:
        await checks.load_configuration(*short_names)
    for number, name in enumerate(settings.fallback_models or ()):
        _check_fallback(name, f"settings.fallbackModels[{number}]", checks.catalogue)
    if settings.output_schema is None:
        return settings
    try:
        violation = await checks.schemas.check_schema(settings.output_schema)
    except SchemaCheckError as error:
        raise invalid_params([{"path": _SCHEMA_PATH, "problem": str(error)}]) from error
    if violation is not None:
        path = f"{_SCHEMA_PATH}.{violation.path}" if violation.path else _SCHEMA_PATH
        raise invalid_params([{"path": path, "problem": violation.problem}])
    return settings


def _check_fallback(name: str, path: str, catalogue: Catalogue) -> None:
    """Refuse a fallback model whose name does not say which model it is.

    One that is named in full and cannot be used is skipped when it is needed.
    """
    try:
        catalogue.resolve(name)
    except UnknownModelError as error:
        if error.candidates or ":" not in name:
            raise invalid_params([{"path": path, "problem": str(error)}]) from error
    except ProviderUnavailableError:
        pass
