"""The provider type `azure`: where it asks, in which dialect, and what Azure says that OpenAI does not."""

from typing import Any

import anyio
import pytest

from parley_daemon.adapters.providers.azure import Azure
from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Failure, ModelSettings
from parley_daemon.ports.catalogue import ProviderUnavailableError
from parley_daemon.ports.models import (
    Chunk,
    Finish,
    Model,
    ModelError,
    ModelRequest,
    PromptMessage,
    UsageReport,
)
from tests.support.providers.responses_script import GREETING
from tests.support.providers.script import chunk, delta, done, event, finish, status, text, usage
from tests.support.providers.server import fake_provider

KEY = "canary-azure-0123456789"
V1 = "/openai/v1/responses"
DATED_CHAT = "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"


async def asked_at(base_url: str, **options: Any) -> str:
    """Return the address of a question to the deployment "my gpt"."""
    dialect = Azure("azure", base_url, **options)
    return (await dialect.build_request(ModelRequest("my gpt", (PromptMessage("user", (Text("Hi"),)),)))).url


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("", {}, V1),
        ("/", {"version": "v1"}, V1),
        ("/openai", {}, V1),
        ("/openai/v1/", {}, V1),
        ("/openai/v1/responses", {}, V1),
        ("", {"api": "chat"}, "/openai/v1/chat/completions"),
        ("/openai/v1", {"api": "chat"}, "/openai/v1/chat/completions"),
        ("/openai/v1/chat/completions", {}, "/openai/v1/chat/completions"),
        ("/openai/v1/chat/completions", {"api": "responses"}, V1),
        ("", {"version": "preview"}, f"{V1}?api-version=preview"),
        ("/openai/v1/responses?api-version=preview", {}, f"{V1}?api-version=preview"),
        ("", {"version": "2025-04-01-preview"}, "/openai/responses?api-version=2025-04-01-preview"),
        (
            "/openai/responses?api-version=2025-04-01-preview",
            {},
            "/openai/responses?api-version=2025-04-01-preview",
        ),
        ("/openai", {"version": "2024-10-21", "api": "chat"}, DATED_CHAT),
        ("/openai/deployments/other/chat/completions?api-version=2024-10-21", {}, DATED_CHAT),
        # The version decides where nobody else does: the old ones have no responses.
        ("", {"version": "2024-10-21"}, DATED_CHAT),
        ("", {"default_version": "2024-10-21"}, DATED_CHAT),
        (
            "",
            {"version": "2025-04-01-preview", "default_version": "2024-10-21"},
            "/openai/responses?api-version=2025-04-01-preview",
        ),
        ("/openai/v1", {"default_version": "2024-10-21"}, V1),
        ("/openai/v1", {"version": "2024-10-21"}, DATED_CHAT),
        # Behind a gateway.
        ("/api/projects/p/openai/v1", {}, "/api/projects/p/openai/v1/responses"),
        ("/openai-proxy?team=a+b", {}, "/openai-proxy/openai/v1/responses?team=a+b"),
    ],
)
async def test_a_resource_is_asked_where_its_version_is(path: str, options: Any, expected: str) -> None:
    assert (
        await asked_at(f"https://r.openai.azure.com{path}", **options)
        == f"https://r.openai.azure.com{expected}"
    )


@pytest.mark.parametrize("version", ["2024", "v2", "2024-10-21-beta", "latest-preview"])
async def test_a_version_that_is_none_is_said_to_be_none(version: str) -> None:
    config = ProviderConfig("azure", "azure", "https://r.azure.com", KEY, options={"api_version": version})
    with pytest.raises(ProviderUnavailableError) as caught:
        ConfiguredCatalogue([config]).resolve("azure:gpt")
    assert str(caught.value) == (
        f'Provider "azure" cannot be used: api_version "{version}" is neither "v1" nor a date '
        'such as "2024-10-21".'
    )
    assert caught.value.reason == "disabled"


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="base_url must begin with http"):
        Azure("azure", "r.openai.azure.com")


def test_the_environment_presets_azure_once_it_has_the_address_too() -> None:
    def listed(environment: dict[str, str]) -> list[str]:
        providers = ConfiguredCatalogue(environment=environment).providers()
        return [info.provider for info in providers if info.available]

    assert listed({"AZURE_OPENAI_API_KEY": KEY}) == ["demo"]
    assert listed({"AZURE_OPENAI_ENDPOINT": "https://r.azure.com"}) == ["demo"]
    whole = {"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": "https://r.azure.com"}
    assert listed(whole) == ["azure", "demo"]


async def ask(model: Model, **settings: Any) -> list[Chunk]:
    request = ModelRequest("gpt", (PromptMessage("user", (Text("Hi"),)),), None, ModelSettings(**settings))
    with anyio.fail_after(30):
        try:
            return [chunk async for batch in model.stream(request) for chunk in batch]
        finally:
            await model.aclose()


async def failure(model: Model) -> Failure:
    with pytest.raises(ModelError) as caught:
        await ask(model)
    return caught.value.failure


def opened(url: str, **access: Any) -> Model:
    return TYPES["azure"].make_model(Access("azure", url, KEY, **access))


async def test_the_key_goes_in_azures_own_header() -> None:
    async with fake_provider(GREETING) as server:
        environment = {"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": server.origin}
        listed = ConfiguredCatalogue(environment=environment)
        await ask(listed.resolve("azure:gpt").model)
        [request] = server.requests
    assert (request.path, request.json["model"]) == (V1, "gpt")
    assert request.headers["api-key"] == KEY
    assert "authorization" not in request.headers


async def test_the_version_of_the_environment_is_the_usual_one() -> None:
    async with fake_provider((text("Hi"), finish(), done())) as server:
        await ask(opened(server.origin, environment={"OPENAI_API_VERSION": "2024-10-21"}))
        assert server.requests[0].path == "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"


async def test_azure_uses_the_options_of_openai() -> None:
    options = {"openai": {"reasoningEffort": "high"}, "azure": {"user": "nobody's"}}
    async with fake_provider(GREETING, (text("Hi"), finish(), done())) as server:
        await ask(opened(server.origin), provider_options=options)
        await ask(opened(server.origin, options={"api": "chat"}), provider_options=options)
        assert server.requests[0].json["reasoning"] == {"effort": "high"}
        assert server.requests[0].json["include"] == ["reasoning.encrypted_content"]
        assert server.requests[1].json["reasoning_effort"] == "high"


SAFE = {"hate": {"filtered": False, "severity": "safe"}}
PROMPT_RESULTS = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
}


async def test_what_azures_filters_say_of_a_stream_is_no_part_of_the_answer() -> None:
    results = {
        "index": 0,
        "finish_reason": None,
        "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
        "content_filter_results": SAFE,
    }
    async with fake_provider(
        (
            event(PROMPT_RESULTS),
            delta(role="assistant", content=""),
            text("Hel", "lo"),
            event({**chunk(), "choices": [results]}),
            event({**chunk(), "choices": [{**results, "delta": {}}]}),
            finish(),
            usage(1, 2),
            done(),
        )
    ) as server:
        chunks = await ask(opened(server.origin, options={"api": "chat"}))
    assert "".join([part.text for part in chunks if isinstance(part, Text)]) == "Hello"
    assert Finish("stop") in chunks
    assert all(isinstance(part, Text | Finish | UsageReport) for part in chunks)


async def test_an_answer_that_azure_filters_stops_for_that_reason() -> None:
    async with fake_provider(
        (event(PROMPT_RESULTS), text("Hel"), finish("content_filter"), done())
    ) as server:
        chunks = await ask(opened(server.origin, options={"api": "chat"}))
    assert chunks[-1] == Finish("content_filter")


FILTERED = {
    "error": {
        "message": "The prompt triggered Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": SAFE},
    }
}
BUSY = "Your requests have exceeded the token rate limit of your pricing tier. Please retry after 6 seconds."


@pytest.mark.parametrize(
    ("code", "body", "kind", "message"),
    [
        (400, FILTERED, "content_filter", "The content filter of azure refused this chat."),
        (
            404,
            {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}},
            "model_not_found",
            'azure has no model "gpt".',
        ),
        (
            401,
            {"error": {"code": "401", "message": "Access denied due to invalid subscription key."}},
            "auth",
            "azure does not accept the configured API key.",
        ),
        (
            429,
            {"error": {"code": "429", "message": BUSY}},
            "rate_limit",
            "The rate limit of azure is reached; try again in 6 s.",
        ),
    ],
)
async def test_azures_refusals_say_what_to_do(code: int, body: object, kind: str, message: str) -> None:
    async with fake_provider((status(code, body),)) as server:
        failed = await failure(opened(server.origin))
    assert (failed.kind, failed.message) == (kind, message)
