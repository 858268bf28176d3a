"""The permission rules of all owners: which there are, which count for a chat, and changes of them.

Theory of operation. Rules come from three places: stored ones, which people added or answered "always" to,
those of the configuration file, and those of projects. The stored rules of an owner are read once and kept
here; each change is committed before it counts. The core decides with them (`core/agents/permissions`), so a
call costs no read of the store.
"""

from collections.abc import Awaitable, Callable

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.records import Chat
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.store import Store
from parley_daemon.ports.store_writes import PutRule
from parley_daemon.ports.tools import Workspace


class _Owned(msgspec.Struct):
    """What is stored of one owner."""

    rules: dict[str, Rule]
    trusted: frozenset[tuple[str, str]]


class Permissions:
    """The permission rules. `open_store` opens the store.

    A change holds the lock from reading the present state until it is committed.
    """

    def __init__(self, store: Store, open_store: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._store = store
        self._open_store = open_store
        self._clock = clock
        self._lock = anyio.Lock()
        self._owned: dict[str, _Owned] = {}

    async def rules(self, chat: Chat, workspace: Workspace) -> tuple[Rule, ...]:
        """Return the rules to decide with on the calls of a chat, in any order. Cheap enough for each call.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        owned = self._owned.get(chat.owner) or await self._load(chat.owner)
        return tuple([one for one in owned.rules.values() if one.scope.chat_id in (None, chat.id)])

    async def remember(self, chat: Chat, offered: Rule, request_id: str) -> Rule:
        """Store a rule that an answer has chosen of those that the request offered; return it with its id.

        Raises:
            StoreUnavailableError: it could not be committed; nothing has changed.
        """
        return await self._put(chat.owner, replace(offered, source=f"request:{request_id}"))

    async def _put(self, owner: str, rule: Rule) -> Rule:
        stored = replace(rule, id=self._clock.new_id())
        owned = await self._load(owner)
        with anyio.CancelScope(shield=True):
            async with self._lock:
                await self._store.commit(PutRule(owner, stored))
                owned.rules[stored.id] = stored
        return stored

    async def _load(self, owner: str) -> _Owned:
        async with self._lock:
            owned = self._owned.get(owner)
            if owned is None:
                await self._open_store()
                found = await self._store.policy(owner)
                owned = _Owned({one.id: one for one in found.rules}, found.trusted)
                self._owned[owner] = owned
            return owned
