"""The transport over standard input and output of a server that this process starts.

Theory of operation. A supervisor (see `adapters/supervision`) stands between this process and the server: it
ends the server with everything that it has started, gently first, when this process closes the socket to it
or dies. Lines are limited in length (see `lines`); what is no message is counted. Standard error is read to
its end, so that the server never waits for a reader, and its last bytes are kept to say why a server has
ended.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
from anyio import lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from parley_daemon.adapters.mcp.host.texts import find_secrets, one_line, redact
from parley_daemon.adapters.mcp.host.transports.lines import MAX_LINE, LineReader
from parley_daemon.adapters.mcp.host.transports.memory import note_size
from parley_daemon.adapters.mcp.host.transports.messages import read_message, refuse_answer
from parley_daemon.adapters.supervision.starting import make_command, make_order
from parley_daemon.ports.mcp import McpTarget

GRACE = (1.5, 1.5)
"""Seconds that a server has to end by itself when its input has ended, and after SIGTERM."""

_EXIT_SECONDS = 4.0
_DRAIN_SECONDS = 0.5
_FLUSH_SECONDS = 0.5
_CHUNK = 1 << 16
_KEPT_ERRORS = 4096
_TOO_LONG = f"The answer is longer than {MAX_LINE:,} bytes."


class StartError(Exception):
    """A server cannot be started. The message is a sentence."""


class ServerProcess:
    """A server that runs, and its pipes."""

    def __init__(self, target: McpTarget, on_noise: Callable[[int], None]) -> None:
        self.pid: int | None = None
        self.end = "it has closed its output"
        self.has_ended = False
        self._on_noise = on_noise
        self._secrets = find_secrets(target)
        self._errors = bytearray()
        channel, theirs = socket.socketpair()
        input_read, self._input = os.pipe()
        self._output, output_write = os.pipe()
        self._error_output, error_write = os.pipe()
        try:
            order = _make_order(target, input_read)
            self._supervisor = subprocess.Popen(
                make_command(sys.executable),
                stdin=theirs.fileno(),
                stdout=output_write,
                stderr=error_write,
                pass_fds=(input_read,),
                cwd="/",
                env={},
                start_new_session=True,
            )
        except BaseException as error:
            for descriptor in (self._input, self._output, self._error_output):
                os.close(descriptor)
            channel.close()
            if isinstance(error, OSError):
                raise StartError(f"No process can be started: {error.strerror}.") from error
            raise
        finally:
            theirs.close()
            for descriptor in (input_read, output_write, error_write):
                os.close(descriptor)
        with suppress(OSError):  # it has ended already
            channel.sendall(order)
        channel.setblocking(False)
        for descriptor in (self._input, self._output, self._error_output):
            os.set_blocking(descriptor, False)
        self._channel = channel
        self.exited, self.drained, self._errors_end = anyio.Event(), anyio.Event(), anyio.Event()

    @property
    def last_words(self) -> str:
        """The end of what the server has written to standard error, without the values it was given."""
        text = redact(self._errors.decode("utf-8", "replace"), self._secrets)
        lines = [line for line in text.splitlines() if line.strip()]
        return one_line(" / ".join(lines[-3:]), 400)

    async def read_messages(self, sender: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        """Pass on what the server writes, until it ends."""
        reader = LineReader()
        async with sender:
            while data := await self._read(self._output):
                lines = reader.feed(data)
                noise = len(reader.dropped)
                for start, end in reader.dropped:
                    if (message := refuse_answer(start, end, _TOO_LONG)) is not None:
                        await sender.send(message)
                reader.dropped.clear()
                for line in lines:
                    if not line.strip():
                        continue
                    message = read_message(line)
                    if message is None:
                        noise += 1
                    else:
                        await sender.send(message)
                    note_size(len(line))
                if noise:
                    self._on_noise(noise)
                await lowlevel.checkpoint()

    async def write_messages(self, receiver: MemoryObjectReceiveStream[SessionMessage]) -> None:
        """Write what the SDK sends, until it stops or the server reads no more."""
        async with receiver:
            async for message in receiver:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                try:
                    await self._write(text.encode("utf-8") + b"\n")
                except OSError:
                    return

    async def drain(self) -> None:
        """Read the output to its end, and forget it."""
        while await self._read(self._output):
            await lowlevel.checkpoint()

    async def read_errors(self) -> None:
        """Read standard error to its end."""
        while data := await self._read(self._error_output):
            self._errors += data
            del self._errors[:-_KEPT_ERRORS]
        self._errors_end.set()

    async def watch(self) -> None:
        """Return when the server has ended, and what it has written was read for a while."""
        words: list[bytes] = []
        text = b""
        while words[:1] != [b"exit"]:
            await anyio.wait_readable(self._channel)
            data = self._channel.recv(256)
            if not data:
                break
            text += data
            *lines, text = text.split(b"\n")
            for line in lines:
                words = line.split()
                if words[:1] == [b"pid"]:
                    self.pid = int(words[1])
        self.end = _describe_status(int(words[1])) if words[:1] == [b"exit"] else "it was ended"
        self.has_ended = True
        self.exited.set()
        with anyio.move_on_after(_DRAIN_SECONDS):
            await self.drained.wait()

    async def wait_for_end(self) -> None:
        """Wait until the server has ended and its last words were read, if that happens soon."""
        with anyio.move_on_after(_DRAIN_SECONDS):
            await self.exited.wait()
            await self._errors_end.wait()

    async def stop(self) -> None:
        """End the server and everything that it has started. Its output must still be read meanwhile."""
        os.close(self._input)
        self._channel.close()
        with anyio.move_on_after(_EXIT_SECONDS):
            while self._supervisor.poll() is None:  # noqa: ASYNC110 - nothing tells
                await anyio.sleep(0.01)
        if self._supervisor.poll() is None:
            self._supervisor.kill()
            self._supervisor.wait()

    def close(self) -> None:
        """Release the pipes."""
        os.close(self._output)
        os.close(self._error_output)

    async def _read(self, descriptor: int) -> bytes:
        while True:
            try:
                return os.read(descriptor, _CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(descriptor)
            except OSError:
                return b""

    async def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._input, view) :]
            except BlockingIOError:
                await anyio.wait_writable(self._input)


@asynccontextmanager
async def open_pipes(
    target: McpTarget, on_noise: Callable[[int], None], on_end: Callable[[str], None]
) -> AsyncGenerator[
    tuple[
        ServerProcess,
        MemoryObjectReceiveStream[SessionMessage | Exception],
        MemoryObjectSendStream[SessionMessage],
    ]
]:
    """Run a server; yield its process with the streams that the SDK takes.

    Raises:
        StartError: it cannot be started.
    """
    process = ServerProcess(target, on_noise)
    to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    written = anyio.Event()

    async def write() -> None:
        await process.write_messages(from_session)
        written.set()

    async def read() -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await process.read_messages(to_session)
        await process.drain()  # the session may be gone, but the server must be able to write until it ends
        process.drained.set()
        with anyio.move_on_after(_DRAIN_SECONDS):
            await process.exited.wait()
        on_end(process.end)

    async def watch() -> None:
        await process.watch()
        on_end(process.end)
        to_session.close()

    async with anyio.create_task_group() as tasks:
        for work in (read, write, process.read_errors, watch):
            tasks.start_soon(work)
        try:
            yield process, from_server, to_server
        finally:
            with anyio.CancelScope(shield=True):
                from_server.close()
                to_server.close()
                with anyio.move_on_after(_FLUSH_SECONDS):
                    await written.wait()
                tasks.cancel_scope.shield = True
                await process.stop()
                tasks.cancel_scope.cancel()
    process.close()


def _make_order(target: McpTarget, input_read: int) -> bytes:
    command, cwd = target.command or "", target.cwd or os.path.expanduser("~")
    if "\0" in "".join([command, cwd, *target.args, *target.environment, *target.environment.values()]):
        raise StartError("The command, its folder and its environment must not contain NUL characters.")
    if not os.path.isdir(cwd):
        raise StartError(f"The folder {cwd} does not exist.")
    path = target.environment.get("PATH", os.defpath)
    program = os.path.join(cwd, command) if "/" in command else shutil.which(command, path=path)
    if program is None or not os.path.exists(program):
        raise StartError(f"The program {one_line(command, 200)} was not found.")
    if os.path.isdir(program) or not os.access(program, os.X_OK):
        raise StartError(f"{program} is not a program.")
    return make_order(
        [program, *target.args], cwd, target.environment, input=input_read, grace=list(GRACE), tells_pid=True
    )


def _describe_status(status: int) -> str:
    if status > 128:
        return f"it was ended by signal {status - 128}"
    return f"it has ended with exit status {status}"
