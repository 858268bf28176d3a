"""The configuration of providers and models: `client.providers` and `client.model_configs`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parley_clients.connection.session import Session
from parley_clients.params import UNSET, Unset, call_params, model_params, update_params
from parley_clients.results import Result

if TYPE_CHECKING:
    from parley_clients.params import Settings
    from parley_protocol.models.providers import (
        ModelConfig,
        ModelConfigListResult,
        ModelPricing,
        Provider,
        ProviderCheckResult,
        ProviderListResult,
    )


class Providers:
    """The configuration of the daemon's providers (`client.providers`).

    An API key can be set and removed, but never read.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(self, *, timeout: float | None = None) -> "Result[ProviderListResult]":
        """Return the configured providers, and those that could be configured."""
        return Result("provider/list", await self._session.call("provider/list", {}, timeout))

    async def create(
        self,
        name: str,
        type: str,
        *,
        display_name: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        enabled: bool | None = None,
        timeout: float | None = None,
    ) -> "Result[Provider]":
        """Configure a provider, such as ("work", "openai-compat"); its models are named "work:…".

        Raises:
            ConflictError: a provider of this name is configured already.
            InvalidParamsError: the configuration is invalid.
        """
        params = call_params(
            provider=name,
            type=type,
            displayName=display_name,
            baseUrl=base_url,
            apiKey=api_key,
            enabled=enabled,
        )
        return Result("provider/create", await self._session.call("provider/create", params, timeout))

    async def update(
        self,
        name: str,
        *,
        display_name: str | Unset | None = UNSET,
        base_url: str | Unset | None = UNSET,
        api_key: str | Unset | None = UNSET,
        enabled: bool | Unset = UNSET,
        timeout: float | None = None,
    ) -> "Result[Provider]":
        """Change the given fields. None restores the default name or address, or removes the API key.

        Raises:
            InvalidParamsError: there is no such provider, or the configuration is invalid.
            NotAllowedError: the configuration file sets this field.
        """
        changes = update_params(displayName=display_name, baseUrl=base_url, apiKey=api_key, enabled=enabled)
        params = {"provider": name, **changes}
        return Result("provider/update", await self._session.call("provider/update", params, timeout))

    async def delete(self, name: str, *, timeout: float | None = None) -> None:
        """Delete the configuration of a provider, with its API key.

        Raises:
            InvalidParamsError: there is no such provider.
            NotAllowedError: the provider is built in, or set by the configuration file.
        """
        await self._session.call("provider/delete", {"provider": name}, timeout)

    async def check(self, name: str, *, timeout: float | None = None) -> "Result[ProviderCheckResult]":
        """Send a request to a provider; return the request and the response. Takes up to 45 seconds.

        Raises:
            InvalidParamsError: there is no such provider.
        """
        params = {"provider": name}
        return Result("provider/check", await self._session.call("provider/check", params, timeout))


class ModelConfigs:
    """The configuration of models (`client.model_configs`), each named "provider:model"."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list(
        self, provider: str | None = None, *, timeout: float | None = None
    ) -> "Result[ModelConfigListResult]":
        """Return the configured models, of one provider or of all."""
        params = call_params(provider=provider)
        return Result("modelConfig/list", await self._session.call("modelConfig/list", params, timeout))

    async def create(
        self,
        model: str,
        *,
        display_name: str | None = None,
        enabled: bool | None = None,
        is_default: bool | None = None,
        context_limit: int | None = None,
        compression_threshold: int | None = None,
        settings: "Settings | None" = None,
        pricing: "ModelPricing | Mapping[str, Any] | None" = None,
        timeout: float | None = None,
    ) -> "Result[ModelConfig]":
        """Configure a model. The first configured model becomes the default.

        `context_limit` is in tokens, `compression_threshold` in percent of it.

        Raises:
            ConflictError: the model is configured already.
            InvalidParamsError: there is no such provider, or the configuration is invalid.
            NotAllowedError: `is_default` is set, and the configuration file names another default.
        """
        params = call_params(
            **model_params(model),
            displayName=display_name,
            enabled=enabled,
            isDefault=is_default,
            contextLimit=context_limit,
            compressionThreshold=compression_threshold,
            settings=settings,
            pricing=pricing,
        )
        return Result("modelConfig/create", await self._session.call("modelConfig/create", params, timeout))

    async def update(
        self,
        model: str,
        *,
        display_name: str | Unset | None = UNSET,
        enabled: bool | Unset = UNSET,
        is_default: bool | Unset = UNSET,
        context_limit: int | Unset | None = UNSET,
        compression_threshold: int | Unset | None = UNSET,
        settings: "Settings | Unset | None" = UNSET,
        pricing: "ModelPricing | Mapping[str, Any] | Unset | None" = UNSET,
        timeout: float | None = None,
    ) -> "Result[ModelConfig]":
        """Change the given fields; None clears a field.

        Raises:
            ModelNotFoundError: the model is not configured.
            NotAllowedError: the configuration file sets this field, or the default model.
        """
        changes = update_params(
            displayName=display_name,
            enabled=enabled,
            isDefault=is_default,
            contextLimit=context_limit,
            compressionThreshold=compression_threshold,
            settings=settings,
            pricing=pricing,
        )
        params = {**model_params(model), **changes}
        return Result("modelConfig/update", await self._session.call("modelConfig/update", params, timeout))

    async def delete(self, model: str, *, timeout: float | None = None) -> None:
        """Delete the configuration of a model. The model can still be used.

        Raises:
            ModelNotFoundError: the model is not configured.
            NotAllowedError: the configuration file sets it.
        """
        await self._session.call("modelConfig/delete", model_params(model), timeout)
