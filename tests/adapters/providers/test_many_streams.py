"""A thousand streams through each wire dialect, whole, cut off and refused, leave nothing behind."""

import gc
import tracemalloc
from contextlib import aclosing

import anyio
import pytest

from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.ports.models import Model, ModelError, ModelRequest, PromptMessage
from tests.support.providers.dialect_streams import WORD, recorded
from tests.support.providers.script import Script, cut, raw, stall, status
from tests.support.providers.server import FakeProvider, fake_provider

REQUEST = ModelRequest("m", (PromptMessage("user", (Text("Hi"),)),))
DELTAS = 20
GROWTH = 64 * 1024
"""Bytes, for tables of Python that grow by themselves: 66 for each stream."""


def ways(path: str) -> list[tuple[str, Script]]:
    """Return how streams of the dialect with this path end, and what the server does in each case."""
    whole = recorded(path, DELTAS)
    begun = raw(whole[: len(whole) // 2])
    return [
        ("whole", (raw(whole),)),
        ("given up", (begun, stall())),
        ("whole", (raw(whole),)),
        ("bad_stream", (begun, cut())),
        ("overloaded", (status(503, {"error": {"message": "Not now."}}),)),
    ]


async def stream(model: Model, *, gives_up: bool) -> str:
    """Ask, and leave after the first words if told so; return how the stream ended."""
    said: list[Text] = []
    try:
        async with aclosing(model.stream(REQUEST)) as batches:
            async for batch in batches:
                said += [chunk for chunk in batch if isinstance(chunk, Text)]
                if said and gives_up:
                    return "given up"
    except ModelError as error:
        return error.failure.kind
    return "whole" if plain_text(said) == WORD * DELTAS else plain_text(said)


async def ask_often(server: FakeProvider, model: Model, path: str, count: int) -> None:
    """Let so many streams end in all ways, one after the other."""
    expected = ways(path)
    for number in range(count):
        end, script = expected[number % len(expected)]
        server.scripts.append(script)
        assert await stream(model, gives_up=end == "given up") == end
        server.requests.clear()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "path", "answers"),
    [
        ("openai-compat", "/v1", "/chat/completions"),
        ("openai", "/v1", "/responses"),
        ("anthropic", "", "/messages"),
        ("google", "", ":streamGenerateContent"),
    ],
)
async def test_a_thousand_streams_leave_nothing_behind(kind: str, path: str, answers: str) -> None:
    with anyio.fail_after(50):
        async with fake_provider() as server:
            model = TYPES[kind].make_model(Access("many", server.origin + path, "not-a-key"))
            await ask_often(server, model, answers, 100)
            tracemalloc.start()
            try:
                await ask_often(server, model, answers, 100)
                before = held()
                await ask_often(server, model, answers, 1000)
                after = held()
            finally:
                tracemalloc.stop()
                await model.aclose()
            assert after - before < GROWTH
            assert server.open_connections == 0


def held() -> int:
    """Return how many bytes are in use that were taken since the tracing began."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
