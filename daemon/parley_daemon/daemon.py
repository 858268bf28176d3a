"""The composition root: builds a daemon from its parts and runs it from start to stop.

This is the only module that names concrete adapters. Everything below gets its store, clock, secrets,
schemas and catalogue as arguments, typed as the ports.

Order of the start: the configuration is read, the objects are created, and clients are accepted while the
store is still being opened in the background. A request that needs the store waits for it. The keys, the
watch on the configuration file and the HTTP client are loaded after that, when the first answers are out.

Order of the stop, on SIGTERM or SIGINT: running turns are interrupted and stored, every connection is closed
once its queued messages are written, then the tasks end and the store is closed. A second signal ends the
process at once; the store recovers at the next start as it does after a crash.
"""

import gc
import logging
import logging.handlers
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from parley_daemon.adapters.json_schema.validator import SchemaValidator
from parley_daemon.adapters.os.clock import SystemClock
from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.secrets.key_store import KeyStore, MemoryKeyStore
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.config import load_config
from parley_daemon.config_reload import ConfigReloader
from parley_daemon.engine.engine import Engine
from parley_daemon.ports.secrets import Secrets
from parley_daemon.ports.store import Store
from parley_daemon.server.app import App, ClientLogs
from parley_daemon.server.handlers import find_handler
from parley_daemon.server.transport.listeners import socket_remover
from parley_daemon.server.transport.server import Server
from parley_protocol.runtime import RuntimeInfo, write_runtime_file
from parley_protocol.version import PROTOCOL_VERSION, VERSION

log = logging.getLogger("parleyd")

LOG_BYTES = 2 * 1024 * 1024
"""Size at which a new log file is begun."""

LOG_FILES = 3
"""Log files that are kept, the current one included."""


@dataclass(frozen=True, slots=True)
class ParentStreams:
    """The pipes of the process that spawned this one, and how far the launcher has read from them.

    `read_ahead`: bytes that were read and not handled yet. `initialize_params`: the params of an `initialize`
    request that was answered already, None when none was.
    """

    input_fd: int
    output_fd: int
    read_ahead: bytes = b""
    initialize_params: Any = None


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """How to run a daemon.

    `runtime_file` is written while the daemon accepts clients; None: no client can find it. `unix` and `tcp`
    are listening sockets. `unix_path` is the path of the Unix socket, or the reason why there is none.
    `parent`: the process to serve over pipes. `idle_exit`: seconds without clients and running turns after
    which the daemon stops; ignored with a parent. `ready` is called with the addresses once clients are
    accepted.
    """

    data_dir: Path
    config: Path
    runtime_file: Path | None
    unix: socket.socket | None
    unix_path: str | None
    tcp: socket.socket | None = None
    in_memory: bool = False
    parent: ParentStreams | None = None
    idle_exit: float | None = None
    ready: Callable[[str], None] | None = None


def run_daemon(options: DaemonOptions) -> int:
    """Run a daemon until it is stopped; return the exit code of the process."""
    _log_to_file(options)
    try:
        return anyio.run(_serve, options)
    except Exception:  # the boundary of the process
        log.critical("unexpected error: the daemon exits", exc_info=True)
        sys.stderr.write(f"parleyd: unexpected error; the log in {_log_folder(options)} has the details.\n")
        return 1


async def _serve(options: DaemonOptions) -> int:
    config = load_config(options.config)
    if config.complaint:
        log.error("the configuration is broken: %s", config.complaint)
    catalogue = ConfiguredCatalogue(
        config.providers,
        config.models,
        default_model=config.default_model,
        environment=os.environ,
        timeouts=config.timeouts,
        complaint=config.complaint,
        fallback_models=config.fallback_models,
        local_only=config.local_only,
        file=str(options.config),
    )
    clock = SystemClock()
    store, keys = _storage(options)
    engine = Engine(
        store,
        catalogue,
        clock,
        keys,
        SchemaValidator(),
        max_running_turns=config.max_running_turns,
        retries=config.retries,
        recovery=config.recovery,
        summaries=config.summaries,
    )
    app = App(engine, secrets.token_urlsafe(32), clock.now())
    logging.getLogger().addHandler(ClientLogs(app))
    code = 0
    _set_switch_interval()
    _start_collector()
    async with engine.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, tasks, engine, app)
        tasks.start_soon(engine.open)
        tasks.start_soon(ConfigReloader(options.config, config, catalogue, engine).run)
        server = Server(app, tasks)
        async with _listening(options, app, server):
            find_handler("chat/list")  # nearly every client's first request needs its module
            if options.parent is not None:
                code = await _serve_parent(options.parent, server, app)
            elif options.idle_exit is not None:
                await server.wait_until_idle(options.idle_exit)
            else:
                await anyio.sleep_forever()
        tasks.cancel_scope.cancel()
    return code


def _storage(options: DaemonOptions) -> tuple[Store, Secrets]:
    if options.in_memory:
        from parley_daemon.adapters.memory.store import MemoryStore  # few daemons need it

        return MemoryStore(), MemoryKeyStore()
    return SqliteStore(options.data_dir / "parley.db"), KeyStore(options.data_dir)


async def _serve_parent(parent: ParentStreams, server: Server, app: App) -> int:
    """Serve the parent until it leaves, then the other clients until the last one has left."""
    code = await server.serve_parent(
        parent.input_fd,
        parent.output_fd,
        read_already=parent.read_ahead,
        initialize_params=parent.initialize_params,
    )
    await app.wait_for_no_clients()
    return code


@asynccontextmanager
async def _listening(options: DaemonOptions, app: App, server: Server) -> AsyncGenerator[None]:
    """Accept clients on the sockets while the block runs, and publish the addresses in the runtime file."""
    async with AsyncExitStack() as stack:
        tcp = None
        if options.unix is not None:
            await stack.enter_async_context(server.listening(options.unix, trusted=True))
        if options.tcp is not None:
            host, port = options.tcp.getsockname()[:2]
            tcp = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            await stack.enter_async_context(server.listening(options.tcp, trusted=False))
        if options.runtime_file is not None:
            info = RuntimeInfo(
                pid=os.getpid(),
                socket=options.unix_path,
                tcp=tcp,
                token=app.token,
                version=VERSION,
                protocol_version=PROTOCOL_VERSION,
                data_dir=str(options.data_dir),
                started_at=app.started_at,
            )
            if options.unix_path is not None:
                stack.callback(socket_remover(options.unix_path))
            write_runtime_file(options.runtime_file, info)
            stack.callback(options.runtime_file.unlink, missing_ok=True)
        where = " and ".join(name for name in (options.unix_path, tcp) if name)
        log.info("parleyd %s serves on %s", VERSION, where or "standard input and output")
        if options.ready is not None:
            options.ready(where)
        yield


async def _stop_on_signal(tasks: TaskGroup, engine: Engine, app: App) -> None:
    """Stop cleanly on the first SIGTERM or SIGINT; exit at once on the second one."""

    async def stop() -> None:
        await engine.stop()
        await app.close_connections()
        tasks.cancel_scope.cancel()

    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        stopping = False
        async for received in signals:
            if stopping:
                os._exit(128 + received)
            stopping = True
            log.info("stopping: %s", received.name)
            tasks.start_soon(stop)


def _set_switch_interval() -> None:
    """Shorten the time until another thread gets the interpreter lock from 5 ms (the default) to 0.5 ms.

    A commit passes it between the event loop and the store's threads several times.
    """
    sys.setswitchinterval(0.0005)


def _start_collector() -> None:
    """Turn the garbage collector on, with all objects that exist so far excluded from it.

    The entry point has turned it off. `gc.freeze` takes no time, since it does not look at the objects. The
    cycles that loading has left behind (under a thousand small objects) are never freed. A collection that
    frees them would take 25 to 60 ms, before the first answer or in the middle of a stream.

    With the default thresholds, a full collection stops the loop for tens of milliseconds while hundreds of
    chats stream, although reference counts free what a turn allocates. With these thresholds, a collection
    looks at no more than some 30,000 young objects, which takes 8 ms at most.
    """
    gc.freeze()
    gc.set_threshold(5_000, 5, 1_000)
    gc.enable()


def _log_folder(options: DaemonOptions) -> Path:
    return options.data_dir / "log"


def _log_to_file(options: DaemonOptions) -> None:
    """Log to a rotating file in the data directory, or to standard error when that cannot be written."""
    handler: logging.Handler
    try:
        folder = _log_folder(options)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            folder / "parleyd.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8"
        )
    except OSError:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
