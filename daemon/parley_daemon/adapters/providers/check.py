"""Checks whether a provider can be used, with the cheapest request that proves it.

In this order: the request that proves the key, if the type has one; the list of models, which also proves the
key with most types; else an answer of one token. A result is the last request and the first lines of its
response, without secrets.
"""

import logging
import time
from contextlib import aclosing

import anyio
from msgspec.structs import replace

from parley_daemon.adapters.providers.http.json_client import JsonClient, NotFoundError
from parley_daemon.adapters.providers.http.redaction import excerpt
from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.model_lists import ModelLists, open_client
from parley_daemon.adapters.providers.provider import Provider
from parley_daemon.adapters.providers.provider_type import Access, ProviderType
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Failure, ModelSettings, Timeouts
from parley_daemon.ports.catalogue import ProviderCheck
from parley_daemon.ports.models import ModelError, ModelRequest, PromptMessage

log = logging.getLogger(__name__)

GET_SECONDS = 15.0
CHAT_SECONDS = 30.0
"""The time limit of the model call: a local server may have to load the model first."""

_ENOUGH_CHARACTERS = 4000
_TIMEOUTS = Timeouts(connect_ms=10_000, first_part_ms=30_000, idle_ms=30_000)


async def check_provider(provider: Provider, model: str | None, model_lists: ModelLists) -> ProviderCheck:
    """Check a provider. `model` is called when no other request proves anything; None: there is none."""
    provider_type, access = provider.provider_type, provider.access
    if provider.problem is not None or provider_type is None or access is None:
        return _describe_problem(provider)
    if provider_type.local:
        return ProviderCheck(ok=True, answer="It is built in and needs neither key nor network.")
    try:
        result = await _run(provider_type, access, model, model_lists)
        omitted = (*_omitted_fields(provider), *result.omitted_fields)
        return replace(result, omitted_fields=tuple(dict.fromkeys(omitted)))
    except Exception:  # the boundary to a package that brings a provider
        log.exception("%s cannot be checked", access.name)
        message = f"{access.name} cannot be checked: {provider_type.failure_text}."
        return ProviderCheck(ok=False, error=Failure("internal", message, provider=access.name))


def _omitted_fields(provider: Provider) -> tuple[str, ...]:
    """Return the fields that turns leave out of their requests because the provider refused them."""
    model = None if provider.model is None else provider.model.model
    return model.refused_fields if isinstance(model, HttpModel) else ()


async def _run(
    provider_type: ProviderType, access: Access, model: str | None, model_lists: ModelLists
) -> ProviderCheck:
    client = open_client(access, GET_SECONDS)
    try:
        result = await _check_without_charge(provider_type, access, client, model_lists)
    finally:
        with anyio.CancelScope(shield=True):
            await client.aclose()
    if result is not None:
        return result
    if model is not None:
        return await _check_chat(provider_type, access, model)
    message = (
        f"{access.name} has no list of models, and no model is configured. Configure one, then check again."
    )
    return _describe_exchange(client, access, Failure("invalid_request", message, provider=access.name))


def _describe_problem(provider: Provider) -> ProviderCheck:
    problem = provider.problem
    if problem is None:
        return ProviderCheck(ok=False)
    failure_kind = "missing_key" if problem.reason == "missing_api_key" else "invalid_request"
    return ProviderCheck(
        ok=False, error=Failure(failure_kind, problem.message, provider=provider.config.name)
    )


async def _check_without_charge(
    provider_type: ProviderType, access: Access, client: JsonClient, model_lists: ModelLists
) -> ProviderCheck | None:
    """Make the requests that are free of charge; return None if they prove nothing."""
    proved = False
    try:
        if provider_type.verify_key is not None:
            try:
                await provider_type.verify_key(access, client)
                proved = True
            except NotFoundError:
                pass  # the address may be that of a proxy
        if provider_type.list_models is not None:
            try:
                model_lists.store(access, await provider_type.list_models(access, client))
                proved = True
            except NotFoundError:
                pass
    except ModelError as error:
        return _describe_exchange(client, access, error.failure)
    return _describe_exchange(client, access, None) if proved else None


def _describe_exchange(client: JsonClient, access: Access, error: Failure | None) -> ProviderCheck:
    last = client.last
    if last is None:
        return ProviderCheck(error is None, error=error)
    answer = excerpt(last.body.decode("utf-8", "replace"), _secrets(access)) or None
    duration_ms = round(last.seconds * 1000)
    return ProviderCheck(error is None, "GET", last.url, last.status, answer, duration_ms, error)


async def _check_chat(provider_type: ProviderType, access: Access, name: str) -> ProviderCheck:
    """Call a model for one token."""
    try:
        model = provider_type.make_model(access)
    except ValueError as error:
        failure = Failure(
            "invalid_request",
            f"{access.name} cannot be used: {str(error).removesuffix('.')}.",
            provider=access.name,
        )
        return ProviderCheck(ok=False, error=failure)
    settings = ModelSettings(max_output_tokens=1, timeouts=_TIMEOUTS)
    request = ModelRequest(name, (PromptMessage("user", (Text("Hi"),)),), settings=settings)
    url = await model.address(request) if isinstance(model, HttpModel) else excerpt(access.base_url)
    started_at = time.monotonic()
    texts: list[str] = []
    failure = None
    try:
        with anyio.fail_after(CHAT_SECONDS):
            async with aclosing(model.stream(request)) as batches:
                async for batch in batches:
                    texts += [chunk.text for chunk in batch if isinstance(chunk, Text)]
                    if sum(map(len, texts)) > _ENOUGH_CHARACTERS:
                        break  # it answers; a server that ignores the limit of one token may never end
    except ModelError as error:
        failure = error.failure
    except TimeoutError:
        message = f"{access.name} did not answer within {CHAT_SECONDS:g} s."
        failure = Failure("timeout", message, provider=access.name, retryable=True)
    finally:
        with anyio.CancelScope(shield=True):
            await model.aclose()
    status = 200 if failure is None else failure.status_code
    answer = "".join(texts) if failure is None else failure.detail or ""
    duration_ms = round((time.monotonic() - started_at) * 1000)
    shown_answer = excerpt(answer, _secrets(access)) or None
    omitted = model.refused_fields if isinstance(model, HttpModel) else ()
    return ProviderCheck(failure is None, "POST", url, status, shown_answer, duration_ms, failure, omitted)


def _secrets(access: Access) -> tuple[str, ...]:
    return (access.api_key or "", *access.headers.values())
