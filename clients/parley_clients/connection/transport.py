"""Opens a byte stream to a daemon: over a Unix socket, TCP, or the standard streams of a child process.

Without an address, the user's daemon is found through its runtime file. If it does not run, `parleyd stdio
--shared` is spawned: it starts the daemon and forwards to it.
"""

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio
from anyio.abc import ByteStream, Process

from parley_clients.errors import DaemonUnreachableError
from parley_protocol import runtime

Address = str | Sequence[str] | None
"""The address of a daemon.

None is the user's daemon, which is started if it does not run. "stdio" is a private daemon in a child
process. "unix:PATH" and "tcp:HOST:PORT" are running daemons. A list is the command line of a process that
speaks the protocol on its standard input and output.
"""

_EXIT_SECONDS = 6.0
"""How long a child process may take to exit before it is killed: a daemon ends its turns within 5 s."""

_STDERR_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Target:
    """The daemon to connect to.

    `token` takes precedence over the token of the runtime file. `start` allows the user's daemon to be
    started.
    """

    address: Address = None
    token: str | None = None
    data_dir: Path | None = None
    start: bool = True

    @property
    def runtime_file(self) -> Path:
        """The path of the runtime file, through which the daemon of the data directory is found."""
        return runtime.runtime_file(self.data_dir or runtime.data_dir())

    def stdio_command(self, *options: str) -> list[str]:
        """Return the command line of `parleyd stdio` with these options.

        Raises:
            DaemonUnreachableError: the command parleyd is not installed.
        """
        import shutil

        program = Path(sys.executable).parent / "parleyd"
        found = str(program) if program.exists() else shutil.which("parleyd")
        if found is None:
            raise DaemonUnreachableError(
                "The daemon cannot be started: the command parleyd is not installed."
            )
        data_dir = [] if self.data_dir is None else ["--data-dir", str(self.data_dir)]
        return [found, "stdio", *options, *data_dir]


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """An open byte stream, its name for messages, and the token to send in `initialize`."""

    stream: "ByteStream | ProcessStream"
    name: str
    token: str | None = None


async def open_stream(target: Target, *, reconnecting: bool = False) -> OpenedStream:
    """Open a byte stream to the daemon. `reconnecting` means that an earlier stream to it was lost.

    Raises:
        DaemonUnreachableError: the daemon does not answer, or the address is invalid.
    """
    address = target.address
    if address is None:
        return await _open_user_daemon(target, reconnecting)
    if not isinstance(address, str):
        return await _spawn(list(address), target.token)
    if address == "stdio":
        return await _spawn(target.stdio_command(), target.token)
    scheme, _, rest = address.partition(":")
    if scheme == "unix" and rest:
        return OpenedStream(await _connect_unix(rest), rest, target.token)
    if scheme == "tcp" and rest:
        info = runtime.read_runtime_file(target.runtime_file)
        token = info.token if target.token is None and info is not None and info.tcp == rest else target.token
        return OpenedStream(await _connect_tcp(rest), rest, token)
    raise DaemonUnreachableError(f"Invalid address {address!r}. Use stdio, unix:PATH or tcp:HOST:PORT.")


async def _open_user_daemon(target: Target, reconnecting: bool) -> OpenedStream:
    path = target.runtime_file
    info = runtime.read_runtime_file(path)
    if info is not None:
        try:
            if info.socket is not None and hasattr(socket, "AF_UNIX"):
                return OpenedStream(await _connect_unix(info.socket), info.socket, target.token)
            if info.tcp is not None:
                return OpenedStream(await _connect_tcp(info.tcp), info.tcp, target.token or info.token)
        except DaemonUnreachableError:
            pass  # the daemon is stopping, or another process has its pid now
    # A daemon that was stopped removes its runtime file, a daemon that crashed leaves it. A reconnecting
    # client restarts only the latter: otherwise connected clients would undo every stop.
    if target.start and (not reconnecting or path.exists()):
        return await _spawn(target.stdio_command("--shared"), target.token)
    raise DaemonUnreachableError(f"No daemon serves {target.data_dir or runtime.data_dir()}.")


async def _connect_unix(path: str) -> ByteStream:
    try:
        return await anyio.connect_unix(path)
    except FileNotFoundError:
        raise DaemonUnreachableError(f"No daemon listens on {path}: there is no such socket.") from None
    except OSError as error:
        raise DaemonUnreachableError(f"No daemon answers on {path}: {_error_text(error)}.") from None


async def _connect_tcp(address: str) -> ByteStream:
    host, _, port = address.rpartition(":")
    if not host or not runtime.is_port(port):
        raise DaemonUnreachableError(f"Invalid address {address!r}. Use HOST:PORT, such as 127.0.0.1:7373.")
    try:
        return await anyio.connect_tcp(host.strip("[]"), int(port))
    except OSError as error:
        raise DaemonUnreachableError(f"No daemon answers on {address}: {_error_text(error)}.") from None


def _error_text(error: OSError) -> str:
    """Return the system's text for an error, which anyio may have wrapped."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno:
            return os.strerror(found.errno).lower()
        found = found.__cause__
    return str(error) or type(error).__name__


async def _spawn(command: list[str], token: str | None) -> OpenedStream:
    import subprocess
    import tempfile

    # Standard error goes into the message if the process dies. A file never blocks the process like a full
    # pipe.
    stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the stream
    try:
        process = await anyio.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        )
    except OSError as error:
        stderr.close()
        raise DaemonUnreachableError(f"Cannot run {command[0]}: {_error_text(error)}.") from None
    return OpenedStream(ProcessStream(process, stderr), command[0], token)


class ProcessStream:
    """A child process as a byte stream. It runs in a session of its own, so that Ctrl-C does not reach it."""

    def __init__(self, process: Process, stderr: IO[bytes]) -> None:
        self._process = process
        self._stderr = stderr

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return bytes that the process wrote to its standard output."""
        assert self._process.stdout is not None
        return await self._process.stdout.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        """Write bytes to the standard input of the process."""
        assert self._process.stdin is not None
        await self._process.stdin.send(item)

    def stderr_tail(self) -> str:
        """Return the end of what the process wrote to standard error."""
        if self._stderr.closed:
            return ""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _STDERR_TAIL_BYTES))
        return self._stderr.read().decode("utf-8", "replace").strip()

    async def aclose(self) -> None:
        """Close the input of the process and wait for its exit; kill it after _EXIT_SECONDS."""
        assert self._process.stdin is not None
        with anyio.CancelScope(shield=True):
            try:
                await self._process.stdin.aclose()
            except (OSError, anyio.BrokenResourceError):
                pass  # the process has exited already
            with anyio.move_on_after(_EXIT_SECONDS):
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            await self._process.aclose()
        self._stderr.close()
