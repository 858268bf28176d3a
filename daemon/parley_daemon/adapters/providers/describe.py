"""Describes providers and models for clients, from the configuration and the providers' own lists."""

from collections.abc import Iterable

from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.model_lists import ModelLists
from parley_daemon.adapters.providers.provider import Provider
from parley_daemon.adapters.providers.shared.model_list import ListedModel
from parley_daemon.ports.catalogue import ModelInfo, ModelSetup, ModelSource, ProviderInfo


def describe_provider(
    provider: Provider, configured: Iterable[ModelConfig], model_lists: ModelLists
) -> ProviderInfo:
    """Return a provider with its models: the configured ones, then the others that it lists.

    A configured model that is switched off is left out, also when the provider lists it.
    """
    name = provider.config.name
    listed, named = model_lists.models(provider), set[str]()
    models: list[ModelInfo] = []
    for config in configured:
        owner, _, model = config.id.partition(":")
        if owner == name and model:
            named.add(model.casefold())
            if config.enabled:
                models.append(_describe_model(name, config, listed.get(model.casefold())))
    rest = [each for key, each in listed.items() if key not in named]
    models += [_describe_model(name, ModelConfig(f"{name}:{each.model}"), each) for each in rest]
    problem, failure = provider.problem, model_lists.failure(provider)
    reason, message = None, None
    if problem is not None:
        reason, message = problem.reason, problem.message
    elif failure is not None:
        reason, message = "fetch_failed", failure.message
    return ProviderInfo(
        provider=name,
        display_name=provider.display_name,
        available=reason is None,
        unavailable_reason=reason,
        models=tuple(models),
        unavailable_message=message,
        local=provider.local,
        source=provider.source,
    )


def describe_model_setup(config: ModelConfig, source: ModelSource, default: str | None) -> ModelSetup:
    """Return how a model is configured. `default` is the id of the default model."""
    provider, _, model = config.id.partition(":")
    return ModelSetup(
        provider,
        model,
        config.display_name,
        config.enabled,
        config.id == default,
        config.context_limit,
        config.compression_threshold,
        config.settings,
        config.pricing,
        source,
    )


def _describe_model(provider: str, config: ModelConfig, listed: ListedModel | None) -> ModelInfo:
    """Return a model as configured; the list of its provider fills in what is not configured."""
    model = config.id.partition(":")[2]
    listed = listed or ListedModel(model)
    return ModelInfo(
        config.id,
        provider,
        model,
        config.display_name or listed.display_name or model,
        config.context_limit or listed.context_limit,
        listed.capabilities,
    )
