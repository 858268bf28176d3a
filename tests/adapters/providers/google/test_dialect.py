"""Google's provider type against a real server on a real socket."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.core.parts import Reasoning, Text
from parley_daemon.core.records import ModelSettings, Usage
from parley_daemon.ports.models import Chunk, Finish, ModelError, ModelRequest, PromptMessage, UsageReport
from tests.support.providers.script import Script, raw, status
from tests.support.providers.server import FakeProvider, fake_provider

KEY = "AIzaSyCanary0123456789canary0123456789"
HI = PromptMessage("user", (Text("Hi"),))


def event(*parts: dict[str, Any], **candidate: Any) -> bytes:
    body = {
        "candidates": [{"content": {"parts": parts, "role": "model"}, **candidate}],
        "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 3, "totalTokenCount": 5},
    }
    return b"data: " + json.dumps(body).encode() + b"\r\n\r\n"


ANSWER: Script = (
    raw(event({"text": "hm", "thought": True})),
    raw(event({"text": "Hel"}) + event({"text": "lo"})),
    raw(event({"text": ""}, finishReason="STOP")),
)


async def ask(server: FakeProvider, model: str = "google:gemini-9", **settings: Any) -> list[Chunk]:
    providers = [ProviderConfig("google", "google", server.origin)]
    catalogue = ConfiguredCatalogue(providers, environment={"GEMINI_API_KEY": KEY})
    try:
        resolved = catalogue.resolve(model)
        request = ModelRequest(resolved.name, (HI,), None, ModelSettings(**settings))
        with anyio.fail_after(30):
            return [chunk async for batch in resolved.model.stream(request) for chunk in batch]
    finally:
        await catalogue.aclose()


@pytest.fixture
async def server() -> AsyncGenerator[FakeProvider]:
    async with fake_provider() as running:
        yield running


async def test_an_answer_is_streamed(server: FakeProvider) -> None:
    server.scripts.append(ANSWER)
    chunks = await ask(server)
    assert [one for one in chunks if not isinstance(one, UsageReport)] == [
        Reasoning("hm"),
        Text("Hello"),
        Finish("stop"),
    ]
    assert UsageReport(Usage(input_tokens=2, output_tokens=3, total_tokens=5)) in chunks
    [request] = server.requests
    assert request.path == "/v1beta/models/gemini-9:streamGenerateContent?alt=sse"
    assert request.headers["x-goog-api-key"] == KEY
    assert "authorization" not in request.headers
    assert request.json == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


async def test_a_connection_is_used_again(server: FakeProvider) -> None:
    server.scripts += [ANSWER, ANSWER]
    providers = [ProviderConfig("google", "google", server.origin, KEY)]
    catalogue = ConfiguredCatalogue(providers)
    resolved = catalogue.resolve("google:m")
    for _ in range(2):
        async for _batch in resolved.model.stream(ModelRequest("m", (HI,))):
            pass
    await catalogue.aclose()
    assert server.connections == 1


async def test_a_refused_key_is_told_and_not_shown(server: FakeProvider) -> None:
    said = {
        "error": {
            "code": 400,
            "message": f"API key not valid: {KEY}.",
            "status": "INVALID_ARGUMENT",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
        }
    }
    server.scripts.append((status(400, json.dumps(said).encode()),))
    with pytest.raises(ModelError) as caught:
        await ask(server)
    failed = caught.value.failure
    assert failed.kind == "auth"
    assert failed.message == "google does not accept the configured API key."
    assert KEY not in repr(failed)


async def test_an_option_that_is_unknown_is_refused_before_anything_is_sent(server: FakeProvider) -> None:
    with pytest.raises(ModelError, match="seeds"):
        await ask(server, provider_options={"google": {"seeds": 1}})
    assert server.requests == []


@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_a_key_in_the_environment_is_all_that_is_needed(variable: str) -> None:
    catalogue = ConfiguredCatalogue(environment={variable: KEY})
    [info] = [each for each in catalogue.providers() if each.provider == "google"]
    assert (info.display_name, info.available) == ("Google", True)
    assert catalogue.resolve("google:gemini-9").name == "gemini-9"
