"""The commands of `parleyd` beside the plain `stdio`: stdio with options, serve, status, stop and so on."""

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from parley_daemon.launcher import Places, join, open_unix, owned_elsewhere, stdio
from parley_daemon.rpc_call import OPENING, ask
from parley_protocol import runtime
from parley_protocol.version import VERSION

STOP_SECONDS = 15.0
_ANSWER_SECONDS = 10.0


def run_command(words: Sequence[str]) -> int:
    """Parse the command line and run its command; return the exit code."""
    arguments = _parser().parse_args(words)
    places = Places.from_environment()
    if arguments.data_dir:
        data_dir = Path(arguments.data_dir).expanduser().absolute()
        places = Places(data_dir, places.config)
    if arguments.config:
        places = Places(places.data_dir, Path(arguments.config).expanduser().absolute())
    match arguments.command:
        case "serve":
            return _serve(places, arguments)
        case "stdio":
            return stdio(places, shared=arguments.shared, in_memory=arguments.in_memory)
        case "status":
            return _status(places)
        case "stop":
            return _stop(places)
        case "doctor":
            from parley_daemon import doctor

            return doctor.run(places, check=arguments.check)
        case _:
            return _schema()


def _parser() -> argparse.ArgumentParser:
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--data-dir", metavar="DIR", help="where chats are stored (PARLEY_DATA_DIR)")
    places.add_argument("--config", metavar="FILE", help="the configuration file (PARLEY_CONFIG)")
    parser = argparse.ArgumentParser(
        prog="parleyd", description="A daemon that holds AI chats for editors, tools and scripts."
    )
    parser.add_argument("--version", action="version", version=f"parleyd {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", parents=[places], help="run the daemon in the foreground")
    serve.add_argument(
        "--socket", metavar="PATH", help="the Unix socket, in place of the one in the runtime dir"
    )
    serve.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        help="listen on a loopback address, too; clients need the runtime file's token; port 0: any free one",
    )
    serve.add_argument(
        "--idle-exit",
        type=_seconds,
        metavar="SECONDS",
        help="stop when there has been no client and no running turn for so long",
    )
    inline = commands.add_parser(
        "stdio", parents=[places], help="serve the parent process, or join it to the daemon that runs"
    )
    how = inline.add_mutually_exclusive_group()
    how.add_argument(
        "--shared",
        action="store_true",
        help="start the user's daemon in the background if none runs, and join",
    )
    how.add_argument(
        "--in-memory", action="store_true", help="keep chats in memory only, and serve nobody but the parent"
    )
    commands.add_parser("status", parents=[places], help="say what the running daemon is and does")
    commands.add_parser("stop", parents=[places], help="stop the running daemon in order")
    doctor = commands.add_parser("doctor", parents=[places], help="look at all that a daemon needs")
    doctor.add_argument("--check", action="store_true", help="also ask every provider of the running daemon")
    commands.add_parser("schema", parents=[places], help="print the JSON Schema of the protocol")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text!r}")
    return seconds


# ------------------------------------------------------------------------------- serve


def _serve(places: Places, arguments: argparse.Namespace) -> int:
    from parley_daemon.adapters.os.directory_lock import own

    tcp = None
    if arguments.tcp:
        tcp = _open_tcp(arguments.tcp)
        if isinstance(tcp, str):
            return _fail(tcp)
    try:
        ownership = own(places.data_dir, places.runtime_file)
    except OSError as error:
        return _fail(f"Cannot store chats in {places.data_dir}: {error.strerror}.")
    if ownership is None:
        sys.stderr.write(owned_elsewhere(places))
        return 1
    with ownership:
        unix, unix_path = open_unix(places, arguments.socket)
        if unix is None:
            return _fail(f"Cannot listen on {unix_path}.")
        from parley_daemon import daemon

        def ready(where: str) -> None:
            sys.stderr.write(f"parleyd {VERSION} (pid {os.getpid()}) serves on {where}\n")

        return daemon.run(
            daemon.Plan(
                data_dir=places.data_dir,
                config=places.config,
                runtime_file=places.runtime_file,
                unix=unix,
                unix_path=unix_path,
                tcp=tcp,
                idle_exit=arguments.idle_exit,
                ready=ready,
            )
        )


def _open_tcp(address: str) -> socket.socket | str:
    """Return the listening socket, or what is wrong with the address."""
    from parley_daemon.server.transport.listeners import tcp_socket

    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65535:
        return f"{address} is not HOST:PORT, such as 127.0.0.1:7373."
    if host not in ("127.0.0.1", "::1", "localhost"):
        return (
            f"{host} is not a loopback address: the connection is not encrypted. Use 127.0.0.1 and a tunnel."
        )
    try:
        return tcp_socket("127.0.0.1" if host == "localhost" else host, int(port))
    except OSError as error:
        return f"Cannot listen on {address}: {error.strerror}."


# ---------------------------------------------------------------------- status and stop


def _status(places: Places) -> int:
    peer = join(places)
    if peer is None:
        return _fail(f"No daemon serves {places.data_dir}.")
    with peer:
        try:
            answer = ask(peer, [OPENING, ("server/status", {})], _ANSWER_SECONDS)[-1]
        except OSError as error:
            return _fail(f"The daemon does not answer: {error}.")
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    return 0


def _stop(places: Places) -> int:
    from parley_daemon.adapters.os.directory_lock import owner

    info = runtime.read_runtime_file(places.runtime_file)
    # The file of a daemon that was killed may name a process by now that has nothing to do with it.
    if info is None or owner(places.data_dir) != info.pid:
        return _fail(f"No daemon serves {places.data_dir}.")
    os.kill(info.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while runtime.process_alive(info.pid):
        if time.monotonic() > deadline:
            return _fail(
                f"The daemon (pid {info.pid}) was told to stop and still runs after {STOP_SECONDS:g} s."
            )
        time.sleep(0.02)
    return 0


def _schema() -> int:
    from parley_protocol.schema import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"parleyd: {message}\n")
    return 1
