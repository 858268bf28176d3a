"""Anthropic's models on Amazon Bedrock: the messages dialect in AWS' addresses, headers and event stream."""

from urllib.parse import quote

import anyio.to_thread

from parley_daemon.adapters.providers.anthropic.parser import AnthropicParser
from parley_daemon.adapters.providers.anthropic.request import build_body
from parley_daemon.adapters.providers.bedrock.event_stream import AwsEventStream
from parley_daemon.adapters.providers.bedrock.signing import AwsSigner
from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.shared.dialect import PreparedRequest
from parley_daemon.ports.models import ModelRequest

VERSION = "bedrock-2023-05-31"


class BedrockMessages:
    """The dialect as Bedrock takes it; see Dialect. Models are named by id or ARN of model or profile.

    Without a signer the key in the provider's headers is all the identification. Raises ValueError when
    `base_url` is not a web address.
    """

    def __init__(self, provider: str, base_url: str, signer: AwsSigner | None) -> None:
        self._provider = provider
        self._base_url = base_url
        self._signer = signer
        endpoint_url(base_url, "", version="")

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Put a request into the provider's words.

        Raises:
            ModelError: there are no credentials to sign it with.
        """
        body = encode_json({"anthropic_version": VERSION, **build_body(request, self._provider)})
        path = f"/model/{quote(request.model, safe=':')}/invoke-with-response-stream"
        url = endpoint_url(self._base_url, path, version="")
        await anyio.to_thread.run_sync(AwsEventStream.load)
        headers = {"Accept": "application/vnd.amazon.eventstream"}
        if self._signer is not None:
            headers |= await self._signer.headers(url, body)
        return PreparedRequest(url, body, headers)

    def parser(self, call: Call) -> AnthropicParser:
        """Return a reader for one answer."""
        return AnthropicParser(call)

    def framing(self) -> AwsEventStream:
        """Return how the answer's bytes are cut. A question has been put before, so it is loaded."""
        return AwsEventStream()
