"""Decides what a spawned `parleyd stdio` process becomes, before anything else is loaded.

An editor waits for this process, so every import counts. The steps are ordered by what they need:

1. If a daemon already serves the data directory, this process becomes a forwarder: it copies bytes between
   its standard streams and the daemon's socket until one side closes. A forwarder never loads the daemon.
2. With `--shared`, a daemon in the background is started first, unless one runs. Processes that try this at
   the same moment queue on a lock file: the first one starts the daemon, the others find it running.
3. Otherwise this process locks the data directory and becomes the daemon. If another process took the lock
   in between, that one is about to listen on its socket: this process waits for it and forwards (step 1).
4. A process that becomes the daemon answers the client's `initialize` from a constant, and only then imports
   the rest (some 500 modules). The bytes it has read beyond that request are handed to the daemon. A first
   message that is anything but a plain `initialize` is left for the daemon to read.

Imports the standard library and modules that are as light.
"""

import contextlib
import json
import os
import re
import select
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from parley_daemon.server.transport.proxy import connect_to_daemon, copy_streams
from parley_daemon.server.wire.initialize import initialize_result, option_problems
from parley_protocol import runtime

if TYPE_CHECKING:
    from parley_daemon.adapters.os.directory_lock import FileLock

CONNECT_SECONDS = 15.0
"""How long a daemon that is starting may take until it accepts connections on its socket."""

RETURN_SECONDS = 5.0
"""How long a daemon may take to put back a socket or a runtime file that was removed."""

SHARED_IDLE_SECONDS = 600
"""How long a shared daemon stays after its last client has left and its last turn has ended."""

_INITIALIZE_SECONDS = 1.0
_POLL_SECONDS = 0.01
_CHUNK = 65536
_SURROGATES = re.compile(rb"\\u[dD]")


@dataclass(frozen=True, slots=True)
class DaemonPaths:
    """The data directory and the configuration file of a daemon."""

    data_dir: Path
    config: Path

    @classmethod
    def from_environment(cls) -> "DaemonPaths":
        """Return the paths that environment variables set, or the defaults of the platform."""
        return cls(runtime.data_dir(), runtime.config_path())

    @property
    def runtime_file(self) -> Path:
        """The file through which clients find the daemon of this data directory."""
        return runtime.runtime_file(self.data_dir)


def run_stdio(paths: DaemonPaths, *, shared: bool, in_memory: bool = False) -> int:
    """Serve the parent process over standard input and output; return the exit code."""
    input_fd, output_fd = take_standard_streams()
    if in_memory:
        return _become_daemon(paths, input_fd, output_fd, in_memory=True)
    peer = reach_daemon(paths) if shared else connect(paths)
    if peer is not None:
        return copy_streams(peer, input_fd, output_fd)
    from parley_daemon.adapters.os.directory_lock import lock_directory

    try:
        lock = lock_directory(paths.data_dir, paths.runtime_file)
    except OSError:
        # Each request that needs the store is answered with what is wrong, until the store can be locked.
        return _become_daemon(paths, input_fd, output_fd)
    if lock is None:
        peer = connect(paths, seconds=CONNECT_SECONDS)
        if peer is None:
            sys.stderr.write(describe_owner(paths))
            return 1
        return copy_streams(peer, input_fd, output_fd)
    with lock:
        return _become_daemon(paths, input_fd, output_fd, lock)


def reach_daemon(paths: DaemonPaths) -> socket.socket | None:
    """Return a connection to the daemon of this data directory, started if none runs; None: it cannot be."""
    peer = connect(paths)
    if peer is None and not _is_served_elsewhere(paths):
        peer = _start_shared_daemon(paths)
    return peer


def connect(paths: DaemonPaths, *, seconds: float = 0.0) -> socket.socket | None:
    """Return a connection to the daemon of this data directory; None when there is none.

    `seconds`: how long to wait for a daemon that is starting.
    """
    deadline = time.monotonic() + seconds
    while True:
        info = runtime.read_runtime_file(paths.runtime_file)
        peer = connect_to_daemon(info.socket) if info is not None and info.socket else None
        if peer is not None or time.monotonic() >= deadline or _is_served_elsewhere(paths):
            return peer
        time.sleep(_POLL_SECONDS)


def _is_served_elsewhere(paths: DaemonPaths) -> bool:
    """Return whether a running daemon serves the data directory, but from another runtime directory."""
    from parley_daemon.adapters.os.directory_lock import read_note

    pid, runtime_file = read_note(paths.data_dir)
    if pid is None or runtime_file is None or runtime_file == paths.runtime_file:
        return False
    info = runtime.read_runtime_file(runtime_file)
    return info is not None and info.pid == pid


def describe_owner(paths: DaemonPaths) -> str:
    """Return one line for the user: which process has locked the data directory, and what to do about it."""
    from parley_daemon.adapters.os.directory_lock import read_note

    info = runtime.read_runtime_file(paths.runtime_file)
    pid, runtime_file = read_note(paths.data_dir)
    if info is None and pid is not None and runtime_file not in (None, paths.runtime_file):
        theirs, ours = runtime_file.parent, paths.runtime_file.parent
        return (
            f"The daemon with pid {pid} already serves {paths.data_dir}, but its runtime directory is "
            f"{theirs} and this process uses {ours}. Set PARLEY_RUNTIME_DIR={theirs} to connect to it, or "
            f"stop it with `kill {pid}`.\n"
        )
    if info is None and pid is not None and runtime_file is not None:
        return (
            f"The daemon with pid {pid} serves {paths.data_dir}, but cannot be reached: its runtime file "
            f"{runtime_file} does not lead to it, and it does not put it back. Stop it with `parleyd stop`.\n"
        )
    if info is None:
        owner = "Another process" if pid is None else f"The process with pid {pid}"
        return f"{owner} has locked {paths.data_dir} and does not accept connections. Stop it first.\n"
    where = f" on {info.socket}" if info.socket else ""
    return (
        f"The daemon with pid {info.pid} already serves {paths.data_dir}{where}. "
        "Connect to it, or stop it with `parleyd stop`.\n"
    )


def take_standard_streams() -> tuple[int, int]:
    """Move standard input and output to descriptors of their own, for the protocol alone; return these.

    Afterwards `print` writes to standard error, and child processes do not inherit the protocol's pipes.
    """
    input_fd, output_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return input_fd, output_fd


def _become_daemon(
    paths: DaemonPaths,
    input_fd: int,
    output_fd: int,
    lock: "FileLock | None" = None,
    *,
    in_memory: bool = False,
) -> int:
    """Answer `initialize`, then load the daemon and run it. Other clients can connect only with a lock."""
    read_ahead, initialize_params = answer_initialize(input_fd, output_fd)
    from parley_daemon import daemon

    places, unix = daemon.Places(None, None), None
    if lock is not None:
        places = daemon.Places(paths.runtime_file, runtime.socket_path(paths.data_dir))
        with contextlib.suppress(OSError):  # the daemon serves its parent, logs the problem, and tries again
            unix, _ = open_unix_socket(paths)
    return daemon.run_daemon(
        daemon.DaemonOptions(
            data_dir=paths.data_dir,
            config=paths.config,
            places=places,
            lock=lock,
            unix=unix,
            in_memory=in_memory,
            parent=daemon.ParentStreams(input_fd, output_fd, read_ahead, initialize_params),
        )
    )


def open_unix_socket(paths: DaemonPaths, path: Path | None = None) -> tuple[socket.socket, Path]:
    """Return a listening Unix socket and its path. `path`: None for the default one of the data directory.

    Raises:
        OSError: it cannot be created. The text says where and why.
    """
    from parley_daemon.server.transport.listeners import open_unix_listener

    where = path or runtime.socket_path(paths.data_dir)
    try:
        if path is None:
            runtime.make_private_dir(where.parent)
        return open_unix_listener(str(where)), where
    except OSError as error:
        raise OSError(f"{where}: {error.strerror or error}") from None


def answer_initialize(input_fd: int, output_fd: int) -> tuple[bytes, Any]:
    """Answer a plain `initialize` request that arrives within a second.

    Returns the bytes that were read after it, and its params. When the first message is anything else, or
    none arrives, returns all bytes that were read, and None: the connection handles them.
    """
    read = b""
    while True:
        ready, _, _ = select.select([input_fd], [], [], _INITIALIZE_SECONDS)
        data = os.read(input_fd, _CHUNK) if ready else b""
        if not data:
            return read, None
        read += data
        body, rest = _split_first_frame(read)
        if rest is None:
            return read, None
        if body is not None:
            return _answer_if_plain(body, rest, read, output_fd)


def _split_first_frame(read: bytes) -> tuple[bytes | None, bytes | None]:
    """Return the body of the first frame and the bytes after it.

    Returns (None, b"") when the frame is not complete yet, and (None, None) when its header is not a single
    ordinary Content-Length.
    """
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


def _answer_if_plain(body: bytes, rest: bytes, read: bytes, output_fd: int) -> tuple[bytes, Any]:
    """Answer the request in `body` when it is a valid `initialize`; return what `answer_initialize` does."""
    if _SURROGATES.search(body):  # json.loads accepts half of a surrogate pair; the daemon's decoder does not
        return read, None
    try:
        decoded: Any = json.loads(body)
    except (ValueError, RecursionError):
        return read, None
    message = cast("dict[str, Any]", decoded) if isinstance(decoded, dict) else {}
    is_initialize = message.get("jsonrpc") == "2.0" and message.get("method") == "initialize"
    if (
        not is_initialize
        or type(message.get("id")) not in (int, str)
        or option_problems(message.get("params"))
    ):
        return read, None
    answer = {"jsonrpc": "2.0", "id": message["id"], "result": initialize_result(message.get("params"))}
    text = json.dumps(answer, separators=(",", ":")).encode("utf-8")
    frame = memoryview(b"Content-Length: %d\r\n\r\n%b" % (len(text), text))
    while frame:
        frame = frame[os.write(output_fd, frame) :]
    return rest, message.get("params") or {}


def _start_shared_daemon(paths: DaemonPaths) -> socket.socket | None:
    """Start the daemon in the background and return a connection to it, None when it did not start.

    Of several processes that do this at once, one starts the daemon; the others connect to it.
    """
    import subprocess
    import tempfile

    from parley_daemon.adapters.os.directory_lock import find_owner, lock_file

    try:
        runtime.make_private_dir(paths.runtime_file.parent)
        starting = lock_file(paths.runtime_file.with_suffix(".starting"), wait=True)
    except OSError:
        return None
    with starting, tempfile.TemporaryFile() as stderr:
        peer = connect(paths)
        if peer is not None:
            return peer
        command = [sys.executable, "-m", "parley_daemon", "serve", "--idle-exit", str(SHARED_IDLE_SECONDS)]
        command += ["--data-dir", str(paths.data_dir), "--config", str(paths.config)]
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            cwd="/",
        )
        deadline = time.monotonic() + CONNECT_SECONDS
        while peer is None and time.monotonic() < deadline and child.poll() is None:
            peer = connect(paths, seconds=2 * _POLL_SECONDS)
        if peer is None:
            # Another process owns the directory. If its files were removed, it is about to put them back.
            peer = connect(paths, seconds=RETURN_SECONDS if find_owner(paths.data_dir) is not None else 0)
        if peer is None:
            stderr.seek(0)
            sys.stderr.write(stderr.read().decode("utf-8", "replace"))
        if child.poll() is None:
            threading.Thread(target=_reap, args=(child.pid,), name="reaper", daemon=True).start()
        child.returncode = 0  # keeps Popen from warning: the daemon outlives this process on purpose
        return peer


def _reap(pid: int) -> None:
    """Wait for a child, which otherwise stays as a zombie if this process outlives it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
