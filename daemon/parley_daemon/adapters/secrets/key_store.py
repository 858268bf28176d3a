"""API keys that were given over the protocol: in the system's keyring where there is one, else in a file.

The file lies beside the data and is its owner's alone (on Windows: as private as the folder is). No key is
ever logged, and none is in the store.
"""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import anyio
from anyio import to_thread

from parley_daemon.adapters.secrets.system_keyring import KeyringError, SystemKeyring
from parley_daemon.ports.secrets import Keys, SecretsUnavailableError

log = logging.getLogger(__name__)

FILE_NAME = "keys.json"


class MemorySecrets:
    """Keys for as long as the process lives: for trying out, and for tests."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    async def read(self, names: Sequence[str]) -> Keys:
        """Return the keys of these providers."""
        return Keys({name: self._keys[name] for name in names if name in self._keys})

    async def write(self, name: str, key: str | None) -> None:
        """Keep this key, or forget the one that there is."""
        self._keys.pop(name, None)
        if key is not None:
            self._keys[name] = key


class KeptSecrets:
    """The keys of a data directory. Without a keyring, or where that refuses, they are in a file."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._keyring = SystemKeyring(str(data_dir))
        self._lock = anyio.Lock()

    async def read(self, names: Sequence[str]) -> Keys:
        """Return the keys of these providers."""
        try:
            filed = await to_thread.run_sync(self._read)
        except SecretsUnavailableError as error:
            return Keys({}, dict.fromkeys(names, str(error)))
        found = {name: filed[name] for name in names if name in filed}
        rest = [name for name in names if name not in found]
        try:
            return Keys({**found, **(await self._keyring.read(rest) if rest else {})})
        except KeyringError as error:
            why = f"The key cannot be read from the system's keyring: {error}."
            return Keys(found, dict.fromkeys(rest, why))

    async def write(self, name: str, key: str | None) -> None:
        """Keep this key, or forget the one that there is."""
        async with self._lock:
            try:
                kept = await self._keyring.write(name, key)
            except KeyringError as error:
                log.warning("the system's keyring does not take the key of %s: %s", name, error)
                kept = False
            await to_thread.run_sync(self._write, name, None if kept else key)

    def _read(self) -> dict[str, str]:
        try:
            content: Any = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SecretsUnavailableError(
                f"The keys in {self._path} cannot be read: {error.strerror}."
            ) from None
        except (ValueError, RecursionError):
            content = None  # what is wrong with it would quote it
        keys: object = cast("dict[str, object]", content).get("keys") if isinstance(content, dict) else None
        if not isinstance(keys, dict):
            raise SecretsUnavailableError(f"{self._path} is damaged. Remove it, and give the keys again.")
        pairs = cast("dict[str, object]", keys).items()
        return {name: key for name, key in pairs if isinstance(key, str)}

    def _write(self, name: str, key: str | None) -> None:
        keys = self._read()
        if keys.get(name) == key:
            return
        keys.pop(name, None)
        if key is not None:
            keys[name] = key
        try:
            _replace(self._path, json.dumps({"keys": keys}, indent=2).encode())
        except OSError as error:
            raise SecretsUnavailableError(
                f"The key cannot be kept in {self._path}: {error.strerror}."
            ) from None


def _replace(path: Path, content: bytes) -> None:
    """Write a file that is its owner's alone, so that after a crash the old or the new one is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
