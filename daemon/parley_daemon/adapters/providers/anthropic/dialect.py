"""Anthropic's messages dialect: api.anthropic.com, and servers that imitate it."""

from functools import partial

from parley_daemon.adapters.providers.anthropic.parser import AnthropicParser
from parley_daemon.adapters.providers.anthropic.request import OWN_FIELDS, build_body, sent_tools
from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.shared.conversation import build_beside_the_loop
from parley_daemon.adapters.providers.shared.dialect import PreparedRequest
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.adapters.providers.shared.own_fields import OwnFields
from parley_daemon.ports.models import ModelRequest

VERSION = "2023-06-01"
"""The version of the API. Later ones refuse temperature, topP and topK, which older models take."""


class AnthropicMessages:
    """The Dialect for one provider.

    `base_url` may be given with or without its `/v1`, or as the whole address of the endpoint. Raises
    ValueError when it is not a URL.
    """

    def __init__(self, provider: str, base_url: str) -> None:
        self._provider = provider
        self._url = endpoint_url(base_url, "/messages")
        self.own_fields = OwnFields("stream", *OWN_FIELDS)

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Return a request in the provider's format."""
        omitted = self.own_fields.omitted_for(request.model)
        tools = sent_tools(request)
        fields: Json = {"model": request.model}
        if "stream" not in omitted:
            fields["stream"] = True
        build = partial(build_body, request, self._provider, omitted, tools, fields)
        body = await build_beside_the_loop(request, build)
        return PreparedRequest(self._url, body, renamed=tools.renamed)

    def parser(self, call: Call) -> AnthropicParser:
        """Return the parser of one answer."""
        return AnthropicParser(call)

    def framing(self) -> None:
        """Return None: server-sent events, or one JSON document."""
        return
