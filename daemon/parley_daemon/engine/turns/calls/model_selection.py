"""Which model answers: the chat's own, or a default in its place; and whether it may be used at all."""

from collections.abc import Sequence

from parley_daemon.core.records import Failure, ModelSettings
from parley_daemon.engine.errors import NoDefaultModelError, NotLocalError
from parley_daemon.ports.catalogue import (
    Catalogue,
    ProviderUnavailableError,
    ResolvedModel,
    UnknownModelError,
)
from parley_daemon.ports.models import ModelError


def find_model(catalogue: Catalogue, reference: str, settings: ModelSettings) -> ResolvedModel:
    """Return a model that may be used with these settings, which take precedence over the model's own.

    Raises:
        NotLocalError: its provider is not local, and only local providers are allowed.
        UnknownModelError, ProviderUnavailableError: see Catalogue.resolve.
    """
    model = catalogue.resolve(reference)
    local_only = catalogue.local_only or settings.with_defaults(model.settings).local_only is True
    if local_only and not model.local:
        who = "the configuration" if catalogue.local_only else "the chat"
        raise NotLocalError(
            f"{reference} is not a local model, and {who} allows only those (see model/list)."
        )
    return model


def chat_model(catalogue: Catalogue, own: str | None) -> str | None:
    """Return the model that a chat with `own` model uses.

    That is its own one; when it no longer exists, the catalogue's `substitute_model`. A chat without a model
    of its own uses the default model.
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


def fallback_default(catalogue: Catalogue, *named: str | None) -> str | None:
    """Return the model that a turn uses when the named ones no longer exist, or when none is named."""
    return catalogue.substitute_model if any(named) else catalogue.default_model


def check_model(catalogue: Catalogue, model: str | None, own: str | None, settings: ModelSettings) -> None:
    """Return when a turn with this model (None: the chat's `own`) and these settings may begin.

    Raises:
        NoDefaultModelError: no model is named, and there is no default model.
        NotLocalError, UnknownModelError, ProviderUnavailableError: see `find_model`.
    """
    reference = model or chat_model(catalogue, own)
    if reference is None:
        complaint = catalogue.complaint
        reason = f" The configuration is broken: {complaint}" if complaint else ""
        raise NoDefaultModelError(f"The chat has no model and there is no default one.{reason}")
    find_model(catalogue, reference, settings)


def first_model(catalogue: Catalogue, references: Sequence[str], settings: ModelSettings) -> ResolvedModel:
    """Return the model that a turn asks first: the first of the references that exists.

    Raises:
        ModelError: none exists, or it cannot be used now or with these settings.
    """
    unknown: UnknownModelError | None = None
    for reference in references:
        try:
            return find_model(catalogue, reference, settings)
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
