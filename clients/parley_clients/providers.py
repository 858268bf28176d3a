"""What can be asked and changed of a daemon's providers and models; a part of the client."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parley_clients.connection.reconnect import Link
from parley_clients.params import UNSET, Unset, as_json, given
from parley_clients.results import Result

if TYPE_CHECKING:
    from parley_protocol.models.providers import (
        ModelConfig,
        ModelConfigListResult,
        ModelListResult,
        ModelPricing,
        Provider,
        ProviderCheckResult,
        ProviderListResult,
    )
    from parley_protocol.models.settings import ModelSettings


class Configuring:
    """The calls of a client about providers and models. A key goes in and never comes out."""

    _link: Link

    async def models(self, *, timeout: float | None = None) -> "Result[ModelListResult]":
        """Return the providers and the models that are known of them.

        Providers that have not been asked for their models before get 1.5 seconds to answer; what comes later
        is in the result of a later call.
        """
        return Result("model/list", await self._link.call("model/list", {}, timeout))

    # --------------------------------------------------------------------- providers

    async def providers(self, *, timeout: float | None = None) -> "Result[ProviderListResult]":
        """Return how providers are configured, and which could be."""
        return Result("provider/list", await self._link.call("provider/list", {}, timeout))

    async def create_provider(
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
            ConflictError: there is one of this name.
            InvalidParamsError: there could be no such provider.
        """
        params = given(
            provider=name,
            type=type,
            displayName=display_name,
            baseUrl=base_url,
            apiKey=api_key,
            enabled=enabled,
        )
        return Result("provider/create", await self._link.call("provider/create", params, timeout))

    async def update_provider(
        self,
        name: str,
        *,
        display_name: str | Unset | None = UNSET,
        base_url: str | Unset | None = UNSET,
        api_key: str | Unset | None = UNSET,
        enabled: bool | Unset = UNSET,
        timeout: float | None = None,
    ) -> "Result[Provider]":
        """Change what is given; None clears: the usual name, the usual address, no key of its own.

        Raises:
            InvalidParamsError: there is none of this name, or it could not be so.
            NotAllowedError: the configuration's file sets it.
        """
        changes = {"displayName": display_name, "baseUrl": base_url, "apiKey": api_key, "enabled": enabled}
        params = {"provider": name, **_set(changes)}
        return Result("provider/update", await self._link.call("provider/update", params, timeout))

    async def delete_provider(self, name: str, *, timeout: float | None = None) -> None:
        """Forget how a provider is configured, with its key.

        Raises:
            InvalidParamsError: there is none of this name.
            NotAllowedError: it is not configured here.
        """
        await self._link.call("provider/delete", {"provider": name}, timeout)

    async def check_provider(
        self, name: str, *, timeout: float | None = None
    ) -> "Result[ProviderCheckResult]":
        """Try a provider; return what was asked and what it answered. Takes up to 45 seconds.

        Raises:
            InvalidParamsError: there is none of this name.
        """
        return Result("provider/check", await self._link.call("provider/check", {"provider": name}, timeout))

    # ------------------------------------------------------------------------ models

    async def model_configs(
        self, provider: str | None = None, *, timeout: float | None = None
    ) -> "Result[ModelConfigListResult]":
        """Return how models are configured, of one provider or of all."""
        raw = await self._link.call("modelConfig/list", given(provider=provider), timeout)
        return Result("modelConfig/list", raw)

    async def create_model_config(
        self,
        model: str,
        *,
        display_name: str | None = None,
        enabled: bool | None = None,
        is_default: bool | None = None,
        context_limit: int | None = None,
        compression_threshold: int | None = None,
        settings: "ModelSettings | Mapping[str, Any] | None" = None,
        pricing: "ModelPricing | Mapping[str, Any] | None" = None,
        timeout: float | None = None,
    ) -> "Result[ModelConfig]":
        """Configure a model, "provider:model". The first one becomes the default.

        Raises:
            ConflictError: it is configured already.
            InvalidParamsError: there is no such provider, or it could not be so.
            NotAllowedError: it shall be the default, and the configuration's file names another one.
        """
        params = given(
            **_named(model),
            displayName=display_name,
            enabled=enabled,
            isDefault=is_default,
            contextLimit=context_limit,
            compressionThreshold=compression_threshold,
            settings=settings,
            pricing=pricing,
        )
        return Result("modelConfig/create", await self._link.call("modelConfig/create", params, timeout))

    async def update_model_config(
        self,
        model: str,
        *,
        display_name: str | Unset | None = UNSET,
        enabled: bool | Unset = UNSET,
        is_default: bool | Unset = UNSET,
        context_limit: int | Unset | None = UNSET,
        compression_threshold: int | Unset | None = UNSET,
        settings: "ModelSettings | Mapping[str, Any] | Unset | None" = UNSET,
        pricing: "ModelPricing | Mapping[str, Any] | Unset | None" = UNSET,
        timeout: float | None = None,
    ) -> "Result[ModelConfig]":
        """Change what is given of a model's configuration; None clears.

        Raises:
            ModelNotFoundError: it is not configured.
            NotAllowedError: the configuration's file sets it, or the default.
        """
        changes = {
            "displayName": display_name,
            "enabled": enabled,
            "isDefault": is_default,
            "contextLimit": context_limit,
            "compressionThreshold": compression_threshold,
            "settings": settings,
            "pricing": pricing,
        }
        params = {**_named(model), **_set(changes)}
        return Result("modelConfig/update", await self._link.call("modelConfig/update", params, timeout))

    async def delete_model_config(self, model: str, *, timeout: float | None = None) -> None:
        """Forget how a model is configured; it can still be asked.

        Raises:
            ModelNotFoundError: it is not configured.
            NotAllowedError: the configuration's file sets it.
        """
        await self._link.call("modelConfig/delete", _named(model), timeout)


def _named(model: str) -> dict[str, str]:
    provider, _, name = model.partition(":")
    return {"provider": provider, "model": name}


def _set(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: as_json(value) for name, value in changes.items() if value is not UNSET}
