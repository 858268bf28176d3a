"""The system keyring, through the package `keyring` (the extra of that name) if it is installed.

A keyring may block until a person unlocks it, for minutes or for ever. So it is loaded and called in daemon
threads, one for each call, which do not keep the process from ending; the caller stops waiting after a
timeout. Error messages name only the type of an exception: its text may contain a secret.
"""

import asyncio
import importlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import anyio

T = TypeVar("T")

log = logging.getLogger(__name__)

SERVICE = "parleyd"
READ_SECONDS = 30.0
WRITE_SECONDS = 60.0
"""Timeouts of a call. They leave a person the time to unlock the keyring."""


class KeyringError(Exception):
    """The keyring failed; the message is a clause without a full stop, such as "it failed (Error)"."""


class _Backend(Protocol):
    """The part of a `keyring` backend that is used here."""

    @property
    def priority(self) -> float: ...

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


class SystemKeyring:
    """The keys of one data directory. The entries of several directories do not mix."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = data_dir

    async def read(self, names: Sequence[str]) -> dict[str, str]:
        """Return the keys of these providers; empty without a keyring.

        Raises:
            KeyringError: the keyring failed or did not answer in time.
        """

        def read() -> dict[str, str]:
            keyring = _load_backend()
            if keyring is None:
                return {}
            found = {name: keyring.get_password(SERVICE, self._account(name)) for name in names}
            return {name: key for name, key in found.items() if key}

        return await _call_in_thread(read, READ_SECONDS)

    async def write(self, name: str, key: str | None) -> bool:
        """Store the key of a provider, None deletes it; return False when it was not stored in a keyring.

        Raises:
            KeyringError: the keyring failed or did not answer in time.
        """

        def write() -> bool:
            keyring = _load_backend()
            if keyring is None:
                return False
            account = self._account(name)
            if key is not None:
                keyring.set_password(SERVICE, account, key)
                return keyring.get_password(SERVICE, account) == key
            if keyring.get_password(SERVICE, account) is not None:
                keyring.delete_password(SERVICE, account)
            return True

        return await _call_in_thread(write, WRITE_SECONDS)

    def _account(self, name: str) -> str:
        return f"{name} ({self._data_dir})"


def _load_backend() -> _Backend | None:
    """Return the backend to use; None when the package is not installed or has no recommended backend.

    `keyring` calls a backend recommended when its priority is 1 or more; below that are those that store
    nothing or store plain text.
    """
    try:
        package: Any = importlib.import_module("keyring")
    except ImportError:
        return None
    found: _Backend = package.get_keyring()
    return found if found.priority >= 1 else None


async def _call_in_thread(work: Callable[[], T], seconds: float) -> T:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def resolve(set_outcome: Callable[[Any], None], outcome: object) -> None:
        if not done.done():
            set_outcome(outcome)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], object] = done.set_result, work()
        except Exception as error:  # noqa: BLE001 - the boundary to a foreign package
            log.debug("the keyring failed with %s", type(error).__name__)
            outcome = done.set_exception, KeyringError(f"it failed ({type(error).__name__})")
        try:
            loop.call_soon_threadsafe(resolve, *outcome)
        except RuntimeError:
            return  # the loop is closed: the daemon has stopped

    threading.Thread(target=run, name="keyring", daemon=True).start()
    with anyio.move_on_after(seconds):
        return await done
    raise KeyringError(f"it did not answer within {seconds:g} s; it may have to be unlocked")
