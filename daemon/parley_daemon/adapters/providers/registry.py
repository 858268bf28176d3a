"""The kinds of providers: one row each says what it needs and how its model is made.

A package of somebody else's adds a row by an entry point of the group `parleyd.provider_types`, whose value
is a ProviderType. Knows neither the configuration's file nor the environment: both come in as values.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec

import msgspec

from parley_daemon.adapters.providers.anthropic.dialect import VERSION, AnthropicMessages
from parley_daemon.adapters.providers.azure import Azure
from parley_daemon.adapters.providers.bedrock.dialect import BedrockMessages, region_of
from parley_daemon.adapters.providers.bedrock.signing import AwsSigner
from parley_daemon.adapters.providers.demo import DemoModel
from parley_daemon.adapters.providers.google.dialect import GoogleGenerate
from parley_daemon.adapters.providers.http.endpoints import endpoint
from parley_daemon.adapters.providers.http.json_request import NotThereError
from parley_daemon.adapters.providers.http.model import HttpModel
from parley_daemon.adapters.providers.http.model_list import (
    Fetch,
    Listed,
    anthropic_models,
    bedrock_models,
    compatible_models,
    google_models,
    openai_models,
)
from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
from parley_daemon.adapters.providers.openai_chat.request import (
    COMPATIBLE,
    OPENAI,
    OPENROUTER,
    VERCEL,
    Flavour,
)
from parley_daemon.adapters.providers.openai_responses.dialect import Responses
from parley_daemon.adapters.providers.shared.dialect import Dialect
from parley_daemon.core.records import Failure
from parley_daemon.ports.models import Model, ModelError

log = logging.getLogger(__name__)

ENTRY_POINTS = "parleyd.provider_types"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one provider: all that a ProviderType's `make` is given.

    `headers` are the configured ones. Keys and headers are secrets: they are not part of the repr. `options`
    are the type's own settings, by the names that its row lists. `environment` is the daemon's.
    """

    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    pace: float = 1.0


class ProviderType(msgspec.Struct, frozen=True, gc=False):
    """A kind of provider.

    `make` returns a model for an Access; it raises ValueError with a sentence when that cannot be. `base_url`
    is where it is when nothing else is said; None: it has to be configured. `key_variables` hold its key, the
    first one that is set counts; with one of them set it is there without a configuration. `url_variable`
    holds its address. `needs_key`: without a key it cannot be used. `options` are settings of its own in the
    configuration, with the words that each may have (empty: any). `local`: it runs inside the daemon.
    `models` asks for the list of its models, where it gives one. `verify` makes a request that costs nothing
    and needs the key, where the list needs none or there is none. Both raise ModelError. `package` is filled
    in when the row is found.
    """

    name: str
    display_name: str
    make: Callable[[Access], Model]
    base_url: str | None = None
    key_variables: tuple[str, ...] = ()
    url_variable: str | None = None
    needs_key: bool = True
    needs_url: bool = True
    options: Mapping[str, tuple[str, ...]] = {}
    local: bool = False
    models: Callable[[Access, Fetch], Awaitable[Sequence[Listed]]] | None = None
    verify: Callable[[Access, Fetch], Awaitable[object]] | None = None
    package: str = "parleyd"

    @property
    def failed(self) -> str:
        """Return the end of a sentence about a type that raised what it may not."""
        return f'its type "{self.name}" of the package {self.package} failed; the daemon\'s log says more'


def over_http(access: Access, dialect: Dialect, key_headers: Mapping[str, str] | None = None) -> HttpModel:
    """Return a model that is asked over HTTP; its key goes as a bearer token or in headers of its own."""
    headers = _bearer(access) if key_headers is None else {**key_headers, **access.headers}
    return HttpModel(
        access.name,
        dialect,
        access.base_url,
        headers=headers,
        secrets=(access.api_key or "",),
        has_key=access.api_key is not None,
    )


def _bearer(access: Access) -> Mapping[str, str]:
    key = {"Authorization": f"Bearer {access.api_key}"} if access.api_key else {}
    return {**key, **access.headers}


def _listed(
    lister: Callable[[str, Mapping[str, str], Fetch], Awaitable[Sequence[Listed]]],
    headers: Callable[[Access], Mapping[str, str]] = _bearer,
) -> Callable[[Access, Fetch], Awaitable[Sequence[Listed]]]:
    return lambda access, fetch: lister(access.base_url, headers(access), fetch)


def _verified(path: str) -> Callable[[Access, Fetch], Awaitable[object]]:
    return lambda access, fetch: fetch(endpoint(access.base_url, path), _bearer(access))


def _chat(flavour: Flavour) -> Callable[[Access], Model]:
    return lambda access: over_http(access, ChatCompletions(access.name, access.base_url, flavour))


def _anthropic(access: Access) -> Model:
    return over_http(access, AnthropicMessages(access.name, access.base_url), _anthropic_key(access))


def _anthropic_key(access: Access) -> Mapping[str, str]:
    key = {"x-api-key": access.api_key} if access.api_key else {}
    return {"anthropic-version": VERSION, **key, **access.headers}


def _bedrock(access: Access) -> Model:
    if find_spec("botocore") is None:
        raise ValueError('It needs the package botocore; install it with: pip install "parleyd[bedrock]".')
    region = region_of(access.options, access.environment)
    if region is None and not (access.base_url and access.api_key):
        raise ValueError("It has no region: set region in its configuration, or AWS_REGION for the daemon.")
    signer = None
    if region is not None and access.api_key is None:
        signer = AwsSigner(access.name, region, access.options.get("profile"))
    url = access.base_url or f"https://bedrock-runtime.{region}.amazonaws.com"
    return over_http(replace(access, base_url=url), BedrockMessages(access.name, url, signer))


async def _bedrock_models(access: Access, fetch: Fetch) -> Sequence[Listed]:
    try:
        await _bedrock(access).aclose()  # it says what is missing
        region = region_of(access.options, access.environment)
    except ValueError as error:
        raise ModelError(Failure("invalid_request", str(error), provider=access.name)) from None
    url = access.environment.get("AWS_ENDPOINT_URL_BEDROCK", "").strip().rstrip("/")
    if not url and (access.base_url or region is None):
        raise NotThereError("an address of one's own does not say where the lists are")
    signer = None
    if region is not None and access.api_key is None:
        signer = AwsSigner(access.name, region, access.options.get("profile"))

    async def headers(url: str) -> Mapping[str, str]:
        return _bearer(access) if signer is None else {**await signer.headers(url, None), **access.headers}

    try:
        return await bedrock_models(url or f"https://bedrock.{region}.amazonaws.com", headers, fetch)
    except ModelError as error:
        if error.failure.status_code == 403:  # who may ask a model need not be allowed to list them
            raise NotThereError(str(error)) from error
        raise


def _google(access: Access) -> Model:
    return over_http(access, GoogleGenerate(access.name, access.base_url), _google_key(access))


def _google_key(access: Access) -> Mapping[str, str]:
    key = {"x-goog-api-key": access.api_key} if access.api_key else {}
    return {**key, **access.headers}


def _openai(access: Access) -> Model:
    if access.options.get("api") == "chat":
        return _chat(OPENAI)(access)
    return over_http(access, Responses(access.name, access.base_url))


def _azure(access: Access) -> Model:
    return over_http(access, _azure_dialect(access), _azure_key(access))


def _azure_dialect(access: Access) -> Azure:
    return Azure(
        access.name,
        access.base_url,
        version=access.options.get("api_version"),
        usual=access.environment.get("OPENAI_API_VERSION"),
        api=access.options.get("api"),
    )


def _azure_key(access: Access) -> Mapping[str, str]:
    return {**({"api-key": access.api_key} if access.api_key else {}), **access.headers}


async def _verify_azure(access: Access, fetch: Fetch) -> object:
    # The list has what could be deployed, and not what is: it is no list of models to ask.
    return await fetch(_azure_dialect(access).models_url, _azure_key(access))


_APIS = ("responses", "chat")
_BUILT_IN = (
    ProviderType(
        "openai",
        "OpenAI",
        _openai,
        "https://api.openai.com/v1",
        ("OPENAI_API_KEY",),
        "OPENAI_BASE_URL",
        options={"api": _APIS},
        models=_listed(openai_models),
    ),
    ProviderType(
        "openai-compat",
        "OpenAI-compatible server",
        _chat(COMPATIBLE),
        needs_key=False,
        models=_listed(compatible_models),
    ),
    ProviderType(
        "anthropic",
        "Anthropic",
        _anthropic,
        "https://api.anthropic.com",
        ("ANTHROPIC_API_KEY",),
        "ANTHROPIC_BASE_URL",
        models=_listed(anthropic_models, _anthropic_key),
    ),
    ProviderType(
        "bedrock",
        "Amazon Bedrock",
        _bedrock,
        key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
        url_variable="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        needs_key=False,
        needs_url=False,
        options={"region": (), "profile": ()},
        models=_bedrock_models,
    ),
    ProviderType(
        "google",
        "Google",
        _google,
        "https://generativelanguage.googleapis.com",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        models=_listed(google_models, _google_key),
    ),
    ProviderType(
        "azure",
        "Azure OpenAI",
        _azure,
        None,
        ("AZURE_OPENAI_API_KEY",),
        "AZURE_OPENAI_ENDPOINT",
        options={"api": _APIS, "api_version": ()},
        verify=_verify_azure,
    ),
    ProviderType(
        "openrouter",
        "OpenRouter",
        _chat(OPENROUTER),
        "https://openrouter.ai/api/v1",
        ("OPENROUTER_API_KEY",),
        models=_listed(compatible_models),
        verify=_verified("/key"),
    ),
    ProviderType(
        "vercel",
        "Vercel AI Gateway",
        _chat(VERCEL),
        "https://ai-gateway.vercel.sh/v1",
        ("AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"),
        models=_listed(compatible_models),
        verify=_verified("/credits"),
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


def provider_type(name: str) -> ProviderType | None:
    """Return the kind of that name; packages are looked through when it is none of ours."""
    return TYPES.get(name) or _foreign().get(name)


def known_types() -> Mapping[str, ProviderType]:
    """Return every kind that there is, ours first. Packages are looked through when this is first called."""
    return {**TYPES, **{name: kind for name, kind in _foreign().items() if name not in TYPES}}


@cache
def _foreign() -> Mapping[str, ProviderType]:
    """Return the kinds that other packages bring; one that cannot be loaded is logged and left out."""
    found: dict[str, ProviderType] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            row = entry.load()
        except Exception:  # the boundary to somebody else's package
            log.exception("the provider type %s of %s cannot be loaded", entry.name, entry.value)
            continue
        if isinstance(row, ProviderType):
            found[row.name] = replace(row, package=entry.dist.name if entry.dist else entry.module)
        else:
            log.error("the provider type %s of %s is no ProviderType", entry.name, entry.value)
    return found
