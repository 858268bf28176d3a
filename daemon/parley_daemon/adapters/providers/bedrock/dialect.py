"""Anthropic's models on Amazon Bedrock: the messages dialect in AWS' addresses, headers and event stream."""

import configparser
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import anyio.to_thread

from parley_daemon.adapters.providers.anthropic.parser import AnthropicFold
from parley_daemon.adapters.providers.anthropic.request import build_body
from parley_daemon.adapters.providers.bedrock.event_stream import AwsEventStream
from parley_daemon.adapters.providers.bedrock.signing import AwsSigner
from parley_daemon.adapters.providers.http.endpoints import endpoint
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.shared.dialect import Question
from parley_daemon.adapters.providers.shared.surrogates import encode_mended
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
        endpoint(base_url, "", version="")

    async def question(self, request: ModelRequest) -> Question:
        """Put a request into the provider's words.

        Raises:
            ModelError: there are no credentials to sign it with.
        """
        body = encode_mended({"anthropic_version": VERSION, **build_body(request, self._provider)})
        path = f"/model/{quote(request.model, safe=':')}/invoke-with-response-stream"
        url = endpoint(self._base_url, path, version="")
        await anyio.to_thread.run_sync(AwsEventStream.load)
        headers = {"Accept": "application/vnd.amazon.eventstream"}
        if self._signer is not None:
            headers |= await self._signer.headers(url, body)
        return Question(url, body, headers)

    def fold(self, call: Call) -> AnthropicFold:
        """Return a reader for one answer."""
        return AnthropicFold(call)

    def framing(self) -> AwsEventStream:
        """Return how the answer's bytes are cut. A question has been put before, so it is loaded."""
        return AwsEventStream()


def region_of(options: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
    """Return the region that the provider's settings, the environment or AWS' own configuration name.

    Raises:
        ValueError: it is no name of a region.
    """
    region = (
        options.get("region")
        or environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or _of_profile(options, environment)
    )
    if region and not re.fullmatch(r"[a-z0-9-]+", region):
        raise ValueError(f'"{region}" is no AWS region; one is written like "us-east-1".')
    return region or None


def _of_profile(options: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
    profile = (
        options.get("profile")
        or environment.get("AWS_PROFILE")
        or environment.get("AWS_DEFAULT_PROFILE")
        or "default"
    )
    path = environment.get("AWS_CONFIG_FILE") or "~/.aws/config"
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(Path(path).expanduser(), "utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError, RuntimeError):
        return None  # what is wrong with the file is said when credentials are looked for in it
    sections = ([profile] if profile == "default" else []) + [f"profile {profile}"]
    return next((found for name in sections if (found := parser.get(name, "region", fallback=None))), None)
