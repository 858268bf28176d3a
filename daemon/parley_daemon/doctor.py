"""`parleyd doctor`: looks at all that a working daemon needs, and says in a line each how it stands."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parley_daemon.launcher import Places, join, owned_elsewhere
from parley_daemon.rpc_call import OPENING, ask

_LIST_SECONDS = 20.0
_CHECK_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing stands. `good`: None when it is neither good nor bad."""

    what: str
    good: bool | None
    says: str


def run(places: Places, *, check: bool) -> int:
    """Print how everything stands; return 1 when something is wrong. `check` asks every provider."""
    wrong = False
    for found in _findings(places, check):
        mark = "ok " if found.good else "-  " if found.good is None else "BAD"
        sys.stdout.write(f"{mark} {found.what:14} {found.says}\n")
        sys.stdout.flush()
        wrong = wrong or found.good is False
    return 1 if wrong else 0


def _findings(places: Places, check: bool) -> Iterator[Finding]:
    yield _python()
    complaint = _complaint(places.config)
    there = str(places.config) if places.config.exists() else f"{places.config} is not there: none is needed"
    yield Finding("configuration", complaint is None, complaint or there)
    yield _data(places.data_dir)
    yield _keyring()
    peer = join(places)
    if peer is None:
        yield _no_daemon(places)
        yield from _offline(places)
        return
    with peer:
        try:
            _, status, listed = ask(peer, [OPENING, ("server/status", {}), ("model/list", {})], _LIST_SECONDS)
        except OSError as error:
            yield Finding("daemon", False, f"it does not answer: {error}")
            return
        yield Finding("daemon", True, f"parleyd {status['version']} runs, pid {status['pid']}")
        if status["store"]["error"]:
            yield Finding("store", False, status["store"]["error"])
        for provider in listed["providers"]:
            if not check:
                yield _listed(provider)
                continue
            name = provider["provider"]
            (told,) = ask(peer, [("provider/check", {"provider": name})], _CHECK_SECONDS)
            yield _checked(name, told)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", True, f"{version} at {sys.executable}")


def _complaint(path: Path) -> str | None:
    from parley_daemon.config import load_config

    return load_config(path).complaint


def _data(data_dir: Path) -> Finding:
    nearest = data_dir
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        return Finding("data", False, f"{nearest} is no directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding("data", False, f"{nearest} may not be written")
    return Finding("data", True, f"{data_dir}{'' if nearest == data_dir else ' will be made'}")


def _keyring() -> Finding:
    from importlib.util import find_spec

    if find_spec("keyring") is None:
        advice = 'pip install "parleyd[keyring]" to have keys in the keyring of the system'
        return Finding("keyring", None, f"keys are kept in a file beside the data; {advice}")
    return Finding("keyring", True, "keys are kept in the keyring of the system, where there is one")


def _no_daemon(places: Places) -> Finding:
    from parley_daemon.adapters.os.directory_lock import owner

    if owner(places.data_dir) is not None:
        return Finding("daemon", False, owned_elsewhere(places).strip())
    return Finding("daemon", None, "none runs; whoever needs one starts it")


def _offline(places: Places) -> Iterator[Finding]:
    """Say what the configuration and the environment here have; what is in the store is not looked at."""
    from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
    from parley_daemon.config import load_config

    config = load_config(places.config)
    catalogue = ConfiguredCatalogue(
        config.providers, config.models, default_model=config.default_model, environment=os.environ
    )
    for one in catalogue.providers():
        told = {"provider": one.provider, "available": one.available, "models": one.models}
        yield _listed({**told, "unavailableMessage": one.unavailable_message})


def _listed(provider: dict[str, Any]) -> Finding:
    known = len(provider["models"])
    models = f"{known} model{'' if known == 1 else 's'} known"
    says = models if provider["available"] else provider["unavailableMessage"]
    return Finding(provider["provider"], provider["available"], says)


def _checked(name: str, told: dict[str, Any]) -> Finding:
    asked = "" if told.get("url") is None else f" ({told['method']} {told['url']}: {told['statusCode']})"
    if told.get("ok"):
        return Finding(name, True, f"it works{asked}")
    error: dict[str, Any] = told.get("error") or {}
    return Finding(name, False, f"{error.get('message') or told.get('message')}{asked}")
