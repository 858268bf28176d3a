"""Chats as things to put away, copy and carry elsewhere: archive, fork, export, import. Knows no file format.

What it changes in chats that are in use is committed while they are held, so that no turn begins meanwhile.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from anyio import to_thread
from msgspec.structs import replace

from parley_daemon.core.records import Chat, ForkOrigin
from parley_daemon.core.titles import fork_title
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.changeset import Plan
from parley_daemon.engine.chats.copying import copy_of, merged, renumbered
from parley_daemon.engine.chats.live import World
from parley_daemon.engine.chats.registry import Residents
from parley_daemon.engine.chats.snapshot import Change, ChatView
from parley_daemon.engine.errors import (
    ChatArchivedError,
    ChatBusyError,
    ChatNotFoundError,
    ConflictError,
    MessageNotFoundError,
)
from parley_daemon.ports.store import (
    AddMessage,
    PutChat,
    PutQueued,
    PutTurn,
    WholeChat,
    Write,
)


class Library:
    """The chats of an engine as a collection. `announce` tells those who watch it."""

    def __init__(
        self,
        world: World,
        chats: Residents,
        open_store: Callable[[], Awaitable[None]],
        announce: Callable[[ChatView, Change], None],
    ) -> None:
        self._world = world
        self._chats = chats
        self._open = open_store
        self._announce = announce

    # ------------------------------------------------------------------------- archive

    async def archive(self, chat_id: str, owner: str) -> ChatView:
        """Put a chat and all chats below it away, in one commit. Queued messages stay in their queues.

        Raises:
            ConflictError: it is archived already.
            ChatBusyError: it, or a chat below it, has a turn under way.
        """
        async with self._family(chat_id, owner) as family:
            if family[0].view.chat.archived:
                raise ConflictError("The chat is archived already.")
            for actor in family:
                _refuse_busy(actor, "The chat" if actor is family[0] else f"Its child {actor.id}")
            return await self._switch(family, archived=True)

    async def unarchive(self, chat_id: str, owner: str) -> ChatView:
        """Bring a chat and all chats below it back, in one commit.

        Raises:
            ConflictError: it is not archived, or the chat that it is a child of is archived.
        """
        async with self._family(chat_id, owner) as family:
            chat = family[0].view.chat
            if not chat.archived:
                raise ConflictError("The chat is not archived.")
            for above in (chat.parent_chat_id, chat.root_chat_id):
                if above is not None and await self._is_archived(above, owner):
                    raise ConflictError(f"The chat is below {above}, which is archived: unarchive that one.")
            return await self._switch(family, archived=False)

    @asynccontextmanager
    async def _family(self, chat_id: str, owner: str) -> AsyncGenerator[Sequence[ChatActor]]:
        """Hold a chat and all chats below it, the chat first.

        Whoever makes a child holds its parent: once all are held and none is new, none will be. All are held
        in the order of their ids, so that two calls at once do not wait for each other.
        """
        await self._open()
        while True:
            ids = {chat_id, *await self._world.store.descendants(chat_id)}
            async with AsyncExitStack() as stack:
                held: dict[str, ChatActor] = {}
                for id in sorted(ids):
                    try:
                        actor = await stack.enter_async_context(self._chats.using(id, owner))
                        await stack.enter_async_context(actor.locked())
                        held[id] = actor
                    except ChatNotFoundError:
                        if id == chat_id:
                            raise
                if ids.issuperset(await self._world.store.descendants(chat_id)):
                    yield [held.pop(chat_id), *held.values()]
                    return

    async def _switch(self, family: Sequence[ChatActor], *, archived: bool) -> ChatView:
        plans = [
            (actor, actor.changed(lambda chat: replace(chat, archived=archived)))
            for actor in family
            if actor.view.chat.archived != archived
        ]
        await self._carry_out(plans)
        return family[0].view

    async def _is_archived(self, chat_id: str, owner: str) -> bool:
        try:
            async with self._chats.using(chat_id, owner) as actor:
                return actor.view.chat.archived
        except ChatNotFoundError:
            return False

    # --------------------------------------------------------------------------- copies

    @asynccontextmanager
    async def under(
        self, parent_id: str | None, owner: str, *, archived: bool = False
    ) -> AsyncGenerator[Chat | None]:
        """Hold the parent of a chat that is being made, so that it is not archived or deleted meanwhile.

        Raises:
            ChatNotFoundError: there is none.
            ChatArchivedError: it is archived, and the child is not to be.
        """
        if parent_id is None:
            yield None
            return
        async with self._chats.using(parent_id, owner) as parent, parent.locked():
            if parent.view.chat.archived and not archived:
                raise ChatArchivedError("The parent chat is archived. Unarchive it to give it a child.")
            yield parent.view.chat

    async def fork(self, chat_id: str, owner: str, message_id: int | None) -> ChatView:
        """Copy the path from the root to a message (default: the active branch's last) into a new chat.

        Raises:
            MessageNotFoundError: the chat has no such message, or none at all.
        """
        async with self._chats.using(chat_id, owner) as actor:
            await actor.settle()
            source = actor.view.chat
        at = source.leaf_id if message_id is None else message_id
        path = (await self._world.store.path(chat_id, at)).messages
        if not path or at is None:
            which = "no messages yet: there is nothing to fork" if at is None else f"no message {at}"
            raise MessageNotFoundError(f"The chat has {which}.")
        now, fork_id = self._world.clock.now(), self._world.clock.new_id()
        messages = await to_thread.run_sync(renumbered, path, fork_id)
        fork = Chat(
            id=fork_id,
            owner=owner,
            created_at=now,
            updated_at=now,
            kind=source.kind,
            title=None if source.title is None else fork_title(source.title),
            title_is_automatic=source.title is None,
            model=source.model,
            system_prompt=source.system_prompt,
            settings=source.settings,
            context=source.context,
            forked_from=ForkOrigin(chat_id, at),
            metadata=source.metadata,
            last_message_id=len(messages),
            leaf_id=len(messages),
        )
        return await self._add(WholeChat(fork, messages))

    async def whole(self, chat_id: str, owner: str, *, most_bytes: int) -> WholeChat:
        """Return a chat with all that belongs to it, as it is on disk.

        Raises:
            ChatTooLargeError: it takes more than `most_bytes`.
        """
        async with self._chats.using(chat_id, owner) as actor:
            await actor.settle()
            whole = await self._world.store.whole(chat_id, most_bytes=most_bytes)
        if whole is None:
            raise ChatNotFoundError(f"There is no chat {chat_id}.")
        return whole

    async def bring_in(self, given: WholeChat, owner: str, *, merge: bool) -> ChatView:
        """Make a new chat that is like this one, or (`merge`) add what the chat with its id lacks.

        Raises:
            ConflictError: the chat to merge into has something else under the same id.
            ChatBusyError: the chat to merge into has a turn under way.
        """
        if merge:
            try:
                return await self._merge(given, owner)
            except ChatNotFoundError:
                pass  # it is not here, or not here any more: it comes as a new one
        await self._open()
        async with AsyncExitStack() as stack:
            parent, chat = None, given.chat
            try:
                held = self.under(chat.parent_chat_id, owner, archived=chat.archived)
                parent = await stack.enter_async_context(held)
            except (ChatNotFoundError, ChatArchivedError):
                pass  # it stands alone
            new_id = self._world.clock.new_id
            return await self._add(await to_thread.run_sync(copy_of, given, owner, parent, new_id))

    async def _merge(self, given: WholeChat, owner: str) -> ChatView:
        async with self._chats.using(given.chat.id, owner) as actor:
            await actor.settle()
            async with actor.locked():
                if actor.engaged:
                    raise ChatBusyError("The chat has a turn under way. Import into it when that has ended.")
                plan = await self._merging(actor, given)
                if plan is not None:
                    await self._carry_out([(actor, plan)])
                return actor.view

    async def _merging(self, actor: ChatActor, given: WholeChat) -> Plan | None:
        mine = await self._world.store.whole(actor.id)
        if mine is None:
            raise ChatNotFoundError(f"There is no chat {actor.id}.")
        news = await to_thread.run_sync(merged, mine, given, self._world.clock.new_id)
        if news is None:
            return None
        plan = actor.changed(news.change)
        plan.writes += [*map(AddMessage, news.messages), *map(PutTurn, news.turns)]
        plan.branch, plan.twigs = news.branch, news.twigs
        plan.events[:0] = news.events
        return plan

    # --------------------------------------------------------------------- carrying out

    async def _add(self, whole: WholeChat) -> ChatView:
        writes: list[Write] = [PutChat(whole.chat)]
        writes += map(AddMessage, whole.messages)
        writes += map(PutTurn, whole.turns)
        writes += map(PutQueued, whole.queue)
        with anyio.CancelScope(shield=True):  # a caller who gives up now has a chat or has none
            await self._world.store.commit(*writes)
        view = ChatView(whole.chat, whole.chat.status, whole.chat.last_seq)
        self._announce(view, "created")
        return view

    async def _carry_out(self, plans: Sequence[tuple[ChatActor, Plan]]) -> None:
        writes = [write for actor, plan in plans for write in actor.unsaved(plan)]
        with anyio.CancelScope(shield=True):  # memory must not stay behind the disk
            await self._world.store.commit(*writes)
        for actor, plan in plans:
            actor.saved(plan)


def _refuse_busy(actor: ChatActor, which: str) -> None:
    if actor.engaged:
        raise ChatBusyError(f"{which} has a turn under way. Wait for its end, or interrupt it.")
