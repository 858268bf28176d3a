"""The registry of provider types: one row for each, and the rows that other packages bring.

A row is a `ProviderType`. It is the only place where a type is written down: what can be configured, the
presets of the environment, `provider/list`, the check of a provider and its list of models all read the row.
(The table of types in docs/providers.md is compared with the rows by a test.)

The built-in rows stand in `TYPES`. Another package adds a row through an entry point of the group
`parleyd.provider_types` (https://packaging.python.org/en/latest/specifications/entry-points/) whose value is
a ProviderType. Looking through the installed packages takes time, so it happens once, when a type is wanted
that is not built in, or when all types are wanted. A built-in type takes precedence over one of the same
name. A row that cannot be loaded is logged and left out: a broken package must not prevent the start.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points

from msgspec.structs import replace

from parley_daemon.adapters.providers import azure
from parley_daemon.adapters.providers.anthropic.dialect import VERSION, AnthropicMessages
from parley_daemon.adapters.providers.anthropic.model_list import anthropic_models
from parley_daemon.adapters.providers.bedrock import access as bedrock
from parley_daemon.adapters.providers.demo.model import DemoModel
from parley_daemon.adapters.providers.google.dialect import GoogleGenerate
from parley_daemon.adapters.providers.google.model_list import google_models
from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
from parley_daemon.adapters.providers.openai_chat.model_list import compatible_models, openai_models
from parley_daemon.adapters.providers.openai_chat.request import (
    COMPATIBLE,
    OPENAI,
    OPENROUTER,
    VERCEL,
    Flavour,
)
from parley_daemon.adapters.providers.openai_responses.dialect import Responses
from parley_daemon.adapters.providers.provider_type import Access, ProviderType, bearer_headers, over_http
from parley_daemon.adapters.providers.shared.model_list import Fetch, ListedModel
from parley_daemon.ports.models import Model

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "parleyd.provider_types"


def _list_models(
    lister: Callable[[str, Mapping[str, str], Fetch], Awaitable[Sequence[ListedModel]]],
    headers: Callable[[Access], Mapping[str, str]] = bearer_headers,
) -> Callable[[Access, Fetch], Awaitable[Sequence[ListedModel]]]:
    return lambda access, fetch: lister(access.base_url, headers(access), fetch)


def _get(path: str) -> Callable[[Access, Fetch], Awaitable[object]]:
    return lambda access, fetch: fetch(endpoint_url(access.base_url, path), bearer_headers(access))


def _make_chat(flavour: Flavour) -> Callable[[Access], Model]:
    return lambda access: over_http(access, ChatCompletions(access.name, access.base_url, flavour))


def _make_openai(access: Access) -> Model:
    if access.options.get("api") == "chat":
        return _make_chat(OPENAI)(access)
    return over_http(access, Responses(access.name, access.base_url))


def _make_anthropic(access: Access) -> Model:
    return over_http(access, AnthropicMessages(access.name, access.base_url), _anthropic_headers(access))


def _anthropic_headers(access: Access) -> Mapping[str, str]:
    key = {"x-api-key": access.api_key} if access.api_key else {}
    return {"anthropic-version": VERSION, **key, **access.headers}


def _make_google(access: Access) -> Model:
    return over_http(access, GoogleGenerate(access.name, access.base_url), _google_headers(access))


def _google_headers(access: Access) -> Mapping[str, str]:
    key = {"x-goog-api-key": access.api_key} if access.api_key else {}
    return {**key, **access.headers}


_BUILT_IN = (
    ProviderType(
        "openai",
        "OpenAI",
        _make_openai,
        base_url="https://api.openai.com/v1",
        key_variables=("OPENAI_API_KEY",),
        url_variable="OPENAI_BASE_URL",
        options={"api": ("responses", "chat")},
        list_models=_list_models(openai_models),
    ),
    ProviderType(
        "openai-compat",
        "OpenAI-compatible server",
        _make_chat(COMPATIBLE),
        needs_key=False,
        list_models=_list_models(compatible_models),
    ),
    ProviderType(
        "anthropic",
        "Anthropic",
        _make_anthropic,
        base_url="https://api.anthropic.com",
        key_variables=("ANTHROPIC_API_KEY",),
        url_variable="ANTHROPIC_BASE_URL",
        list_models=_list_models(anthropic_models, _anthropic_headers),
    ),
    ProviderType(
        "bedrock",
        "Amazon Bedrock",
        bedrock.make_model,
        key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
        url_variable="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        needs_key=False,
        needs_url=False,
        options={"region": (), "profile": ()},
        list_models=bedrock.list_models,
    ),
    ProviderType(
        "google",
        "Google",
        _make_google,
        base_url="https://generativelanguage.googleapis.com",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        list_models=_list_models(google_models, _google_headers),
    ),
    ProviderType(
        "azure",
        "Azure OpenAI",
        azure.make_model,
        key_variables=("AZURE_OPENAI_API_KEY",),
        url_variable="AZURE_OPENAI_ENDPOINT",
        options={"api": ("responses", "chat"), "api_version": ()},
        verify_key=azure.verify_key,
    ),
    ProviderType(
        "openrouter",
        "OpenRouter",
        _make_chat(OPENROUTER),
        base_url="https://openrouter.ai/api/v1",
        key_variables=("OPENROUTER_API_KEY",),
        list_models=_list_models(compatible_models),
        verify_key=_get("/key"),
    ),
    ProviderType(
        "vercel",
        "Vercel AI Gateway",
        _make_chat(VERCEL),
        base_url="https://ai-gateway.vercel.sh/v1",
        key_variables=("AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"),
        list_models=_list_models(compatible_models),
        verify_key=_get("/credits"),
    ),
    ProviderType(
        "demo",
        "parleyd demo",
        lambda access: DemoModel(access.pace),
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
