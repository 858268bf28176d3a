"""A running command: its output, its end, and the end of everything that it has started.

Theory of operation. A supervisor stands between the daemon and the command: the program in `supervisor`, or
inside of bubblewrap a shell. It says over a socket when the command has ended. So the daemon waits for the
process and not for the pipe, which a child in the background may hold for ever. What is still in the pipe is
read for half a second more. What still runs then is named in the result and ended.

To stop a command, all its processes get SIGTERM, and after a while the supervisor kills what is left. The
kernel does the same when the daemon dies: the supervisor notices the end of the socket, and the processes in
bubblewrap end with their namespace.
"""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import anyio
from anyio import lowlevel, to_thread

from parley_daemon.adapters.supervision.process_table import find_running, list_processes

STOP_SECONDS = 2.0
"""Time between SIGTERM and SIGKILL for a command that is stopped."""

INTERRUPT_SECONDS = 1.0
"""The same when the call is cancelled: an interrupt has 2 s for everything."""

DRAIN_SECONDS = 0.5
"""How long output is still read when the command has ended."""

LEFT_SECONDS = 0.5
"""Time between SIGTERM and SIGKILL for what a command has left behind."""

_END_SECONDS = 5.0
_POLL_SECONDS = 0.02
_CHUNK = 1 << 16
_MAX_NAMES = 10


class RunningProcess:
    """The port's Process. Reads its output only when asked, so that the pipe holds a fast command back."""

    def __init__(
        self, process: subprocess.Popen[bytes], output: int, channel: socket.socket, *, has_namespace: bool
    ) -> None:
        self._process = process
        self._output = output
        self._channel = channel
        self._has_namespace = has_namespace
        self._loop = asyncio.get_running_loop()
        self._status = 0
        self._has_left = False
        self._left: tuple[str, ...] = ()
        self._findings: tuple[str, ...] = ()
        self._ended = anyio.Event()
        self._exited = anyio.Event()
        self._is_drained = False
        self._reading = anyio.CancelScope()
        self._stopping = anyio.Lock()
        self._handle: int | None = None
        self._loop.add_reader(channel, self._read_channel)
        self._watch_exit()

    @property
    def pid(self) -> int:
        """The id of the process that was started: the supervisor's."""
        return self._process.pid

    @property
    def left_behind(self) -> tuple[str, ...]:
        """The names of the processes that still ran when the process had ended."""
        return self._left

    @property
    def findings(self) -> tuple[str, ...]:
        """Sentences about protected files that it changed."""
        return self._findings

    def report_findings(self, findings: Sequence[str]) -> None:
        """Set the findings, once the process has ended."""
        self._findings = tuple(findings)

    async def output(self) -> AsyncGenerator[bytes, None]:
        """Yield standard output and standard error as they come."""
        while not self._is_drained:
            try:
                chunk = os.read(self._output, _CHUNK)
            except BlockingIOError:
                with anyio.CancelScope() as self._reading:
                    await anyio.wait_readable(self._output)
                continue
            if not chunk:
                break
            yield chunk
            await lowlevel.checkpoint()  # a fast command must not keep others from running
        await self._ended.wait()
        if self._has_left and not self._left:
            self._left = tuple((await self._list()).values())[:_MAX_NAMES]

    async def wait(self) -> int:
        """Return the exit status of the command; 128 and the signal's number if a signal ended it."""
        await self._ended.wait()
        return self._status

    async def stop(self) -> None:
        """End it with all its children: TERM, 2 s, KILL."""
        await self._end(STOP_SECONDS)

    async def close(self) -> None:
        """End what still runs, and release everything."""
        if not self._ended.is_set():
            await self._end(INTERRUPT_SECONDS)
        elif self._has_left:
            await self._end(LEFT_SECONDS)
        else:
            await self._end(None)
        os.close(self._output)

    async def _end(self, grace: float | None) -> None:
        """End everything. `grace`: seconds between SIGTERM and SIGKILL; None: nothing is left to be ended."""
        async with self._stopping:
            if self._channel.fileno() < 0:
                return
            known: list[int] = []
            if grace is not None:
                known = list(await self._list())
                self._signal(known)
                with anyio.move_on_after(grace):
                    await self._ended.wait()
                    while self._has_left and (remaining := await self._list()):
                        known = list({*known, *remaining})
                        await anyio.sleep(_POLL_SECONDS)
                if self._has_namespace:
                    known += await self._list()
                    self._process.kill()  # the kernel then ends the namespace
            self._loop.remove_reader(self._channel)
            self._channel.close()  # the supervisor kills what is left, and ends
            with anyio.move_on_after(_END_SECONDS):
                await self._exited.wait()
            if not self._exited.is_set():
                self._process.kill()
                await self._exited.wait()
            self._set_ended()
            with anyio.move_on_after(_END_SECONDS):
                while known := await to_thread.run_sync(find_running, known):  # noqa: ASYNC110
                    await anyio.sleep(_POLL_SECONDS)

    def _signal(self, processes: Sequence[int]) -> None:
        for pid in processes:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)

    async def _list(self) -> dict[int, str]:
        """Return the processes of the command that run, with their names."""
        return await to_thread.run_sync(list_processes, self._process.pid, self._has_namespace)

    def _read_channel(self) -> None:
        try:
            data = self._channel.recv(64)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        words = data.split()
        if not words:
            self._loop.remove_reader(self._channel)
        elif words[0] == b"exit" and len(words) == 3 and words[1].isdigit():
            self._status = int(words[1])
            self._has_left = words[2] == b"1"
            self._set_ended()

    def _watch_exit(self) -> None:
        try:
            self._handle = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):  # not Linux, or an old one
            self._poll_exit()
        else:
            self._loop.add_reader(self._handle, self._note_exit)

    def _poll_exit(self) -> None:
        if self._process.poll() is None:
            self._loop.call_later(_POLL_SECONDS, self._poll_exit)
        else:
            self._note_exit()

    def _note_exit(self) -> None:
        if self._handle is not None:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = None
        code = self._process.wait()
        if not self._ended.is_set() and self._channel.fileno() >= 0:
            self._read_channel()
        if not self._ended.is_set():  # it was killed itself
            self._status = code if code >= 0 else 128 - code
            self._set_ended()
        self._exited.set()

    def _set_ended(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._loop.call_later(DRAIN_SECONDS, self._end_reading)

    def _end_reading(self) -> None:
        self._is_drained = True
        self._reading.cancel()


def start_process(
    argv: Sequence[str], environment: dict[str, str], message: bytes, *, has_namespace: bool
) -> RunningProcess:
    """Start a supervisor and send it a message. The caller closes the process.

    Raises:
        OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    try:
        with theirs:
            child = subprocess.Popen(
                argv,
                stdin=theirs.fileno(),
                stdout=write,
                stderr=write,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
    except OSError:
        ours.close()
        os.close(read)
        raise
    finally:
        os.close(write)
    os.set_blocking(read, False)
    with suppress(OSError):  # it has ended already; its status says so
        ours.sendall(message)
    ours.setblocking(False)
    return RunningProcess(child, read, ours, has_namespace=has_namespace)


def run_to_end(argv: Sequence[str], environment: dict[str, str], message: bytes) -> tuple[int, str]:
    """Run a supervisor and return the exit status of its command with the output. Blocks for 5 s at most.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it does not end.
    """
    ours, theirs = socket.socketpair()
    output, status = b"", list[bytes]()
    with ours, theirs:
        child = subprocess.Popen(
            argv,
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
        )
        theirs.close()
        try:
            with suppress(OSError):
                ours.sendall(message)
            output, _ = child.communicate(timeout=_END_SECONDS)
            status = ours.recv(64).split()
        except ConnectionError:
            pass  # it ended without a report
        finally:
            child.kill()
            child.communicate()
    return int(status[1]) if status[:1] == [b"exit"] else child.returncode, output.decode("utf-8", "replace")
