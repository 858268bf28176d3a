"""The command line of `parleyd`: its options and commands."""

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from parley_daemon.adapters.os.log_file import log_path
from parley_daemon.launcher import (
    RETURN_SECONDS,
    DaemonPaths,
    connect,
    describe_owner,
    open_unix_socket,
    run_stdio,
)
from parley_daemon.rpc_call import INITIALIZE, call_daemon
from parley_protocol import runtime
from parley_protocol.version import VERSION

STOP_SECONDS = 15.0
"""How long `parleyd stop` waits for the daemon to end."""

_ANSWER_SECONDS = 10.0


def run_command(words: Sequence[str]) -> int:
    """Parse the command line and run its command; return the exit code."""
    arguments = _parser().parse_args(words)
    paths = DaemonPaths.from_environment()
    if arguments.data_dir:
        data_dir = Path(arguments.data_dir).expanduser().absolute()
        paths = DaemonPaths(data_dir, paths.config)
    if arguments.config:
        paths = DaemonPaths(paths.data_dir, Path(arguments.config).expanduser().absolute())
    match arguments.command:
        case "serve":
            return _serve(paths, arguments)
        case "stdio":
            return run_stdio(paths, shared=arguments.shared, in_memory=arguments.in_memory)
        case "status":
            return _status(paths)
        case "stop":
            return _stop(paths)
        case "mcp":
            from parley_daemon.mcp_server.chat_tools import serve_mcp

            return serve_mcp(paths, can_ask=not arguments.read_only)
        case "doctor":
            from parley_daemon import doctor

            return doctor.run_checks(paths, check=arguments.check)
        case _:
            return _schema(arguments.of)


def _parser() -> argparse.ArgumentParser:
    locations = argparse.ArgumentParser(add_help=False)
    locations.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where chats are stored (default: $PARLEY_DATA_DIR or the usual place)",
    )
    locations.add_argument(
        "--config", metavar="FILE", help="the configuration file (default: $PARLEY_CONFIG or the usual place)"
    )
    parser = argparse.ArgumentParser(
        prog="parleyd",
        description="A daemon that holds AI chats for editors, tools and scripts.",
        epilog=f"The daemon logs to {log_path(runtime.data_dir())}, or to log/parleyd.log in the directory "
        "of --data-dir. `parleyd doctor` checks everything, and says where the log is.",
    )
    parser.add_argument("--version", action="version", version=f"parleyd {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", parents=[locations], help="run the daemon in the foreground")
    serve.add_argument(
        "--socket",
        metavar="PATH",
        help="the Unix socket to listen on (default: one in the runtime directory)",
    )
    serve.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        help="also listen on this loopback address; clients need the token in the runtime file; "
        "with port 0 a free port is chosen",
    )
    serve.add_argument(
        "--idle-exit",
        type=_seconds,
        metavar="SECONDS",
        help="stop after this time without clients, running turns and jobs",
    )
    inline = commands.add_parser(
        "stdio", parents=[locations], help="serve the parent process, or connect it to the running daemon"
    )
    how = inline.add_mutually_exclusive_group()
    how.add_argument(
        "--shared",
        action="store_true",
        help="start a daemon in the background if none is running, and connect to it",
    )
    how.add_argument(
        "--in-memory", action="store_true", help="keep chats in memory only, and accept no other clients"
    )
    mcp = commands.add_parser(
        "mcp", parents=[locations], help="serve the chats to other agents, as an MCP server over stdio"
    )
    mcp.add_argument("--read-only", action="store_true", help="offer no tool that asks a model")
    commands.add_parser("status", parents=[locations], help="print the status of the running daemon as JSON")
    commands.add_parser("stop", parents=[locations], help="stop the running daemon cleanly")
    doctor = commands.add_parser(
        "doctor", parents=[locations], help="check everything that a daemon needs, one line each"
    )
    doctor.add_argument(
        "--check", action="store_true", help="also send a request to every provider of the running daemon"
    )
    schema = commands.add_parser(
        "schema",
        parents=[locations],
        help="print the JSON Schema of the protocol, or of the configuration file",
    )
    schema.add_argument("of", nargs="?", choices=("protocol", "configuration"), default="protocol")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


# ------------------------------------------------------------------------------- serve


def _serve(paths: DaemonPaths, arguments: argparse.Namespace) -> int:
    from parley_daemon.adapters.os.directory_lock import lock_directory

    tcp = None
    if arguments.tcp:
        tcp = _open_tcp(arguments.tcp)
        if isinstance(tcp, str):
            return _fail(tcp)
    try:
        lock = lock_directory(paths.data_dir, paths.runtime_file)
    except OSError as error:
        return _fail(f"Cannot store chats in {paths.data_dir}: {_describe(error, paths.data_dir)}.")
    if lock is None:
        sys.stderr.write(describe_owner(paths))
        return 1
    with lock:
        path = Path(arguments.socket).expanduser().absolute() if arguments.socket else None
        try:
            unix, path = open_unix_socket(paths, path)
        except OSError as error:
            return _fail(f"Cannot listen on {error}.")
        from parley_daemon import daemon

        def ready(where: str) -> None:
            sys.stderr.write(f"parleyd {VERSION} (pid {os.getpid()}) serves on {where}\n")

        return daemon.run_daemon(
            daemon.DaemonOptions(
                data_dir=paths.data_dir,
                config=paths.config,
                places=daemon.Places(paths.runtime_file, path, is_own_path=bool(arguments.socket)),
                lock=lock,
                unix=unix,
                tcp=tcp,
                idle_exit=arguments.idle_exit,
                ready=ready,
            )
        )


def _describe(error: OSError, expected: Path) -> str:
    """Return the reason of an error, with its file if that is not the expected one."""
    reason = error.strerror or str(error)
    return reason if error.filename in (None, str(expected), expected) else f"{error.filename}: {reason}"


def _open_tcp(address: str) -> socket.socket | str:
    """Return the listening socket, or a sentence that says why there is none."""
    from parley_daemon.server.transport.listeners import open_tcp_listener

    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    if not colon or (port != "0" and not runtime.is_port(port)):
        return f"--tcp {address} is not HOST:PORT, such as 127.0.0.1:7373."
    if host not in ("127.0.0.1", "::1", "localhost"):
        return f"{host} is not a loopback address. Connections are not encrypted: use 127.0.0.1 and a tunnel."
    try:
        return open_tcp_listener("127.0.0.1" if host == "localhost" else host, int(port))
    except OSError as error:
        return f"Cannot listen on {address}: {error.strerror}."


# ---------------------------------------------------------------------- status and stop


def _status(paths: DaemonPaths) -> int:
    from parley_daemon.adapters.os.directory_lock import find_owner

    peer = connect(paths)
    if peer is None and find_owner(paths.data_dir) is not None:
        peer = connect(paths, seconds=RETURN_SECONDS)
        if peer is None:
            return _fail(describe_owner(paths).strip())
    if peer is None:
        return _fail(f"No daemon serves {paths.data_dir}.")
    with peer:
        try:
            answer = call_daemon(peer, [INITIALIZE, ("server/status", {})], _ANSWER_SECONDS)[-1]
        except OSError as error:
            return _fail(f"The daemon does not answer: {error}.")
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    return 0


def _stop(paths: DaemonPaths) -> int:
    pid = _find_daemon(paths)
    if pid is None:
        return _fail(f"No daemon serves {paths.data_dir}.")
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return 0  # it has just ended
    except OSError as error:
        return _fail(f"Cannot stop the daemon (pid {pid}): {error.strerror}.")
    deadline = time.monotonic() + STOP_SECONDS
    while runtime.is_process_alive(pid):
        if time.monotonic() > deadline:
            return _fail(
                f"The daemon (pid {pid}) is still running {STOP_SECONDS:g} s after it was asked to stop. "
                f"`kill -9 {pid}` ends it at once; what was acknowledged is kept."
            )
        time.sleep(0.02)
    return 0


def _find_daemon(paths: DaemonPaths) -> int | None:
    """Return the process id of the daemon, also if its lock file, socket or runtime file was removed."""
    from parley_daemon.adapters.os.directory_lock import find_owner, read_note

    # A process id is only believed with proof: after a daemon was killed, an unrelated process may have it.
    owner = find_owner(paths.data_dir)
    if owner is not None and read_note(paths.data_dir)[1] is not None:
        return owner  # it holds the lock, and wrote the note of a daemon
    info, peer = runtime.read_runtime_file(paths.runtime_file), connect(paths)
    if info is None or peer is None:
        return None
    with peer:
        try:
            status = call_daemon(peer, [INITIALIZE, ("server/status", {})], _ANSWER_SECONDS)[-1]
        except OSError:
            return None
    return info.pid if status.get("pid") == info.pid else None


def _schema(of: str) -> int:
    if of == "configuration":
        from parley_daemon.config_schema import config_schema as make_schema
    else:
        from parley_protocol.schema import json_schema as make_schema

    sys.stdout.write(json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n")
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"parleyd: {message}\n")
    return 1
