"""Changing several chats in one commit: a chat with all chats below it.

Whoever creates a child holds the lock of its parent. So once the locks of a chat and of all chats below it
are held, and the store knows of no other, no child appears until they are released. Locks are taken in the
order of the chats' ids, so that two calls at the same time do not wait for each other.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.changeset import Changeset
from parley_daemon.engine.collection.registry import ChatRegistry
from parley_daemon.engine.errors import ChatNotFoundError
from parley_daemon.ports.store import Store


@asynccontextmanager
async def lock_family(
    registry: ChatRegistry,
    find_below: Callable[[str], Awaitable[Sequence[str]]],
    chat_id: str,
    owner: str,
) -> AsyncGenerator[Sequence[ChatActor]]:
    """Hold the locks of a chat and of chats below it while the block runs; the chat comes first.

    `find_below` returns the ids of the chats below one that belong to its family.

    Raises:
        ChatNotFoundError: there is no such chat.
    """
    while True:
        ids = {chat_id, *await find_below(chat_id)}
        async with AsyncExitStack() as stack:
            family: dict[str, ChatActor] = {}
            for id in sorted(ids):
                try:
                    chat = await stack.enter_async_context(registry.open(id, owner))
                    await stack.enter_async_context(chat.hold_lock())
                    family[id] = chat
                except ChatNotFoundError:
                    if id == chat_id:
                        raise
            if ids.issuperset(await find_below(chat_id)):
                yield [family.pop(chat_id), *family.values()]
                return


async def commit_together(store: Store, changesets: Sequence[tuple[ChatActor, Changeset]]) -> None:
    """Commit changesets of several chats, whose locks are held, in one transaction; then apply them."""
    writes = [write for chat, changeset in changesets for write in chat.executor.all_writes(changeset)]
    with anyio.CancelScope(shield=True):  # the state in memory must not stay behind the disk
        await store.commit(*writes)
    for chat, changeset in changesets:
        chat.executor.apply(changeset)
