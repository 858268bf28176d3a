"""Anthropic's messages dialect: api.anthropic.com, and servers that imitate it."""

from parley_daemon.adapters.providers.anthropic.parser import AnthropicFold
from parley_daemon.adapters.providers.anthropic.request import build_body
from parley_daemon.adapters.providers.http.endpoints import endpoint
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.lenient_json import encode_mended
from parley_daemon.adapters.providers.shared.dialect import Question
from parley_daemon.ports.models import ModelRequest

VERSION = "2023-06-01"
"""The version of the API. Later ones refuse temperature, topP and topK, which older models take."""


class AnthropicMessages:
    """The dialect as one provider speaks it; see Dialect.

    `base_url` may be given with or without its `/v1`, or as the whole address of the endpoint. Raises
    ValueError when it is not a web address.
    """

    def __init__(self, provider: str, base_url: str) -> None:
        self._provider = provider
        self._url = endpoint(base_url, "/messages")

    async def question(self, request: ModelRequest) -> Question:
        """Put a request into the provider's words."""
        body = {"model": request.model, **build_body(request, self._provider), "stream": True}
        return Question(self._url, encode_mended(body))

    def fold(self, call: Call) -> AnthropicFold:
        """Return a reader for one answer."""
        return AnthropicFold(call)

    def framing(self) -> None:
        """Server-sent events."""
        return
