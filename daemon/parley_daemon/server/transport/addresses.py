"""The addresses of a daemon: its sockets, and the files through which clients find them.

Theory of operation. Clients find a daemon through two files: the runtime file and the file of the Unix
socket. Cleaners of temporary directories and logouts remove such files while the daemon runs, and it could
then neither be reached nor stopped. So the daemon looks at both files now and then (`keep`, a few calls of
`stat`) and puts back what is missing or was damaged:

- A socket's file cannot be put back: a new socket is bound to the path, and the old one is closed. Clients
  that are connected do not notice.
- The runtime file is written again.
- If the runtime directory itself cannot be used any more (/run/user/UID after a logout), clients look in
  another one. The daemon follows them, and comes back when they do.

A file that leads to another daemon is never touched, nor is a file that is no socket. Such a problem is
logged once.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from anyio import to_thread

from parley_daemon.server.transport.listeners import is_listening, open_unix_listener
from parley_daemon.server.transport.server import Server
from parley_protocol import runtime
from parley_protocol.runtime import RuntimeInfo, make_private_dir, read_runtime_file, write_runtime_file

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
"""Time between two looks at the files."""

_Version = tuple[int, ...]
"""What differs between two files or two versions of a file."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a daemon can be reached.

    `socket_path` is the path of the Unix socket; None: the daemon has none. `is_own_path`: the user has
    chosen that path, so that it does not follow the runtime directory. `runtime_file`: None, no client finds
    the daemon.
    """

    runtime_file: Path | None
    socket_path: Path | None
    is_own_path: bool = False


class Addresses:
    """The addresses of one daemon. `info` is the content of its runtime file, without the addresses.

    `is_optional`: the daemon has a parent to serve, also when no other client can find it.
    """

    def __init__(
        self, server: Server, places: Places, info: RuntimeInfo, *, is_optional: bool = False
    ) -> None:
        self._server = server
        self._places = places
        self._info = info
        self._is_optional = is_optional
        self._unix: asyncio.Server | None = None
        self._tcp: asyncio.Server | None = None
        self._socket_file: _Version | None = None
        self._written: tuple[RuntimeInfo, _Version | None] | None = None
        self._problems: dict[str, str] = {}

    @property
    def runtime_file(self) -> Path | None:
        """Where the runtime file is."""
        return self._places.runtime_file

    def __str__(self) -> str:
        """Return the addresses as text for people; empty if there are none."""
        path = self._places.socket_path if self._unix is not None else None
        return " and ".join([str(one) for one in (path, self._info.tcp) if one])

    @asynccontextmanager
    async def published(
        self, unix: socket.socket | None, tcp: socket.socket | None
    ) -> AsyncGenerator["Addresses"]:
        """Accept clients on these listening sockets while the block runs, and let clients find them.

        Raises:
            OSError: the runtime file cannot be written, and the daemon has no parent.
        """
        try:
            if unix is not None:
                await self._use(unix)
            if tcp is not None:
                host, port = tcp.getsockname()[:2]
                address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                self._info = replace(self._info, tcp=address)
                self._tcp = await self._server.listen(tcp, trusted=False)
            if self._is_optional:
                self._keep_runtime_file()
            elif self._places.runtime_file is not None:
                self._write(self._places.runtime_file)
            yield self
        finally:
            for listening in (self._unix, self._tcp):
                if listening is not None:
                    listening.close()
            self._remove_files()

    async def keep(self) -> None:
        """Put back what is missing. Never raises an OSError: a problem is logged."""
        listener = await to_thread.run_sync(self._look)
        if listener is not None:
            replaced = self._unix
            await self._use(listener)
            if replaced is not None:
                replaced.close()
            await to_thread.run_sync(self._look)

    # ------------------------------------------------------------------- in a worker thread

    def _look(self) -> socket.socket | None:
        """Put the runtime file back; return a listening socket if there has to be a new one."""
        self._follow_runtime_dir()
        listener = self._open_missing_socket()
        if listener is None:
            self._keep_runtime_file()
        return listener

    def _follow_runtime_dir(self) -> None:
        """Move to the directory where clients look now."""
        file = self._places.runtime_file
        if file is None or (folder := runtime.runtime_dir()) == file.parent:
            return
        log.warning("clients look for the daemon in %s now, no longer in %s", folder, file.parent)
        path = self._places.socket_path
        if path is not None and not self._places.is_own_path:
            path = runtime.socket_path(Path(self._info.data_dir))
        if path == self._places.socket_path:
            self._remove_runtime_file()
        else:
            self._remove_files()
            self._socket_file = None
        self._written = None
        self._places = replace(self._places, runtime_file=folder / file.name, socket_path=path)

    def _open_missing_socket(self) -> socket.socket | None:
        path = self._places.socket_path
        if path is None or self._has_socket:
            return None
        try:
            if self._places.is_own_path:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            else:
                make_private_dir(path.parent)
            listener = open_unix_listener(str(path))
        except OSError as error:
            self._report("socket", f"clients cannot connect to {path}: {error.strerror or error}")
            return None
        if self._socket_file is not None:
            log.warning("the socket %s was removed; a new one is there", path)
        self._problems.pop("socket", None)
        return listener

    def _keep_runtime_file(self) -> None:
        file = self._places.runtime_file
        if file is None or not self._is_reachable:
            return
        if self._written == (self._current_info, _version(file)):
            return
        was_there = self._written is not None
        try:
            other = read_runtime_file(file)
            if other is not None and other.pid != self._info.pid and _is_daemon(other):
                self._report("runtime file", f"{file} belongs to the daemon with pid {other.pid} now")
                return
            self._write(file)
        except OSError as error:
            self._report("runtime file", f"clients cannot find the daemon: {file}: {error.strerror or error}")
            return
        if was_there:
            log.warning("the runtime file %s was removed or changed; it is written again", file)
        self._problems.pop("runtime file", None)

    def _report(self, subject: str, problem: str) -> None:
        if self._problems.get(subject) != problem:
            log.error("%s", problem)
            self._problems[subject] = problem

    # ------------------------------------------------------------------------------ parts

    async def _use(self, listener: socket.socket) -> None:
        self._socket_file = _identity(self._places.socket_path)
        self._unix = await self._server.listen(listener, trusted=True)

    @property
    def _has_socket(self) -> bool:
        found = _identity(self._places.socket_path)
        return found is not None and found == self._socket_file

    @property
    def _is_reachable(self) -> bool:
        return self._has_socket or self._info.tcp is not None

    @property
    def _current_info(self) -> RuntimeInfo:
        return replace(self._info, socket=str(self._places.socket_path) if self._has_socket else None)

    def _write(self, file: Path) -> None:
        info = self._current_info
        write_runtime_file(file, info)
        self._written = info, _version(file)

    def _remove_files(self) -> None:
        """Remove the files of this daemon, but none that has replaced one of them."""
        if self._has_socket and self._places.socket_path is not None:
            self._places.socket_path.unlink(missing_ok=True)
        self._remove_runtime_file()

    def _remove_runtime_file(self) -> None:
        file = self._places.runtime_file
        if file is not None and self._written is not None and _version(file) == self._written[1]:
            file.unlink(missing_ok=True)


def _is_daemon(info: RuntimeInfo) -> bool:
    """Return whether a runtime file leads to a daemon that accepts clients, as far as that is known."""
    if info.socket is None:
        return True
    try:
        return is_listening(info.socket)
    except OSError:
        return False


def _identity(path: Path | None) -> _Version | None:
    """Return what tells a file from another one at the same path; None: there is none."""
    try:
        found = os.lstat(path) if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _version(file: Path) -> _Version | None:
    try:
        found = os.lstat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
