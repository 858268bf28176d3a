"""OpenAI's responses dialect: api.openai.com, Azure, and servers that imitate it."""

from parley_daemon.adapters.providers.http.endpoints import endpoint
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.openai_responses.parser import ResponsesFold
from parley_daemon.adapters.providers.openai_responses.request import build_body
from parley_daemon.adapters.providers.shared.dialect import Question
from parley_daemon.ports.models import ModelRequest


class Responses:
    """The dialect as one provider speaks it; see Dialect.

    `base_url` may be given with or without its `/v1`, or as the whole address of the endpoint. Raises
    ValueError when it is not a web address.
    """

    def __init__(self, provider: str, base_url: str) -> None:
        self._provider = provider
        self._url = endpoint(base_url, "/responses")

    async def question(self, request: ModelRequest) -> Question:
        """Put a request into the provider's words."""
        return Question(self._url, build_body(request, self._provider))

    def fold(self, call: Call) -> ResponsesFold:
        """Return a reader for one answer."""
        return ResponsesFold(call)

    def framing(self) -> None:
        """Server-sent events."""
        return
