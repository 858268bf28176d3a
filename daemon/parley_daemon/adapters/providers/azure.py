"""OpenAI's two dialects at the URLs of Azure OpenAI and Foundry, with a dated API version or v1.

Source: https://learn.microsoft.com/en-us/azure/ai-foundry/openai/api-version-lifecycle
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
from parley_daemon.adapters.providers.openai_chat.flavours import OPENAI
from parley_daemon.adapters.providers.openai_responses.dialect import Responses
from parley_daemon.adapters.providers.provider_type import Access, make_http_model
from parley_daemon.adapters.providers.shared.dialect import Parser, PreparedRequest
from parley_daemon.adapters.providers.shared.model_list import Fetch
from parley_daemon.adapters.providers.shared.own_fields import OwnFields
from parley_daemon.ports.models import Model, ModelRequest

_DATED = re.compile(r"\d{4}-\d\d-\d\d(-preview)?")
_NAMED = ("v1", "preview", "latest")
_VERSION = "api-version"
_FIRST_WITH_RESPONSES = "2025-03-01-preview"
_TAIL = re.compile(r"/openai(/.*)?$")


class Azure:
    """The Dialect for a resource of Azure OpenAI or Foundry. The name of a model is that of its deployment.

    `base_url` is the URL of the resource, its `/openai/v1`, or a whole URL from the portal, with its
    version. A version is a date, "preview" or "v1"; `version` takes precedence over that of the URL, and the
    URL over `default_version`. `api` is "responses" or "chat"; the default follows from the URL, else it is
    responses if the version has them.

    Raises:
        ValueError: the URL or the version is not valid.
    """

    def __init__(
        self,
        provider: str,
        base_url: str,
        *,
        version: str | None = None,
        default_version: str | None = None,
        api: str | None = None,
    ) -> None:
        endpoint_url(base_url, "")
        parts = urlsplit(base_url.strip())
        path = parts.path.rstrip("/")
        query = dict(parse_qsl(parts.query))
        url_version = query.pop(_VERSION, "") or ("v1" if "/openai/v1" in path else "")
        version = (version or url_version or default_version or "v1").strip()
        self._dated = _DATED.fullmatch(version) is not None
        if not self._dated and version not in _NAMED:
            raise ValueError(f'api_version "{version}" is neither "v1" nor a date such as "2024-10-21"')
        self._root = urlunsplit((parts.scheme, parts.netloc, _TAIL.sub("", path), "", ""))
        self._query = urlencode(query if version == "v1" else {**query, _VERSION: version})
        is_old = self._dated and version < _FIRST_WITH_RESPONSES
        api = api or ("chat" if is_old or path.endswith("/chat/completions") else "responses")
        self._is_chat = api == "chat"
        self._dialect: ChatCompletions | Responses = (
            ChatCompletions(provider, self._root, OPENAI)
            if self._is_chat
            else Responses(provider, self._root)
        )

    @property
    def own_fields(self) -> OwnFields:
        """The fields that the inner dialect adds on its own."""
        return self._dialect.own_fields

    @property
    def models_url(self) -> str:
        """The URL of the list of models that can be deployed."""
        path = "/openai/models" if self._dated else "/openai/v1/models"
        return f"{self._root}{path}?{self._query}" if self._query else self._root + path

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Return a request of the inner dialect, for Azure's URL."""
        return replace(await self._dialect.build_request(request), url=self._url(request.model))

    def parser(self, call: Call) -> Parser:
        """Return the parser of one answer."""
        return self._dialect.parser(call)

    def framing(self) -> None:
        """Return None: server-sent events, or one JSON document."""
        return

    def _url(self, deployment: str) -> str:
        if not self._dated:
            path = "/openai/v1/chat/completions" if self._is_chat else "/openai/v1/responses"
        elif self._is_chat:
            path = f"/openai/deployments/{quote(deployment, safe='')}/chat/completions"
        else:
            path = "/openai/responses"
        return f"{self._root}{path}?{self._query}" if self._query else self._root + path


def make_model(access: Access) -> Model:
    """Return the model of a provider on Azure.

    Raises:
        ValueError: the address or the version is not valid.
    """
    return make_http_model(access, _dialect(access), _key_headers(access))


async def verify_key(access: Access, fetch: Fetch) -> object:
    """Fetch the models that can be deployed, which proves the key. Deployments are not listed."""
    return await fetch(_dialect(access).models_url, _key_headers(access))


def _dialect(access: Access) -> Azure:
    return Azure(
        access.name,
        access.base_url,
        version=access.options.get("api_version"),
        default_version=access.environment.get("OPENAI_API_VERSION"),
        api=access.options.get("api"),
    )


def _key_headers(access: Access) -> Mapping[str, str]:
    return {**({"api-key": access.api_key} if access.api_key else {}), **access.headers}
