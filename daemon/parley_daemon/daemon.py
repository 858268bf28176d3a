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
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from parley_daemon.adapters.checkpoints.checkpoints import FileCheckpoints
from parley_daemon.adapters.context.lazy import LazyContextIndex
from parley_daemon.adapters.git.lazy import LazyGit
from parley_daemon.adapters.json_schema.validator import SchemaValidator
from parley_daemon.adapters.os.clock import SystemClock
from parley_daemon.adapters.os.directory_lock import FileLock, lock_directory
from parley_daemon.adapters.os.log_file import log_path, start_logging
from parley_daemon.adapters.os.project_files import FolderFiles
from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.secrets.key_store import KeyStore, MemoryKeyStore
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.adapters.supervision.hiding import hide_process
from parley_daemon.adapters.tools.lazy import LazyToolbox
from parley_daemon.config import load_config
from parley_daemon.config_reload import ConfigReloader
from parley_daemon.engine.agents.policy.permissions import PolicySources
from parley_daemon.engine.engine import Engine
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.policy_file import parse_project_rules
from parley_daemon.ports.checkpoints import Checkpoints
from parley_daemon.ports.context import ContextIndex
from parley_daemon.ports.editors import Editors
from parley_daemon.ports.pull_requests import PullRequests, RepositoryHost
from parley_daemon.ports.sandbox import Sandbox, SandboxSettings
from parley_daemon.ports.secrets import Secrets
from parley_daemon.ports.store import Store, StoreUnavailableError
from parley_daemon.ports.tools import Toolbox
from parley_daemon.server.app import App, ClientLogs
from parley_daemon.server.editors import OpenEditors
from parley_daemon.server.handlers import find_handler
from parley_daemon.server.transport.addresses import CHECK_SECONDS, Addresses, Places
from parley_daemon.server.transport.server import Server
from parley_protocol.runtime import RuntimeInfo, runtime_dir
from parley_protocol.version import PROTOCOL_VERSION, VERSION

if TYPE_CHECKING:
    from parley_daemon.engine.mcp.setup import McpSetup
    from parley_daemon.ports.mcp_authorization import McpAuthorizer

log = logging.getLogger("parleyd")


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

    `places`: the files through which clients find it. `lock`: the lock on the data directory; None: the
    daemon runs without one. `unix` and `tcp` are listening sockets, `unix` at the path in `places`.
    `parent`: the process to serve over pipes. `idle_exit`: seconds without clients, running turns and jobs
    after which the daemon stops; ignored with a parent. `ready` is called with the addresses once clients
    are accepted.
    """

    data_dir: Path
    config: Path
    places: Places
    lock: FileLock | None = None
    unix: socket.socket | None = None
    tcp: socket.socket | None = None
    in_memory: bool = False
    parent: ParentStreams | None = None
    idle_exit: float | None = None
    ready: Callable[[str], None] | None = None


def run_daemon(options: DaemonOptions) -> int:
    """Run a daemon until it is stopped; return the exit code of the process."""
    start_logging(log_path(options.data_dir))
    hide_process(os.environ)
    try:
        return anyio.run(_serve, options)
    except Exception:  # the boundary of the process
        log.critical("unexpected error: the daemon exits", exc_info=True)
        path = log_path(options.data_dir)
        sys.stderr.write(f"parleyd: unexpected error; the log has the details: {path}\n")
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
    editors = OpenEditors()
    folder = None if options.in_memory else options.data_dir / "checkpoints"
    checkpoints = FileCheckpoints(folder, clock, editors)
    jobs = BackgroundTasks()
    schemas = SchemaValidator()
    load_sandbox = cache(partial(_load_sandbox, options, config.sandbox))
    load_index = partial(_load_index, options, editors, jobs)
    index = None if options.in_memory else LazyContextIndex(load_index)
    engine = Engine(
        store,
        catalogue,
        clock,
        keys,
        schemas,
        checkpoints=checkpoints,
        toolbox=LazyToolbox(
            lambda: _load_tools(options, checkpoints, editors, load_sandbox(), jobs, engine, index),
            load_sandbox,
        ),
        git=LazyGit(os.environ),
        pull_requests=_load_hosts(config.repository_hosts, clock),
        policy_sources=PolicySources(
            files=FolderFiles(),
            parse=parse_project_rules,
            config_folder=str(options.config.absolute().parent),
            home=str(Path.home()),
        ),
        configured_rules=config.permissions,
        max_running_turns=config.max_running_turns,
        retries=config.retries,
        recovery=config.recovery,
        summaries=config.summaries,
        answer_limits=config.answer_limits,
        load_mcp=partial(_load_mcp, config.sandbox, jobs),
        configured_servers=config.mcp_servers,
        context_index=index,
    )
    app = App(engine, secrets.token_urlsafe(32), clock.now(), editors)
    logging.getLogger().addHandler(ClientLogs(app))
    code = 0
    _set_switch_interval()
    _start_collector()
    async with engine.running(), jobs.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, tasks, engine, app)
        tasks.start_soon(engine.open)
        tasks.start_soon(ConfigReloader(options.config, config, catalogue, engine).run)
        server = Server(app, tasks)
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(_published(options, app, server))
            except OSError as error:
                sys.stderr.write(f"parleyd: {_cannot_be_found(options, error)}\n")
                code = 1
            else:
                find_handler("chat/list")  # nearly every client's first request needs its module
                code = await _wait_for_end(options, server, app)
        tasks.cancel_scope.cancel()
    return code


async def _wait_for_end(options: DaemonOptions, server: Server, app: App) -> int:
    """Return the exit code once the daemon is not needed any more."""
    if options.parent is not None:
        return await _serve_parent(options.parent, server, app)
    if options.idle_exit is not None:
        await server.wait_until_idle(options.idle_exit)
    else:
        await anyio.sleep_forever()
    return 0


def _load_hosts(hosts: Sequence[RepositoryHost], clock: SystemClock) -> PullRequests | None:
    if not hosts:
        return None
    from parley_daemon.adapters.github.pull_requests import GitHubPullRequests  # few daemons need it

    return GitHubPullRequests(hosts, os.environ, clock)


def _storage(options: DaemonOptions) -> tuple[Store, Secrets]:
    if options.in_memory:
        from parley_daemon.adapters.memory.store import MemoryStore  # few daemons need it

        return MemoryStore(), MemoryKeyStore()
    prepare = None if options.lock is not None else partial(_lock, options.data_dir, [])
    return SqliteStore(options.data_dir / "parley.db", prepare=prepare), KeyStore(options.data_dir)


def _load_sandbox(options: DaemonOptions, settings: SandboxSettings) -> Sandbox:
    """Return the sandbox. Runs when it is first needed, in a worker thread."""
    from parley_daemon.adapters.os.own_programs import find_own_programs
    from parley_daemon.adapters.sandbox.preparation import SandboxPaths
    from parley_daemon.adapters.sandbox.system import SystemSandbox

    places = options.places
    own = [options.data_dir, options.config, places.runtime_file, places.socket_path]
    data = options.data_dir.absolute()
    paths = SandboxPaths(
        own=tuple([path.absolute() for path in own if path is not None]),
        scratch=data / "scratch",
        kept=data / "kept",
        guarded=(options.config.absolute(),),
        programs=find_own_programs(),
    )
    return SystemSandbox(settings, paths, os.environ)


def _load_tools(
    options: DaemonOptions,
    checkpoints: Checkpoints,
    editors: Editors,
    sandbox: Sandbox,
    jobs: BackgroundTasks,
    engine: Engine,
    index: ContextIndex | None,
) -> Toolbox:
    """Return the tools of agent chats. Runs when the first chat needs them, maybe in a worker thread."""
    from parley_daemon.adapters.os.own_programs import find_own_programs
    from parley_daemon.adapters.tools.builtin import BuiltinToolbox, ToolServices
    from parley_daemon.adapters.tools.workspaces import DaemonFolders

    runtime_file = options.places.runtime_file
    folders = DaemonFolders(
        data=str(options.data_dir.absolute()),
        runtime=str((runtime_file.parent if runtime_file else runtime_dir()).absolute()),
        config=str(options.config.absolute()),
        home=str(Path.home()),
        programs=find_own_programs(),
    )
    outputs = options.data_dir.absolute() / "outputs"
    services = ToolServices(
        folders,
        checkpoints,
        editors,
        sandbox,
        outputs,
        jobs,
        engine.schemas,
        engine.children,
        engine.catalogue,
        index,
    )
    return BuiltinToolbox(services)


def _load_index(options: DaemonOptions, editors: Editors, jobs: BackgroundTasks) -> ContextIndex:
    """Return the index of contexts. Runs when a context is first searched."""
    from parley_daemon.adapters.context.index import WorkerContextIndex

    data = options.data_dir.absolute()
    runtime_file = options.places.runtime_file
    runtime = (runtime_file.parent if runtime_file else runtime_dir()).absolute()
    left_out = [str(one) for one in (data, runtime, options.config.absolute())]
    return WorkerContextIndex(jobs, data / "context", editors, left_out)


def _load_mcp(settings: SandboxSettings, jobs: BackgroundTasks) -> "McpSetup":
    """Return what MCP servers need. Runs when somebody first needs one."""
    from parley_daemon.adapters.mcp.connector import HelperConnector
    from parley_daemon.adapters.sandbox.environment import usual_variables
    from parley_daemon.engine.mcp.setup import McpSetup
    from parley_daemon.engine.mcp.targets import McpEnvironment

    environment = McpEnvironment(
        base=usual_variables(os.environ),
        daemon=dict(os.environ),
        allowed=frozenset(settings.environment),
        home=str(Path.home()),
    )
    return McpSetup(HelperConnector(jobs), environment, _load_authorizer)


def _load_authorizer() -> "McpAuthorizer":
    """Return what asks people to authorize MCP servers. Loads a HTTP client."""
    from parley_daemon.adapters.oauth.authorizer import OAuthAuthorizer

    return OAuthAuthorizer()


def _lock(data_dir: Path, held: list[FileLock]) -> None:
    """Lock the data directory of a daemon that could not do so at its start, and keep the lock in `held`.

    Raises:
        OSError: it still cannot be locked.
        StoreUnavailableError: another process has locked it meanwhile.
    """
    if held:
        return
    lock = lock_directory(data_dir)
    if lock is None:
        raise StoreUnavailableError(f"Another process serves the chats in {data_dir}. Start this one again.")
    held.append(lock)


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
async def _published(options: DaemonOptions, app: App, server: Server) -> AsyncGenerator[None]:
    """Accept clients while the block runs, and keep the files through which they find the daemon.

    Raises:
        OSError: no client would find a daemon that has no parent.
    """
    info = RuntimeInfo(
        pid=os.getpid(),
        socket=None,
        tcp=None,
        token=app.token,
        version=VERSION,
        protocol_version=PROTOCOL_VERSION,
        data_dir=str(options.data_dir),
        started_at=app.started_at,
    )
    addresses = Addresses(server, options.places, info, is_optional=options.parent is not None)
    async with addresses.published(options.unix, options.tcp), anyio.create_task_group() as upkeep:
        upkeep.start_soon(_keep_files, addresses, options.lock)
        log.info("parleyd %s serves on %s", VERSION, str(addresses) or "standard input and output")
        if options.ready is not None:
            options.ready(str(addresses))
        yield
        upkeep.cancel_scope.cancel()


async def _keep_files(addresses: Addresses, lock: FileLock | None) -> None:
    """Put back what somebody else removes: the files that lead to the daemon, and its lock file."""
    if lock is None:
        return
    problem = None
    while True:
        await anyio.sleep(CHECK_SECONDS)
        await addresses.keep()
        try:
            if await to_thread.run_sync(lock.keep, addresses.runtime_file):
                log.warning("the lock file of %s was removed or changed; it is there again", lock.path.parent)
            problem = None
        except OSError as error:
            if problem != (problem := f"{lock.path} is not locked any more: {error.strerror}"):
                log.error("%s", problem)


def _cannot_be_found(options: DaemonOptions, error: OSError) -> str:
    return f"Cannot write the runtime file {options.places.runtime_file}: {error.strerror or error}."


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
