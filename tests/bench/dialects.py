"""k: what each wire dialect costs: CPU per delta beside the provider's own SDK, and the way to the server."""

import asyncio
import importlib
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import Text, plain_text
from parley_daemon.ports.models import ModelRequest, PromptMessage
from tests.bench.flow import median
from tests.bench.processes import Process, Workshop, environment
from tests.bench.replay import DELTAS
from tests.bench.report import Row
from tests.support.providers.dialect_streams import WORD, recorded
from tests.support.providers.script import raw
from tests.support.providers.server import fake_provider

_MARK, _TIMES_LESS = 4.0, 15.0
_KEY = "not-a-key"
_REQUEST = ModelRequest("m", (PromptMessage("user", (Text("Hi"),)),))

Ask = Callable[[], Awaitable[str]]


class _Replay(Process):
    """The server with the recorded streams."""

    def __init__(self) -> None:
        super().__init__([sys.executable, "-m", "tests.bench.replay"], environment())
        assert self.child.stdout is not None
        self.origin = f"http://127.0.0.1:{int(self.child.stdout.readline())}"


async def _openai_chat(sdk: Any, origin: str) -> str:
    async with sdk.AsyncOpenAI(api_key=_KEY, base_url=f"{origin}/v1") as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def _openai_responses(sdk: Any, origin: str) -> str:
    async with sdk.AsyncOpenAI(api_key=_KEY, base_url=f"{origin}/v1") as client:
        stream = await client.responses.create(model="m", input="Hi", stream=True)
        return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])


async def _anthropic(sdk: Any, origin: str) -> str:
    async with sdk.AsyncAnthropic(api_key=_KEY, base_url=origin) as client:
        stream = await client.messages.create(
            model="m", max_tokens=DELTAS, messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        return "".join([event.delta.text async for event in stream if event.type == "content_block_delta"])


async def _google(sdk: Any, origin: str) -> str:
    client = sdk.Client(api_key=_KEY, http_options={"base_url": origin})
    stream = await client.aio.models.generate_content_stream(model="m", contents="Hi")
    return "".join([chunk.text or "" async for chunk in stream])


# Name, provider type, path under the origin that its base URL has, recorded path, SDK and its use.
_DIALECTS: tuple[tuple[str, str, str, str, str, Callable[[Any, str], Awaitable[str]]], ...] = (
    ("chat completions", "openai-compat", "/v1", "/chat/completions", "openai", _openai_chat),
    ("responses", "openai", "/v1", "/responses", "openai", _openai_responses),
    ("messages", "anthropic", "", "/messages", "anthropic", _anthropic),
    ("generateContent", "google", "", ":streamGenerateContent", "google.genai", _google),
)


def measure(shop: Workshop) -> list[Row]:
    """Stream a recorded answer through each dialect and through the SDK."""
    rounds = 2 if shop.quick else 4
    rows: list[Row] = []
    with _Replay() as replay:
        for name, kind, path, recording, sdk, use in _DIALECTS:
            ours = asyncio.run(_cpu(lambda: _through_ours(kind, replay.origin + path), rounds))  # noqa: B023
            theirs: dict[str, float] = {}
            try:
                module = importlib.import_module(sdk)
            except ImportError:
                pass  # a row without its baseline
            else:
                theirs[sdk] = asyncio.run(_cpu(lambda: use(module, replay.origin), rounds))  # noqa: B023
            rows.append(Row("k", f"{name}: CPU per delta, socket to piece", "µs", ours, _MARK, theirs))
            rows += [
                Row("k", f"{name}: times less than the SDK", "", other / ours, _TIMES_LESS, better="more")
                for other in theirs.values()
            ]
            one = _one_by_one(kind, replay.origin + path, recorded(recording, DELTAS), rounds)
            rows.append(Row("k", f"{name}: bytes to piece, one delta a read", "µs", one, _MARK))
            way = asyncio.run(_to_the_server(kind, path, recorded(recording, 1), 25 * rounds))
            rows.append(Row("k", f"{name}: question to server, connection kept", "ms", way))
    return rows


async def _cpu(ask: Ask, rounds: int) -> float:
    """Return the microseconds of CPU per delta, the first round (imports, connection) not counted."""
    taken: list[float] = []
    for _ in range(rounds + 1):
        before = time.process_time()
        text = await ask()
        taken.append((time.process_time() - before) / DELTAS * 1e6)
        if text != WORD * DELTAS:
            raise RuntimeError(f"{len(text)} characters came of {len(WORD) * DELTAS}")
    return median(taken[1:])


async def _through_ours(kind: str, url: str) -> str:
    model = TYPES[kind].make_model(Access("bench", url, _KEY))
    try:
        said = [chunk async for batch in model.stream(_REQUEST) for chunk in batch if isinstance(chunk, Text)]
    finally:
        await model.aclose()
    return plain_text(said)


def _one_by_one(kind: str, url: str, stream: bytes, rounds: int) -> float:
    """Return the microseconds per delta when each event comes alone: no batch to share a cost."""
    model = TYPES[kind].make_model(Access("bench", url, _KEY))
    assert isinstance(model, HttpModel)
    blank = b"\r\n\r\n" if b"\r\n\r\n" in stream else b"\n\n"
    reads = [event + blank for event in stream.split(blank) if event]
    taken: list[float] = []
    for _ in range(rounds):
        call = Call("bench", "m", url)
        answer = ResponseReader(call, model.dialect.parser(call))
        start = time.process_time()
        for data in reads:
            answer.feed(data)
        taken.append((time.process_time() - start) / DELTAS * 1e6)
        if not answer.is_complete:
            raise RuntimeError(f"the {kind} answer is not whole")
    return median(taken)


async def _to_the_server(kind: str, path: str, stream: bytes, rounds: int) -> float:
    """Return the milliseconds from a question to its request's arrival, on a connection that is there."""
    taken: list[float] = []
    async with fake_provider() as server:
        server.choose = lambda _: (raw(stream),)
        model = TYPES[kind].make_model(Access("bench", server.origin + path, _KEY))
        try:
            for _ in range(rounds):
                start = time.monotonic_ns()
                async for _batch in model.stream(_REQUEST):
                    pass
                taken.append((server.requests[-1].received_ns - start) / 1e6)
        finally:
            await model.aclose()
        if server.connections != 1:
            raise RuntimeError(f"the {kind} model made {server.connections} connections one after the other")
    return median(taken[1:])
