"""What is stored of the policy of each owner: rules, and which files of projects are trusted.

It is read once for each owner and kept here. Each change is committed before it counts.
"""

from collections.abc import Awaitable, Callable

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.rules import Rule
from parley_daemon.engine.errors import LimitReachedError
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.store import Store
from parley_daemon.ports.store_writes import DropRule, DropTrust, PutRule, PutTrust

MAX_RULES = 1_000
"""Rules that an owner can store. Each call is compared with all of them."""

MAX_TRUSTED = 10_000
"""Files of projects that an owner can trust."""


class Owned(msgspec.Struct):
    """What is stored of one owner. `version` changes with each change."""

    rules: dict[str, Rule]
    trusted: frozenset[tuple[str, str]]
    version: int = 0


class PolicyState:
    """The stored rules and trust of all owners. `open_store` opens the store.

    A change holds the lock until it is committed.
    """

    def __init__(self, store: Store, open_store: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._store = store
        self._open_store = open_store
        self._clock = clock
        self._lock = anyio.Lock()
        self._owned: dict[str, Owned] = {}

    async def of(self, owner: str) -> Owned:
        """Return what is stored of an owner. Do not change it.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        owned = self._owned.get(owner)
        if owned is not None:
            return owned
        async with self._lock:
            return self._owned.get(owner) or await self._read(owner)

    async def refresh(self, owner: str) -> Owned:
        """Return the same as of now: rules of chats are deleted with their chats.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        async with self._lock:
            return await self._read(owner)

    async def add(self, owner: str, rule: Rule) -> Rule:
        """Store a rule under a new id, and return it.

        Raises:
            StoreUnavailableError: it could not be committed; nothing has changed.
            LimitReachedError: the owner has MAX_RULES rules.
        """
        owned = await self.of(owner)
        if len(owned.rules) >= MAX_RULES:
            owned = await self.refresh(owner)
        if len(owned.rules) >= MAX_RULES:
            raise LimitReachedError(
                f"There are {MAX_RULES} permission rules already. Remove some that are not needed.", MAX_RULES
            )
        stored = replace(rule, id=self._clock.new_id())
        with anyio.CancelScope(shield=True):
            async with self._lock:
                await self._store.commit(PutRule(owner, stored))
                owned = self._owned[owner]
                owned.rules[stored.id] = stored
                owned.version += 1
        return stored

    async def remove(self, owner: str, rule_id: str) -> bool:
        """Delete a rule; return whether there was one.

        Raises:
            StoreUnavailableError: it could not be committed; nothing has changed.
        """
        owned = await self.of(owner)
        with anyio.CancelScope(shield=True):
            async with self._lock:
                if rule_id not in owned.rules:
                    return False
                await self._store.commit(DropRule(rule_id))
                del self._owned[owner].rules[rule_id]
                self._owned[owner].version += 1
        return True

    async def set_trust(self, owner: str, root: str, hash: str, *, trusted: bool) -> bool:
        """Record whether an owner trusts a file; return whether that is a change.

        Raises:
            StoreUnavailableError: it could not be committed; nothing has changed.
            LimitReachedError: the owner trusts MAX_TRUSTED files.
        """
        await self.of(owner)
        with anyio.CancelScope(shield=True):
            async with self._lock:
                owned = self._owned[owner]
                if ((root, hash) in owned.trusted) == trusted:
                    return False
                if trusted and len(owned.trusted) >= MAX_TRUSTED:
                    raise LimitReachedError(
                        f"{MAX_TRUSTED} files are trusted already. Withdraw the trust of old ones.",
                        MAX_TRUSTED,
                    )
                put = PutTrust if trusted else DropTrust
                await self._store.commit(put(owner, root, hash))
                change = {(root, hash)}
                owned.trusted = owned.trusted | change if trusted else owned.trusted - change
                owned.version += 1
        return True

    async def _read(self, owner: str) -> Owned:
        await self._open_store()
        found = await self._store.policy(owner)
        before = self._owned.get(owner)
        owned = Owned({one.id: one for one in found.rules}, found.trusted)
        owned.version = 0 if before is None else before.version + 1
        self._owned[owner] = owned
        return owned
