"""OpenAI's chat-completions dialect: api.openai.com, the routers, and every server that imitates it."""

from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_chat.parser import ChatParser
from parley_daemon.adapters.providers.openai_chat.request import (
    COMPATIBLE,
    Flavour,
    build_body,
    extra_headers,
)
from parley_daemon.adapters.providers.shared.dialect import PreparedRequest
from parley_daemon.ports.models import ModelRequest


class ChatCompletions:
    """The dialect as one provider speaks it; see Dialect.

    `base_url` may be given with or without its `/v1`, or as the whole address of the endpoint. Raises
    ValueError when it is not a web address.
    """

    def __init__(self, provider: str, base_url: str, flavour: Flavour = COMPATIBLE) -> None:
        self._provider = provider
        self._url = endpoint_url(base_url, "/chat/completions")
        self._flavour = flavour

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Put a request into the provider's words."""
        body = build_body(request, self._flavour, self._provider)
        return PreparedRequest(self._url, body, extra_headers(request.settings, self._flavour))

    def parser(self, call: Call) -> ChatParser:
        """Return a reader for one answer."""
        return ChatParser(call, keeps_details=self._flavour.returns_reasoning)

    def framing(self) -> None:
        """Server-sent events."""
        return
