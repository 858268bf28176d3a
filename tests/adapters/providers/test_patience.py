"""What the HTTP client limits by itself: reaching a server, and reading why it refuses; an answer never."""

from typing import Any

import aiohttp
import anyio
import pytest

from parley_daemon.adapters.providers.http import pool
from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.core.parts import Text
from parley_daemon.core.records import ModelSettings, Timeouts
from parley_daemon.ports.models import ModelError, ModelRequest, PromptMessage
from tests.support.providers.chat_model import opened
from tests.support.providers.script import done, finish, silence, status, text
from tests.support.providers.server import fake_provider

HELLO = (text("Hello"), finish(), done())


async def asked(model: HttpModel) -> None:
    """Ask, and take the answer in."""
    settings = ModelSettings(timeouts=Timeouts(connect_ms=7000))
    request = ModelRequest("llama", (PromptMessage("user", (Text("Hi"),)),), None, settings)
    with anyio.fail_after(30):
        async for _ in model.stream(request):
            pass


async def test_a_stream_may_take_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own limit of five minutes for a whole response would cut long answers."""
    limits: list[aiohttp.ClientTimeout] = []
    request = aiohttp.ClientSession.request

    def spied(session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> Any:
        limits.append(options.get("timeout", session.timeout))
        return request(session, method, url, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "request", spied)
    async with fake_provider(HELLO) as server:
        model = opened(server.base_url)
        await asked(model)
        await model.aclose()
    (limit,) = limits
    assert (limit.total, limit.sock_read) == (None, None)
    assert (limit.connect, limit.sock_connect) == (7, 7)


async def test_a_refusal_counts_also_when_its_reasons_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_REFUSAL_TIMEOUT", 0.05)
    stalled = (status(503, b"", {"Content-Length": "100", "Retry-After": "7"}), silence())
    async with fake_provider(stalled, HELLO) as server:
        model = opened(server.base_url)
        with pytest.raises(ModelError) as refused:
            await asked(model)
        failure = refused.value.failure
        assert (failure.kind, failure.status_code, failure.retry_after_ms) == ("overloaded", 503, 7000)
        await asked(model)
        await model.aclose()
