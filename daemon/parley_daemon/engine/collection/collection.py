"""The chats of one owner: open, create, list, search, archive, fork, export, import."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import anyio
from anyio import to_thread
from msgspec.structs import replace

from parley_daemon.core.records import Chat, ForkOrigin, Message, ModelSettings
from parley_daemon.core.titles import fork_title
from parley_daemon.engine.chats.acceptance import Acceptance, Draft
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.changeset import Changeset
from parley_daemon.engine.chats.host import ChatServices
from parley_daemon.engine.chats.snapshot import ChatView
from parley_daemon.engine.collection.copying import copy_with_new_ids, find_missing, renumber
from parley_daemon.engine.collection.families import commit_together, lock_family
from parley_daemon.engine.collection.jobs import Jobs
from parley_daemon.engine.collection.new_chat import NewChat
from parley_daemon.engine.collection.registry import ChatRegistry
from parley_daemon.engine.collection.undo import Undo
from parley_daemon.engine.errors import (
    ChatArchivedError,
    ChatBusyError,
    ChatNotFoundError,
    ConflictError,
    MessageNotFoundError,
)
from parley_daemon.engine.turns.model_selection import find_model
from parley_daemon.ports.store import ChatQuery, SearchPage, StoredChat, WholeChat
from parley_daemon.ports.store_writes import AddMessage, NameCreation, PutChat, PutQueued, PutTurn, Write

Created = tuple[ChatView, Acceptance]
"""A new chat, and what happened to its first message."""


class ChatCollection:
    """All chats of one owner. `open_store` opens the store if it is not open yet.

    `undo` takes back what tools changed in files. `jobs` are the commands in the background.
    """

    def __init__(
        self,
        owner: str,
        services: ChatServices,
        registry: ChatRegistry,
        open_store: Callable[[], Awaitable[None]],
    ) -> None:
        self.owner = owner
        self._services = services
        self._store = services.store
        self._registry = registry
        self._open_store = open_store
        self.undo = Undo(owner, services, registry)
        self.jobs = Jobs(owner, services, registry)

    # ----------------------------------------------------------------------- open, find

    def open(self, chat_id: str) -> AbstractAsyncContextManager[ChatActor]:
        """Keep a chat in memory while the block runs.

        Raises:
            ChatNotFoundError: there is no such chat, or it belongs to somebody else.
            StoreUnavailableError: it cannot be loaded.
        """
        return self._registry.open(chat_id, self.owner)

    def get_loaded(self, chat_id: str) -> ChatActor | None:
        """Return a chat if it is in memory. A chat that somebody listens to always is."""
        chat = self._registry.get(chat_id)
        return None if chat is None or chat.view.chat.owner != self.owner else chat

    async def list(self, query: ChatQuery) -> tuple[Sequence[ChatView], str | None, int]:
        """Return a page of chats, the cursor of the next page, and the number of all matching chats."""
        await self._open_store()
        page = await self._store.chats(query)
        return [self._current_view(chat) for chat in page.chats], page.next_cursor, page.total

    def _current_view(self, chat: Chat) -> ChatView:
        loaded = self._registry.get(chat.id)
        return loaded.view if loaded else ChatView(chat, chat.status, chat.last_seq)

    async def ids(self) -> Sequence[str]:
        """Return the ids of all chats."""
        await self._open_store()
        return await self._store.chat_ids(self.owner)

    async def search(self, query: str, *, cursor: str | None, limit: int) -> SearchPage:
        """Return a page of the messages and titles that match (see Store.search)."""
        await self._open_store()
        return await self._store.search(self.owner, query, cursor=cursor, limit=limit)

    # --------------------------------------------------------------------------- create

    async def create(self, new: NewChat) -> ChatView:
        """Create a chat. It is durable when this returns.

        Raises:
            ChatNotFoundError, ChatArchivedError: the parent does not exist, or is archived.
            NotLocalError, UnknownModelError, ProviderUnavailableError: see `find_model`.
        """
        new = await self._check_new(new)
        async with self._lock_parent(new.parent_chat_id) as parent:
            chat, messages = self._new_records(new, parent)
            with anyio.CancelScope(shield=True):  # a caller that is cancelled now has a chat or has none
                await self._store.commit(PutChat(chat), *map(AddMessage, messages))
            actor = ChatActor(StoredChat(chat, ()), self._services, [*messages])
        self._announce_new(actor)
        self._services.host.warm_model(chat.model)
        return actor.view

    async def create_with_message(self, new: NewChat, draft: Draft) -> Created:
        """Create a chat and send its first message, in one commit.

        Raises:
            NoDefaultModelError: there is no model to answer.
            ShuttingDownError: the daemon is stopping.
            and what `create` raises.
        """
        new = await self._check_new(new)
        await self._open_store()
        created: list[Created] = []
        async with self._lock_parent(new.parent_chat_id) as parent:
            chat, messages = self._new_records(new, parent)
            actor = ChatActor(StoredChat(chat, ()), self._services, [*messages])
            actor.create_with(PutChat(chat), *map(AddMessage, messages))
            if draft.client_message_id is not None:
                actor.create_with(NameCreation(self.owner, draft.client_message_id, chat.id))

            def on_accepted(accepted: Acceptance) -> None:
                self._announce_new(actor)
                created.append((actor.view, accepted))

            await actor.send(draft, "queue", on_accepted)
        return created[0]

    @asynccontextmanager
    async def creating(self, creation_id: str | None) -> AsyncGenerator[Created | None]:
        """Keep other requests with the same id waiting while the block creates a chat with that id.

        Yield the chat that was created with this id before, with its first message. None: there is none, or
        no id.
        """
        if creation_id is None:
            yield None
            return
        await self._open_store()
        async with self._registry.creation_lock(self.owner, creation_id):
            yield await self._find_created(creation_id)

    async def _find_created(self, creation_id: str) -> Created | None:
        chat_id = await self._store.find_created(self.owner, creation_id)
        if chat_id is None:
            return None
        try:
            async with self.open(chat_id) as chat:
                accepted = await chat.find_sent(creation_id)
                return None if accepted is None else (chat.view, accepted)
        except ChatNotFoundError:  # it was deleted just now
            return None

    async def _check_new(self, new: NewChat) -> NewChat:
        """Return the chat with the full name of its model, if it names one."""
        await self._services.host.load_configuration(new.model)
        if new.model is None:
            return new
        model = find_model(self._services.catalogue, new.model, new.settings or ModelSettings())
        return replace(new, model=model.id)

    def _new_records(self, new: NewChat, parent: Chat | None) -> tuple[Chat, Sequence[Message]]:
        clock = self._services.clock
        model = new.model or self._services.catalogue.default_model
        return new.to_records(clock.new_id(), self.owner, clock.now(), model, parent)

    def _announce_new(self, actor: ChatActor) -> None:
        self._registry.add(actor)
        self._services.host.chat_changed(actor.view, "created")

    @asynccontextmanager
    async def _lock_parent(
        self, parent_id: str | None, *, may_be_archived: bool = False
    ) -> AsyncGenerator[Chat | None]:
        """Hold the lock of a new chat's parent, so that it is not archived or deleted meanwhile.

        Raises:
            ChatNotFoundError: there is no such parent.
            ChatArchivedError: it is archived.
        """
        if parent_id is None:
            yield None
            return
        async with self.open(parent_id) as parent, parent.hold_lock():
            if parent.view.chat.archived and not may_be_archived:
                raise ChatArchivedError("The parent chat is archived. Unarchive it to give it a child.")
            yield parent.view.chat

    # -------------------------------------------------------------------------- archive

    async def archive(self, chat_id: str) -> ChatView:
        """Archive a chat and all chats below it, in one commit. Queued messages stay in their queues.

        Raises:
            ConflictError: the chat is archived already.
            ChatBusyError: the chat, or a chat below it, has a turn under way.
        """
        await self._open_store()
        async with lock_family(self._registry, self._store, chat_id, self.owner) as family:
            if family[0].view.chat.archived:
                raise ConflictError("The chat is archived already.")
            for chat in family:
                if chat.is_busy_or_held:
                    which = "The chat" if chat is family[0] else f"Its child {chat.id}"
                    raise ChatBusyError(f"{which} has a turn under way. Wait for its end, or interrupt it.")
            return await self._set_archived(family, archived=True)

    async def unarchive(self, chat_id: str) -> ChatView:
        """Unarchive a chat and all chats below it, in one commit.

        Raises:
            ConflictError: the chat is not archived, or a chat above it is archived.
        """
        await self._open_store()
        async with lock_family(self._registry, self._store, chat_id, self.owner) as family:
            chat = family[0].view.chat
            if not chat.archived:
                raise ConflictError("The chat is not archived.")
            for above in (chat.parent_chat_id, chat.root_chat_id):
                if above is not None and await self._is_archived(above):
                    raise ConflictError(f"The chat is below {above}, which is archived. Unarchive that one.")
            return await self._set_archived(family, archived=False)

    async def _set_archived(self, family: Sequence[ChatActor], *, archived: bool) -> ChatView:
        changesets = [
            (chat, chat.executor.plan_update(lambda record: replace(record, archived=archived)))
            for chat in family
            if chat.view.chat.archived != archived
        ]
        await commit_together(self._store, changesets)
        return family[0].view

    async def _is_archived(self, chat_id: str) -> bool:
        try:
            async with self.open(chat_id) as chat:
                return chat.view.chat.archived
        except ChatNotFoundError:
            return False

    # --------------------------------------------------------------------------- copies

    async def fork(self, chat_id: str, message_id: int | None) -> ChatView:
        """Copy the path from the root to a message (None: the active branch's last) into a new chat.

        Raises:
            MessageNotFoundError: the chat has no such message, or no messages.
        """
        async with self.open(chat_id) as chat:
            await chat.save_unsaved()
            source = chat.view.chat
        leaf_id = source.leaf_id if message_id is None else message_id
        path = (await self._store.path(chat_id, leaf_id)).messages
        if not path or leaf_id is None:
            missing = (
                "no messages yet: there is nothing to fork" if leaf_id is None else f"no message {leaf_id}"
            )
            raise MessageNotFoundError(f"The chat has {missing}.")
        now, fork_id = self._services.clock.now(), self._services.clock.new_id()
        messages = await to_thread.run_sync(renumber, path, fork_id)
        fork = Chat(
            id=fork_id,
            owner=self.owner,
            created_at=now,
            updated_at=now,
            kind=source.kind,
            title=None if source.title is None else fork_title(source.title),
            title_is_automatic=source.title is None,
            model=source.model,
            system_prompt=source.system_prompt,
            settings=source.settings,
            context=source.context,
            forked_from=ForkOrigin(chat_id, leaf_id),
            metadata=source.metadata,
            last_message_id=len(messages),
            leaf_id=len(messages),
            found_tools=source.found_tools,
        )
        return await self._add(WholeChat(fork, messages))

    async def read_whole(self, chat_id: str, *, max_bytes: int) -> WholeChat:
        """Return a chat with all that belongs to it, as it is on disk.

        Raises:
            ChatTooLargeError: it takes more than `max_bytes`.
        """
        async with self.open(chat_id) as chat:
            await chat.save_unsaved()
            whole = await self._store.whole_chat(chat_id, max_bytes=max_bytes)
        if whole is None:
            raise ChatNotFoundError(f"There is no chat {chat_id}.")
        return whole

    async def import_chat(self, given: WholeChat, *, merge: bool) -> ChatView:
        """Create a copy of a chat, or (`merge`) add what the chat with the same id lacks.

        Without a chat of that id, `merge` creates a copy, too. The copy keeps its parent if that exists here.

        Raises:
            ConflictError: the chat to merge into has something else under the same id.
            ChatBusyError: the chat to merge into has a turn under way.
        """
        if merge:
            try:
                return await self._merge(given)
            except ChatNotFoundError:
                pass
        await self._open_store()
        async with AsyncExitStack() as stack:
            parent, chat = None, given.chat
            try:
                locked = self._lock_parent(chat.parent_chat_id, may_be_archived=chat.archived)
                parent = await stack.enter_async_context(locked)
            except (ChatNotFoundError, ChatArchivedError):
                pass
            new_id = self._services.clock.new_id
            copy = await to_thread.run_sync(copy_with_new_ids, given, self.owner, parent, new_id)
            return await self._add(copy)

    async def _merge(self, given: WholeChat) -> ChatView:
        async with self.open(given.chat.id) as chat:
            await chat.save_unsaved()
            async with chat.hold_lock():
                if chat.is_busy_or_held:
                    raise ChatBusyError("The chat has a turn under way. Import into it when that has ended.")
                changeset = await self._plan_merge(chat, given)
                if changeset is not None:
                    await commit_together(self._store, [(chat, changeset)])
                return chat.view

    async def _plan_merge(self, chat: ChatActor, given: WholeChat) -> Changeset | None:
        own = await self._store.whole_chat(chat.id)
        if own is None:
            raise ChatNotFoundError(f"There is no chat {chat.id}.")
        merge = await to_thread.run_sync(find_missing, own, given, self._services.clock.new_id)
        if merge is None:
            return None
        changeset = chat.executor.plan_update(merge.update)
        changeset.writes += [*map(AddMessage, merge.messages), *map(PutTurn, merge.turns)]
        changeset.branch, changeset.leaf_children = merge.branch, merge.leaf_children
        changeset.events[:0] = merge.events
        return changeset

    async def _add(self, whole: WholeChat) -> ChatView:
        writes: list[Write] = [PutChat(whole.chat)]
        writes += map(AddMessage, whole.messages)
        writes += map(PutTurn, whole.turns)
        writes += map(PutQueued, whole.queue)
        with anyio.CancelScope(shield=True):  # a caller that is cancelled now has a chat or has none
            await self._store.commit(*writes)
        view = ChatView(whole.chat, whole.chat.status, whole.chat.last_seq)
        self._services.host.chat_changed(view, "created")
        return view
