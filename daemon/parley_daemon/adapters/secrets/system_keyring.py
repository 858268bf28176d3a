"""The system's keyring, by the package `keyring` if it is installed (the extra of that name).

It is loaded and asked in threads of its own, which end with the process: it may wait for a person who has to
unlock it. Says of its failures only their kind, since their words may quote anything.
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
"""How long it may take: somebody may have to find the password first."""


class KeyringError(Exception):
    """The keyring did not do it; the message is half a sentence."""


class _Backend(Protocol):
    """What is used of the package."""

    @property
    def priority(self) -> float: ...

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


class SystemKeyring:
    """The keys of one data directory."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = data_dir

    async def read(self, names: Sequence[str]) -> dict[str, str]:
        """Return the keys of these providers; without a keyring there are none.

        Raises:
            KeyringError: it does not give them.
        """

        def read() -> dict[str, str]:
            keyring = _keyring()
            if keyring is None:
                return {}
            found = {name: keyring.get_password(SERVICE, self._account(name)) for name in names}
            return {name: key for name, key in found.items() if key}

        return await _in_thread(read, READ_SECONDS)

    async def write(self, name: str, key: str | None) -> bool:
        """Keep this key, or forget the one that there is; False: there is no keyring.

        Raises:
            KeyringError: it does not take it.
        """

        def write() -> bool:
            keyring = _keyring()
            if keyring is None:
                return False
            account = self._account(name)
            if key is not None:
                keyring.set_password(SERVICE, account, key)
                return keyring.get_password(SERVICE, account) == key
            if keyring.get_password(SERVICE, account) is not None:
                keyring.delete_password(SERVICE, account)
            return True

        return await _in_thread(write, WRITE_SECONDS)

    def _account(self, name: str) -> str:
        return f"{name} ({self._data_dir})"


def _keyring() -> _Backend | None:
    """Return the keyring to use; None: the package is not installed, or finds none that is worth it."""
    try:
        package: Any = importlib.import_module("keyring")
    except ImportError:
        return None
    found: _Backend = package.get_keyring()
    return found if found.priority >= 1 else None


async def _in_thread(work: Callable[[], T], seconds: float) -> T:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[Any], None], outcome: object) -> None:
        if not done.done():
            settle(outcome)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], object] = done.set_result, work()
        except Exception as error:  # noqa: BLE001 - the boundary to somebody else's package
            log.debug("the keyring failed with %s", type(error).__name__)
            outcome = done.set_exception, KeyringError(f"it failed ({type(error).__name__})")
        try:
            loop.call_soon_threadsafe(tell, *outcome)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=run, name="keyring", daemon=True).start()
    with anyio.move_on_after(seconds):
        return await done
    raise KeyringError(f"it did not answer within {seconds:g} s; it may have to be unlocked")
