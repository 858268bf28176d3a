"""Anthropic's dialect against a real server on a real socket, alone and in a daemon."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.parts import Reasoning, Text, ToolCall, ToolCallPiece
from parley_daemon.core.records import Failure, ModelSettings, Usage
from parley_daemon.ports.models import (
    Batch,
    Chunk,
    Finish,
    ModelError,
    ModelRequest,
    PromptMessage,
    UsageReport,
)
from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.anthropic_script import (
    answer,
    begin,
    end,
    named,
    says,
    start,
    text,
    thinking,
    tool,
)
from tests.support.providers.script import cut, drop, raw, stall, status
from tests.support.providers.server import FakeProvider, fake_provider

KEY = "sk-ant-canary-0123456789"
HI = PromptMessage("user", (Text("Hi"),))
USED, STOP = UsageReport(Usage(10, 5, 15)), Finish("stop")


def request(*messages: PromptMessage, **settings: Any) -> ModelRequest:
    return ModelRequest("claude-x", messages or (HI,), None, ModelSettings(**settings))


class Opened:
    """Opens models and asks them."""

    def __init__(self) -> None:
        self.models: list[HttpModel] = []

    def model(self, url: str | FakeProvider, **access: Any) -> HttpModel:
        address = url if isinstance(url, str) else url.origin
        model = TYPES["anthropic"].make_model(Access("anthropic", address, KEY, **access))
        assert isinstance(model, HttpModel)
        self.models.append(model)
        return model

    async def batches(self, url: str | FakeProvider, question: ModelRequest | None = None) -> list[Batch]:
        model = self.model(url)
        with anyio.fail_after(30):
            return [batch async for batch in model.stream(question or request())]

    async def ask(self, url: str | FakeProvider, question: ModelRequest | None = None) -> list[Chunk]:
        return [chunk for batch in await self.batches(url, question) for chunk in batch]

    async def failure(self, url: str | FakeProvider, question: ModelRequest | None = None) -> Failure:
        with pytest.raises(ModelError) as caught:
            await self.batches(url, question)
        return caught.value.failure


@pytest.fixture
async def opened() -> AsyncGenerator[Opened]:
    maker = Opened()
    yield maker
    for model in maker.models:
        await model.aclose()


async def test_an_answer_streams_from_a_socket(opened: Opened) -> None:
    stream = answer(
        thinking("hm"), text("Hel", "lo", index=1), tool("t", "f", "{}", index=2), reason="tool_use"
    )
    async with fake_provider((raw(stream),)) as server:
        assert await opened.ask(server) == [
            Reasoning("hm", None, "sig"),
            Text("Hello"),
            ToolCallPiece("t", "f", "{}"),
            ToolCall("t", "f", {}),
            USED,
            Finish("tool_calls"),
        ]


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/messages", "/anthropic"])
async def test_the_request_is_a_post_of_the_dialects_body_under_the_key(opened: Opened, path: str) -> None:
    async with fake_provider((says("Hi"),)) as server:
        await opened.ask(server.origin + path, request(temperature=0.5))
        [sent] = server.requests
    assert (sent.method, sent.path) == (
        "POST",
        "/anthropic/v1/messages" if "a" in path[:2] else "/v1/messages",
    )
    assert sent.headers["x-api-key"] == KEY
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert sent.headers["content-type"] == "application/json"
    assert "authorization" not in sent.headers
    assert sent.json == {
        "model": "claude-x",
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}],
            }
        ],
        "max_tokens": 32_000,
        "temperature": 0.5,
        "stream": True,
    }


async def test_a_configuration_may_ask_for_another_version_of_the_api(opened: Opened) -> None:
    async with fake_provider((says("Hi"),)) as server:
        model = opened.model(server, headers={"anthropic-version": "2026-10-21"})
        async for _ in model.stream(request()):
            pass
        assert server.requests[0].headers["anthropic-version"] == "2026-10-21"


async def test_the_environment_presets_anthropic() -> None:
    async with fake_provider((says("Hi"),)) as server:
        environment = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.origin}
        listed = ConfiguredCatalogue([], environment=environment)
        resolved = listed.resolve("anthropic:claude-x")
        async for _ in resolved.model.stream(request()):
            pass
        await listed.aclose()
        assert server.requests[0].headers["x-api-key"] == KEY
    assert [info.display_name for info in listed.providers() if info.available] == [
        "Anthropic",
        "parleyd demo",
    ]
    without = ConfiguredCatalogue([ProviderConfig("anthropic", "anthropic")]).providers()[0]
    assert (without.available, without.unavailable_reason) == (False, "missing_api_key")
    assert "ANTHROPIC_API_KEY" in (without.unavailable_message or "")


async def test_a_ping_is_an_empty_batch(opened: Opened) -> None:
    begun, pinged = anyio.Event(), anyio.Event()
    script = (raw(named(begin())), stall(begun), raw(named({"type": "ping"})), stall(pinged), says("Hi"))
    batches: list[Batch] = []
    async with fake_provider(script) as server:
        with anyio.fail_after(30):
            async for batch in opened.model(server).stream(request()):
                batches.append(batch)
                (pinged if begun.is_set() else begun).set()
    assert batches[:2] == [[UsageReport(Usage(10, 1, 11))], []]
    assert Text("Hi") in batches[-1]


async def test_a_request_that_does_not_fit_is_refused_without_a_request(opened: Opened) -> None:
    async with fake_provider() as server:
        for settings in ({"seed": 7}, {"provider_options": {"anthropic": {"speed": "fast"}}}):
            failure = await opened.failure(server, request(**settings))
            assert failure.kind == "invalid_request"
            assert "does not support the option" in failure.message
        assert (await opened.failure(server, request(PromptMessage("user", ())))).kind == "invalid_request"
        assert server.requests == []


async def test_a_refusal_is_a_failure_with_its_hint_and_without_the_key(opened: Opened) -> None:
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": f"Slow down, {KEY}"}}
    async with fake_provider((status(429, body, {"retry-after": "7"}),)) as server:
        failure = await opened.failure(server)
    assert (failure.kind, failure.retryable, failure.retry_after_ms) == ("rate_limit", True, 7000)
    assert failure.message == "The rate limit of anthropic is reached; try again in 7 s."
    assert failure.detail == "Slow down, [removed]"


async def test_an_error_in_the_stream_comes_after_what_was_said_before(opened: Opened) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    async with fake_provider((raw(named(begin(), *text("Hel")[:-1], error)),)) as server:
        said: list[Chunk] = []
        with pytest.raises(ModelError, match="anthropic is overloaded at the moment"):
            async for batch in opened.model(server).stream(request()):
                said += batch
    assert Text("Hel") in said


@pytest.mark.parametrize("ending", [(), (drop(),), (cut(),)])
async def test_a_reason_of_the_end_is_an_end_however_the_response_ends(opened: Opened, ending: Any) -> None:
    async with fake_provider((raw(named(begin(), *text("Hel"), end()[0])), *ending)) as server:
        assert await opened.ask(server) == [Text("Hel"), USED, STOP]


@pytest.mark.parametrize("ending", [drop(), cut(), raw(named(end()[0])[:-10])])
async def test_an_answer_without_its_end_is_bad_stream(opened: Opened, ending: Any) -> None:
    async with fake_provider((raw(named(begin(), *text("Hel")[:-1])), ending)) as server:
        failure = await opened.failure(server)
    assert (failure.kind, failure.retryable) == ("bad_stream", True)


@pytest.mark.parametrize("ending", [(), (drop(),), (cut(),)])
async def test_an_answer_of_stopped_blocks_is_whole_however_its_response_ends(
    opened: Opened, ending: Any
) -> None:
    async with fake_provider((raw(named(begin(), *text("Hel"))), *ending)) as server:
        assert (await opened.ask(server))[-1] == STOP


async def test_a_server_that_does_not_stream_is_understood(opened: Opened) -> None:
    message = {
        **begin()["message"],
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
    async with fake_provider((status(200, message),)) as server:
        assert await opened.ask(server) == [Text("Hello"), USED, STOP]


async def test_answers_follow_each_other_on_one_connection(opened: Opened) -> None:
    async with fake_provider(*[(says("Hi"),)] * 3) as server:
        model = opened.model(server)
        for _ in range(3):
            assert [batch async for batch in model.stream(request())][-1][-1] == STOP
            await server.requested(len(server.requests))
        assert server.connections == 1


async def test_closing_the_stream_closes_the_connection(opened: Opened) -> None:
    async with fake_provider((raw(named(begin(), *text("Hel")[:-1])), stall())) as server:
        async with aclosing(opened.model(server).stream(request())) as stream:
            await anext(stream)
        with anyio.fail_after(30):
            await server.disconnected()


async def test_a_chat_goes_on_with_the_models_signed_thoughts_and_knows_what_it_costs() -> None:
    first = named(
        begin(input_tokens=1000, cache_creation_input_tokens=2000, cache_read_input_tokens=0),
        *thinking("hm"),
        start(1, type="redacted_thinking", data="c2VjcmV0"),
        *text("Hello.", index=2),
        *end(usage={"output_tokens": 100}),
    )
    async with fake_provider((raw(first),), (says("Bye."),)) as server:
        config = f"""
            default_model = "claude:claude-x"
            titles.enabled = false
            [providers.claude]
            type = "anthropic"
            base_url = "{server.origin}"
            api_key = "{KEY}"
            [models."claude:claude-x"]
            context_limit = 200000
            [models."claude:claude-x".pricing]
            input_per_million = 4.0
            output_per_million = 20.0
            cache_creation_per_million = 5.0
        """
        async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat()
            ended = await peer.result("chat/ask", {"chatId": chat_id, "content": "Hi"})
            assert ended["outcome"] == "completed"
            usage = ended["usage"]
            assert (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]) == (3000, 100, 3100)
            assert usage["cacheCreationTokens"] == 2000
            assert usage["costUsd"] == pytest.approx((1000 * 4 + 2000 * 5 + 100 * 20) / 1e6)
            await peer.result("chat/ask", {"chatId": chat_id, "content": "And now?"})
        question = server.requests[1].json
    assert question["messages"][1] == {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "redacted_thinking", "data": "c2VjcmV0"},
            {"type": "text", "text": "Hello.", "cache_control": {"type": "ephemeral"}},
        ],
    }
