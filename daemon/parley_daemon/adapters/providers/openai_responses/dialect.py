"""OpenAI's responses dialect: api.openai.com, Azure, and servers that imitate it."""

from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_responses.parser import ResponsesParser
from parley_daemon.adapters.providers.openai_responses.request import build_body
from parley_daemon.adapters.providers.shared.dialect import PreparedRequest
from parley_daemon.ports.models import ModelRequest


class Responses:
    """The dialect as one provider speaks it; see Dialect.

    `base_url` may be given with or without its `/v1`, or as the whole address of the endpoint. Raises
    ValueError when it is not a web address.
    """

    def __init__(self, provider: str, base_url: str) -> None:
        self._provider = provider
        self._url = endpoint_url(base_url, "/responses")

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Put a request into the provider's words."""
        return PreparedRequest(self._url, build_body(request, self._provider))

    def parser(self, call: Call) -> ResponsesParser:
        """Return a reader for one answer."""
        return ResponsesParser(call)

    def framing(self) -> None:
        """Server-sent events."""
        return
