"""Anthropic's models on Amazon Bedrock: the messages dialect with AWS' URLs, headers and event stream.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html
"""

from functools import partial
from urllib.parse import quote

import anyio.to_thread

from parley_daemon.adapters.providers.anthropic.parser import AnthropicParser
from parley_daemon.adapters.providers.anthropic.request import OWN_FIELDS, build_body, sent_tools
from parley_daemon.adapters.providers.bedrock.event_stream import AwsEventStream
from parley_daemon.adapters.providers.bedrock.signing import AwsSigner
from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.shared.conversation import build_beside_the_loop
from parley_daemon.adapters.providers.shared.dialect import PreparedRequest
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.adapters.providers.shared.own_fields import OwnFields
from parley_daemon.ports.models import ModelRequest

VERSION = "bedrock-2023-05-31"


class BedrockMessages:
    """The Dialect for Bedrock. A model is named by the id or ARN of a model or an inference profile.

    Without a signer, the key in the provider's headers identifies the account. Raises ValueError when
    `base_url` is not a web address.
    """

    def __init__(self, provider: str, base_url: str, signer: AwsSigner | None) -> None:
        self._provider = provider
        self._base_url = base_url
        self._signer = signer
        self.own_fields = OwnFields(*OWN_FIELDS)
        endpoint_url(base_url, "", version="")

    async def build_request(self, request: ModelRequest) -> PreparedRequest:
        """Return a request in the provider's format.

        Raises:
            ModelError: there are no credentials to sign it with.
        """
        omitted = self.own_fields.omitted_for(request.model)
        tools = sent_tools(request)
        fields: Json = {"anthropic_version": VERSION}
        build = partial(build_body, request, self._provider, omitted, tools, fields)
        body = await build_beside_the_loop(request, build)
        path = f"/model/{quote(request.model, safe=':')}/invoke-with-response-stream"
        url = endpoint_url(self._base_url, path, version="")
        await anyio.to_thread.run_sync(AwsEventStream.load)
        headers = {"Accept": "application/vnd.amazon.eventstream"}
        if self._signer is not None:
            headers |= await self._signer.headers(url, body)
        return PreparedRequest(url, body, headers, tools.renamed)

    def parser(self, call: Call) -> AnthropicParser:
        """Return the parser of one answer."""
        return AnthropicParser(call)

    def framing(self) -> AwsEventStream:
        """Return the framing of an answer. `build_request` has loaded what it needs."""
        return AwsEventStream()
