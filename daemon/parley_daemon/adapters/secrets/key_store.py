"""Stores the API keys that clients configure: in the system keyring if there is one, else in a file.

The file is `keys.json` in the data directory, readable by its owner only (on Windows: by whoever can read the
folder). A key in the file has precedence over one in the keyring: it was stored while no keyring was usable.
Keys are never logged, and never written to the store of chats.
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import anyio
from anyio import to_thread

from parley_daemon.adapters.secrets.system_keyring import KeyringError, SystemKeyring
from parley_daemon.ports.secrets import Keys, SecretsUnavailableError

log = logging.getLogger(__name__)

FILE_NAME = "keys.json"


class MemoryKeyStore:
    """Keeps keys in memory, for `--in-memory` and for tests."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    async def read(self, names: Sequence[str]) -> Keys:
        """Return the keys of these providers, without those that are not known."""
        return Keys({name: self._keys[name] for name in names if name in self._keys})

    async def write(self, name: str, key: str | None) -> None:
        """Store the key of a provider; None deletes it."""
        self._keys.pop(name, None)
        if key is not None:
            self._keys[name] = key


class KeyStore:
    """The keys of one data directory. Uses the file when there is no keyring or the keyring fails."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._keyring = SystemKeyring(str(data_dir))
        self._lock = anyio.Lock()

    async def read(self, names: Sequence[str]) -> Keys:
        """Return the keys of these providers, and the reason for each one that could not be read."""
        try:
            in_file = await to_thread.run_sync(self._read)
        except SecretsUnavailableError as error:
            return Keys({}, dict.fromkeys(names, str(error)))
        found = {name: in_file[name] for name in names if name in in_file}
        rest = [name for name in names if name not in found]
        try:
            return Keys({**found, **(await self._keyring.read(rest) if rest else {})})
        except KeyringError as error:
            why = f"The key cannot be read from the system keyring: {error}."
            return Keys(found, dict.fromkeys(rest, why))

    async def write(self, name: str, key: str | None) -> None:
        """Store the key of a provider; None deletes it.

        Raises:
            SecretsUnavailableError: neither the keyring nor the file can be written.
        """
        async with self._lock:
            try:
                is_stored = await self._keyring.write(name, key)
            except KeyringError as error:
                log.warning("the system keyring cannot store the key of %s: %s", name, error)
                is_stored = False
            await to_thread.run_sync(self._write, name, None if is_stored else key)

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
            content = None  # the parser's message would quote the file
        keys: object = cast("dict[str, object]", content).get("keys") if isinstance(content, dict) else None
        if not isinstance(keys, dict):
            raise SecretsUnavailableError(f"{self._path} is damaged. Delete it and set the keys again.")
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
            _replace_file(self._path, json.dumps({"keys": keys}, indent=2).encode())
        except OSError as error:
            raise SecretsUnavailableError(
                f"The key cannot be stored in {self._path}: {error.strerror}."
            ) from None


def _replace_file(path: Path, content: bytes) -> None:
    """Replace a file atomically (a crash leaves the old or the new one), readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            if sys.platform != "win32":
                os.fchmod(descriptor, 0o600)  # whatever the umask is
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
