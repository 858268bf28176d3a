"""A raw client for tests: frames over a socket or over a spawned process, every message recorded.

Whatever a test does with it, the whole trace is checked against the ordering rules when it is closed.
"""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
from anyio.abc import ByteStream, Process

from parley_protocol.framing import FrameDecoder, encode_frame
from tests.support.processes.trace import Entry, Json, check_trace
from tests.support.processes.unix_stream import connect_unix

WAIT_SECONDS = 30


class WireClosed(Exception):  # noqa: N818 - an end, not a fault
    """The daemon closed the connection."""


class Peer:
    """One raw connection. `trace` is all that went over it, in order."""

    def __init__(self, stream: ByteStream, process: Process | None = None) -> None:
        self.process = process
        self.trace: list[Entry] = []
        self.closed = anyio.Event()
        self.reading = anyio.Event()
        self.reading.set()
        self._stream = stream
        self._changed = anyio.Event()
        self._next_id = 0

    # --------------------------------------------------------------------- sending

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._stream.send(data)

    async def send(self, message: Any) -> None:
        """Send one message, whatever it is, in a frame."""
        if isinstance(message, dict):
            self.trace.append(("sent", cast("Json", message)))
        await self.send_bytes(encode_frame(json.dumps(message).encode()))

    async def end_input(self) -> None:
        """Say that no more will come."""
        await self._stream.send_eof()

    async def notify(self, method: str, params: Any = None) -> None:
        """Send a notification."""
        await self.send({"jsonrpc": "2.0", "method": method, "params": params or {}})

    async def start(self, method: str, params: Any = None) -> int:
        """Send a request without waiting; return its id."""
        self._next_id = id = self._next_id + 1
        message = {"jsonrpc": "2.0", "id": id, "method": method}
        await self.send(message if params is None else {**message, "params": params})
        return id

    async def request(self, method: str, params: Any = None) -> Json:
        """Send a request and return its whole response."""
        return await self.response(await self.start(method, params))

    async def result(self, method: str, params: Any = None) -> Any:
        """Send a request and return its result; an error fails the test."""
        response = await self.request(method, params)
        assert "result" in response, response
        return response["result"]

    async def error(self, method: str, params: Any = None) -> Json:
        """Send a request and return its error; a result fails the test."""
        response = await self.request(method, params)
        assert "error" in response, response
        return response["error"]

    async def result_in_time(self, method: str, params: Any = None, *, code: int, seconds: float = 5) -> Any:
        """Send a request until it has a result; meanwhile it may be refused with this code."""
        with anyio.fail_after(seconds):
            while "error" in (answer := await self.request(method, params)):
                assert answer["error"]["code"] == code, answer
                await anyio.sleep(0.05)
        return answer["result"]

    async def initialize(self, **options: Any) -> Json:
        """Open the connection."""
        params = {"processId": None, "capabilities": {}, "initializationOptions": options}
        result = await self.result("initialize", params)
        await self.notify("initialized")
        return result

    # -------------------------------------------------------------------- receiving

    async def pump(self) -> None:
        """Read until the connection ends."""
        decoder = FrameDecoder()
        try:
            while True:
                await self.reading.wait()
                for body in decoder.feed(await self._stream.receive(65536)):
                    self.trace.append(("received", json.loads(body)))
                self._tell()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.closed.set()
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self) -> None:
        """Return once more has come, or the connection has ended."""
        await self._changed.wait()

    @property
    def received(self) -> list[Json]:
        """Every message that came."""
        return [message for direction, message in self.trace if direction == "received"]

    async def find(
        self, wanted: Callable[[Json], bool], seconds: float = WAIT_SECONDS, *, start: int = 0
    ) -> Json:
        """Return the first message that is wanted, of those that came from `start` in the trace or will come.

        Raises:
            WireClosed: the connection ended without it.
        """
        looked = start
        with anyio.fail_after(seconds):
            while True:
                for direction, message in self.trace[looked:]:
                    if direction == "received" and wanted(message):
                        return message
                looked = len(self.trace)
                if self.closed.is_set():
                    raise WireClosed
                await self._changed.wait()

    async def response(self, id: int | str | None, seconds: float = WAIT_SECONDS) -> Json:
        """Return the response to the request with this id."""
        return await self.find(lambda m: "method" not in m and m.get("id") == id, seconds)

    def events(self, token: int | str) -> list[Json]:
        """Return the values that came under a token so far."""
        return [
            message["params"]["value"]
            for message in self.received
            if message.get("method") == "$/progress" and message["params"]["token"] == token
        ]

    async def event(
        self,
        token: int | str,
        type: str,
        wanted: Callable[[Json], bool] = lambda _: True,
        seconds: float = WAIT_SECONDS,
    ) -> Json:
        """Return the first event of a type under a token that is wanted, waiting for it."""

        def fits(message: Json) -> bool:
            params = message.get("params", {})
            if message.get("method") != "$/progress" or params["token"] != token:
                return False
            return params["value"].get("type") == type and wanted(params["value"])

        return (await self.find(fits, seconds))["params"]["value"]

    # ------------------------------------------------------------------ short ways

    async def new_chat(self, **params: Any) -> str:
        """Create a chat; return its id."""
        return (await self.result("chat/create", params))["id"]

    async def subscribe(self, chat_id: str, token: int | str = "s", **params: Any) -> Json:
        """Subscribe to a chat."""
        given = {"chatId": chat_id, "partialResultToken": token, **params}
        return await self.result("chat/subscribe", given)

    async def whole(self, messages: list[Json]) -> list[Json]:
        """Return messages with whole parts in place of those by reference."""
        return [
            {**message, "content": [await self._whole(message, at) for at in range(len(message["content"]))]}
            for message in messages
        ]

    async def _whole(self, message: Json, index: int) -> Json:
        part = message["content"][index]
        if not part.get("ref"):
            return part
        params = {"chatId": message["chatId"], "messageId": message["id"], "index": index}
        return await self.result("chat/file", params)

    async def alive(self) -> None:
        """Check that the daemon still answers on this connection."""
        assert (await self.result("server/status"))["protocolVersion"] == 1

    async def aclose(self) -> None:
        """Close the connection at once."""
        await self._stream.aclose()


@asynccontextmanager
async def peer_on(
    stream: ByteStream, process: Process | None = None, *, check: bool = True
) -> AsyncGenerator[Peer]:
    """Talk over a stream; check the trace at the end."""
    peer = Peer(stream, process)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.pump)
            try:
                yield peer
            finally:
                with anyio.CancelScope(shield=True):
                    await stream.aclose()
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # What a test raised is what its reader wants to see; a group would also end the session's loop.
        error = group.exceptions[0]
        raise error if isinstance(error, Exception) else AssertionError(str(error)) from None
    if check:
        check_trace(peer.trace)


@asynccontextmanager
async def unix_peer(path: str, *, check: bool = True) -> AsyncGenerator[Peer]:
    """Connect to a daemon's Unix socket."""
    async with peer_on(await connect_unix(path), check=check) as peer:
        yield peer


@asynccontextmanager
async def tcp_peer(address: str, *, check: bool = True) -> AsyncGenerator[Peer]:
    """Connect to a daemon's TCP port."""
    host, _, port = address.rpartition(":")
    async with peer_on(await anyio.connect_tcp(host, int(port)), check=check) as peer:
        yield peer


class ProcessStream(ByteStream):
    """A process's standard input and output as one stream."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input = process.stdin
        self._output = process.stdout

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._output.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await self._input.send(item)

    async def send_eof(self) -> None:
        await self._input.aclose()

    async def aclose(self) -> None:
        await self._input.aclose()
        with anyio.move_on_after(8):
            await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._output.aclose()


@asynccontextmanager
async def stdio_peer(
    env: Mapping[str, str], *options: str, check: bool = True, command: list[str] | None = None
) -> AsyncGenerator[Peer]:
    """Spawn `parleyd stdio` (or another command) and talk over its standard streams."""
    process = await anyio.open_process(
        command or [sys.executable, "-m", "parley_daemon", "stdio", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        env=dict(env),
    )
    async with peer_on(ProcessStream(process), process, check=check) as peer:
        yield peer
