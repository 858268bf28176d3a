"""The helper process as the daemon sees it: its start, the requests to it, its end.

Theory of operation. One task owns the process: it starts it, writes what waits, reads what comes, and ends
it. Requests wait for what the task hands over to their Exchange. Nothing that a server does may keep this
task waiting, so that it never waits for a request: of the progress of a call it keeps only the latest line.
"""

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Protocol

import anyio
import msgspec

from parley_daemon.adapters.mcp import frames
from parley_daemon.adapters.supervision.hiding import DEBUGGER_VARIABLE

PROGRAM = "parley_daemon.adapters.mcp.host.program"

STOP_SECONDS = 5.0
"""How long the helper has to stop all servers when it is stopped."""

PING_SECONDS = 10.0
"""How long it may take to give a sign of life when it is asked for one."""

MAX_WAITING = 64
"""Frames that wait to be written. Who has more to send waits."""

MAX_QUESTIONS = 16
"""Questions of one call that wait: more than the helper asks at once."""

_PASSED_ON = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    DEBUGGER_VARIABLE,
)
"""What the helper needs of the daemon's environment. Servers get nothing of it."""

_MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "262144"}
"""Settings of glibc by which large messages do not stay in memory."""

_CHUNK = 1 << 16


class HelperError(Exception):
    """The helper is gone, or cannot work. The message is a sentence."""


class Listener(Protocol):
    """Who is told about a connection."""

    def take(self, frame: frames.Changed | frames.Ended | frames.Noisy) -> None:
        """Take what the helper tells. Returns at once."""
        ...


class Exchange:
    """A request that runs, with what has come of it so far."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.outcome: frames.Done | frames.Failed | None = None
        self.progress: str | None = None
        self.questions: deque[frames.Asked] = deque()
        self.withdrawn: set[int] = set()
        self._news = anyio.Event()

    def take(self, frame: frames.AboutRequest) -> None:
        """Note a frame."""
        match frame:
            case frames.Progressed():
                self.progress = frame.text
            case frames.Asked():
                if len(self.questions) < MAX_QUESTIONS:
                    self.questions.append(frame)
            case frames.Withdrawn():
                self.withdrawn.add(frame.question)
            case _:
                self.outcome = frame
        self._news.set()

    async def wait(self) -> None:
        """Wait until something is noted that was not there at the last wait."""
        await self._news.wait()
        self._news = anyio.Event()


class Helper:
    """One helper process. `run` has to run as long as it is used."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        passed_on = {name: environment[name] for name in _PASSED_ON if name in environment}
        self._environment = {**passed_on, **_MEMORY}
        self._exchanges: dict[int, Exchange] = {}
        self._listeners: dict[int, Listener] = {}
        self._numbers = count(1)
        self._outbox, self._waiting = anyio.create_memory_object_stream[bytes](MAX_WAITING)
        self._stopping = anyio.Event()
        self._suspected = anyio.Event()
        self.ended = anyio.Event()
        self.problem: str | None = None
        self.pid: int | None = None

    @property
    def is_usable(self) -> bool:
        """Whether requests can be sent."""
        return not self._stopping.is_set() and not self.ended.is_set()

    def stop(self) -> None:
        """Begin to end the process."""
        self._stopping.set()

    def listen(self, connection: int, listener: Listener) -> None:
        """Tell a listener about a connection, until it ends."""
        self._listeners[connection] = listener

    def forget(self, connection: int) -> None:
        """Tell nobody about a connection any more."""
        self._listeners.pop(connection, None)

    async def begin(self, make: Callable[[int], frames.Request]) -> Exchange:
        """Send a request. The caller ends the exchange.

        Raises:
            HelperError: the helper is gone.
        """
        exchange = Exchange(next(self._numbers))
        self._exchanges[exchange.id] = exchange
        try:
            await self._send(make(exchange.id))
        except BaseException:
            self.end(exchange)
            raise
        return exchange

    def end(self, exchange: Exchange) -> None:
        """Forget a request."""
        self._exchanges.pop(exchange.id, None)

    async def tell(self, frame: frames.Cancel | frames.Reply) -> None:
        """Send what has no answer of its own.

        Raises:
            HelperError: the helper is gone.
        """
        await self._send(frame)

    async def give_up(self, exchange: Exchange) -> None:
        """Cancel a request, and wait until it has ended, but not for ever."""
        try:
            with anyio.move_on_after(STOP_SECONDS) as scope:
                await self.tell(frames.Cancel(exchange.id))
                while exchange.outcome is None:
                    await exchange.wait()
        except HelperError:
            return
        if scope.cancelled_caught:
            self.suspect()

    def suspect(self) -> None:
        """Ask for a sign of life. A helper that gives none is killed: it holds up all servers."""
        self._suspected.set()

    async def _check_when_suspected(self) -> None:
        while True:
            await self._suspected.wait()
            self._suspected = anyio.Event()
            with anyio.move_on_after(PING_SECONDS) as scope:
                exchange = await self.begin(frames.Ping)
                while exchange.outcome is None:
                    await exchange.wait()
                self.end(exchange)
            if scope.cancelled_caught:
                self.problem = "The helper process for MCP did not answer any more."
                self._kill()

    async def _send(self, frame: frames.ToHelper) -> None:
        if not self.is_usable:
            raise HelperError(self.problem or "The helper process for MCP has ended.")
        try:
            await self._outbox.send(frames.encode(frame))
        except frames.FrameError as error:
            raise HelperError(f"The request cannot be sent: {error}.") from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise HelperError(self.problem or "The helper process for MCP has ended.") from None

    async def run(self) -> None:
        """Own the process from its start to its end."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond
                    [sys.executable, "-I", "-m", PROGRAM],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=self._environment,
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            self._finish(f"The helper process for MCP cannot be started: {error.strerror}.")
            return
        self.pid = self._process.pid
        ours.setblocking(False)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, ours)
                tasks.start_soon(self._wait_for_stop, tasks.cancel_scope)
                tasks.start_soon(self._check_when_suspected)
                await self._read(ours)
                tasks.cancel_scope.cancel()
        finally:
            self._stopping.set()
            ours.close()
            with anyio.CancelScope(shield=True):
                await self._end_process()
            self._finish(self.problem or "The helper process for MCP has ended.")

    async def _wait_for_stop(self, scope: anyio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()

    async def _read(self, channel: socket.socket) -> None:
        reader = frames.FrameReader()
        while True:
            try:
                data = channel.recv(_CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(channel)
                continue
            except OSError:
                return
            if not data:
                return
            try:
                for body in reader.feed(data):
                    self._take(frames.decode_for_daemon(body))
            except (frames.FrameError, msgspec.MsgspecError):
                self.problem = "The helper process for MCP has sent what cannot be read."
                return

    async def _write(self, channel: socket.socket) -> None:
        async for data in self._waiting:
            view = memoryview(data)
            while view:
                try:
                    view = view[channel.send(view) :]
                except BlockingIOError:
                    await anyio.wait_writable(channel)
                except OSError:
                    return  # the reader notices

    def _take(self, frame: frames.ToDaemon) -> None:
        match frame:
            case frames.Unusable():
                self.problem = frame.message
            case frames.Changed() | frames.Noisy() | frames.Ended():
                listener = self._listeners.get(frame.connection)
                if listener is not None:
                    listener.take(frame)
                if isinstance(frame, frames.Ended):
                    self._listeners.pop(frame.connection, None)
            case _:
                exchange = self._exchanges.get(frame.id)
                if exchange is not None:
                    exchange.take(frame)

    async def _end_process(self) -> None:
        """Wait until the process has stopped its servers and ended. What takes too long is killed."""
        with anyio.move_on_after(STOP_SECONDS):
            while self._process.poll() is None:  # noqa: ASYNC110 - nothing tells
                await anyio.sleep(0.01)
        self._kill()
        self._process.wait()

    def _kill(self) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, 9)

    def _finish(self, reason: str) -> None:
        """Tell all that wait that the helper is gone."""
        self.problem = reason
        self.ended.set()
        self._outbox.close()
        self._waiting.close()
        for exchange in list(self._exchanges.values()):
            exchange.take(frames.Failed(exchange.id, reason, "unknown"))
        for number, listener in list(self._listeners.items()):
            listener.take(frames.Ended(number, "the helper process for MCP has ended"))
        self._listeners.clear()
