"""The dialect of chat completions: requests over a socket."""

from parley_daemon.core.parts import File, Reasoning, Text, ToolCall
from parley_daemon.core.records import Usage
from parley_daemon.ports.models import (
    Finish,
    ModelRequest,
    PromptMessage,
    UsageReport,
)
from tests.support.providers.chat_model import HELLO, KEY, STOP, Open, ask, failure, question
from tests.support.providers.script import (
    done,
    finish,
    reasoning,
    text,
    tool,
    usage,
)
from tests.support.providers.server import fake_provider


async def test_an_answer_streams_from_a_socket(open_model: Open) -> None:
    script = (
        reasoning("Let me ", "see."),
        text("Hel", "lo"),
        tool(0, "a", "f", '{"x":'),
        tool(0, None, None, "1}"),
        finish("tool_calls"),
        usage(3, 5),
        done(),
    )
    async with fake_provider(script) as server:
        chunks = await ask(open_model(server))
    assert [chunk for chunk in chunks if isinstance(chunk, Text | Reasoning)] == [
        Reasoning("Let me see."),
        Text("Hello"),
    ]
    assert chunks[-3:] == [UsageReport(Usage(3, 5, 8)), ToolCall("a", "f", {"x": 1}), Finish("tool_calls")]


async def test_the_request_is_a_post_of_the_dialects_body(open_model: Open) -> None:
    async with fake_provider(HELLO) as server:
        await ask(open_model(server.origin, api_key=KEY, headers={"X-Team": "seven"}), question(seed=7))
        [request] = server.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.json["messages"] == [{"role": "user", "content": "Hi"}]
    assert (request.json["model"], request.json["seed"], request.json["stream"]) == ("llama", 7, True)
    sent = {name: request.headers.get(name) for name in ("authorization", "content-type", "x-team")}
    assert sent == {"authorization": f"Bearer {KEY}", "content-type": "application/json", "x-team": "seven"}
    assert request.headers["accept-encoding"] == "identity"


async def test_a_key_is_optional(open_model: Open) -> None:
    async with fake_provider(HELLO) as server:
        assert await ask(open_model(server)) == [Text("Hello"), STOP]
        assert "authorization" not in server.requests[0].headers


async def test_extra_headers_of_a_request_go_with_it(open_model: Open) -> None:
    options = {"openaiCompat": {"extraHeaders": {"X-Trace": "t"}, "extraBody": {"min_p": 0.5}}}
    async with fake_provider(HELLO) as server:
        await ask(open_model(server), question(provider_options=options))
        assert server.requests[0].headers["x-trace"] == "t"
        assert server.requests[0].json["min_p"] == 0.5


async def test_extra_headers_with_invalid_characters_are_refused(open_model: Open) -> None:
    options = {"openaiCompat": {"extraHeaders": {"X-Trace": "t\r\nX-Other: y"}}}
    async with fake_provider() as server:
        failed = await failure(open_model(server), question(provider_options=options))
        assert failed.kind == "invalid_request"
        assert server.connections == 0


async def test_an_empty_prompt_is_refused_without_a_request(open_model: Open) -> None:
    async with fake_provider() as server:
        failed = await failure(open_model(server), question(" "))
        assert (failed.kind, failed.retryable) == ("invalid_request", False)
        assert failed.message == "There is nothing to send: the message holds no text and no file."
        assert server.connections == 0


async def test_a_large_request_arrives_whole(open_model: Open) -> None:
    data = "aGk=" * 1_000_000
    message = PromptMessage("user", (Text("What?"), File("image/png", data=data)))
    async with fake_provider(HELLO) as server:
        await ask(open_model(server), ModelRequest("llama", (message,)))
        assert server.requests[0].json["messages"][0]["content"][1]["image_url"]["url"].endswith(data)


async def test_warming_up_does_not_touch_the_network(open_model: Open) -> None:
    async with fake_provider(HELLO) as server:
        model = open_model(server)
        await model.warm()
        assert server.connections == 0
        assert await ask(model) == [Text("Hello"), STOP]
