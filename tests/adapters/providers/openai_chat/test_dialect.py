"""The chat-completions adapter against a real server on a real socket."""

import asyncio
import json
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.parts import File, Reasoning, Source, Text, ToolCall, ToolCallPiece
from parley_daemon.core.records import Failure, ModelSettings, Timeouts, Usage
from parley_daemon.ports.models import (
    Batch,
    Chunk,
    Finish,
    ModelError,
    ModelRequest,
    PromptMessage,
    UsageReport,
)
from tests.support.providers.script import (
    Reply,
    Script,
    at,
    chunk,
    comment,
    cut,
    done,
    drop,
    event,
    finish,
    lines,
    raw,
    reasoning,
    silence,
    stall,
    status,
    text,
    tool,
    usage,
)
from tests.support.providers.server import FakeProvider, fake_provider

KEY = "sk-canary-0123456789"
STOP = Finish("stop")
HELLO: Script = (text("Hello"), finish(), done())

Open = Callable[..., HttpModel]


def opened(url: str, *, usage_grace: float | None = None, **access: Any) -> HttpModel:
    """Return a provider at that address, as the catalogue would make it."""
    if usage_grace is not None:
        return HttpModel("local", ChatCompletions("local", url), url, usage_grace=usage_grace)
    model = TYPES["openai-compat"].make_model(Access("local", url, **access))
    assert isinstance(model, HttpModel)
    return model


@pytest.fixture
async def open_model() -> AsyncGenerator[Open]:
    """Return a maker of models that are closed at the end."""
    models: list[HttpModel] = []

    def make(url: str | FakeProvider, **options: Any) -> HttpModel:
        models.append(opened(url if isinstance(url, str) else url.base_url, **options))
        return models[-1]

    yield make
    for model in models:
        await model.aclose()


def question(prompt: str = "Hi", **settings: Any) -> ModelRequest:
    return ModelRequest("llama", (PromptMessage("user", (Text(prompt),)),), None, ModelSettings(**settings))


async def batches(model: HttpModel, request: ModelRequest | None = None) -> list[Batch]:
    with anyio.fail_after(10):
        return [batch async for batch in model.stream(request or question())]


async def ask(model: HttpModel, request: ModelRequest | None = None) -> list[Chunk]:
    """Return all chunks of an answer, texts that came in several batches joined, its one Finish last."""
    chunks: list[Chunk] = []
    for batch in await batches(model, request):
        for part in batch:
            last = chunks[-1] if chunks else None
            if isinstance(part, Text | Reasoning) and type(last) is type(part):
                assert isinstance(last, Text | Reasoning)
                chunks[-1] = type(part)(last.text + part.text)
            else:
                chunks.append(part)
    return sorted(chunks, key=lambda chunk: isinstance(chunk, Finish))  # usage may come on either side of it


async def failure(model: HttpModel, request: ModelRequest | None = None) -> Failure:
    with pytest.raises(ModelError) as caught:
        await batches(model, request)
    return caught.value.failure


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("http://h:8080", "http://h:8080/v1/chat/completions"),
        ("http://h:8080/", "http://h:8080/v1/chat/completions"),
        ("http://h:8080/v1", "http://h:8080/v1/chat/completions"),
        (" http://h:8080/v1/ ", "http://h:8080/v1/chat/completions"),
        ("https://x/openai/v1/", "https://x/openai/v1/chat/completions"),
        ("https://x/openai", "https://x/openai/v1/chat/completions"),
        ("https://x/api/paas/v4", "https://x/api/paas/v4/chat/completions"),
        ("https://x/v1beta/openai/", "https://x/v1beta/openai/chat/completions"),
        ("https://x/chat/completions", "https://x/chat/completions"),
        ("https://x/v1/chat/completions/", "https://x/v1/chat/completions"),
        ("https://x/v1?api-version=1", "https://x/v1/chat/completions?api-version=1"),
        ("http://[::1]:80", "http://[::1]:80/v1/chat/completions"),
    ],
)
def test_a_base_url_may_be_given_with_or_without_its_version(base_url: str, expected: str) -> None:
    assert endpoint_url(base_url, "/chat/completions") == expected


@pytest.mark.parametrize("base_url", ["", "localhost:8080", "ftp://h", "http://", "/v1", "http://h:port"])
def test_a_base_url_that_is_no_web_address_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError):
        endpoint_url(base_url, "/chat/completions")


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


async def test_extra_headers_that_no_header_can_carry_are_refused(open_model: Open) -> None:
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


async def test_what_one_read_brings_is_one_batch(open_model: Open) -> None:
    two = b"".join([b"data: " + json.dumps(chunk({"content": each})).encode() + b"\n\n" for each in "ab"])
    go = anyio.Event()
    async with fake_provider((raw(two), stall(go), text("c"), stall())) as server:
        stream = open_model(server).stream(question())
        with anyio.fail_after(5):
            assert list(await anext(stream)) == [Text("ab")]
            go.set()
            assert list(await anext(stream)) == [Text("c")]
            await stream.aclose()


async def test_a_comment_is_an_empty_batch(open_model: Open) -> None:
    go = anyio.Event()
    async with fake_provider((comment(), stall(go), text("a"), stall())) as server:
        stream = open_model(server).stream(question())
        with anyio.fail_after(5):
            assert list(await anext(stream)) == []
            go.set()
            assert list(await anext(stream)) == [Text("a")]
            await stream.aclose()


async def test_a_character_split_between_two_reads_is_whole(open_model: Open) -> None:
    payload = b"data: " + json.dumps(chunk({"content": "a🌍b"}), ensure_ascii=False).encode() + b"\n\n"
    middle = payload.index("🌍".encode()) + 2
    go = anyio.Event()
    script = (raw(payload[:middle]), stall(go), raw(payload[middle:]), finish(), done())
    async with fake_provider(script) as server:
        chunks: list[Chunk] = []
        async with aclosing(open_model(server).stream(question())) as stream:
            with anyio.fail_after(5):
                async for batch in stream:
                    chunks += batch
                    go.set()
    assert chunks == [Text("a🌍b"), STOP]


@pytest.mark.parametrize("field", [b"data: ", b"data:"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
async def test_servers_frame_events_as_they_like(open_model: Open, newline: bytes, field: bytes) -> None:
    async with fake_provider((lines(newline, field), comment(), *HELLO)) as server:
        assert await ask(open_model(server)) == [Text("Hello"), STOP]


async def test_usage_after_the_finish_reason_is_waited_for(open_model: Open) -> None:
    go = anyio.Event()
    async with fake_provider((text("a"), finish(), stall(go), usage(1, 2), done())) as server:
        chunks: list[Chunk] = []
        async with aclosing(open_model(server).stream(question())) as stream:
            with anyio.fail_after(5):
                async for batch in stream:
                    chunks += batch
                    go.set()
    assert chunks == [Text("a"), STOP, UsageReport(Usage(1, 2, 3))]


async def test_the_end_of_an_answer_is_told_although_the_response_goes_on(open_model: Open) -> None:
    cited = event({**chunk({"content": "<think>unclosed"}), "citations": ["https://x.org"]})
    called = tool(0, "a", "f", "{}")
    async with fake_provider((cited, called, finish(), stall())) as server:
        chunks: list[Chunk] = []
        async with aclosing(open_model(server).stream(question())) as stream:
            with anyio.fail_after(5):
                while Finish("tool_calls") not in chunks:
                    chunks += await anext(stream)
    kinds = [Reasoning, ToolCallPiece, Source, ToolCall, Finish]
    assert list(dict.fromkeys(map(type, chunks))) == kinds


async def test_what_comes_after_the_end_is_told_once_and_nothing_twice(open_model: Open) -> None:
    go = anyio.Event()
    first = (tool(0, "a", "f", "{}"), finish("tool_calls"), stall(go))
    more = (tool(1, "b", "g", "{}"), event({**chunk(), "citations": ["https://x.org"]}), usage(1, 2))
    async with fake_provider((*first, *more, finish("tool_calls"), done())) as server:
        chunks: list[Chunk] = []
        with anyio.fail_after(5):
            async for batch in open_model(server).stream(question()):
                chunks += batch
                if Finish("tool_calls") in chunks:
                    go.set()
    told = [chunk for chunk in chunks if not isinstance(chunk, ToolCallPiece)]
    assert told[:2] == [ToolCall("a", "f", {}), Finish("tool_calls")]
    rest = [
        UsageReport(Usage(1, 2, 3)),
        Source("1", "https://x.org", "https://x.org"),
        ToolCall("b", "g", {}),
    ]
    assert sorted(told[2:], key=repr) == sorted(rest, key=repr)


async def test_a_server_that_keeps_a_finished_answer_open_with_comments_is_left(open_model: Open) -> None:
    async def chatter(reply: Reply) -> None:
        while True:
            await reply.body(b": keep-alive\n\n")
            await anyio.sleep(0.01)

    async with fake_provider((text("a"), finish(), chatter)) as server:
        assert await ask(open_model(server, usage_grace=0.1)) == [Text("a"), STOP]
        with anyio.fail_after(5):
            await server.disconnected()


async def test_a_finished_answer_that_the_server_keeps_open_ends(open_model: Open) -> None:
    async with fake_provider((text("a"), finish(), stall())) as server:
        assert await ask(open_model(server, usage_grace=0.01)) == [Text("a"), STOP]
        with anyio.fail_after(5):
            await server.disconnected()


@pytest.mark.parametrize("end", [(), (cut(),), (drop(),)], ids=["in good order", "cut", "dropped"])
async def test_a_finish_reason_is_an_end_however_the_response_ends(open_model: Open, end: Script) -> None:
    async with fake_provider((text("a"), finish("length"), *end)) as server:
        assert await ask(open_model(server)) == [Text("a"), Finish("length")]


@pytest.mark.parametrize("end", [(), (cut(),), (drop(),)], ids=["in good order", "cut", "dropped"])
async def test_a_closed_stream_without_end_mark_is_bad_stream(open_model: Open, end: Script) -> None:
    go = anyio.Event()
    async with fake_provider((text("a"), stall(go), *end)) as server:
        chunks: list[Chunk] = []
        with anyio.fail_after(5), pytest.raises(ModelError) as caught:
            async for batch in open_model(server).stream(question()):
                chunks += batch
                go.set()
    assert chunks == [Text("a")]
    failed = caught.value.failure
    assert (failed.kind, failed.retryable, failed.provider) == ("bad_stream", True, "local")


async def test_an_error_in_the_stream_comes_after_what_was_said_before(open_model: Open) -> None:
    said = b"data: " + json.dumps(chunk({"content": "a"})).encode() + b"\n\n"
    error = b'data: {"error": {"message": "Overloaded", "code": 529}}\n\n'
    async with fake_provider((raw(said + error),)) as server:
        chunks: list[Chunk] = []
        with anyio.fail_after(5), pytest.raises(ModelError) as caught:
            async for batch in open_model(server).stream(question()):
                chunks += batch
    assert chunks == [Text("a")]
    assert (caught.value.failure.kind, caught.value.failure.detail) == ("overloaded", "Overloaded")


async def test_a_server_that_does_not_stream_is_understood(open_model: Open) -> None:
    body = {
        "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1},
    }
    async with fake_provider((status(200, body),)) as server:
        assert await ask(open_model(server)) == [Text("Hello"), UsageReport(Usage(1)), STOP]


async def test_a_web_page_is_bad_stream(open_model: Open) -> None:
    page = "<html><title>Welcome to nginx!</title></html>"
    async with fake_provider((status(200, page, {"Content-Type": "text/html"}),)) as server:
        failed = await failure(open_model(server))
    assert (failed.kind, failed.detail) == ("bad_stream", "Welcome to nginx!: Welcome to nginx!")


async def test_a_status_is_a_failure_with_its_hint_and_without_the_key(open_model: Open) -> None:
    body = {"error": {"message": f"Slow down, {KEY}"}}
    async with fake_provider((status(429, body, {"Retry-After": "7"}),), HELLO) as server:
        model = open_model(server, api_key=KEY)
        failed = await failure(model)
        assert (failed.kind, failed.status_code, failed.retry_after_ms) == ("rate_limit", 429, 7000)
        assert failed.detail == "Slow down, [removed]"
        assert await ask(model) == [Text("Hello"), STOP]
        assert server.connections == 1


async def test_a_redirect_is_not_followed(open_model: Open) -> None:
    async with fake_provider(HELLO) as other:
        async with fake_provider((status(307, "", {"Location": other.base_url}),)) as server:
            failed = await failure(open_model(server, api_key=KEY))
        assert failed.kind == "invalid_request"
        assert failed.detail == other.base_url
        assert other.connections == 0


async def test_a_redirect_to_an_address_that_is_no_utf8_is_not_followed_either(open_model: Open) -> None:
    async with fake_provider((status(302, "", {"Location": "http://x/\xff"}),)) as server:
        failed = await failure(open_model(server))
    assert (failed.kind, failed.detail) == ("invalid_request", "http://x/\ufffd")


async def test_nothing_listening_names_the_address_and_asks_the_right_question(open_model: Open) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        failed = await failure(open_model(f"http://127.0.0.1:{port}/v1"))
    assert (failed.kind, failed.retryable) == ("network", True)
    assert failed.message == f"Nothing answers at http://127.0.0.1:{port}. Is the server running?"


async def test_an_unknown_host_says_so(open_model: Open) -> None:
    failed = await failure(open_model("http://no-such-host.invalid"))
    assert (failed.kind, failed.retryable) == ("network", True)
    assert failed.message == (
        "The host name in http://no-such-host.invalid cannot be resolved; check base_url and the network."
    )


async def test_a_server_that_accepts_nobody_is_a_timeout(open_model: Open) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):  # fills the backlog: the next connection is not even answered
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        failed = await failure(open_model(url), question(timeouts=Timeouts(connect_ms=50)))
    assert (failed.kind, failed.retryable) == ("timeout", True)
    assert failed.message == f"{url} did not accept a connection within 0.05 s."


@asynccontextmanager
async def server_saying(words: bytes) -> AsyncGenerator[int]:
    """Run a server that says something to everyone and closes; yield its port."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_a_secure_address_of_a_plain_server_says_so(open_model: Open) -> None:
    async with server_saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        failed = await failure(open_model(f"https://127.0.0.1:{port}"))
    assert (failed.kind, failed.retryable) == ("network", False)
    assert failed.message == (
        f"The TLS handshake with https://127.0.0.1:{port} failed; check whether base_url should begin with http://."
    )


async def test_a_server_that_speaks_no_http_is_bad_stream(open_model: Open) -> None:
    async with server_saying(b"220 mail.example.org ESMTP\r\n") as port:
        failed = await failure(open_model(f"http://127.0.0.1:{port}"))
    assert (failed.kind, failed.retryable) == ("bad_stream", False)
    assert failed.message == f"The server at http://127.0.0.1:{port} does not answer in HTTP; check base_url."


async def test_a_connection_closed_without_an_answer_is_network(open_model: Open) -> None:
    async with fake_provider((drop(),)) as server:
        failed = await failure(open_model(server))
        assert (failed.kind, failed.retryable) == ("network", True)
        assert len(server.requests) == 1


async def test_a_kept_connection_that_the_server_closes_when_it_is_used_costs_nothing(
    open_model: Open,
) -> None:
    async with fake_provider(HELLO, (drop(),), HELLO) as server:
        model = open_model(server)
        assert await ask(model) == [Text("Hello"), STOP]
        assert await ask(model) == [Text("Hello"), STOP]
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_answers_follow_each_other_on_one_connection(open_model: Open) -> None:
    async with fake_provider(*[HELLO] * 5) as server:
        model = open_model(server)
        for _ in range(5):
            await ask(model)
        assert server.connections == 1


async def test_a_connection_whose_response_ends_late_is_kept_all_the_same(open_model: Open) -> None:
    go = anyio.Event()
    async with fake_provider((*HELLO, stall(go)), HELLO) as server:
        model = open_model(server)
        assert await ask(model) == [Text("Hello"), STOP]
        go.set()
        with anyio.fail_after(5):
            while server.requests[0].reply is None or not server.requests[0].reply.ended:
                await anyio.lowlevel.checkpoint()
            for _ in range(20):  # the last bytes are on their way to the client
                await anyio.lowlevel.checkpoint()
        assert await ask(model) == [Text("Hello"), STOP]
        assert server.connections == 1


async def test_a_connection_whose_response_never_ends_is_closed_with_the_model(open_model: Open) -> None:
    async with fake_provider((*HELLO, stall())) as server:
        model = open_model(server)
        assert await ask(model) == [Text("Hello"), STOP]
        await model.aclose()
        with anyio.fail_after(5):
            await server.disconnected()


async def test_closing_the_stream_closes_the_connection(open_model: Open) -> None:
    async with fake_provider((text("a"), stall())) as server:
        stream = open_model(server).stream(question())
        with anyio.fail_after(5):
            assert list(await anext(stream)) == [Text("a")]
            await stream.aclose()
            await server.disconnected()
            await server.idle()


@pytest.mark.parametrize(
    "before",
    [(silence(),), (stall(),), (text("a"), stall()), (comment(), stall())],
    ids=["no response yet", "head only", "in mid-answer", "keep-alives"],
)
async def test_a_cancelled_call_closes_the_connection(open_model: Open, before: Script) -> None:
    reached = anyio.Event()
    async with fake_provider((*before[:-1], at(reached), before[-1])) as server:
        model = open_model(server)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(batches, model)
                await reached.wait()
                group.cancel_scope.cancel()
            await server.disconnected()
            await server.idle()


async def test_a_refusal_whose_body_stalls_can_be_cancelled(open_model: Open) -> None:
    reached = anyio.Event()
    script = (status(500, b"", {"Content-Length": "100"}), at(reached), silence())
    async with fake_provider(script) as server:
        model = open_model(server)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(batches, model)
                await reached.wait()
                group.cancel_scope.cancel()
            await server.disconnected()


async def test_hundreds_of_answers_stream_at_once(open_model: Open) -> None:
    go = anyio.Event()
    async with fake_provider(*[(text("a"), stall(go), text("b"), finish(), done())] * 300) as server:
        model = open_model(server)
        answers: list[list[Chunk]] = []

        async def one() -> None:
            answers.append(await ask(model))

        async with anyio.create_task_group() as group:
            for _ in range(300):
                group.start_soon(one)
            with anyio.fail_after(20):
                await server.requested(300)
            go.set()
    assert answers == [[Text("ab"), STOP]] * 300


async def test_proxies_of_the_environment_are_used_but_not_on_the_way_to_this_machine(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with fake_provider(HELLO) as proxy, fake_provider(HELLO) as server:
        monkeypatch.setenv("http_proxy", proxy.origin)
        await ask(open_model(server))
        assert proxy.connections == 0
        await ask(open_model("http://models.test/v1"))
        assert proxy.requests[0].path == "http://models.test/v1/chat/completions"


async def test_neither_keys_nor_prompts_are_logged(
    open_model: Open, caplog: pytest.LogCaptureFixture
) -> None:
    scripts = (
        HELLO,
        (status(401, {"error": f"bad key {KEY}"}),),
        (text("a"), raw(b"data: {bad\n\n")),
        (drop(),),
    )
    with caplog.at_level(logging.DEBUG):
        async with fake_provider(*scripts) as server:
            model = open_model(server, api_key=KEY, headers={"X-Secret": "canary-header"})
            for _ in scripts:
                try:
                    await ask(model, question("canary prompt"))
                except ModelError as error:
                    assert "canary" not in repr(error.failure)
    assert "canary" not in caplog.text


async def test_warming_up_does_not_touch_the_network(open_model: Open) -> None:
    async with fake_provider(HELLO) as server:
        model = open_model(server)
        await model.warm()
        assert server.connections == 0
        assert await ask(model) == [Text("Hello"), STOP]


def test_importing_the_adapter_does_not_import_aiohttp() -> None:
    code = "import sys, parley_daemon.adapters.providers.catalogue; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


UNWARMED = """
import sys, threading, anyio
from parley_daemon.adapters.providers.registry import TYPES, Access
from parley_daemon.core.parts import Text
from parley_daemon.ports.models import ModelError, ModelRequest, PromptMessage

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "aiohttp":
            print("main" if threading.current_thread() is threading.main_thread() else "aside")

async def main():
    request = ModelRequest("m", (PromptMessage("user", (Text("Hi"),)),))
    try:
        async for _ in TYPES["openai-compat"].make_model(Access("local", "http://127.0.0.1:1")).stream(request):
            pass
    except ModelError as error:
        print(error.failure.kind)

sys.meta_path.insert(0, Watch())
anyio.run(main)
"""


def test_the_first_question_does_not_make_the_loop_wait_for_an_import() -> None:
    done = subprocess.run([sys.executable, "-c", UNWARMED], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["aside", "network"]


async def test_closing_twice_and_closing_unused_are_fine(open_model: Open) -> None:
    model = open_model("http://127.0.0.1:1")
    await model.aclose()
    await model.aclose()
