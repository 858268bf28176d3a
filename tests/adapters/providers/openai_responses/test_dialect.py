"""The provider type `openai` against a real server on a real socket, in both of its dialects."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.parts import Part, Piece, Reasoning, Text, ToolCall, fold
from parley_daemon.core.records import Failure, ModelSettings, Usage
from parley_daemon.ports.models import Chunk, Finish, ModelError, ModelRequest, PromptMessage, UsageReport
from tests.support.providers.responses_script import GREETING, Answer, said
from tests.support.providers.script import Script, comment, cut, done, drop, finish, raw, stall, status, text
from tests.support.providers.server import FakeProvider, fake_provider

KEY = "sk-canary-0123456789"
USED = UsageReport(Usage(3, 5, 8, reasoning_tokens=2, cache_creation_tokens=0, cache_read_tokens=1))

Open = Callable[..., HttpModel]


@pytest.fixture
async def open_model() -> AsyncGenerator[Open]:
    """Return a maker of models of the type `openai`, which are closed at the end."""
    models: list[HttpModel] = []

    def make(server: FakeProvider, base_url: str | None = None, **access: Any) -> HttpModel:
        model = TYPES["openai"].make_model(Access("openai", base_url or server.base_url, KEY, **access))
        assert isinstance(model, HttpModel)
        models.append(model)
        return model

    yield make
    for model in models:
        await model.aclose()


async def ask(model: HttpModel, *parts: Part, **settings: Any) -> list[Chunk]:
    message = PromptMessage("user", parts or (Text("Hi"),))
    request = ModelRequest("gpt-5", (message,), None, ModelSettings(**settings))
    with anyio.fail_after(30):
        return [chunk async for batch in model.stream(request) for chunk in batch]


async def failure(model: HttpModel, **settings: Any) -> Failure:
    with pytest.raises(ModelError) as caught:
        await ask(model, **settings)
    return caught.value.failure


async def test_an_answer_streams_from_a_socket(open_model: Open) -> None:
    answer = (
        Answer().reasoning("Hm.", encrypted="gAAA").message(["Hel", "lo"]).calls(("a", "f", ['{"x":', "1}"]))
    )
    async with fake_provider(answer.ended().script) as server:
        chunks = await ask(open_model(server))
    signature = '{"id":"rs_0","encrypted_content":"gAAA","summary":[3]}'
    assert fold([chunk for chunk in chunks if isinstance(chunk, Piece)]) == (
        Reasoning("Hm.", None, signature),
        Text("Hello"),
        ToolCall("a", "f", {"x": 1}),
    )
    assert chunks[-2:] == [USED, Finish("tool_calls")]


async def test_the_request_is_a_post_of_the_dialects_body(open_model: Open) -> None:
    async with fake_provider(GREETING, GREETING) as server:
        model = open_model(server, headers={"X-Team": "seven"})
        await ask(model, temperature=0.5)
        await ask(model)
        assert server.connections == 1
        request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/responses")
    assert request.json == {
        "model": "gpt-5",
        "input": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "store": False,
        "temperature": 0.5,
        "include": ["reasoning.encrypted_content"],
    }
    sent = {name: request.headers.get(name) for name in ("authorization", "content-type", "x-team")}
    assert sent == {"authorization": f"Bearer {KEY}", "content-type": "application/json", "x-team": "seven"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "/v1/responses"),
        ("/v1/", "/v1/responses"),
        ("/api/v3", "/api/v3/responses"),
        ("/v1/responses", "/v1/responses"),
        ("/v1?team=1", "/v1/responses?team=1"),
    ],
)
async def test_a_base_url_may_point_elsewhere(open_model: Open, path: str, expected: str) -> None:
    async with fake_provider(GREETING) as server:
        await ask(open_model(server, base_url=server.origin + path))
        assert server.requests[0].path == expected


async def test_the_configuration_selects_the_other_dialect(open_model: Open) -> None:
    script: Script = (text("Hello"), finish(), done())
    async with fake_provider(script, GREETING) as server:
        options = {"openai": {"logitBias": {"5": 1}}}
        chunks = await ask(open_model(server, options={"api": "chat"}), provider_options=options, seed=7)
        assert chunks == [Text("Hello"), Finish("stop")]
        assert (server.requests[0].path, server.requests[0].json["seed"]) == ("/v1/chat/completions", 7)
        assert server.requests[0].json["logit_bias"] == {"5": 1}
        await ask(open_model(server, options={"api": "responses"}))
        assert server.requests[1].path == "/v1/responses"


async def test_an_option_that_the_api_does_not_know_is_refused_without_a_request(open_model: Open) -> None:
    async with fake_provider() as server:
        failed = await failure(open_model(server), seed=7)
        assert (failed.kind, failed.retryable) == ("invalid_request", False)
        assert failed.message == (
            'openai (responses API) does not support the option "seed". Remove it from the settings.'
        )
        assert server.connections == 0


async def test_a_server_that_does_not_stream_is_understood(open_model: Open) -> None:
    answer = Answer().message("Hello").ended()
    async with fake_provider((status(200, answer.document, {"Content-Type": "application/json"}),)) as server:
        assert await ask(open_model(server)) == [Text("Hello"), USED, Finish("stop")]


async def test_an_answer_ends_with_its_last_event_although_the_response_goes_on(open_model: Open) -> None:
    async with fake_provider((*Answer().message("a").ended().script, stall())) as server:
        assert await ask(open_model(server)) == [Text("a"), USED, Finish("stop")]


@pytest.mark.parametrize("end", [(), (cut(),), (drop(),)], ids=["in good order", "cut", "dropped"])
async def test_a_stream_that_is_closed_before_its_last_event_is_bad_stream(
    open_model: Open, end: Script
) -> None:
    begun = Answer().message("a")
    del begun.events[-1]
    async with fake_provider((*begun.script, comment(), *end)) as server:
        failed = await failure(open_model(server))
    assert (failed.kind, failed.retryable, failed.provider) == ("bad_stream", True, "openai")


@pytest.mark.parametrize("end", [(), (cut(),), (drop(),)], ids=["in good order", "cut", "dropped"])
async def test_an_answer_of_complete_items_is_whole_however_its_response_ends(
    open_model: Open, end: Script
) -> None:
    async with fake_provider((*Answer().message("a").script, comment(), *end)) as server:
        assert await ask(open_model(server)) == [Text("a"), Finish("stop")]


async def test_an_error_in_the_stream_is_a_failure_without_the_key(open_model: Open) -> None:
    limited = {"type": "error", "error": {"code": "rate_limit_exceeded", "message": f"Slow down, {KEY}"}}
    failing = Answer().message("a").ended("failed", error={"code": "server_error", "message": "Oops"})
    async with fake_provider((said(limited),), failing.script) as server:
        model = open_model(server)
        first, second = await failure(model), await failure(model)
    assert (first.kind, first.retryable, first.detail) == ("rate_limit", True, "Slow down, [removed]")
    assert (second.kind, second.retryable, second.detail) == ("overloaded", True, "Oops")


async def test_a_server_that_only_knows_chat_completions_is_named_with_the_way_out(open_model: Open) -> None:
    async with fake_provider((status(404, {"detail": "Not Found"}),)) as server:
        failed = await failure(open_model(server))
    assert (failed.kind, failed.status_code) == ("invalid_request", 404)
    assert failed.message == (
        f"There is no chat API at {server.base_url}/responses; check base_url, "
        'or set api = "chat" for a server that supports only chat completions.'
    )


async def test_one_network_read_is_one_batch(open_model: Open) -> None:
    go = anyio.Event()
    first, second = Answer().message(["a", "b"]).ended(), Answer().message("c")
    cut_at = first.stream.index(b"event: response.output_text.done")
    script = (raw(first.stream[:cut_at]), stall(go), raw(first.stream[cut_at:]))
    async with fake_provider(script, (raw(second.stream), stall())) as server:
        model = open_model(server)
        request = ModelRequest("gpt-5", (PromptMessage("user", (Text("Hi"),)),))
        with anyio.fail_after(30):
            stream = model.stream(request)
            assert list(await anext(stream)) == [Text("ab")]
            go.set()
            rest = [chunk async for batch in stream for chunk in batch]
            assert rest == [USED, Finish("stop")]
            left = model.stream(request)
            assert list(await anext(left)) == [Text("c")]
            await left.aclose()
            await server.disconnected()
