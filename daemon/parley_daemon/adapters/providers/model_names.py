"""Finds the models that a name without a provider may mean.

A provider has a model if the model is configured or in the provider's list. A model that is switched off does
not count. The name is compared exactly first, then without regard to case. If providers that can be used have
the model, others do not count.
"""

from collections.abc import Iterable, Sequence

from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.model_lists import ModelLists
from parley_daemon.adapters.providers.provider import Provider


def find_models(
    name: str, providers: Iterable[Provider], configured: Iterable[ModelConfig], lists: ModelLists
) -> Sequence[str]:
    """Return the ids of the models with this name, at most one of each provider."""
    usable: list[str] = []
    others: list[str] = []
    configs = list(configured)
    for provider in providers:
        owner = provider.config.name
        own = [(one.id.removeprefix(f"{owner}:"), one) for one in configs if one.id.startswith(f"{owner}:")]
        off = {model.casefold() for model, config in own if not config.enabled}
        names = [model for model, config in own if config.enabled]
        names += [one.model for key, one in lists.models(provider).items() if key not in off]
        found = _match(name, names)
        if found is not None:
            (usable if provider.problem is None else others).append(f"{owner}:{found}")
    return usable or others


def _match(name: str, names: Sequence[str]) -> str | None:
    if name in names:
        return name
    return next((one for one in names if one.casefold() == name.casefold()), None)
