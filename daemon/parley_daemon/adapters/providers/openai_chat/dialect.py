"""OpenAI's chat-completions dialect: api.openai.com, the routers, and every server that imitates it."""

from functools import partial

from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_chat.flavours import COMPATIBLE, Flavour
from parley_daemon.adapters.providers.openai_chat.parser import ChatParser
from parley_daemon.adapters.providers.openai_chat.request import (
    OWN_FIELDS,
    build_body,
    extra_headers,
    sent_tools,
)
from parley_daemon.adapters.providers.shared.conversation import build_beside_the_loop
from parley_daemon.adapters.providers.shared.dialect import PreparedRequest
from parley_daemon.adapters.providers.shared.own_fields import OwnFields
from parley_daemon.ports.models import ModelRequest


class ChatCompletions:
    """The Dialect for one provider.

    `base_url` may be given with or without its `/v1`, or as the whole address of the endpoint. Raises
    ValueError when it is not a URL.
    """

    def __init__(self, provider: str, base_url: str, flavour: Flavour = COMPATIBLE) -> None:
        self._provider = provider
        self._url = endpoint_url(base_url, "/chat/completions")
        self._flavour = flavour
        self.own_fields = OwnFields(*OWN_FIELDS, aliases={"include_usage": "stream_options"})

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Return a request in the provider's format."""
        omitted = self.own_fields.omitted_for(request.model)
        tools = sent_tools(request)
        build = partial(build_body, request, self._flavour, self._provider, omitted, tools)
        body = await build_beside_the_loop(request, build)
        headers = extra_headers(request.settings, self._flavour)
        return PreparedRequest(self._url, body, headers, tools.renamed)

    def parser(self, call: Call) -> ChatParser:
        """Return the parser of one answer."""
        return ChatParser(call, keeps_details=self._flavour.returns_reasoning)

    def framing(self) -> None:
        """Return None: server-sent events, or one JSON document."""
        return
