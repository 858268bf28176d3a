"""Where a daemon is and how bytes get there: Unix socket, TCP, or a process that is spawned.

Knows no message. Without an address a daemon is found by its runtime file; if none runs, `parleyd stdio
--shared` starts one and joins it.
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
"""None: the user's daemon, started if need be. "stdio": a daemon of one's own, as a child process.
"unix:PATH", "tcp:HOST:PORT": one that runs. A list: the command line of a process that speaks on its standard
input and output.
"""

_EXIT_SECONDS = 6.0
"""How long a spawned process may take to end in order: a daemon ends its turns within 5 s."""

_SAID_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Target:
    """What to connect to. `token` overrides the runtime file's; `start`: a daemon may be started."""

    address: Address = None
    token: str | None = None
    data_dir: Path | None = None
    start: bool = True

    @property
    def runtime_file(self) -> Path:
        """The file by which the daemon of the data directory is found."""
        return runtime.runtime_file(self.data_dir or runtime.data_dir())

    def command(self, *words: str) -> list[str]:
        """Return the command line of `parleyd stdio` with these options."""
        import shutil

        program = Path(sys.executable).parent / "parleyd"
        found = str(program) if program.exists() else shutil.which("parleyd")
        if found is None:
            raise DaemonUnreachableError("The command parleyd is not installed: no daemon can be started.")
        where = [] if self.data_dir is None else ["--data-dir", str(self.data_dir)]
        return [found, "stdio", *words, *where]


@dataclass(frozen=True, slots=True)
class Opened:
    """An open byte stream, what to call it in messages, and the token to show there."""

    stream: "ByteStream | ProcessStream"
    name: str
    token: str | None = None


async def open_stream(target: Target, *, again: bool = False) -> Opened:
    """Open a byte stream to the daemon; `again`: in place of one that was lost.

    Raises:
        DaemonUnreachableError: nobody answers there, or the address cannot be read.
    """
    address = target.address
    if address is None:
        return await _open_shared(target, again)
    if not isinstance(address, str):
        return await _spawn(list(address), target.token)
    if address == "stdio":
        return await _spawn(target.command(), target.token)
    scheme, _, rest = address.partition(":")
    if scheme == "unix" and rest:
        return Opened(await _connect_unix(rest), rest, target.token)
    if scheme == "tcp" and rest:
        info = runtime.read_runtime_file(target.runtime_file)
        token = info.token if target.token is None and info is not None and info.tcp == rest else target.token
        return Opened(await _connect_tcp(rest), rest, token)
    raise DaemonUnreachableError(f"Not an address: {address!r}. Use stdio, unix:PATH or tcp:HOST:PORT.")


async def _open_shared(target: Target, again: bool) -> Opened:
    path = target.runtime_file
    info = runtime.read_runtime_file(path)
    if info is not None:
        try:
            if info.socket is not None and hasattr(socket, "AF_UNIX"):
                return Opened(await _connect_unix(info.socket), info.socket, target.token)
            if info.tcp is not None:
                return Opened(await _connect_tcp(info.tcp), info.tcp, target.token or info.token)
        except DaemonUnreachableError:
            pass  # it is just going, or its pid is another process's by now
    # A daemon that was stopped takes its runtime file along, one that crashed leaves it. Only the latter is
    # brought back by a client that was connected: otherwise nobody could stop a daemon for good.
    if target.start and (not again or path.exists()):
        return await _spawn(target.command("--shared"), target.token)
    raise DaemonUnreachableError(f"No daemon serves {target.data_dir or runtime.data_dir()}.")


async def _connect_unix(path: str) -> ByteStream:
    try:
        return await anyio.connect_unix(path)
    except FileNotFoundError:
        raise DaemonUnreachableError(f"No daemon listens on {path}: there is no such socket.") from None
    except OSError as error:
        raise DaemonUnreachableError(f"No daemon answers on {path}: {_reason(error)}.") from None


async def _connect_tcp(address: str) -> ByteStream:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise DaemonUnreachableError(f"Not an address: {address!r}. Use HOST:PORT, such as 127.0.0.1:7373.")
    try:
        return await anyio.connect_tcp(host.strip("[]"), int(port))
    except OSError as error:
        raise DaemonUnreachableError(f"No daemon answers on {address}: {_reason(error)}.") from None


def _reason(error: OSError) -> str:
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno:
            return os.strerror(found.errno).lower()
        found = found.__cause__
    return str(error) or type(error).__name__


async def _spawn(command: list[str], token: str | None) -> Opened:
    import subprocess
    import tempfile

    # What it says on standard error is for the message when it dies; a file never fills up like a pipe.
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the stream
    try:
        process = await anyio.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True
        )
    except OSError as error:
        said.close()
        raise DaemonUnreachableError(f"Cannot run {command[0]}: {_reason(error)}.") from None
    return Opened(ProcessStream(process, said), command[0], token)


class ProcessStream:
    """A spawned process as a byte stream. It runs in a session of its own: Ctrl-C is not for it."""

    def __init__(self, process: Process, said: IO[bytes]) -> None:
        self._process = process
        self._said = said

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what the process wrote."""
        assert self._process.stdout is not None
        return await self._process.stdout.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        """Write to the process."""
        assert self._process.stdin is not None
        await self._process.stdin.send(item)

    def last_words(self) -> str:
        """Return the end of what it said on standard error."""
        if self._said.closed:
            return ""
        size = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, size - _SAID_BYTES))
        return self._said.read().decode("utf-8", "replace").strip()

    async def aclose(self) -> None:
        """Close its input, and wait for it to end; make it end if it does not."""
        assert self._process.stdin is not None
        with anyio.CancelScope(shield=True):
            try:
                await self._process.stdin.aclose()
            except (OSError, anyio.BrokenResourceError):
                pass  # it is gone already
            with anyio.move_on_after(_EXIT_SECONDS):
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            await self._process.aclose()
        self._said.close()
