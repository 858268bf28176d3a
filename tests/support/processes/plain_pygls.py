"""A server on plain pygls, as its documentation would have one write it: the other side of the pitfall tests.

`python -m tests.support.processes.plain_pygls [--tcp]` serves stdio, or a loopback port that it prints.
"""

import asyncio
import logging
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

server = LanguageServer("plain", "1", max_workers=2)


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(inner) for name, inner in value._asdict().items()}
    return value


@server.feature("test/echo")
def echo(params: Any) -> Any:
    """Answer with the params."""
    return _plain(params)


@server.feature("test/later")
async def later(params: Any) -> str:
    """Answer after a while."""
    await asyncio.sleep(params.seconds)
    return "later"


@server.feature("test/busy")
def busy(params: Any) -> str:
    """Answer after a while, blocking."""
    time.sleep(params.seconds)
    return "busy"


@server.thread()
@server.feature("test/thread")
def in_a_thread(params: Any) -> str:
    """Answer after a while, from the pool."""
    time.sleep(params.seconds)
    return "thread"


@server.feature("test/flood")
async def flood(params: Any) -> str:
    """Send many notifications."""
    value = {"text": "x" * params.size}
    for number in range(params.count):
        server.protocol.notify("$/progress", types.ProgressParams("t", value))
        if number % 1000 == 0:
            await asyncio.sleep(0)
    return "flooded"


@server.feature("test/rss")
def rss(params: Any) -> int:
    """Answer with the resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@server.feature("test/ask")
def ask(params: Any) -> str:
    """Ask the client and wait for it in the handler."""
    item = types.ConfigurationParams([types.ConfigurationItem(section="x")])
    try:
        server.protocol.send_request("workspace/configuration", item).result(timeout=1)
    except TimeoutError:
        return "no answer"
    return "answered"


@server.feature("test/impatient")
async def impatient(params: Any) -> str:
    """Ask the client and give up at once."""
    item = types.ConfigurationParams([types.ConfigurationItem(section="x")])
    future = server.protocol.send_request("workspace/configuration", item)
    future.cancel()
    return "gave up"


def _beat(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    """Touch a file from the loop again and again: it stops when the loop is stuck."""
    count = 0

    def touch() -> None:
        nonlocal count
        count += 1
        path.write_text(str(count), "ascii")

    while True:
        time.sleep(0.02)
        loop.call_soon_threadsafe(touch)


@server.feature("initialized")
def initialized(params: Any) -> None:
    """Begin to beat, where a test wants to see it."""
    where = os.environ.get("BEAT_FILE")
    if where:
        loop = asyncio.get_running_loop()
        threading.Thread(target=_beat, args=(Path(where), loop), daemon=True).start()


def main() -> None:
    """Serve."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    if "--tcp" in sys.argv:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        print(port, flush=True)
        server.start_tcp("127.0.0.1", port)
    else:
        server.start_io()


if __name__ == "__main__":
    main()
