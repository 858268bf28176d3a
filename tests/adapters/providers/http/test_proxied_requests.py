"""Requests through the proxies of the environment, and responses with large headers."""

import os
import socket

import pytest

from parley_daemon.core.parts import Text
from tests.support.providers.chat_model import HELLO, STOP, Open, ask, failure
from tests.support.providers.script import Action, Reply, status
from tests.support.providers.server import fake_provider


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


async def test_a_proxy_is_used_but_not_on_the_way_to_this_machine(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake_provider(HELLO) as proxy, fake_provider(HELLO) as server:
        monkeypatch.setenv("http_proxy", proxy.origin)
        await ask(open_model(server))
        assert proxy.connections == 0
        await ask(open_model("http://models.test/v1"))
        assert proxy.requests[0].path == "http://models.test/v1/chat/completions"


async def test_all_proxy_without_a_scheme_and_with_a_password_is_used(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake_provider(HELLO) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"ada:s%40cret@127.0.0.1:{proxy.port}")
        assert await ask(open_model("http://models.test/v1", api_key="sk-key")) == [Text("Hello"), STOP]
        headers = proxy.requests[0].headers
        assert headers["proxy-authorization"] == "Basic YWRhOnNAY3JldA=="
        assert headers["authorization"] == "Bearer sk-key"


async def test_a_tunnel_shows_the_proxy_its_password_and_not_the_key(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake_provider((status(407, {}),)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ada:secret@127.0.0.1:{proxy.port}")
        failed = await failure(open_model("https://models.test/v1", api_key="sk-key"))
        assert (proxy.requests[0].method, proxy.requests[0].path) == ("CONNECT", "models.test:443")
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic YWRhOnNlY3JldA=="
        assert "authorization" not in proxy.requests[0].headers
    assert (failed.kind, failed.retryable) == ("auth", False)
    assert failed.message == (
        f"The proxy http://127.0.0.1:{proxy.port} requires a user name and a password; check HTTPS_PROXY."
    )


async def test_a_proxy_that_cannot_be_used_is_an_error_and_nothing_is_sent(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://ada:secret@127.0.0.1:1080")
    failed = await failure(open_model("http://models.test/v1"))
    assert (failed.kind, failed.retryable) == ("network", False)
    assert failed.message == (
        "The proxy socks5h://127.0.0.1:1080 of ALL_PROXY cannot be used: SOCKS proxies are not supported."
        " Set http_proxy to the URL of an HTTP proxy, or NO_PROXY to models.test if it can be reached"
        " directly; then restart the daemon."
    )
    async with fake_provider(HELLO) as server:  # it is on this machine
        assert await ask(open_model(server)) == [Text("Hello"), STOP]


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-proxy.invalid"])
async def test_a_proxy_that_does_not_answer_is_named_with_its_variable(
    open_model: Open, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://{host}:{unused.getsockname()[1]}"
        monkeypatch.setenv("all_proxy", url)
        failed = await failure(open_model("http://models.test/v1"))
    assert (failed.kind, failed.retryable) == ("network", True)
    assert failed.message == f"The proxy {url} cannot be reached; check all_proxy."


async def test_no_proxy_with_a_wildcard_and_a_port_exempts_a_host(
    open_model: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake_provider(HELLO) as proxy:
        monkeypatch.setenv("http_proxy", proxy.origin)
        monkeypatch.setenv("NO_PROXY", "*.corp.invalid:8080")
        failed = await failure(open_model("http://llm.corp.invalid:8080/v1"))
        assert "cannot be resolved" in failed.message
        assert proxy.connections == 0


def greeting_behind(headers: dict[str, str]) -> list[Action]:
    async def head(reply: Reply) -> None:
        await reply.head(200, {"Content-Type": "text/event-stream", **headers})

    return [head, *HELLO]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Security-Policy": "a" * 9_000},
        {"Set-Cookie": "a" * 200_000},
        {f"X-Trace-{number}": "a" * 200 for number in range(300)},
    ],
)
async def test_large_headers_of_a_response_are_accepted(open_model: Open, headers: dict[str, str]) -> None:
    async with fake_provider(greeting_behind(headers)) as server:
        assert await ask(open_model(server)) == [Text("Hello"), STOP]


async def test_headers_without_an_end_are_refused_by_name(open_model: Open) -> None:
    async with fake_provider(greeting_behind({"X-Endless": "a" * 600_000})) as server:
        failed = await failure(open_model(server))
        assert (failed.kind, failed.retryable) == ("bad_stream", False)
        assert failed.message == f"The headers of the answer from {server.origin} are too large."
