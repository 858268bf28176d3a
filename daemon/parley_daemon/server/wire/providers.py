"""Configured models to wire objects, and prices back. Other records of providers are sent as they are."""

from parley_daemon.core import codec
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.catalogue import ModelSetup
from parley_daemon.server.wire import records
from parley_daemon.server.wire.errors import invalid_params
from parley_daemon.server.wire.records import Json
from parley_protocol.models.providers import ModelPricing

_MODEL = codec.JsonForm(ModelSetup, frozenset())


def model_config(one: ModelSetup) -> Json:
    """Return a ModelConfig. Settings that set nothing are null."""
    shown = _MODEL.to_object(one)
    shown.settings = None if one.settings == ModelSettings() else records.settings(one.settings)
    return shown


def core_pricing(one: ModelPricing | None) -> Pricing | None:
    """Return the prices that a client sent; None when it sent none.

    Raises:
        WireError: one of the two required prices is missing.
    """
    if one is None or not any(price is not None for price in one.model_dump().values()):
        return None
    if one.input_per_million is None or one.output_per_million is None:
        name = "inputPerMillion" if one.input_per_million is None else "outputPerMillion"
        raise invalid_params([{"path": f"pricing.{name}", "problem": "is needed beside the other prices"}])
    return codec.from_attributes(Pricing, one)
