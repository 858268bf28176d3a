"""The registry of provider types: one row for each, and the rows that other packages bring.

A row is a `ProviderType`. It is the only place where a type is written down: what can be configured, the
presets of the environment, `provider/list`, the check of a provider and its list of models all read the row.
(The table of types in docs/providers.md is compared with the rows by a test.)

The built-in rows stand in `TYPES`. Another package adds a row through an entry point of the group
`parleyd.provider_types` (https://packaging.python.org/en/latest/specifications/entry-points/) whose value is
a ProviderType. Looking through the installed packages takes time, so it happens once, when a type is wanted
that is not built in, or when all types are wanted. A built-in type takes precedence over one of the same
name. A row that cannot be loaded is logged and left out: a broken package must not prevent the start.

The functions of the built-in rows import their dialects when they are called: a daemon uses few of them, and
the imports would delay its start.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points

from msgspec.structs import replace

from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.provider_type import (
    Access,
    ProviderType,
    bearer_headers,
    make_http_model,
)
from parley_daemon.adapters.providers.shared.model_list import Fetch, ListedModel
from parley_daemon.ports.models import Model

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "parleyd.provider_types"


def _verify_with_get(path: str) -> Callable[[Access, Fetch], Awaitable[object]]:
    return lambda access, fetch: fetch(endpoint_url(access.base_url, path), bearer_headers(access))


def _make_openai(access: Access) -> Model:
    if access.options.get("api") == "chat":
        from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
        from parley_daemon.adapters.providers.openai_chat.flavours import OPENAI

        return make_http_model(access, ChatCompletions(access.name, access.base_url, OPENAI))
    from parley_daemon.adapters.providers.openai_responses.dialect import Responses

    return make_http_model(access, Responses(access.name, access.base_url))


async def _list_openai(access: Access, fetch: Fetch) -> Sequence[ListedModel]:
    from parley_daemon.adapters.providers.openai_chat.model_list import openai_models

    return await openai_models(access.base_url, bearer_headers(access), fetch)


def _make_compatible(access: Access) -> Model:
    from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
    from parley_daemon.adapters.providers.openai_chat.flavours import COMPATIBLE

    return make_http_model(access, ChatCompletions(access.name, access.base_url, COMPATIBLE))


async def _list_compatible(access: Access, fetch: Fetch) -> Sequence[ListedModel]:
    from parley_daemon.adapters.providers.openai_chat.model_list import compatible_models

    return await compatible_models(access.base_url, bearer_headers(access), fetch)


def _make_openrouter(access: Access) -> Model:
    from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
    from parley_daemon.adapters.providers.openai_chat.flavours import OPENROUTER

    return make_http_model(access, ChatCompletions(access.name, access.base_url, OPENROUTER))


def _make_vercel(access: Access) -> Model:
    from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
    from parley_daemon.adapters.providers.openai_chat.flavours import VERCEL

    return make_http_model(access, ChatCompletions(access.name, access.base_url, VERCEL))


def _make_anthropic(access: Access) -> Model:
    from parley_daemon.adapters.providers.anthropic.dialect import AnthropicMessages

    return make_http_model(
        access, AnthropicMessages(access.name, access.base_url), _anthropic_headers(access)
    )


async def _list_anthropic(access: Access, fetch: Fetch) -> Sequence[ListedModel]:
    from parley_daemon.adapters.providers.anthropic.model_list import anthropic_models

    return await anthropic_models(access.base_url, _anthropic_headers(access), fetch)


def _anthropic_headers(access: Access) -> Mapping[str, str]:
    from parley_daemon.adapters.providers.anthropic.dialect import VERSION

    key = {"x-api-key": access.api_key} if access.api_key else {}
    return {"anthropic-version": VERSION, **key, **access.headers}


def _make_google(access: Access) -> Model:
    from parley_daemon.adapters.providers.google.dialect import GoogleGenerate

    return make_http_model(access, GoogleGenerate(access.name, access.base_url), _google_headers(access))


async def _list_google(access: Access, fetch: Fetch) -> Sequence[ListedModel]:
    from parley_daemon.adapters.providers.google.model_list import google_models

    return await google_models(access.base_url, _google_headers(access), fetch)


def _google_headers(access: Access) -> Mapping[str, str]:
    key = {"x-goog-api-key": access.api_key} if access.api_key else {}
    return {**key, **access.headers}


def _make_bedrock(access: Access) -> Model:
    from parley_daemon.adapters.providers.bedrock.access import make_model

    return make_model(access)


async def _list_bedrock(access: Access, fetch: Fetch) -> Sequence[ListedModel]:
    from parley_daemon.adapters.providers.bedrock.access import list_models

    return await list_models(access, fetch)


def _make_azure(access: Access) -> Model:
    from parley_daemon.adapters.providers.azure import make_model

    return make_model(access)


async def _verify_azure(access: Access, fetch: Fetch) -> object:
    from parley_daemon.adapters.providers.azure import verify_key

    return await verify_key(access, fetch)


def _make_demo(access: Access) -> Model:
    from parley_daemon.adapters.providers.demo.model import DemoModel

    return DemoModel(access.pace)


_BUILT_IN = (
    ProviderType(
        "openai",
        "OpenAI",
        _make_openai,
        base_url="https://api.openai.com/v1",
        key_variables=("OPENAI_API_KEY",),
        url_variable="OPENAI_BASE_URL",
        options={"api": ("responses", "chat")},
        list_models=_list_openai,
    ),
    ProviderType(
        "openai-compat",
        "OpenAI-compatible server",
        _make_compatible,
        needs_key=False,
        list_models=_list_compatible,
    ),
    ProviderType(
        "anthropic",
        "Anthropic",
        _make_anthropic,
        base_url="https://api.anthropic.com",
        key_variables=("ANTHROPIC_API_KEY",),
        url_variable="ANTHROPIC_BASE_URL",
        list_models=_list_anthropic,
    ),
    ProviderType(
        "bedrock",
        "Amazon Bedrock",
        _make_bedrock,
        key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
        url_variable="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        needs_key=False,
        needs_url=False,
        options={"region": (), "profile": ()},
        list_models=_list_bedrock,
    ),
    ProviderType(
        "google",
        "Google",
        _make_google,
        base_url="https://generativelanguage.googleapis.com",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        list_models=_list_google,
    ),
    ProviderType(
        "azure",
        "Azure OpenAI",
        _make_azure,
        key_variables=("AZURE_OPENAI_API_KEY",),
        url_variable="AZURE_OPENAI_ENDPOINT",
        options={"api": ("responses", "chat"), "api_version": ()},
        verify_key=_verify_azure,
    ),
    ProviderType(
        "openrouter",
        "OpenRouter",
        _make_openrouter,
        base_url="https://openrouter.ai/api/v1",
        key_variables=("OPENROUTER_API_KEY",),
        list_models=_list_compatible,
        verify_key=_verify_with_get("/key"),
    ),
    ProviderType(
        "vercel",
        "Vercel AI Gateway",
        _make_vercel,
        base_url="https://ai-gateway.vercel.sh/v1",
        key_variables=("AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"),
        list_models=_list_compatible,
        verify_key=_verify_with_get("/credits"),
    ),
    ProviderType(
        "demo",
        "parleyd demo",
        _make_demo,
        needs_key=False,
        needs_url=False,
        local=True,
    ),
)

TYPES: Mapping[str, ProviderType] = {row.name: row for row in _BUILT_IN}
"""The built-in types by name."""


def find_type(name: str) -> ProviderType | None:
    """Return the type of that name; None: there is none."""
    return TYPES.get(name) or _types_of_packages().get(name)


def all_types() -> Mapping[str, ProviderType]:
    """Return every type by its name, the built-in ones first."""
    return {**TYPES, **{name: row for name, row in _types_of_packages().items() if name not in TYPES}}


@cache
def _types_of_packages() -> Mapping[str, ProviderType]:
    found: dict[str, ProviderType] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            row = entry.load()
        except Exception:  # the boundary to another package: loading it runs its code
            log.exception("the provider type %s of %s cannot be loaded", entry.name, entry.value)
            continue
        if isinstance(row, ProviderType):
            found[row.name] = replace(row, package=entry.dist.name if entry.dist else entry.module)
        else:
            log.error("the provider type %s of %s is not a ProviderType", entry.name, entry.value)
    return found
