"""From a spawned process to a daemon, or to a forwarder of one that runs. Decided before anything is loaded.

A process that becomes a daemon answers `initialize` first and loads everything else then. Imports the
standard library and what is as light.
"""

import json
import os
import re
import select
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from parley_daemon.server.transport.proxy import dial, forward
from parley_daemon.server.wire.initialize import initialize_result, option_problems
from parley_protocol import runtime

JOIN_SECONDS = 15.0
"""How long a daemon that is starting gets to answer on its socket."""

SHARED_IDLE_SECONDS = 600
"""How long a shared daemon stays after its last client and its last running turn."""

_GREETING_SECONDS = 1.0
_POLL_SECONDS = 0.01
_CHUNK = 65536
_SURROGATES = re.compile(rb"\\u[dD]")


@dataclass(frozen=True, slots=True)
class Places:
    """Where a daemon's data and configuration are."""

    data_dir: Path
    config: Path

    @classmethod
    def from_environment(cls) -> "Places":
        """Return the places that the environment names, else the platform's."""
        return cls(runtime.data_dir(), runtime.config_path())

    @property
    def runtime_file(self) -> Path:
        """The file by which clients find the daemon of this data directory."""
        return runtime.runtime_file(self.data_dir)


def stdio(places: Places, *, shared: bool, in_memory: bool = False) -> int:
    """Serve the parent process over standard input and output; return the exit code."""
    input_fd, output_fd = _protocol_streams()
    if in_memory:
        return _become_daemon(places, input_fd, output_fd, owned=False, in_memory=True)
    peer = join(places)
    if peer is None and shared and not _found_elsewhere(places):
        peer = _start_shared(places)
    if peer is not None:
        return forward(peer, input_fd, output_fd)
    from parley_daemon.adapters.os.directory_lock import own

    try:
        ownership = own(places.data_dir, places.runtime_file)
    except OSError:
        # The store will say what is wrong with the directory to every call that needs it.
        return _become_daemon(places, input_fd, output_fd, owned=False)
    if ownership is None:
        peer = join(places, seconds=JOIN_SECONDS)
        if peer is None:
            sys.stderr.write(owned_elsewhere(places))
            return 1
        return forward(peer, input_fd, output_fd)
    with ownership:
        return _become_daemon(places, input_fd, output_fd, owned=True)


def join(places: Places, *, seconds: float = 0.0) -> socket.socket | None:
    """Return a connection to the daemon of this data directory; wait so long for one that is starting."""
    deadline = time.monotonic() + seconds
    while True:
        info = runtime.read_runtime_file(places.runtime_file)
        peer = dial(info.socket) if info is not None and info.socket else None
        if peer is not None or time.monotonic() >= deadline or _found_elsewhere(places):
            return peer
        time.sleep(_POLL_SECONDS)


def _found_elsewhere(places: Places) -> bool:
    """Return whether a running daemon has the data directory and is found in another runtime directory."""
    from parley_daemon.adapters.os.directory_lock import owner_of

    pid, where = owner_of(places.data_dir)
    if pid is None or where is None or where == places.runtime_file:
        return False
    info = runtime.read_runtime_file(where)
    return info is not None and info.pid == pid


def owned_elsewhere(places: Places) -> str:
    """Say that another process has the data directory."""
    from parley_daemon.adapters.os.directory_lock import owner_of

    info = runtime.read_runtime_file(places.runtime_file)
    pid, elsewhere = owner_of(places.data_dir)
    if info is None and pid is not None and elsewhere not in (None, places.runtime_file):
        theirs, ours = elsewhere.parent, places.runtime_file.parent
        return (
            f"The daemon with pid {pid} serves {places.data_dir} already. Its runtime directory is {theirs}, "
            f"the one here is {ours}: set PARLEY_RUNTIME_DIR={theirs} to join it, or "
            f"stop it by `kill {pid}`.\n"
        )
    if info is None:
        who = "Another process" if pid is None else f"The process with pid {pid}"
        return f"{who} has {places.data_dir} and cannot be joined. Stop it first.\n"
    where = f" on {info.socket}" if info.socket else ""
    return (
        f"The daemon with pid {info.pid} serves {places.data_dir} already{where}. "
        "Join it, or stop it by `parleyd stop`.\n"
    )


def _protocol_streams() -> tuple[int, int]:
    """Take standard input and output for the protocol alone.

    Whoever prints afterwards prints to standard error, and no child process inherits the protocol's pipes.
    """
    input_fd, output_fd = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return input_fd, output_fd


def _become_daemon(
    places: Places, input_fd: int, output_fd: int, *, owned: bool, in_memory: bool = False
) -> int:
    parent = greet(input_fd, output_fd)
    from parley_daemon import daemon

    unix = unix_path = None
    if owned:
        unix, unix_path = open_unix(places)
    return daemon.run(
        daemon.Plan(
            data_dir=places.data_dir,
            config=places.config,
            runtime_file=places.runtime_file if unix else None,
            unix=unix,
            unix_path=unix_path,
            in_memory=in_memory,
            parent=daemon.Parent(input_fd, output_fd, *parent),
        )
    )


def open_unix(places: Places, path: str | None = None) -> tuple[socket.socket | None, str | None]:
    """Return the listening Unix socket of this data directory and its path.

    (None, what is wrong and where) when it cannot be made: a daemon on standard streams goes on without.
    """
    from parley_daemon.server.transport.listeners import unix_socket

    where = Path(path).expanduser().absolute() if path else runtime.socket_path(places.data_dir)
    try:
        if path is None:
            runtime.make_private_dir(where.parent)
        return unix_socket(str(where)), str(where)
    except OSError as error:
        return None, f"{where}: {error.strerror or error}"


def greet(input_fd: int, output_fd: int) -> tuple[bytes, Any]:
    """Answer a plain `initialize` that comes within a second.

    Returns what was read beyond it, and its params; or all that was read and None: then it was no plain
    `initialize`, or none came, and the connection sees to it.
    """
    read = b""
    while True:
        ready, _, _ = select.select([input_fd], [], [], _GREETING_SECONDS)
        data = os.read(input_fd, _CHUNK) if ready else b""
        if not data:
            return read, None
        read += data
        body, rest = _first_body(read)
        if rest is None:
            return read, None
        if body is not None:
            return _greeting(body, rest, read, output_fd)


def _first_body(read: bytes) -> tuple[bytes | None, bytes | None]:
    """Return the first frame's body and what follows it; (None, b"") is not all yet, (None, None) unusual."""
    head, end, tail = read.partition(b"\r\n\r\n")
    name = b"Content-Length: "
    if not head.startswith(name[: len(head)]) or len(head) > 40:
        return None, None
    if not end:
        return None, b""
    digits = head[len(name) :]
    if not digits.isdigit() or len(digits) > 7:
        return None, None
    length = int(digits)
    return (None, b"") if len(tail) < length else (tail[:length], tail[length:])


def _greeting(body: bytes, rest: bytes, read: bytes, output_fd: int) -> tuple[bytes, Any]:
    if _SURROGATES.search(body):  # this decoder takes half of a pair for a character
        return read, None
    try:
        read_json: Any = json.loads(body)
    except (ValueError, RecursionError):
        return read, None
    message = cast("dict[str, Any]", read_json) if isinstance(read_json, dict) else {}
    asks = message.get("jsonrpc") == "2.0" and message.get("method") == "initialize"
    if not asks or type(message.get("id")) not in (int, str) or option_problems(message.get("params")):
        return read, None
    answer = {"jsonrpc": "2.0", "id": message["id"], "result": initialize_result()}
    text = json.dumps(answer, separators=(",", ":")).encode("utf-8")
    frame = memoryview(b"Content-Length: %d\r\n\r\n%b" % (len(text), text))
    while frame:
        frame = frame[os.write(output_fd, frame) :]
    return rest, message.get("params") or {}


def _start_shared(places: Places) -> socket.socket | None:
    """Start the user's daemon in the background and join it; of many that try at once, one starts it."""
    import subprocess
    import tempfile

    from parley_daemon.adapters.os.directory_lock import Ownership, own_file

    try:
        runtime.make_private_dir(places.runtime_file.parent)
        turn: Ownership = own_file(places.runtime_file.with_suffix(".starting"), wait=True)
    except OSError:
        return None
    with turn, tempfile.TemporaryFile() as said:
        peer = join(places)
        if peer is not None:
            return peer
        command = [sys.executable, "-m", "parley_daemon", "serve", "--idle-exit", str(SHARED_IDLE_SECONDS)]
        command += ["--data-dir", str(places.data_dir), "--config", str(places.config)]
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
            cwd="/",
        )
        deadline = time.monotonic() + JOIN_SECONDS
        while peer is None and time.monotonic() < deadline and child.poll() is None:
            peer = join(places, seconds=2 * _POLL_SECONDS)
        if peer is None:
            peer = join(places)
        if peer is None:
            said.seek(0)
            sys.stderr.write(said.read().decode("utf-8", "replace"))
        child.returncode = 0  # it lives on by itself: nobody here waits for it
        return peer
