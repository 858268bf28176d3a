"""The helper process: the program that `adapters/mcp/helper` starts, with a socket as standard input.

It serves the requests of the daemon (see `adapters/mcp/frames`), each in a task of its own, and ends when the
daemon closes the socket: then all servers are stopped. When the daemon dies, the kernel ends this process,
and the supervisors of the servers end them.
"""

import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
from anyio.abc import TaskGroup

from parley_daemon.adapters.mcp import frames
from parley_daemon.adapters.mcp.host.coalescing import Coalescer
from parley_daemon.adapters.mcp.host.sdk import SdkError, load_sdk
from parley_daemon.adapters.mcp.host.transports import memory
from parley_daemon.adapters.supervision.hiding import hide_process
from parley_daemon.adapters.supervision.landlock import call
from parley_daemon.ports.mcp import McpQuestion, McpReply

if TYPE_CHECKING:
    from parley_daemon.adapters.mcp.host.requests import ServerRequests
    from parley_daemon.adapters.mcp.host.server import Server

PROGRESS_SECONDS = 0.1
CHANGES_SECONDS = 1.0
"""Shortest time between two frames about the progress of a call, and about changes of a server."""

MAX_WAITING = 64
"""Frames that wait to be written. Who has more to send waits."""

_CHUNK = 1 << 16
_PR_SET_PDEATHSIG = 1


class _Connection:
    """A server with what is told of it."""

    def __init__(self, server: "Server", requests: "ServerRequests") -> None:
        self.server = server
        self.requests = requests
        self.over = anyio.Event()


class Helper:
    """Serves one daemon."""

    def __init__(self, channel: socket.socket, tasks: TaskGroup) -> None:
        self._channel = channel
        self._tasks = tasks
        self._outbox, self._waiting = anyio.create_memory_object_stream[bytes](MAX_WAITING)
        self._connections: dict[int, _Connection] = {}
        self._scopes: dict[int, anyio.CancelScope] = {}
        self._questions: dict[int, tuple[int, anyio.Event, list[McpReply]]] = {}  # with their calls
        self._numbers = count(1)

    async def serve(self) -> None:
        """Serve until the daemon closes the socket. When this returns, no server is left."""
        self._tasks.start_soon(self._write)
        self._tasks.start_soon(memory.give_back)
        reader = frames.FrameReader()
        while data := await self._receive():
            for body in reader.feed(data):
                self._take(frames.decode_for_helper(body))
        for connection in self._connections.values():
            connection.server.stop()
        for scope in list(self._scopes.values()):
            scope.cancel()
        for connection in list(self._connections.values()):
            await connection.over.wait()

    async def _receive(self) -> bytes:
        while True:
            try:
                return self._channel.recv(_CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(self._channel)
            except OSError:
                return b""

    async def _write(self) -> None:
        async for data in self._waiting:
            view = memoryview(data)
            while view:
                try:
                    view = view[self._channel.send(view) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._channel)
                except OSError:
                    break  # the daemon is gone; `serve` notices

    async def _send(self, frame: frames.ToDaemon) -> None:
        await self._outbox.send(frames.encode(frame))

    def _take(self, frame: frames.ToHelper) -> None:
        if isinstance(frame, frames.Cancel):
            if frame.id in self._scopes:
                self._scopes[frame.id].cancel()
        elif isinstance(frame, frames.Reply):
            if frame.question in self._questions:
                _, answered, replies = self._questions[frame.question]
                replies.append(frame.reply)
                answered.set()
        else:
            self._scopes[frame.id] = anyio.CancelScope()
            self._tasks.start_soon(self._handle, frame)

    async def _handle(self, request: frames.Request) -> None:
        """Carry out a request, and answer it exactly once."""
        from parley_daemon.adapters.mcp.host.failures import RequestError
        from parley_daemon.adapters.mcp.host.server import OpenError

        answer: frames.Done | frames.Failed = frames.Failed(request.id, "It was cancelled.", "unknown")
        try:
            with self._scopes[request.id]:
                value = await self._carry_out(request)
                answer = frames.Done(request.id, msgspec.Raw(msgspec.json.encode(value)))
        except RequestError as error:
            answer = frames.Failed(request.id, str(error), error.fate)
        except OpenError as error:
            answer = frames.Failed(request.id, str(error), needs_auth=error.needs_auth)
        except Exception as error:  # noqa: BLE001 - the boundary of a request: whatever a server sends must not end the others
            words = f"The request has failed ({type(error).__name__})."
            answer = frames.Failed(request.id, words, "unknown")
        finally:
            del self._scopes[request.id]
        try:
            await self._send(answer)
        except frames.FrameError:
            await self._send(frames.Failed(request.id, "The answer of the server is too long.", "unknown"))

    async def _carry_out(self, request: frames.Request) -> Any:
        if isinstance(request, frames.Ping):
            return None
        if isinstance(request, frames.Open):
            return await self._open(request)
        connection = self._connections.get(request.connection)
        if isinstance(request, frames.Close):
            if connection is not None:
                connection.server.stop()
                await connection.over.wait()
            return None
        if connection is None:
            from parley_daemon.adapters.mcp.host.failures import RequestError

            raise RequestError("The server is gone.", "refused")
        requests = connection.requests
        match request:
            case frames.Describe():
                return await requests.describe()
            case frames.Call():
                return await self._call(requests, request)
            case frames.Read():
                return await requests.read(request.uri)
            case frames.Prompt():
                return await requests.prompt(request.name, dict(request.arguments))

    async def _open(self, request: frames.Open) -> int | None:
        from parley_daemon.adapters.mcp.host.requests import ServerRequests
        from parley_daemon.adapters.mcp.host.server import Server

        number, noise = request.id, 0

        async def tell_noise() -> None:
            nonlocal noise
            lines, noise = noise, 0
            await self._send(frames.Noisy(number, lines))

        def count_noise(lines: int) -> None:
            nonlocal noise
            noise += lines
            noisy.note()

        changed = Coalescer(self._tasks, CHANGES_SECONDS, partial(self._send, frames.Changed(number)))
        noisy = Coalescer(self._tasks, CHANGES_SECONDS, tell_noise)
        server = Server(request.target, changed.note, count_noise)
        connection = self._connections[number] = _Connection(server, ServerRequests(server))
        opened = anyio.Event()
        problem: list[Exception] = []
        self._tasks.start_soon(self._keep, number, connection, opened, problem)
        try:
            await opened.wait()
        except BaseException:
            server.stop()
            with anyio.CancelScope(shield=True):
                await connection.over.wait()
            raise
        if problem:
            raise problem[0]
        return server.pid

    async def _keep(
        self, number: int, connection: _Connection, opened: anyio.Event, problem: list[Exception]
    ) -> None:
        """Own a connection from its start to its end."""
        from parley_daemon.adapters.mcp.host.server import OpenError

        was_opened = False

        class Started:
            """What the server tells that it is connected."""

            def started(self, value: object = None) -> None:
                nonlocal was_opened
                was_opened = True
                opened.set()

        try:
            await connection.server.run(task_status=Started())
        except Exception as error:  # noqa: BLE001 - the boundary of a connection: the SDK may raise anything
            problem.append(error if isinstance(error, OpenError) else OpenError("The server cannot be used."))
        finally:
            del self._connections[number]
            connection.over.set()
        if was_opened:
            await self._send(frames.Ended(number, connection.server.end, connection.server.wants_auth))
        else:
            if not problem:
                problem.append(OpenError("The connection was given up."))
            opened.set()

    async def _call(self, requests: "ServerRequests", request: frames.Call) -> Any:
        latest = ""

        async def send_progress() -> None:
            await self._send(frames.Progressed(request.id, latest))

        async def progress(text: str) -> None:
            nonlocal latest
            latest = text
            coalescer.note()

        coalescer = Coalescer(self._tasks, PROGRESS_SECONDS, send_progress)
        ask: Callable[[McpQuestion], Awaitable[McpReply]] = partial(self._ask, request.id)
        try:
            return await requests.call(request.tool, dict(request.arguments), progress, ask)
        finally:  # nobody will answer what is still asked
            for asking, answered, replies in self._questions.values():
                if asking == request.id:
                    replies.append(McpReply("cancel"))
                    answered.set()

    async def _ask(self, request: int, question: McpQuestion) -> McpReply:
        number = next(self._numbers)
        _, answered, replies = self._questions[number] = request, anyio.Event(), list[McpReply]()
        try:
            await self._send(frames.Asked(request, number, question))
            await answered.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._send(frames.Withdrawn(request, number))
            raise
        finally:
            del self._questions[number]
        return replies[0]


async def _run(channel: socket.socket) -> None:
    async with anyio.create_task_group() as tasks:
        await Helper(channel, tasks).serve()
        tasks.cancel_scope.cancel()


def _ignore(*_: object) -> None:
    """The end of the socket ends this process, not a signal to the daemon's terminal."""


def main() -> None:
    """Serve the daemon at the other end of standard input."""
    channel = socket.socket(fileno=os.dup(0))
    if sys.platform == "linux":
        call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    hide_process(os.environ)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _ignore)  # unlike SIG_IGN, servers do not inherit it
    import logging

    logging.disable(logging.CRITICAL)  # the SDK logs what servers send
    try:
        load_sdk()
    except SdkError as error:
        channel.sendall(frames.encode(frames.Unusable(str(error))))
        return
    channel.setblocking(False)
    anyio.run(_run, channel)


if __name__ == "__main__":
    main()
