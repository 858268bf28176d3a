"""Google's generateContent dialect: the Gemini API, and whatever imitates it."""

from functools import partial
from urllib.parse import quote, urlsplit, urlunsplit

from parley_daemon.adapters.providers.google.parser import GoogleParser
from parley_daemon.adapters.providers.google.request import OWN_FIELDS, build_body, sent_tools
from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.shared.conversation import build_beside_the_loop
from parley_daemon.adapters.providers.shared.dialect import PreparedRequest
from parley_daemon.adapters.providers.shared.own_fields import OwnFields
from parley_daemon.ports.models import ModelRequest

_MODELS = "/models"


class GoogleGenerate:
    """The Dialect for one provider.

    `base_url` may be given with or without its `/v1beta`. Raises ValueError when it is not a URL.
    """

    def __init__(self, provider: str, base_url: str) -> None:
        self._provider = provider
        self.own_fields = OwnFields(*OWN_FIELDS, aliases={"thoughtSignature": "thought_signature"})
        self._base = urlsplit(endpoint_url(base_url, _MODELS, version="v1beta"))

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Return a request in the provider's format."""
        omitted = self.own_fields.omitted_for(request.model)
        tools = sent_tools(request)
        build = partial(build_body, request, self._provider, omitted, tools)
        body = await build_beside_the_loop(request, build)
        return PreparedRequest(self._url(request.model), body, renamed=tools.renamed)

    def parser(self, call: Call) -> GoogleParser:
        """Return the parser of one answer."""
        return GoogleParser(call)

    def framing(self) -> None:
        """Return None: server-sent events, or one JSON document from a server that ignores `alt=sse`."""
        return

    def _url(self, model: str) -> str:
        """Return the address that answers for a model; it may be named with its "models/", "tunedModels/"."""
        scheme, host, path, query, _ = self._base
        name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
        path = f"{path.removesuffix(_MODELS)}/{quote(name)}:streamGenerateContent"
        return urlunsplit((scheme, host, path, f"{query}&alt=sse" if query else "alt=sse", ""))
