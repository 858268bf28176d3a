"""Which models may be asked: any, or only those of local providers. Knows no request and no event."""

from collections.abc import Sequence

from parley_daemon.core.records import Failure, ModelSettings
from parley_daemon.engine.errors import NotLocalError
from parley_daemon.ports.catalogue import (
    Catalogue,
    ProviderUnavailableError,
    ResolvedModel,
    UnknownModelError,
)
from parley_daemon.ports.models import ModelError


def stays_local(catalogue: Catalogue, settings: ModelSettings) -> bool:
    """Return whether only models of local providers may be asked."""
    return catalogue.local_only or settings.local_only is True


def allowed(catalogue: Catalogue, reference: str, settings: ModelSettings) -> ResolvedModel:
    """Return a model that may be asked with these settings, which lie over its own.

    Raises:
        NotLocalError: its provider is not local, and only local ones may be asked.
        UnknownModelError, ProviderUnavailableError: as Catalogue.resolve.
    """
    model = catalogue.resolve(reference)
    if stays_local(catalogue, settings.over(model.settings)) and not model.local:
        raise NotLocalError(_not_local(catalogue, reference))
    return model


def _not_local(catalogue: Catalogue, reference: str) -> str:
    who = "the configuration" if catalogue.local_only else "the chat"
    return f"{reference} is no local model, and {who} allows only those (see model/list)."


def first_model(catalogue: Catalogue, references: Sequence[str], settings: ModelSettings) -> ResolvedModel:
    """Return the model that a turn asks first: of these the first one that there is.

    Raises:
        ModelError: there is none, or it cannot be used now or here.
    """
    unknown: UnknownModelError | None = None
    for reference in references:
        try:
            return allowed(catalogue, reference, settings)
        except UnknownModelError as error:
            unknown = unknown or error
        except ProviderUnavailableError as error:
            kind = "missing_key" if error.reason == "missing_api_key" else "invalid_request"
            raise ModelError(Failure(kind, str(error), provider=_provider(reference))) from error
        except NotLocalError as error:
            failure = Failure("invalid_request", str(error), provider=_provider(reference))
            raise ModelError(failure) from error
    message = str(unknown) if unknown else "No model is configured and there is no default one."
    raise ModelError(Failure("model_not_found", message))


def _provider(reference: str) -> str:
    return reference.partition(":")[0]
