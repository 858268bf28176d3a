"""Servers that send more than anybody wants: answers, errors, lists and compressed data are all bounded."""

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.http.json_client import MAX_BYTES
from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.parts import Source, ToolCallPiece, fold, plain_text
from parley_daemon.core.records import Failure
from parley_daemon.ports.models import AnswerLimits, Chunk, Finish, ModelError, UsageReport
from tests.support.providers.chat_model import question
from tests.support.providers.script import Action, Reply, Script, raw, status
from tests.support.providers.server import FakeProvider, fake_provider

Json = dict[str, Any]
SMALL = AnswerLimits(size=100_000)
"""Limits with which a document of more than 1.3 MB is too large."""

LONG = "word " * 400_000


def chat(text: str) -> Json:
    return {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}


def responses(text: str) -> Json:
    content = [{"type": "output_text", "text": text}]
    item = {"type": "message", "id": "i", "role": "assistant", "content": content}
    return {"id": "r", "object": "response", "output": [item], "status": "completed"}


def anthropic(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "type": "message"}


def google(text: str) -> Json:
    return {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]}


DOCUMENTS: dict[str, Callable[[str], Json]] = {
    "openai-compat": chat,
    "openai": responses,
    "anthropic": anthropic,
    "google": google,
}
EVENTS: dict[str, Callable[[str], Json]] = {
    "openai-compat": lambda text: {"choices": [{"delta": {"content": text}}]},
    "openai": lambda text: {"type": "response.output_text.delta", "output_index": 0, "delta": text},
    "anthropic": lambda text: {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": text},
    },
    "google": google,
}


def model_of(type: str, server: FakeProvider) -> HttpModel:
    model = TYPES[type].make_model(Access("local", server.base_url, "sk-canary-0123456789"))
    assert isinstance(model, HttpModel)
    return model


async def read(model: HttpModel, limits: AnswerLimits = SMALL) -> tuple[list[Chunk], Failure | None]:
    """Return the chunks of an answer, and its failure."""
    chunks: list[Chunk] = []
    request = replace(question(), limits=limits)
    try:
        with anyio.fail_after(60):
            async for batch in model.stream(request):
                chunks += batch
    except ModelError as error:
        return chunks, error.failure
    finally:
        await model.aclose()
    return chunks, None


def text_of(chunks: list[Chunk]) -> str:
    return plain_text(fold([one for one in chunks if not isinstance(one, UsageReport | Finish)]))


@pytest.mark.parametrize("type", DOCUMENTS)
async def test_the_beginning_of_a_document_that_is_too_large_is_kept(type: str) -> None:
    body = json.dumps(DOCUMENTS[type](LONG)).encode()
    async with fake_provider((raw(body),)) as server:
        chunks, failure = await read(model_of(type, server))
    assert failure is not None
    assert (failure.kind, failure.retryable) == ("limit", False)
    assert len(text_of(chunks)) > SMALL.size
    assert LONG.startswith(text_of(chunks))
    assert not any(isinstance(one, Finish) for one in chunks)


@pytest.mark.parametrize("type", DOCUMENTS)
async def test_a_large_document_within_the_limit_is_whole(type: str) -> None:
    body = json.dumps(DOCUMENTS[type](LONG)).encode()
    async with fake_provider((raw(body),)) as server:
        chunks, failure = await read(model_of(type, server), AnswerLimits())
    assert failure is None
    assert text_of(chunks) == LONG


@pytest.mark.parametrize("type", EVENTS)
async def test_an_event_without_an_end_is_ended_at_the_limit(type: str) -> None:
    first, endless = (json.dumps(EVENTS[type](text)).encode() for text in ("Before. ", LONG))
    script = (raw(b"data: " + first + b"\n\n"), raw(b"data: " + endless[:-20]))
    async with fake_provider(script) as server:
        chunks, failure = await read(model_of(type, server))
    assert failure is not None
    assert failure.kind == "limit"
    assert text_of(chunks).startswith("Before. word word")


def calls_of_chat(count: int) -> Json:
    call: Json = {"function": {"name": "run", "arguments": "{}"}}
    return {
        "choices": [
            {"message": {"content": "Hm.", "tool_calls": [{**call, "id": f"c{n}"} for n in range(count)]}}
        ]
    }


def calls_of_responses(count: int) -> Json:
    text = responses("Hm.")
    text["output"] += [
        {"type": "function_call", "id": f"i{n}", "call_id": f"c{n}", "name": "run", "arguments": "{}"}
        for n in range(count)
    ]
    return text


def calls_of_anthropic(count: int) -> Json:
    message = anthropic("Hm.")
    message["content"] += [
        {"type": "tool_use", "id": f"c{n}", "name": "run", "input": {}} for n in range(count)
    ]
    return message


def calls_of_google(count: int) -> Json:
    answer = google("Hm.")
    answer["candidates"][0]["content"]["parts"] += [{"functionCall": {"name": "run", "args": {}}}] * count
    return answer


@pytest.mark.parametrize(
    ("type", "body"),
    [
        ("openai-compat", calls_of_chat),
        ("openai", calls_of_responses),
        ("anthropic", calls_of_anthropic),
        ("google", calls_of_google),
    ],
)
async def test_thousands_of_tool_calls_are_not_read_to_the_end(
    type: str, body: Callable[[int], Json]
) -> None:
    document = json.dumps(body(20_000)).encode()
    async with fake_provider((raw(document),)) as server:
        chunks, failure = await read(model_of(type, server), AnswerLimits())
    assert failure is not None
    assert (failure.kind, failure.message) == (
        "limit",
        "The answer of local has more than 256 tool calls. What came before is kept.",
    )
    assert text_of(chunks) == "Hm."
    async with fake_provider((raw(json.dumps(body(256)).encode()),)) as server:
        assert (await read(model_of(type, server), AnswerLimits()))[1] is None


async def test_calls_that_stream_are_counted_one_by_one() -> None:
    def event(n: int) -> bytes:
        call: Json = {"index": n, "id": f"c{n}", "function": {"name": "run", "arguments": "{}"}}
        return b"data: " + json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}).encode() + b"\n\n"

    async with fake_provider((raw(b"".join(map(event, range(300)))),)) as server:
        chunks, failure = await read(model_of("openai-compat", server))
    assert failure is not None
    assert failure.kind == "limit"
    assert len({one.tool_call_id for one in chunks if isinstance(one, ToolCallPiece)}) == 256


async def test_sources_without_number_are_ended_at_the_limit() -> None:
    cited = [f"https://example.org/{n}" for n in range(5000)]
    event = {"choices": [{"delta": {"content": "Hi"}}], "citations": cited}
    async with fake_provider((raw(b"data: " + json.dumps(event).encode() + b"\n\n"),)) as server:
        chunks, failure = await read(model_of("openai-compat", server))
    assert failure is not None
    assert failure.kind == "limit"
    assert not any(isinstance(one, Source) for one in chunks)


async def test_blanks_before_an_answer_are_text_when_there_are_many() -> None:
    event = b'data: {"choices":[{"delta":{"content":" "}}]}\n\n'
    async with fake_provider((raw(event * 3000),)) as server:
        chunks, _ = await read(model_of("openai-compat", server))
    assert text_of(chunks) == " " * 3000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP"])
@pytest.mark.parametrize("length", [True, False])
async def test_an_encoding_that_was_not_requested_is_refused(encoding: str, length: bool) -> None:
    body = gzip.compress(json.dumps(chat("Hi")).encode())
    size = {"Content-Length": str(len(body))} if length else {}

    async def act(reply: Reply) -> None:
        await reply.head(200, {"Content-Type": "application/json", "Content-Encoding": encoding, **size})
        await reply.body(body)

    async with fake_provider((act,)) as server:
        chunks, failure = await read(model_of("openai-compat", server))
        assert server.requests[0].headers["accept-encoding"] == "identity"
    assert chunks == []
    assert failure is not None
    assert (failure.kind, failure.retryable) == ("bad_stream", False)
    assert "compressed data" in failure.message
    assert "which was not requested" in failure.message


async def test_compressed_data_without_a_header_is_named() -> None:
    async with fake_provider((raw(gzip.compress(b"{}")),)) as server:
        _, failure = await read(model_of("openai-compat", server))
    assert failure is not None
    assert "compressed data (gzip)" in failure.message


@pytest.mark.parametrize("encoding", ["identity", "", "utf-8"])
async def test_an_encoding_that_changes_nothing_is_accepted(encoding: str) -> None:
    reply = status(200, chat("Hi"), {"Content-Encoding": encoding})
    async with fake_provider((reply,)) as server:
        chunks, failure = await read(model_of("openai-compat", server))
    assert (text_of(chunks), failure) == ("Hi", None)


async def test_the_body_of_an_error_is_not_decompressed_and_its_status_counts() -> None:
    bomb = gzip.compress(b"x" * 1_000_000)
    async with fake_provider(
        (status(429, bomb, {"Content-Encoding": "gzip", "Retry-After": "7"}),)
    ) as server:
        _, failure = await read(model_of("openai-compat", server))
    assert failure is not None
    assert (failure.kind, failure.status_code, failure.retry_after_ms) == ("rate_limit", 429, 7000)


def endless(data: bytes) -> Action:
    async def act(reply: Reply) -> None:
        while True:
            await reply.body(data)

    return act


async def test_an_error_without_an_end_is_read_a_little() -> None:
    async def act(reply: Reply) -> None:
        await reply.head(400, {"Content-Type": "text/plain"})
        await endless(b"This is wrong. " * 1000)(reply)

    async with fake_provider((act,)) as server:
        _, failure = await read(model_of("openai-compat", server))
    assert failure is not None
    assert (failure.kind, failure.status_code) == ("invalid_request", 400)


def lists() -> Iterator[tuple[str, Script]]:
    entry = b'{"id":"%b"},' % (b"m" * 1000)

    async def without_end(reply: Reply) -> None:
        await reply.head(200, {"Content-Type": "application/json"})
        await reply.body(b'{"data":[')
        await endless(entry * 100)(reply)

    yield "without an end", (without_end,)
    yield "too large", (status(200, b'{"data":[' + entry * (MAX_BYTES // 1000) + b"{}]}"),)
    yield "compressed", (status(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"}),)


@pytest.mark.parametrize(("name", "script"), list(lists()))
async def test_a_list_of_models_is_bounded(name: str, script: Script) -> None:
    async with fake_provider(script) as server:
        config = ProviderConfig("x", "openai-compat", server.base_url, api_key="sk-canary-0123456789")
        catalogue = ConfiguredCatalogue([config], [])
        with anyio.fail_after(60):
            told = await catalogue.check("x")
        await catalogue.aclose()
    assert told is not None
    assert told.error is not None
    assert told.error.kind == ("bad_stream" if name == "compressed" else "limit")


async def test_a_check_ends_when_the_model_does_not() -> None:
    event = b'data: {"choices":[{"delta":{"content":"more and more "}}]}\n\n'
    async with fake_provider((status(404, {}),), (endless(event * 100),)) as server:
        config = ProviderConfig("x", "openai-compat", server.base_url, api_key="sk-canary-0123456789")
        catalogue = ConfiguredCatalogue([config], [ModelConfig("x:llama")])
        with anyio.fail_after(60):
            told = await catalogue.check("x")
        await catalogue.aclose()
    assert told is not None
    assert told.ok
