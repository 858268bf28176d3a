"""OpenAI's responses dialect: api.openai.com, Azure, and servers that imitate it."""

from functools import partial

from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_responses.parser import ResponsesParser
from parley_daemon.adapters.providers.openai_responses.request import OWN_FIELDS, build_body, sent_tools
from parley_daemon.adapters.providers.shared.conversation import build_beside_the_loop
from parley_daemon.adapters.providers.shared.dialect import PreparedRequest
from parley_daemon.adapters.providers.shared.own_fields import OwnFields
from parley_daemon.ports.models import ModelRequest


class Responses:
    """The Dialect for one provider.

    `base_url` may be given with or without its `/v1`, or as the whole address of the endpoint. Raises
    ValueError when it is not a URL.
    """

    def __init__(self, provider: str, base_url: str) -> None:
        self._provider = provider
        self._url = endpoint_url(base_url, "/responses")
        self.own_fields = OwnFields(*OWN_FIELDS, aliases={"encrypted_content": "include"})

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Return a request in the provider's format."""
        omitted = self.own_fields.omitted_for(request.model)
        tools = sent_tools(request)
        build = partial(build_body, request, self._provider, omitted, tools)
        body = await build_beside_the_loop(request, build)
        return PreparedRequest(self._url, body, renamed=tools.renamed)

    def parser(self, call: Call) -> ResponsesParser:
        """Return the parser of one answer."""
        return ResponsesParser(call)

    def framing(self) -> None:
        """Return None: server-sent events, or one JSON document."""
        return
