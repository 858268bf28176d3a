"""A model server for tests and benchmarks: speaks the chat-completions dialect, does what it is told.

In a test, `async with fake_provider(script, …) as server`: each request gets the next script (a list of the
actions of `script`, or of `responses_script`: `/responses` is greeted in that dialect). As a
process, `python -m tests.support.providers.server --port 0` prints its port and obeys marks in prompts,
such as `[[deltas=100 rate=50 size=8]]`; see `load`. It writes bytes to the socket itself, so that every
chunk border is where a script puts it.
"""

import argparse
import asyncio
import json
import signal
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import anyio

from tests.support.providers import responses_script
from tests.support.providers.load import load_script
from tests.support.providers.script import Action, Reply, Script, done, finish, status, text

JOURNAL = "/__fake/journal"
_NOT_THERE: Script = (status(404, {"detail": "Not Found"}),)
_GREETING: Script = (text("Hello ", "from ", "the ", "fake ", "provider."), finish(), done())


@dataclass
class Request:
    """One request as it came. Header names are lower case; times are of CLOCK_MONOTONIC, in nanoseconds.

    `received_ns` is when the head was there, `whole_ns` when the body was.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    received_ns: int
    whole_ns: int = 0
    reply: Reply | None = None
    disconnected_ns: int | None = None

    @property
    def json(self) -> dict[str, Any]:
        """Return the body, decoded."""
        return json.loads(self.body)

    @cached_property
    def prompt(self) -> str:
        """Return the text of the last message."""
        body = self.json if self.body else {}
        messages: list[dict[str, Any]] = body.get("messages") or body.get("input") or [{}]
        content = messages[-1].get("content")
        if isinstance(content, str):
            return content
        blocks = cast("list[dict[str, Any]]", content or [])
        return " ".join([str(block["text"]) for block in blocks if "text" in block])

    def times(self) -> dict[str, Any]:
        """Return the journal's entry."""
        return {
            "prompt": self.prompt[:200],
            "receivedNs": self.received_ns,
            "wholeNs": self.whole_ns,
            "firstWriteNs": self.reply.first_write_ns if self.reply else None,
            "endNs": self.reply.end_ns if self.reply else None,
            "disconnectedNs": self.disconnected_ns,
        }


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ahead: bytes = b""  # read while watching for the client's going away


@dataclass
class FakeProvider:
    """The running server and what it has seen."""

    scripts: deque[Script]
    port: int = 0
    requests: list[Request] = field(default_factory=list[Request])
    connections: int = 0  # accepted so far
    keeps_bodies: bool = True  # else only prompts, for runs with many requests
    faults: list[Exception] = field(default_factory=list[Exception])
    choose: Callable[["Request"], Script | None] = lambda _: None  # what to do once the scripts are used up
    _open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _changed: anyio.Condition = field(default_factory=anyio.Condition)

    @property
    def open_connections(self) -> int:
        """How many connections there are now, idle ones included."""
        return len(self._open)

    @property
    def under_way(self) -> list[Request]:
        """The requests that are neither answered to the end nor given up by their client."""
        return [
            one for one in self.requests if one.disconnected_ns is None and not (one.reply and one.reply.over)
        ]

    @property
    def origin(self) -> str:
        """Return the address without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """Return the address as a configuration would give it."""
        return f"{self.origin}/v1"

    async def requested(self, count: int = 1) -> Request:
        """Wait until so many requests have come; return the last of them."""
        async with self._changed:
            while len(self.requests) < count:
                await self._changed.wait()
        return self.requests[count - 1]

    async def disconnected(self, count: int = 1) -> None:
        """Wait until so many clients have gone away in the middle of an answer."""
        async with self._changed:
            while sum(request.disconnected_ns is not None for request in self.requests) < count:
                await self._changed.wait()

    async def idle(self) -> None:
        """Wait until no connection is open."""
        async with self._changed:
            while self._open:
                await self._changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        self._open.add(writer)
        connection = _Connection(reader, writer)
        try:
            while request := await _read_request(connection):
                if request.path == JOURNAL:
                    await self._journal(request, Reply(writer))
                    continue
                self.requests.append(request)
                if not self.keeps_bodies:
                    request.prompt, request.body = request.prompt, b""
                await self._notify()
                if not await self._answer(connection, request):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client is gone
        except Exception as fault:  # noqa: BLE001 - of a script; raised where the server is closed
            self.faults.append(fault)
        finally:
            writer.transport.abort() if writer.is_closing() else writer.close()
            self._open.discard(writer)
            await self._notify()

    async def _answer(self, connection: _Connection, request: Request) -> bool:
        """Run a script; return whether the connection can go on."""
        greeting = responses_script.GREETING if request.path.endswith("/responses") else _GREETING
        if self.scripts:
            script = self.scripts.popleft()
        else:
            script = self.choose(request) or load_script(request.prompt) or greeting
        reply = request.reply = Reply(connection.writer)
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                try:
                    connection.ahead = await connection.reader.read(1)
                except ConnectionError:
                    connection.ahead = b""
                if not connection.ahead:
                    request.disconnected_ns = time.monotonic_ns()
                    group.cancel_scope.cancel()
                    await self._notify()

            group.start_soon(watch)
            try:
                for action in script:
                    await action(reply)
                await reply.end()
            except ConnectionError:  # the client went away before the watch saw it
                request.disconnected_ns = time.monotonic_ns()
                await self._notify()
            group.cancel_scope.cancel()
        return request.disconnected_ns is None and not reply.dropped

    async def _journal(self, request: Request, reply: Reply) -> None:
        seen = [each.times() for each in self.requests]
        if request.method == "DELETE":
            self.requests.clear()
        await reply.document(seen)
        await reply.end()

    async def _notify(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._changed:
                self._changed.notify_all()

    async def close(self) -> None:
        """End what is still open."""
        for writer in self._open:
            writer.transport.abort()
        await self.idle()


@asynccontextmanager
async def fake_provider(*scripts: Sequence[Action], port: int = 0) -> AsyncGenerator[FakeProvider]:
    """Run the server; raises at the end what went wrong in a script."""
    provider = FakeProvider(deque(scripts))
    server = await asyncio.start_server(provider.serve, "127.0.0.1", port, backlog=1024)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
        with anyio.CancelScope(shield=True):
            await provider.close()
            await server.wait_closed()
    if provider.faults:
        raise provider.faults[0]


async def _read_request(connection: _Connection) -> Request | None:
    """Return the next request; None when the client has closed the connection."""
    try:
        head = connection.ahead + await connection.reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    received = time.monotonic_ns()
    connection.ahead = b""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _version = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    body = await connection.reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body, received, time.monotonic_ns())


async def _main() -> None:
    parser = argparse.ArgumentParser(description="The fake model server, driven by marks in prompts.")
    parser.add_argument("--port", type=int, default=0)
    async with fake_provider(port=parser.parse_args().port) as provider:
        provider.keeps_bodies = False
        print(provider.port, flush=True)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                return


if __name__ == "__main__":
    anyio.run(_main)
