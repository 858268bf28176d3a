"""Which model answers in a chat whose own model is gone. Knows no chat."""

from parley_daemon.ports.catalogue import Catalogue, ProviderUnavailableError, UnknownModelError


def asked(catalogue: Catalogue, own: str | None) -> str | None:
    """Return the model that a chat with this model of its own asks.

    That is its own, unless its provider is gone and there is a default one to stand in for it. A chat without
    one asks the default one.
    """
    if own is None:
        return catalogue.default_model
    try:
        catalogue.resolve(own)
    except UnknownModelError:
        return catalogue.substitute_model or own
    except ProviderUnavailableError:
        return own
    return own


def behind(catalogue: Catalogue, *named: str | None) -> str | None:
    """Return the model that is asked when these are gone, or when none was named."""
    return catalogue.substitute_model if any(named) else catalogue.default_model
