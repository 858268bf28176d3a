"""The chat-completions dialect as the servers speak it that people have, each with its own habits."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.core.parts import Part, Reasoning, Text, ToolCall, fold
from parley_daemon.core.records import Failure, ModelSettings
from parley_daemon.ports.models import Chunk, Finish, ModelError, ModelRequest, PromptMessage, UsageReport
from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.recorded_servers import CALLS, RECORDED, TEXT, THOUGHT, RecordedServer
from tests.support.providers.script import Script, raw, status
from tests.support.providers.server import fake_provider

HI = PromptMessage("user", (Text("Hi"),))

each_server = pytest.mark.parametrize("server", RECORDED, ids=lambda server: server.name)


async def ask(
    url: str,
    type: str = "openai-compat",
    *messages: PromptMessage,
    model: str = "any/Model-7b:q4_K_M",
    settings: ModelSettings | None = None,
    **config: Any,
) -> list[Chunk]:
    """Ask a model as the daemon would, of a provider that is configured like this."""
    environment = {"OPENROUTER_API_KEY": "sk-or-canary"} if type == "openrouter" else {}
    catalogue = ConfiguredCatalogue([ProviderConfig("mine", type, url, **config)], environment=environment)
    try:
        resolved = catalogue.resolve(f"mine:{model}")
        request = ModelRequest(resolved.name, messages or (HI,), None, settings or ModelSettings())
        with anyio.fail_after(30):
            return [chunk async for batch in resolved.model.stream(request) for chunk in batch]
    finally:
        await catalogue.aclose()


async def answer(server: RecordedServer, *script: Any) -> list[Chunk]:
    """Return what comes of this script when the server sends it."""
    async with fake_provider(script) as running:
        return await ask(running.origin + server.path, server.type)


async def failure(server: RecordedServer, *script: Any) -> Failure:
    with pytest.raises(ModelError) as caught:
        await answer(server, *script)
    return caught.value.failure


def message(chunks: list[Chunk]) -> tuple[Part, ...]:
    return fold([one for one in chunks if not isinstance(one, UsageReport | Finish)])


def finish(chunks: list[Chunk]) -> Finish:
    """Return the one Finish."""
    [found] = [one for one in chunks if isinstance(one, Finish)]
    return found


def as_it_is(stream: bytes) -> Script:
    return [raw(stream)]


def crlf(stream: bytes) -> Script:
    return [raw(stream.replace(b"\n", b"\r\n"))]


def no_space(stream: bytes) -> Script:
    return [raw(stream.replace(b"data: ", b"data:"))]


def no_end_mark(stream: bytes) -> Script:
    return [raw(stream.removesuffix(b"data: [DONE]\n\n"))]


def no_last_blank_line(stream: bytes) -> Script:
    return [raw(stream.rstrip(b"\n"))]


def event_by_event(stream: bytes) -> Script:
    return [raw(event + b"\n\n") for event in stream.split(b"\n\n") if event]


def in_scraps(stream: bytes) -> Script:
    """Return the stream cut where it hurts: in characters, line ends, and names of fields."""
    return [raw(stream[at : at + 7]) for at in range(0, len(stream), 7)]


def among_comments(stream: bytes) -> Script:
    return [raw(b": ping\n\n" + stream.replace(b"\n\n", b"\n\n: ping\n\n"))]


FORMS = [as_it_is, crlf, no_space, no_end_mark, no_last_blank_line, event_by_event, in_scraps, among_comments]


@each_server
@pytest.mark.parametrize("form", FORMS)
async def test_an_answer_is_the_same_in_whatever_form_it_comes(
    server: RecordedServer, form: Callable[[bytes], Script]
) -> None:
    chunks = await answer(server, *form(server.answer))
    thoughts = [part.text for part in message(chunks) if isinstance(part, Reasoning)]
    assert [part for part in message(chunks) if isinstance(part, Text)] == [Text(TEXT)]
    assert thoughts == ([THOUGHT] if server.thinks else [])
    assert finish(chunks) == Finish("stop")
    used = [one.usage for one in chunks if isinstance(one, UsageReport)]
    assert used[-1:] == ([server.usage] if server.usage else [])


@each_server
@pytest.mark.parametrize("form", FORMS)
async def test_calls_are_the_same_in_whatever_form_they_come(
    server: RecordedServer, form: Callable[[bytes], Script]
) -> None:
    chunks = await answer(server, *form(server.calls))
    assert message(chunks) == tuple([ToolCall(*call) for call in CALLS])
    assert finish(chunks) == Finish("tool_calls")


@each_server
async def test_calls_are_told_apart_without_their_index(server: RecordedServer) -> None:
    without = server.calls.replace(b'"index": 0, "id"', b'"id"').replace(b'"index": 1, "id"', b'"id"')
    without = without.replace(b'{"index": 0, "function"', b'{"function"').replace(
        b'{"index": 1, "function"', b'{"function"'
    )
    assert without != server.calls
    assert message(await answer(server, raw(without))) == tuple([ToolCall(*call) for call in CALLS])


@each_server
async def test_an_answer_without_usage_is_whole(server: RecordedServer) -> None:
    events = [event for event in server.answer.split(b"\n\n") if b"prompt_tokens" not in event]
    chunks = await answer(server, raw(b"\n\n".join(events)))
    assert [one for one in chunks if isinstance(one, UsageReport)] == []
    assert finish(chunks) == Finish("stop")


@each_server
async def test_a_refusal_is_understood(server: RecordedServer) -> None:
    code, body = server.refusal
    failed = await failure(server, status(code, body))
    assert failed.kind == server.refused_as
    assert failed.detail


@each_server
async def test_an_error_in_the_middle_is_an_error(server: RecordedServer) -> None:
    failed = await failure(server, raw(server.broken))
    assert failed.kind == server.broken_as
    assert failed.retryable is (server.broken_as != "context_length")


@each_server
async def test_a_stream_that_just_ends_is_bad(server: RecordedServer) -> None:
    begun = server.answer[: server.answer.index(b'"stop"')]
    failed = await failure(server, raw(begun[: begun.rindex(b"\n\n") + 2]))
    assert (failed.kind, failed.retryable) == ("bad_stream", True)


@each_server
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("version", ["", "/v1"])
async def test_the_address_may_name_the_version_or_not(
    server: RecordedServer, version: str, slash: str
) -> None:
    async with fake_provider(as_it_is(server.answer)) as running:
        base = running.origin + server.path.removesuffix("/v1") + version + slash
        await ask(base, server.type)
        assert running.requests[0].path == server.path.removesuffix("/v1") + "/v1/chat/completions"


async def sent(**config: Any) -> tuple[Mapping[str, str], dict[str, Any]]:
    """Return headers and body of a question to a provider that is configured like this."""
    async with fake_provider(as_it_is(RECORDED[1].answer)) as running:
        await ask(running.origin, **config)
        return running.requests[0].headers, running.requests[0].json


async def test_no_key_is_needed_and_any_name_is_asked_for() -> None:
    headers, body = await sent()
    assert "authorization" not in headers
    assert body["model"] == "any/Model-7b:q4_K_M"


async def test_extra_headers_and_fields_go_along() -> None:
    options = {
        "openaiCompat": {
            "extraHeaders": {"X-Title": "mine"},
            "extraBody": {"chat_template_kwargs": {"enable_thinking": False}, "stream_options": None},
        }
    }
    headers, body = await sent(
        api_key="not-a-key",
        headers={"X-Team": "one"},
        settings=ModelSettings(provider_options=options),
    )
    assert (headers["authorization"], headers["x-title"], headers["x-team"]) == (
        "Bearer not-a-key",
        "mine",
        "one",
    )
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "stream_options" not in body


async def test_only_openrouter_gets_reasoning_back() -> None:
    for server in RECORDED:
        async with fake_provider(as_it_is(server.answer), as_it_is(server.answer)) as running:
            url = running.origin + server.path
            said = message(await ask(url, server.type))
            await ask(url, server.type, HI, PromptMessage("assistant", said), HI)
            assistant = running.requests[1].json["messages"][1]
        signed = {"type": "reasoning.text", "text": THOUGHT, "signature": "c2ln"}
        details = [{**signed, "format": "anthropic-claude-v1", "index": 0}]
        expected = {"reasoning_details": details} if server.name == "OpenRouter" else {}
        assert assistant == {"role": "assistant", "content": TEXT, **expected}


@pytest.mark.parametrize("server", [RECORDED[2], RECORDED[5]], ids=lambda server: server.name)
async def test_a_daemon_answers_with_a_server_that_was_only_named(server: RecordedServer) -> None:
    async with fake_provider(*[as_it_is(server.answer)] * 2) as running:
        config = (
            f'default_model = "mine:any/Model:7b"\n[titles]\nenabled = false\n[providers.mine]\n'
            f'type = "{server.type}"\nbase_url = "{running.origin}{server.path}"\n'
        )
        env = {"OPENROUTER_API_KEY": "sk-or-canary"}
        async with running_daemon(config=config, env=env) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat = await peer.result("chat/create", {})
            for _ in range(2):
                given = await peer.result("chat/ask", {"chatId": chat["id"], "content": "Hi"})
                assert given["outcome"] == "completed"
                assert [part["text"] for part in given["messages"][-1]["content"]] == [THOUGHT, TEXT]
        last = json.loads(running.requests[1].body)
    assert last["model"] == "any/Model:7b"
    assert ("reasoning_details" in last["messages"][1]) is (server.name == "OpenRouter")


def test_every_recorded_server_is_a_different_one() -> None:
    assert len({server.answer for server in RECORDED}) == len({server.name for server in RECORDED}) == 6
