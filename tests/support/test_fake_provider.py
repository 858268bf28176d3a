"""The fake model server as the process that benchmarks start."""

import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import aiohttp
import anyio
import pytest

from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
from parley_daemon.core.parts import Reasoning, Text
from parley_daemon.ports.models import Chunk, Finish, ModelError, ModelRequest, PromptMessage, UsageReport
from tests.support.providers.load import load_script


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.support.providers.server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()
        assert process.wait(10) == 0


@pytest.fixture
async def model(origin: str) -> AsyncGenerator[HttpModel]:
    model = HttpModel("fake", ChatCompletions("fake", origin), origin)
    yield model
    await model.aclose()


async def ask(model: HttpModel, prompt: str) -> list[Chunk]:
    request = ModelRequest("fake", (PromptMessage("user", (Text(prompt),)),))
    with anyio.fail_after(30):
        return [part async for batch in model.stream(request) for part in batch]


def said(chunks: list[Chunk], kind: type[Text] | type[Reasoning] = Text) -> str:
    return "".join([part.text for part in chunks if isinstance(part, kind)])


async def journal(origin: str, method: str = "GET") -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.request(method, f"{origin}/__fake/journal") as got:
        return await got.json()


async def test_a_mark_makes_so_many_deltas_of_that_size(model: HttpModel) -> None:
    chunks = await ask(model, "Go [[deltas=1000 size=8 reasoning=10]]!")
    assert said(chunks) == "".join([f"{number:07d} " for number in range(1000)])
    assert len(said(chunks, Reasoning)) == 80
    assert isinstance(chunks[-2], UsageReport)
    assert chunks[-1] == Finish("stop")


async def test_stamped_deltas_carry_the_time_of_their_writing(model: HttpModel) -> None:
    before = time.monotonic_ns()
    words = said(await ask(model, "[[deltas=50 size=24 stamp=1 rate=5000]]")).split("....")
    stamps = [int(word.removesuffix(";")) for word in words if word]
    assert len(stamps) == 50
    assert stamps == sorted(stamps)
    assert before < stamps[0] < stamps[-1] < time.monotonic_ns()


async def test_the_journal_says_when_requests_came_and_answers_ended(origin: str, model: HttpModel) -> None:
    await journal(origin, "DELETE")
    before = time.monotonic_ns()
    await ask(model, "[[deltas=5]]")
    [entry] = await journal(origin, "DELETE")
    assert entry["prompt"] == "[[deltas=5]]"
    assert before < entry["receivedNs"] < entry["firstWriteNs"] < entry["endNs"] < time.monotonic_ns()
    assert entry["disconnectedNs"] is None
    assert await journal(origin) == []


async def test_a_mark_may_ask_for_an_error_or_a_missing_end(model: HttpModel) -> None:
    for prompt, kind in (("[[error=503]]", "overloaded"), ("[[deltas=5 end=0]]", "bad_stream")):
        with pytest.raises(ModelError) as caught:
            await ask(model, prompt)
        assert caught.value.failure.kind == kind


async def test_a_prompt_without_mark_is_greeted(model: HttpModel) -> None:
    assert said(await ask(model, "Hi")) == "Hello from the fake provider."


def test_an_unknown_word_in_a_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown in a load mark: speed"):
        load_script("[[speed=3]]")
