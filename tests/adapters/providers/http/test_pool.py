"""Connections to providers: failures to connect, reuse, proxies, lazy loading."""

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from parley_daemon.core.parts import Text
from parley_daemon.core.records import Timeouts
from parley_daemon.ports.models import (
    ModelError,
)
from tests.support.providers.chat_model import HELLO, KEY, STOP, Open, ask, failure, question
from tests.support.providers.script import (
    Action,
    cut,
    drop,
    raw,
    stall,
    status,
    text,
)
from tests.support.providers.server import fake_provider


async def test_a_refused_connection_names_the_address_and_gives_advice(open_model: Open) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        failed = await failure(open_model(f"http://127.0.0.1:{port}/v1"))
    assert (failed.kind, failed.retryable) == ("network", True)
    assert failed.message == f"Nothing answers at http://127.0.0.1:{port}. Is the server running?"
    assert failed.detail == "Connection refused"


async def test_an_unknown_host_says_so(open_model: Open) -> None:
    failed = await failure(open_model("http://no-such-host.invalid"))
    assert (failed.kind, failed.retryable) == ("network", True)
    assert failed.message == (
        "The host name in http://no-such-host.invalid cannot be resolved; check base_url and the network."
    )
    assert "aiohttp" not in str(failed.detail)
    assert "ssl:" not in str(failed.detail)


async def test_a_server_that_accepts_no_connection_is_a_timeout(open_model: Open) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):  # fills the backlog: the next connection is not even answered
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        failed = await failure(open_model(url), question(timeouts=Timeouts(connect_ms=50)))
    assert (failed.kind, failed.retryable) == ("timeout", True)
    assert failed.message == f"{url} did not accept a connection within 0.05 s."


@asynccontextmanager
async def server_saying(words: bytes) -> AsyncGenerator[int]:
    """Run a server that says something to everyone and closes; yield its port."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_https_to_a_plain_server_names_the_failed_handshake(open_model: Open) -> None:
    async with server_saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        failed = await failure(open_model(f"https://127.0.0.1:{port}"))
    assert (failed.kind, failed.retryable) == ("network", False)
    assert failed.message == (
        f"The TLS handshake with https://127.0.0.1:{port} failed; check whether base_url should begin with http://."
    )
    assert failed.detail
    assert "Cannot connect" not in failed.detail


async def test_a_server_that_does_not_answer_in_http_is_bad_stream(open_model: Open) -> None:
    async with server_saying(b"220 mail.example.org ESMTP\r\n") as port:
        failed = await failure(open_model(f"http://127.0.0.1:{port}"))
    assert (failed.kind, failed.retryable) == ("bad_stream", False)
    assert failed.message == f"The server at http://127.0.0.1:{port} does not answer in HTTP; check base_url."


async def test_a_connection_closed_without_an_answer_is_network(open_model: Open) -> None:
    async with fake_provider((drop(),)) as server:
        failed = await failure(open_model(server))
        assert (failed.kind, failed.retryable, failed.detail) == ("network", True, None)
        assert len(server.requests) == 1


async def test_a_connection_that_breaks_in_mid_answer_is_described_without_names_of_classes(
    open_model: Open,
) -> None:
    for broken in (drop(), cut()):
        async with fake_provider((text("Half"), broken)) as server:
            failed = await failure(open_model(server))
            assert (failed.kind, failed.retryable) == ("bad_stream", True)
            assert failed.detail in (None, "Connection reset by peer")


@pytest.mark.parametrize("size", [1, 2**21])
@pytest.mark.parametrize("broken", [drop(), cut()], ids=["reset", "closed"])
async def test_no_request_is_sent_twice_when_a_reused_connection_breaks(
    open_model: Open, broken: Action, size: int
) -> None:
    async with fake_provider(HELLO, (broken,), HELLO) as server:
        model = open_model(server)
        assert await ask(model) == [Text("Hello"), STOP]
        failed = await failure(model, question("x" * size))
        assert (failed.kind, failed.retryable) == ("network", True)
        assert (server.connections, len(server.requests)) == (1, 2)
        assert await ask(model) == [Text("Hello"), STOP]
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_answers_follow_each_other_on_one_connection(open_model: Open) -> None:
    async with fake_provider(*[HELLO] * 5) as server:
        model = open_model(server)
        for _ in range(5):
            await ask(model)
        assert server.connections == 1


async def test_a_connection_whose_response_ends_late_is_kept_all_the_same(open_model: Open) -> None:
    go = anyio.Event()
    async with fake_provider((*HELLO, stall(go)), HELLO) as server:
        model = open_model(server)
        assert await ask(model) == [Text("Hello"), STOP]
        go.set()
        with anyio.fail_after(30):
            while server.requests[0].reply is None or not server.requests[0].reply.ended:
                await anyio.lowlevel.checkpoint()
            for _ in range(20):  # the last bytes are on their way to the client
                await anyio.lowlevel.checkpoint()
        assert await ask(model) == [Text("Hello"), STOP]
        assert server.connections == 1


async def test_a_connection_whose_response_never_ends_is_closed_with_the_model(open_model: Open) -> None:
    async with fake_provider((*HELLO, stall())) as server:
        model = open_model(server)
        assert await ask(model) == [Text("Hello"), STOP]
        await model.aclose()
        with anyio.fail_after(30):
            await server.disconnected()


async def test_neither_keys_nor_prompts_are_logged(
    open_model: Open, caplog: pytest.LogCaptureFixture
) -> None:
    scripts = (
        HELLO,
        (status(401, {"error": f"bad key {KEY}"}),),
        (text("a"), raw(b"data: {bad\n\n")),
        (drop(),),
    )
    with caplog.at_level(logging.DEBUG):
        async with fake_provider(*scripts) as server:
            model = open_model(server, api_key=KEY, headers={"X-Secret": "canary-header"})
            for _ in scripts:
                try:
                    await ask(model, question("canary prompt"))
                except ModelError as error:
                    assert "canary" not in repr(error.failure)
    assert "canary" not in caplog.text


def test_importing_the_adapter_does_not_import_aiohttp() -> None:
    code = "import sys, parley_daemon.adapters.providers.catalogue; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


UNWARMED = """
import sys, threading, anyio
from parley_daemon.adapters.providers.registry import TYPES, Access
from parley_daemon.core.parts import Text
from parley_daemon.ports.models import ModelError, ModelRequest, PromptMessage

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "aiohttp":
            print("main" if threading.current_thread() is threading.main_thread() else "aside")

async def main():
    request = ModelRequest("m", (PromptMessage("user", (Text("Hi"),)),))
    try:
        async for _ in TYPES["openai-compat"].make_model(Access("local", "http://127.0.0.1:1")).stream(request):
            pass
    except ModelError as error:
        print(error.failure.kind)

sys.meta_path.insert(0, Watch())
anyio.run(main)
"""


def test_the_first_call_does_not_import_in_the_event_loop() -> None:
    done = subprocess.run([sys.executable, "-c", UNWARMED], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["aside", "network"]


async def test_closing_twice_and_closing_unused_are_fine(open_model: Open) -> None:
    model = open_model("http://127.0.0.1:1")
    await model.aclose()
    await model.aclose()
