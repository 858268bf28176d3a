"""Keeps what chats know of their child chats up to date (see `chats/family`).

Theory of operation. Whenever something of a child has changed, the engine says so (`child_changed`). A task
for its parent then takes the child's picture to the parent's actor. It takes one lock at a time: a child
never waits for its parent. Changes that come while the task is busy are taken together, so only the newest
picture of each child counts. A parent that is not in memory is loaded, with the pictures of its children as
they are then (`load_children`); so nothing of this has to survive a restart.
"""

import logging
from collections.abc import Sequence
from functools import partial

import anyio

from parley_daemon.core.children import NO_CHILDREN, Child, Children, child_of
from parley_daemon.core.records import Chat
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.host import ChatHost
from parley_daemon.engine.collection.registry import ChatRegistry
from parley_daemon.engine.errors import ChatNotFoundError, EngineError
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.ports.store import Store, StoreUnavailableError

log = logging.getLogger(__name__)

MAX_DEPTH = 16
"""How many levels of chats below a chat are looked at. Tools make one; clients can make more."""


class ChatTree:
    """The links between the chats of an engine and their children of kind "agent"."""

    def __init__(self, registry: ChatRegistry, store: Store, tasks: BackgroundTasks, host: ChatHost) -> None:
        self._registry = registry
        self._store = store
        self._tasks = tasks
        self._host = host
        self._changed: dict[str, dict[str, None]] = {}  # children that have changed, by their parents

    # ------------------------------------------------------------------------ the pictures

    async def load_children(self, chat: Chat, depth: int = 0) -> Children:
        """Return the children of a chat as they are now. A chat that never had one costs nothing.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        if not chat.child_count or depth >= MAX_DEPTH:
            return NO_CHILDREN
        members = [await self._picture(one, depth) for one in await self._store.child_chats(chat.id)]
        return Children(tuple(members))

    async def _picture(self, chat: Chat, depth: int) -> Child:
        loaded = self._registry.get(chat.id)
        if loaded is not None:
            return loaded.family.picture
        below = await self.load_children(chat, depth + 1)
        return child_of(chat, chat.status, below.usage_tree(chat.usage), below.requests)

    def child_changed(self, chat: Chat) -> None:
        """Note that something of a child has changed, or that it was deleted. Returns at once."""
        parent_id = chat.parent_chat_id
        if parent_id is None:
            return
        changed = self._changed.get(parent_id)
        if changed is None:
            self._changed[parent_id] = {chat.id: None}
            self._tasks.start(partial(self._tell_parent, parent_id))
        else:
            changed[chat.id] = None

    async def _tell_parent(self, parent_id: str) -> None:
        changed = self._changed[parent_id]
        try:
            while changed:
                children = list(changed)
                changed.clear()
                is_new = self._registry.get(parent_id) is None
                async with self._registry.open(parent_id) as parent:
                    for chat_id in children:
                        await self._take(parent, chat_id)
                    if is_new:  # it was loaded with the new pictures
                        self._host.chat_changed(parent.view, "changed")
        except ChatNotFoundError:
            pass  # the parent was deleted
        except StoreUnavailableError as error:
            log.warning("chat %s does not know of its children: %s", parent_id, error)
        finally:
            del self._changed[parent_id]

    async def _take(self, parent: ChatActor, chat_id: str) -> None:
        child = self._registry.get(chat_id)
        if child is not None and not child.is_deleted:
            await parent.family.take(child.family.picture, child.family.resolved)
            return
        stored = None if child is not None else await self._store.chat(chat_id)
        if stored is None:
            await parent.family.drop(chat_id)
        else:
            await parent.family.take(await self._picture(stored.chat, 1), {})

    # ------------------------------------------------------------------------- the chats

    async def find_below(self, chat_id: str) -> Sequence[str]:
        """Return the ids of all chats of kind "agent" below a chat.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        found: list[str] = []
        level = [chat_id]
        while level:
            level = [one.id for above in level for one in await self._store.child_chats(above)]
            found += level
        return found

    async def above(self, chat: Chat) -> Sequence[Chat] | None:
        """Return the chats that a chat of kind "agent" works for, its parent first, as they are now.

        None: one of them is gone.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        found: list[Chat] = []
        while chat.is_delegated and chat.parent_chat_id is not None:
            loaded = self._registry.get(chat.parent_chat_id)
            stored = None if loaded is not None else await self._store.chat(chat.parent_chat_id)
            if loaded is not None and not loaded.is_deleted:
                chat = loaded.view.chat
            elif stored is not None:
                chat = stored.chat
            else:
                return None
            found.append(chat)
        return found

    async def stop_children(self, chat_id: str, *, background: bool = False) -> None:
        """Interrupt the turns of a chat's children; with `background`, also of those in the background.

        Does not wait for their ends.
        """
        parent = self._registry.get(chat_id)
        active = () if parent is None else parent.family.children.active
        async with anyio.create_task_group() as tasks:
            for child in active:
                if background or not child.background:
                    tasks.start_soon(self._stop, child.chat_id)

    async def _stop(self, chat_id: str) -> None:
        try:
            async with self._registry.open(chat_id) as child:
                run = await child.interrupt()
                if run is not None and child.family.is_steered:
                    self._tasks.start(partial(self._stop_what_follows, chat_id, run))
        except (EngineError, StoreUnavailableError) as error:
            log.warning("the child chat %s goes on: %s", chat_id, error)

    async def _stop_what_follows(self, chat_id: str, run: TurnRun) -> None:
        """Stop the turn that a message to a stopped turn gets for itself."""
        await run.done.wait()
        await self._stop(chat_id)
