"""The worker as the daemon sees it: its start, the requests to it, its end.

Theory of operation. One task owns the process: it starts it, writes what waits, reads what comes, and ends
it. The process lives as long as its socket is open, so it ends with the daemon, however that ends.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import anyio
import msgspec

from parley_daemon.adapters.context import frames

PROGRAM = "parley_daemon.adapters.context.worker.program"

MAX_WAITING = 64
"""Frames that wait to be written. Who has more to send waits."""

STOP_SECONDS = 2.0
"""How long the process may take to end before it is killed."""

_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "XDG_CONFIG_HOME", "SYSTEMROOT")
"""Variables that the process gets: those of git. The daemon's own environment has keys in it."""

_MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072"}
_CHUNK = 1 << 16


class ProcessEndedError(Exception):
    """The process is gone."""


class _Exchange:
    """A request that waits for its answer."""

    def __init__(self) -> None:
        self.answer: frames.ToDaemon | None = None
        self.done = anyio.Event()


class WorkerProcess:
    """One worker. `run` has to run as long as it is used."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._arguments = list(arguments)
        passed_on = {name: environment[name] for name in _PASSED_ON if name in environment}
        self._environment = {**passed_on, **_MEMORY}
        self._exchanges: dict[int, _Exchange] = {}
        self._numbers = count(1)
        self._outbox, self._waiting = anyio.create_memory_object_stream[bytes](MAX_WAITING)
        self._stopping = anyio.Event()
        self.ended = anyio.Event()
        self.pid: int | None = None

    @property
    def is_usable(self) -> bool:
        """Whether requests can be sent."""
        return not self._stopping.is_set() and not self.ended.is_set()

    def stop(self) -> None:
        """Begin to end the process."""
        self._stopping.set()

    async def ask(self, make: Callable[[int], frames.Request]) -> frames.ToDaemon:
        """Send a request and return the answer.

        Raises:
            ProcessEndedError: see there.
            FrameError: the request does not fit.
        """
        number, exchange = next(self._numbers), _Exchange()
        data = frames.encode(make(number))
        self._exchanges[number] = exchange
        try:
            if not self.is_usable:
                raise ProcessEndedError
            await self._outbox.send(data)
            await exchange.done.wait()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise ProcessEndedError from None
        finally:
            del self._exchanges[number]
        if exchange.answer is None:
            raise ProcessEndedError
        return exchange.answer

    def tell(self, frame: frames.Changed) -> None:
        """Send what has no answer, if there is room for it. Returns at once."""
        if self.is_usable:
            try:
                self._outbox.send_nowait(frames.encode(frame))
            except (
                anyio.WouldBlock,
                anyio.BrokenResourceError,
                anyio.ClosedResourceError,
                frames.FrameError,
            ):
                return  # the process watches the folders, too

    async def run(self) -> None:
        """Own the process from its start to its end."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond
                    [sys.executable, "-I", "-m", PROGRAM, *self._arguments],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=self._environment,
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            self._finish()
            return
        self.pid = process.pid
        ours.setblocking(False)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, ours)
                tasks.start_soon(self._wait_for_stop, tasks.cancel_scope)
                await self._read(ours)
                tasks.cancel_scope.cancel()
        finally:
            self._stopping.set()
            ours.close()
            with anyio.CancelScope(shield=True):
                await _end(process)
            self._finish()

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
                return

    def _take(self, frame: frames.ToDaemon) -> None:
        exchange = self._exchanges.get(frame.id)
        if exchange is not None:
            exchange.answer = frame
            exchange.done.set()

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

    def _finish(self) -> None:
        """Tell all that wait that the process is gone."""
        self.ended.set()
        self._outbox.close()
        self._waiting.close()
        for exchange in list(self._exchanges.values()):
            exchange.done.set()


async def _end(process: "subprocess.Popen[bytes]") -> None:
    """Wait until the process has ended. What takes too long is killed."""
    with anyio.move_on_after(STOP_SECONDS):
        while process.poll() is None:  # noqa: ASYNC110 - nothing tells
            await anyio.sleep(0.01)
    if process.poll() is None:
        os.kill(process.pid, 9)
    process.wait()
