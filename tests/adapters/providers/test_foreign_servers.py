"""The dialects against servers that others wrote: the mock server aimock, and llama.cpp with a tiny model.

`make test-foreign` installs aimock and runs these. llama.cpp takes minutes to build: LLAMA_PYTHON names a
Python that has `llama-cpp-python[server]`. What is not there is skipped.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.parts import Part, Reasoning, Text, ToolCall, ToolResult, fold, plain_text
from parley_daemon.core.records import Failure, ModelSettings, Usage
from parley_daemon.ports.models import Chunk, Finish, ModelError, ModelRequest, PromptMessage, UsageReport
from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.tiny_model import write_tiny_model

pytestmark = pytest.mark.foreign

AIMOCK = Path(sys.prefix) / "node" / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
LLAMA_PYTHON = os.environ.get("LLAMA_PYTHON", "")


@asynccontextmanager
async def process(command: Sequence[str]) -> AsyncGenerator[str]:
    """Run a server, and yield the address that it says it listens at."""
    running = await anyio.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert running.stdout is not None
    said = BufferedByteReceiveStream(running.stdout)
    found: re.Match[bytes] | None = None
    try:
        with anyio.fail_after(30):
            while found is None:
                line = await said.receive_until(b"\n", 65536)
                found = re.search(rb"(?:listening|running) on (http://[\w.]+:\d+)", line)
        yield found.group(1).decode().replace("localhost", "127.0.0.1")
    finally:
        running.kill()
        with anyio.CancelScope(shield=True):
            await running.wait()


async def ask(url: str, type: str, model: str, *messages: PromptMessage, **settings: Any) -> list[Chunk]:
    config = ProviderConfig("mine", type, url, "a-key-of-the-tests")
    catalogue = ConfiguredCatalogue([config])
    try:
        resolved = catalogue.resolve(f"mine:{model}")
        request = ModelRequest(resolved.name, messages, "Be brief.", ModelSettings(**settings))
        with anyio.fail_after(30):
            return [chunk async for batch in resolved.model.stream(request) for chunk in batch]
    finally:
        await catalogue.aclose()


def user(text: str) -> PromptMessage:
    return PromptMessage("user", (Text(text),))


def message(chunks: list[Chunk]) -> tuple[Part, ...]:
    return fold([one for one in chunks if not isinstance(one, UsageReport | Finish)])


# ------------------------------------------------------------------------------------------ aimock

FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "think"}, "response": {"content": "Grüße 🌍", "reasoning": "Let me see."}},
    {
        "match": {"userMessage": "look", "hasToolResult": False},
        "response": {
            "toolCalls": [
                {"id": "call_a", "name": "look", "arguments": {"at": "a"}},
                {"id": "call_b", "name": "look", "arguments": {"at": "b", "deep": {"n": [1, None]}}},
            ]
        },
    },
    {"match": {"userMessage": "look", "toolResultContains": "seen b"}, "response": {"content": "Both seen."}},
    {
        "match": {"userMessage": "slow"},
        "response": {
            "error": {"message": "Slow down.", "type": "rate_limit_error"},
            "status": 429,
            "retryAfter": 3,
        },
    },
    {
        "match": {"userMessage": "cut"},
        "response": {"content": "an answer that is never whole"},
        "truncateAfterChunks": 3,
        "latency": 50,  # or the connection is gone before what came can be read
        "chunkSize": 3,
    },
    {
        "match": {"userMessage": "count"},
        "response": {
            "content": "Five.",
            "usage": {
                "prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12,
                "input_tokens": 7, "output_tokens": 5,
            },
        },
    },
    {"match": {"userMessage": "after", "turnIndex": 2}, "response": {"content": "Third."}},
]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A provider type, the path of its API, and a model's name that aimock takes for one of it."""

    type: str
    path: str
    model: str


KNOWN = [
    Row("openai", "/v1", "gpt-5"),
    Row("openai-compat", "", "any-model"),
    Row("openrouter", "/api/v1", "acme/model"),
    Row("vercel", "/v1", "acme/model"),
    Row("anthropic", "", "claude-sonnet-4-5"),
    Row("bedrock", "", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    Row("google", "", "gemini-2.5-pro"),
]
each_type = pytest.mark.parametrize(
    "row", [row for row in KNOWN if row.type in TYPES], ids=lambda row: row.type
)


@pytest.fixture(scope="module")
async def aimock(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncGenerator[str]:
    """The address of a running aimock."""
    node = shutil.which("node")
    if node is None or not AIMOCK.exists():
        pytest.skip("aimock is not installed: make test-foreign does that, with npm")
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}), "utf-8")
    command = [node, str(AIMOCK), "--port", "0", "--fixtures", str(fixtures), "--strict", "--chunk-size", "5"]
    async with process(command) as address:
        yield address


@each_type
async def test_thoughts_and_text_are_told_apart(aimock: str, row: Row) -> None:
    chunks = await ask(aimock + row.path, row.type, row.model, user("think"))
    thoughts = [part.text for part in message(chunks) if isinstance(part, Reasoning) and part.text]
    assert thoughts == ["Let me see."]
    assert plain_text(message(chunks)) == "Grüße 🌍"
    assert [one for one in chunks if isinstance(one, Finish)] == [Finish("stop")]


@each_type
async def test_calls_come_and_their_results_go_back(aimock: str, row: Row) -> None:
    question = user("look")
    chunks = await ask(aimock + row.path, row.type, row.model, question)
    calls = [part for part in message(chunks) if isinstance(part, ToolCall)]
    assert [(call.tool_name, call.args) for call in calls] == [
        ("look", {"at": "a"}),
        ("look", {"at": "b", "deep": {"n": [1, None]}}),
    ]
    assert [one for one in chunks if isinstance(one, Finish)] == [Finish("tool_calls")]
    results = [
        PromptMessage(
            "tool", (ToolResult(call.tool_call_id, "look", f"seen {call.args['at']}", False, "ok"),)
        )
        for call in calls
    ]
    answer = PromptMessage("assistant", message(chunks))
    more = await ask(aimock + row.path, row.type, row.model, question, answer, *results)
    assert plain_text(message(more)) == "Both seen."


@each_type
async def test_usage_is_counted(aimock: str, row: Row) -> None:
    chunks = await ask(aimock + row.path, row.type, row.model, user("count"))
    *_, last = [one.usage for one in chunks if isinstance(one, UsageReport)]
    assert last == Usage(input_tokens=7, output_tokens=5, total_tokens=12)


@each_type
async def test_a_conversation_has_all_its_turns(aimock: str, row: Row) -> None:
    said = [
        PromptMessage("assistant", (Text("First."),)),
        user("and"),
        PromptMessage("assistant", (Text("Second."),)),
    ]
    chunks = await ask(aimock + row.path, row.type, row.model, user("one"), *said, user("after"))
    assert plain_text(message(chunks)) == "Third."


async def failure(aimock: str, row: Row, prompt: str) -> Failure:
    with pytest.raises(ModelError) as caught:
        await ask(aimock + row.path, row.type, row.model, user(prompt))
    return caught.value.failure


@each_type
async def test_a_rate_limit_is_understood(aimock: str, row: Row) -> None:
    failed = await failure(aimock, row, "slow")
    assert (failed.kind, failed.retryable, failed.retry_after_ms) == ("rate_limit", True, 3000)
    assert failed.detail == "Slow down."


@each_type
async def test_a_broken_answer_is_no_answer(aimock: str, row: Row) -> None:
    failed = await failure(aimock, row, "cut")
    assert (failed.kind, failed.retryable) == ("bad_stream", True)


@each_type
async def test_what_the_server_does_not_know_is_an_error_to_read(aimock: str, row: Row) -> None:
    failed = await failure(aimock, row, "nobody has written this")
    assert failed.detail == "Strict mode: no fixture matched"


# --------------------------------------------------------------------------------------- llama.cpp


@pytest.fixture(scope="module")
async def llama(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncGenerator[str]:
    """The address of a llama.cpp server whose model knows nothing."""
    if not LLAMA_PYTHON:
        pytest.skip("LLAMA_PYTHON names no Python with llama-cpp-python[server]")
    model = tmp_path_factory.mktemp("llama") / "tiny.gguf"
    write_tiny_model(model)
    command = [
        LLAMA_PYTHON,
        "-u",
        "-m",
        "llama_cpp.server",
        "--model",
        str(model),
        "--n_ctx",
        "512",
        "--port",
        "0",
    ]
    async with process(command) as address:
        yield address


async def told(llama: str, prompt: str = "Tell me.", **settings: Any) -> tuple[str, Finish]:
    chunks = await ask(llama, "openai-compat", "tiny", user(prompt), **{"temperature": 0.0, **settings})
    [finish] = [one for one in chunks if isinstance(one, Finish)]
    return plain_text(message(chunks)), finish


async def test_llama_cpp_streams_what_it_answers_at_once(llama: str) -> None:
    text, finish = await told(llama, max_output_tokens=24)
    assert finish == Finish("length")
    assert len(text.split()) == 24
    at_once = {"openaiCompat": {"extraBody": {"stream": False, "stream_options": None}}}
    assert await told(llama, max_output_tokens=24, provider_options=at_once) == (text, finish)


async def test_llama_cpp_obeys_the_settings(llama: str) -> None:
    text, _ = await told(llama, max_output_tokens=24)
    words = text.split()
    stopped, finish = await told(llama, max_output_tokens=24, stop=(words[3],))
    assert finish == Finish("stop")
    assert stopped.split() == words[: words.index(words[3])]
    wild: dict[str, Any] = {"temperature": 2.0, "top_p": 1.0, "top_k": 1000, "max_output_tokens": 24}
    first, again, other = [await told(llama, seed=seed, **wild) for seed in (1, 1, 2)]
    assert first == again != other


async def test_llama_cpp_is_not_there_under_another_path(llama: str) -> None:
    with pytest.raises(ModelError) as caught:
        await told(f"{llama}/elsewhere")
    assert "/elsewhere/v1/chat/completions; check base_url." in caught.value.failure.message


async def test_a_daemon_talks_with_llama_cpp(llama: str) -> None:
    config = (
        f'default_model = "mine:tiny"\n[titles]\nenabled = false\n'
        f'[providers.mine]\ntype = "openai-compat"\nbase_url = "{llama}"\n'
    )
    settings = {"maxOutputTokens": 12, "temperature": 0}
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat = await peer.result("chat/create", {"settings": settings})
        for question in ("Hi", "And then?"):
            given = await peer.result("chat/ask", {"chatId": chat["id"], "content": question})
            assert (given["outcome"], given["stopReason"]) == ("completed", "length")
            assert len(given["messages"][-1]["content"][0]["text"].split()) == 12
