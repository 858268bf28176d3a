"""`parleyd doctor`: checks everything that a working daemon needs, and prints one line for each."""

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from parley_daemon.launcher import DaemonPaths, connect, describe_owner
from parley_daemon.rpc_call import INITIALIZE, Request, call_daemon
from parley_protocol import runtime
from parley_protocol.version import VERSION

_LIST_SECONDS = 20.0
_CHECK_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one thing. `is_good`: None when it is a plain fact, neither good nor bad."""

    subject: str
    is_good: bool | None
    text: str


def run_checks(paths: DaemonPaths, *, check: bool) -> int:
    """Print all findings; return 1 when one of them is bad, else 0.

    `check`: also send a request to every provider of the running daemon.
    """
    is_bad = False
    for finding in _findings(paths, check):
        mark = "ok " if finding.is_good else "-  " if finding.is_good is None else "BAD"
        sys.stdout.write(f"{mark} {finding.subject:14} {finding.text}\n")
        sys.stdout.flush()
        is_bad = is_bad or finding.is_good is False
    return 1 if is_bad else 0


def _findings(paths: DaemonPaths, check: bool) -> Iterator[Finding]:
    yield _check_python()
    complaint = _find_complaint(paths.config)
    file = (
        str(paths.config) if paths.config.exists() else f"{paths.config} does not exist: the defaults apply"
    )
    yield Finding("configuration", complaint is None, complaint or file)
    yield _check_data(paths.data_dir)
    yield from _check_files(paths)
    yield _find_log(paths.data_dir)
    yield _check_keyring()
    yield from _check_packages()
    peer = connect(paths)
    if peer is None:
        yield from _check_store(paths.data_dir)
        yield _check_owner(paths)
        yield _try_sandbox(paths)
        yield from _list_configured_servers(paths)
        yield from _list_offline(paths)
        return
    with peer:
        try:
            requests: list[Request] = [INITIALIZE, ("server/status", {}), ("model/list", {})]
            _, status, listed = call_daemon(peer, requests, _LIST_SECONDS)
        except OSError as error:
            yield Finding("daemon", False, f"it does not answer: {error}")
            return
        if "version" not in status or "providers" not in listed:
            yield Finding("daemon", False, f"it does not answer: {status.get('message')}")
            return
        yield _compare_versions(status)
        if status["store"]["error"]:
            yield Finding("store", False, status["store"]["error"])
        yield _describe_sandbox(status["sandbox"])
        yield from _list_servers(peer)
        yield from _check_default_model(listed["defaultModel"], listed["providers"], are_listed=True)
        for provider in _configured(listed["providers"]):
            if not check:
                yield _describe_provider(provider)
                continue
            name = provider["provider"]
            (result,) = call_daemon(peer, [("provider/check", {"provider": name})], _CHECK_SECONDS)
            yield _describe_check(name, result)


def _check_python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", True, f"{version} at {sys.executable}")


def _find_complaint(path: Path) -> str | None:
    from parley_daemon.config import load_config

    return load_config(path).complaint


def _check_data(data_dir: Path) -> Finding:
    nearest = data_dir
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        return Finding("data", False, f"{nearest} is not a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding("data", False, f"{nearest} is not writable")
    return Finding("data", True, f"{data_dir}{'' if nearest == data_dir else ' will be created'}")


def _check_files(paths: DaemonPaths) -> Iterator[Finding]:
    """Yield what is in the place of a file of the daemon and no such file."""
    from parley_daemon.adapters.os.directory_lock import LOCK_NAME
    from parley_daemon.adapters.os.log_file import log_path

    data, log = paths.data_dir, log_path(paths.data_dir)
    for directory in (paths.runtime_file.parent, log.parent):
        if not directory.is_dir() and os.path.lexists(directory):
            yield Finding("files", False, f"{directory} is not a directory: move it away")
    socket = runtime.socket_path(data)
    for path in (paths.runtime_file, socket, data / LOCK_NAME, data / "parley.db", log):
        is_right = path.is_socket() if path == socket else path.is_file()
        if not is_right and os.path.lexists(path):
            kind = "a directory" if path.is_dir() else "not a file of parleyd"
            yield Finding("files", False, f"{path} is {kind}: move it away")


def _find_log(data_dir: Path) -> Finding:
    from parley_daemon.adapters.os.log_file import log_path

    path = log_path(data_dir)
    return Finding("log", None, f"{path}{'' if path.exists() else ' (nothing is logged yet)'}")


def _check_store(data_dir: Path) -> Iterator[Finding]:
    """Yield what is wrong with a store that no daemon uses."""
    from parley_daemon.adapters.sqlite.repair.integrity import inspect_store

    problem = inspect_store(data_dir / "parley.db")
    if problem is not None:
        yield Finding("store", False, problem)


def _compare_versions(status: dict[str, Any]) -> Finding:
    running = f"parleyd {status['version']} is running, pid {status['pid']}"
    if status["version"] == VERSION:
        return Finding("daemon", True, running)
    advice = "Stop it with `parleyd stop`; the next client starts the new one"
    return Finding("daemon", False, f"{running}, but parleyd {VERSION} is installed here. {advice}")


def _check_keyring() -> Finding:
    from importlib.util import find_spec

    if find_spec("keyring") is None:
        advice = 'to use the system keyring, run pip install "parleyd[keyring]"'
        return Finding("keyring", None, f"API keys are stored in a file in the data directory; {advice}")
    return Finding("keyring", True, "API keys are stored in the system keyring if there is one")


def _check_packages() -> Iterator[Finding]:
    """Yield what the tools of installed packages are, imported as the daemon imports them."""
    from parley_daemon.adapters.tools.packages.listing import list_packages

    for package, names, problems in list_packages():
        if names:
            yield Finding("tools", True, f"{package}: {', '.join(names)}")
        for problem in problems:
            yield Finding("tools", False, problem)


def _try_sandbox(paths: DaemonPaths) -> Finding:
    """Find out what commands of models would run in if a daemon was running."""
    from parley_daemon.adapters.sandbox.preparation import SandboxPaths
    from parley_daemon.adapters.sandbox.system import SystemSandbox
    from parley_daemon.config import load_config

    own = SandboxPaths((paths.data_dir, paths.config), paths.data_dir / "scratch", paths.data_dir / "kept")
    sandbox = SystemSandbox(load_config(paths.config).sandbox, own, os.environ)
    return _describe_sandbox(msgspec.to_builtins(sandbox.state))


def _describe_sandbox(state: dict[str, Any]) -> Finding:
    if state["problem"] is not None:
        return Finding("sandbox", False, state["problem"])
    names = {"bwrap": "bubblewrap", "landlock": "Landlock", "seatbelt": "sandbox-exec", "none": "none"}
    network = f", network: {state['network']}" if state["kind"] != "none" else ""
    is_good = True if state["kind"] != "none" and not state["isWeak"] else None
    return Finding("sandbox", is_good, " ".join([f"{names[state['kind']]}{network}.", *state["notes"]]))


def _list_servers(peer: socket.socket) -> Iterator[Finding]:
    """Yield the MCP servers that are no project's, and why none of them can be used."""
    (listed,) = call_daemon(peer, [("mcp/list", {})], _LIST_SECONDS)
    servers: list[dict[str, Any]] = listed.get("servers", [])
    if servers and listed["problem"] is not None:
        yield Finding("mcp", False, listed["problem"])
        return
    for one in servers:
        is_bad = one["state"] in ("failed", "needs_auth")
        tools = None if one["tools"] is None else f"{one['tools']} tool{'' if one['tools'] == 1 else 's'}"
        text = ", ".join([part for part in (_MCP_STATES[one["state"]], tools) if part])
        left_out = ", ".join([tool["name"] for tool in one["setAside"]])
        more = f"; these of its tools cannot be used: {left_out}" if left_out else ""
        yield Finding(f"mcp:{one['name']}", False if is_bad else None, f"{one['error'] or text}{more}")


_MCP_STATES = {
    "configured": "it was never started",
    "known": "it is started when it is needed",
    "starting": "it is being started",
    "running": "it runs",
    "failed": "it has failed",
    "untrusted": "its project is not trusted",
    "needs_auth": "it wants an authorization: mcp/authenticate",
}


def _list_configured_servers(paths: DaemonPaths) -> Iterator[Finding]:
    """Yield the MCP servers of the configuration file. Those in the store are not read."""
    from parley_daemon.config import load_config

    names = ", ".join([one.name for one in load_config(paths.config).mcp_servers])
    if names:
        yield Finding("mcp", None, f"in the configuration file: {names}")


def _check_owner(paths: DaemonPaths) -> Finding:
    from parley_daemon.adapters.os.directory_lock import find_owner

    if find_owner(paths.data_dir) is not None:
        return Finding("daemon", False, describe_owner(paths).strip())
    return Finding("daemon", None, "not running; clients start one when they need it")


def _list_offline(paths: DaemonPaths) -> Iterator[Finding]:
    """Yield the providers of the configuration file and the environment. Those in the store are not read."""
    from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
    from parley_daemon.config import load_config

    config = load_config(paths.config)
    catalogue = ConfiguredCatalogue(
        config.providers, config.models, default_model=config.default_model, environment=os.environ
    )
    providers: list[dict[str, Any]] = msgspec.to_builtins(catalogue.providers())
    yield from _check_default_model(catalogue.default_model, providers, are_listed=False)
    for provider in _configured(providers):
        yield _describe_provider(provider)


def _configured(providers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the providers without the types that are supported and not configured."""
    return [one for one in providers if one["available"] or one["source"] != "supported"]


def _check_default_model(
    model: str | None, providers: Iterable[dict[str, Any]], *, are_listed: bool
) -> Iterator[Finding]:
    """Yield whether the default model can be used. There is none if the configuration is broken.

    `are_listed`: the providers were asked for their lists of models.
    """
    if model is None:
        return
    name = model.partition(":")[0]
    provider = next((one for one in providers if one["provider"] == name), None)
    if provider is None:
        # Without a daemon, the providers' lists are not known, and a name without a provider may be in one.
        is_bad = False if ":" in model or are_listed else None
        text = f'the default model "{model}" is not a model that exactly one configured provider has'
        yield Finding("default", is_bad, text if are_listed else f"{text}, as far as the configuration says")
    elif provider["available"]:
        yield Finding("default", True, f"{model} answers in chats that name no model")
    else:
        message = provider["unavailableMessage"]
        yield Finding("default", False, f'the default model "{model}" cannot be used: {message}')


def _describe_provider(provider: dict[str, Any]) -> Finding:
    known = len(provider["models"])
    models = f"{known} model{'' if known == 1 else 's'} known"
    text = models if provider["available"] else provider["unavailableMessage"]
    return Finding(provider["provider"], provider["available"], text)


def _describe_check(name: str, result: dict[str, Any]) -> Finding:
    request = ""
    if result.get("url") is not None:
        request = f" ({result['method']} {result['url']}: {result['statusCode']})"
    if result.get("ok"):
        omitted = ", ".join(result.get("omittedFields") or ())
        note = f"; it refuses {omitted}, which is left out of requests" if omitted else ""
        return Finding(name, True, f"it works{request}{note}")
    error: dict[str, Any] = result.get("error") or {}
    return Finding(name, False, f"{error.get('message') or result.get('message')}{request}")
