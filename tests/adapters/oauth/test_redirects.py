"""The address to which a browser comes back."""

from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketStream

from parley_daemon.adapters.oauth.redirects import AT_ONCE, listening


async def test_a_browser_that_waits_for_its_turn_is_let_go_when_the_wait_ends() -> None:
    streams: list[SocketStream] = []
    with anyio.fail_after(20):
        async with listening("state") as redirect, anyio.create_task_group() as tasks:
            tasks.start_soon(redirect.wait)
            port = urlsplit(redirect.uri).port
            assert port is not None
            streams += [await anyio.connect_tcp("127.0.0.1", port) for _ in range(AT_ONCE + 4)]
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        for stream in streams:
            try:
                await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                await stream.aclose()
            else:
                raise AssertionError("nothing was asked, and something was answered")
