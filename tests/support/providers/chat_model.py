"""A model of chat completions at a fake server, and its answers, for tests."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.openai_chat.dialect import ChatCompletions
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.parts import Reasoning, Text
from parley_daemon.core.records import Failure, ModelSettings
from parley_daemon.ports.models import (
    Batch,
    Chunk,
    Finish,
    ModelError,
    ModelRequest,
    PromptMessage,
)
from tests.support.providers.script import (
    Script,
    done,
    finish,
    text,
)

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


def question(prompt: str = "Hi", **settings: Any) -> ModelRequest:
    return ModelRequest("llama", (PromptMessage("user", (Text(prompt),)),), None, ModelSettings(**settings))


async def batches(model: HttpModel, request: ModelRequest | None = None) -> list[Batch]:
    with anyio.fail_after(30):
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
