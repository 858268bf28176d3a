"""The composition root: the one module that names concrete adapters. Runs a daemon from start to stop."""

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

from parley_daemon.adapters.json_schema.validator import JsonSchemas
from parley_daemon.adapters.memory.store import MemoryStore
from parley_daemon.adapters.os.clock import SystemClock
from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.secrets.key_store import KeptSecrets, MemorySecrets
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.config import load_config
from parley_daemon.config_reload import Reloading
from parley_daemon.engine.engine import Engine
from parley_daemon.ports.store import Store
from parley_daemon.server.app import App, ClientLogs
from parley_daemon.server.transport.listeners import remover
from parley_daemon.server.transport.server import Server
from parley_protocol.runtime import RuntimeInfo, write_runtime_file
from parley_protocol.version import PROTOCOL_VERSION, VERSION

log = logging.getLogger("parleyd")

LOG_BYTES = 2 * 1024 * 1024
LOG_FILES = 3


@dataclass(frozen=True, slots=True)
class Parent:
    """The process that spawned this one: its pipes, and what was read from it and answered before."""

    input_fd: int
    output_fd: int
    read_already: bytes = b""
    initialize_params: Any = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run a daemon: its places, its listening sockets (already open), its parent if it serves one."""

    data_dir: Path
    config: Path
    runtime_file: Path | None
    unix: socket.socket | None
    unix_path: str | None
    tcp: socket.socket | None = None
    in_memory: bool = False
    parent: Parent | None = None
    idle_exit: float | None = None
    ready: Callable[[str], None] | None = None


def run(plan: Plan) -> int:
    """Run a daemon until it is told to stop; return the exit code."""
    _log_to_file(plan)
    try:
        return anyio.run(_serve, plan)
    except Exception:  # the boundary of the process
        log.critical("the daemon ends by an unexpected fault", exc_info=True)
        sys.stderr.write(f"parleyd: ended by an unexpected fault; see {_log_folder(plan)}.\n")
        return 1


async def _serve(plan: Plan) -> int:
    config = load_config(plan.config)
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
        file=str(plan.config),
    )
    clock = SystemClock()
    store: Store = MemoryStore() if plan.in_memory else SqliteStore(plan.data_dir / "parley.db")
    engine = Engine(
        store,
        catalogue,
        clock,
        MemorySecrets() if plan.in_memory else KeptSecrets(plan.data_dir),
        JsonSchemas(),
        max_running_turns=config.max_running_turns,
        retries=config.retries,
        recovery=config.recovery,
        scribe=config.scribe,
    )
    app = App(engine, secrets.token_urlsafe(32), clock.now())
    logging.getLogger().addHandler(ClientLogs(app))
    code = 0
    _settle_threads()
    _start_collector()
    async with engine.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, tasks, engine, app)
        tasks.start_soon(engine.open)
        tasks.start_soon(Reloading(plan.config, config, catalogue, engine).run)
        server = Server(app, tasks)
        async with _listening(plan, app, server):
            if plan.parent is not None:
                code = await _serve_parent(plan.parent, server, app)
            elif plan.idle_exit is not None:
                await server.idle(plan.idle_exit)
            else:
                await anyio.sleep_forever()
        tasks.cancel_scope.cancel()
    return code


async def _serve_parent(parent: Parent, server: Server, app: App) -> int:
    """Serve the parent; when it leaves, stay for the clients that joined meanwhile."""
    code = await server.serve_streams(
        parent.input_fd,
        parent.output_fd,
        read_already=parent.read_already,
        initialize_params=parent.initialize_params,
    )
    await app.wait_for_no_clients()
    return code


@asynccontextmanager
async def _listening(plan: Plan, app: App, server: Server) -> AsyncGenerator[None]:
    """Accept clients on the plan's sockets, and be found by the runtime file."""
    async with AsyncExitStack() as stack:
        tcp = None
        if plan.unix is not None:
            await stack.enter_async_context(server.listening(plan.unix, trusted=True))
        if plan.tcp is not None:
            host, port = plan.tcp.getsockname()[:2]
            tcp = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            await stack.enter_async_context(server.listening(plan.tcp, trusted=False))
        if plan.runtime_file is not None:
            info = RuntimeInfo(
                pid=os.getpid(),
                socket=plan.unix_path,
                tcp=tcp,
                token=app.token,
                version=VERSION,
                protocol_version=PROTOCOL_VERSION,
                data_dir=str(plan.data_dir),
                started_at=app.started_at,
            )
            if plan.unix_path is not None:
                stack.callback(remover(plan.unix_path))
            write_runtime_file(plan.runtime_file, info)
            stack.callback(plan.runtime_file.unlink, missing_ok=True)
        where = " and ".join(name for name in (plan.unix_path, tcp) if name)
        log.info("parleyd %s serves on %s", VERSION, where or "standard input and output")
        if plan.ready is not None:
            plan.ready(where)
        yield


async def _stop_on_signal(tasks: TaskGroup, engine: Engine, app: App) -> None:
    """The first SIGTERM or SIGINT stops in order, a second one at once."""

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


def _settle_threads() -> None:
    """Let the store's threads have the interpreter soon: by default each hand-over may take 5 ms."""
    sys.setswitchinterval(0.0005)


def _start_collector() -> None:
    """Turn the garbage collector on, with everything that is loaded so far out of its sight.

    The entry point turned it off. `gc.freeze` takes no time: it does not look at the objects. The cycles
    that loading left behind (under a thousand small objects) stay for good, which is cheaper than a
    collection that finds them: 25 to 60 ms before the first answer, or in the middle of a stream.

    With the default thresholds, a full collection would stop the loop for tens of milliseconds while
    hundreds of chats stream, although what a turn allocates is freed by reference counts. With these, a
    collection that happens at all looks at no more than some 30,000 young objects: 8 ms at most.
    """
    gc.freeze()
    gc.set_threshold(5_000, 5, 1_000)
    gc.enable()


def _log_folder(plan: Plan) -> Path:
    return plan.data_dir / "log"


def _log_to_file(plan: Plan) -> None:
    """Log to a rotating file beside the data, to standard error when that cannot be written."""
    handler: logging.Handler
    try:
        folder = _log_folder(plan)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            folder / "parleyd.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8"
        )
    except OSError:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
