"""A model behind HTTP: batches, ends of answers, failures and cancellation over a socket."""

import json
from contextlib import aclosing

import anyio
import pytest

from parley_daemon.core.parts import Reasoning, Source, Text, ToolCall, ToolCallPiece
from parley_daemon.core.records import Usage
from parley_daemon.ports.models import (
    Chunk,
    Finish,
    ModelError,
    UsageReport,
)
from tests.support.providers.chat_model import HELLO, KEY, STOP, Open, ask, batches, failure, question
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
    silence,
    stall,
    status,
    text,
    tool,
    usage,
)
from tests.support.providers.server import fake_provider


async def test_one_network_read_is_one_batch(open_model: Open) -> None:
    two = b"".join([b"data: " + json.dumps(chunk({"content": each})).encode() + b"\n\n" for each in "ab"])
    go = anyio.Event()
    async with fake_provider((raw(two), stall(go), text("c"), stall())) as server:
        stream = open_model(server).stream(question())
        with anyio.fail_after(30):
            assert list(await anext(stream)) == [Text("ab")]
            go.set()
            assert list(await anext(stream)) == [Text("c")]
            await stream.aclose()


async def test_a_comment_is_an_empty_batch(open_model: Open) -> None:
    go = anyio.Event()
    async with fake_provider((comment(), stall(go), text("a"), stall())) as server:
        stream = open_model(server).stream(question())
        with anyio.fail_after(30):
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
            with anyio.fail_after(30):
                async for batch in stream:
                    chunks += batch
                    go.set()
    assert chunks == [Text("a🌍b"), STOP]


@pytest.mark.parametrize("field", [b"data: ", b"data:"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
async def test_every_line_end_and_field_form_is_accepted(
    open_model: Open, newline: bytes, field: bytes
) -> None:
    async with fake_provider((lines(newline, field), comment(), *HELLO)) as server:
        assert await ask(open_model(server)) == [Text("Hello"), STOP]


async def test_usage_after_the_finish_reason_is_waited_for(open_model: Open) -> None:
    go = anyio.Event()
    async with fake_provider((text("a"), finish(), stall(go), usage(1, 2), done())) as server:
        chunks: list[Chunk] = []
        async with aclosing(open_model(server).stream(question())) as stream:
            with anyio.fail_after(30):
                async for batch in stream:
                    chunks += batch
                    go.set()
    assert chunks == [Text("a"), STOP, UsageReport(Usage(1, 2, 3))]


async def test_the_finish_is_sent_while_the_response_stays_open(open_model: Open) -> None:
    cited = event({**chunk({"content": "<think>unclosed"}), "citations": ["https://x.org"]})
    called = tool(0, "a", "f", "{}")
    async with fake_provider((cited, called, finish(), stall())) as server:
        chunks: list[Chunk] = []
        async with aclosing(open_model(server).stream(question())) as stream:
            with anyio.fail_after(30):
                while Finish("tool_calls") not in chunks:
                    chunks += await anext(stream)
    kinds = [Reasoning, ToolCallPiece, Source, ToolCall, Finish]
    assert list(dict.fromkeys(map(type, chunks))) == kinds


async def test_what_follows_the_finish_is_sent_once(open_model: Open) -> None:
    go = anyio.Event()
    first = (tool(0, "a", "f", "{}"), finish("tool_calls"), stall(go))
    more = (tool(1, "b", "g", "{}"), event({**chunk(), "citations": ["https://x.org"]}), usage(1, 2))
    async with fake_provider((*first, *more, finish("tool_calls"), done())) as server:
        chunks: list[Chunk] = []
        with anyio.fail_after(30):
            async for batch in open_model(server).stream(question()):
                chunks += batch
                if Finish("tool_calls") in chunks:
                    go.set()
    told = [chunk for chunk in chunks if not isinstance(chunk, ToolCallPiece)]
    assert told.pop() == Finish("tool_calls")  # the one before it was too early
    assert told[:2] == [ToolCall("a", "f", {}), Finish("tool_calls")]
    rest = [
        UsageReport(Usage(1, 2, 3)),
        Source("1", "https://x.org", "https://x.org"),
        ToolCall("b", "g", {}),
    ]
    assert sorted(told[2:], key=repr) == sorted(rest, key=repr)


async def test_comments_after_a_finished_answer_do_not_keep_the_call_open(open_model: Open) -> None:
    async def chatter(reply: Reply) -> None:
        while True:
            await reply.body(b": keep-alive\n\n")
            await anyio.sleep(0.01)

    async with fake_provider((text("a"), finish(), chatter)) as server:
        assert await ask(open_model(server, usage_grace=0.1)) == [Text("a"), STOP]
        with anyio.fail_after(30):
            await server.disconnected()


async def test_a_finished_answer_that_the_server_keeps_open_ends(open_model: Open) -> None:
    async with fake_provider((text("a"), finish(), stall())) as server:
        assert await ask(open_model(server, usage_grace=0.01)) == [Text("a"), STOP]
        with anyio.fail_after(30):
            await server.disconnected()


@pytest.mark.parametrize("end", [(), (cut(),), (drop(),)], ids=["in good order", "cut", "dropped"])
async def test_a_finish_reason_completes_an_answer_however_it_ends(open_model: Open, end: Script) -> None:
    async with fake_provider((text("a"), finish("length"), *end)) as server:
        assert await ask(open_model(server)) == [Text("a"), Finish("length")]


@pytest.mark.parametrize("end", [(), (cut(),), (drop(),)], ids=["in good order", "cut", "dropped"])
async def test_a_closed_stream_without_end_mark_is_bad_stream(open_model: Open, end: Script) -> None:
    go = anyio.Event()
    async with fake_provider((text("a"), stall(go), *end)) as server:
        chunks: list[Chunk] = []
        with anyio.fail_after(30), pytest.raises(ModelError) as caught:
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
        with anyio.fail_after(30), pytest.raises(ModelError) as caught:
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
    assert (failed.kind, failed.detail) == ("bad_stream", "Welcome to nginx!")


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


async def test_closing_the_stream_closes_the_connection(open_model: Open) -> None:
    async with fake_provider((text("a"), stall())) as server:
        stream = open_model(server).stream(question())
        with anyio.fail_after(30):
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
        with anyio.fail_after(30):
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
        with anyio.fail_after(30):
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
            with anyio.fail_after(30):
                await server.requested(300)
            go.set()
    assert answers == [[Text("ab"), STOP]] * 300
