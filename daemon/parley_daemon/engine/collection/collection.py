"""The chats of one owner: open, create, list, search, archive, fork, export, import."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

import anyio
from anyio import to_thread
from msgspec.structs import replace

from parley_daemon.core.children import Child, child_of
from parley_daemon.core.records import Chat, ForkOrigin, Message, ModelSettings
from parley_daemon.core.titles import fork_title
from parley_daemon.engine.chats.acceptance import Acceptance, Draft
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.chats.changeset import Changeset
from parley_daemon.engine.chats.feed.snapshot import ChatView
from parley_daemon.engine.chats.host import ChatServices
from parley_daemon.engine.collection.copying import copy_with_new_ids, find_missing, renumber
from parley_daemon.engine.collection.families import commit_together, lock_family
from parley_daemon.engine.collection.jobs import Jobs
from parley_daemon.engine.collection.new_chat import NewChat
from parley_daemon.engine.collection.registry import ChatRegistry
from parley_daemon.engine.collection.tree import ChatTree
from parley_daemon.engine.collection.undo import Undo
from parley_daemon.engine.errors import (
    ChatArchivedError,
    ChatBusyError,
    ChatNotFoundError,
    ConflictError,
    MessageNotFoundError,
)
from parley_daemon.engine.turns.calls.model_selection import find_model
from parley_daemon.ports.store import ChatQuery, SearchPage, StoredChat, WholeChat
from parley_daemon.ports.store_writes import (
    AddMessage,
    DeleteChat,
    NameCreation,
    PutChat,
    PutQueued,
    PutTurn,
    Write,
)

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
        tree: ChatTree,
    ) -> None:
        self.owner = owner
        self._services = services
        self._store = services.store
        self._registry = registry
        self._open_store = open_store
        self._tree = tree
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

    def folders_in_use(self) -> Sequence[str]:
        """Return the repositories of the chats that are in memory, as URIs."""
        chats = [one.view.chat for one in self._registry.all()]
        return [uri for chat in chats if chat.owner == self.owner for uri in chat.context.repositories]

    async def list(self, query: ChatQuery) -> tuple[Sequence[ChatView], str | None, int]:
        """Return a page of chats, the cursor of the next page, and the number of all matching chats."""
        await self._open_store()
        page = await self._store.chats(query)
        return [await self._current_view(chat) for chat in page.chats], page.next_cursor, page.total

    async def _current_view(self, chat: Chat) -> ChatView:
        loaded = self._registry.get(chat.id)
        if loaded is not None:
            return loaded.view
        if not chat.child_count:
            return ChatView(chat, chat.status, chat.last_seq)
        children = await self._tree.load_children(chat)
        usage_tree = children.usage_tree(chat.usage)
        return ChatView(chat, chat.status, chat.last_seq, len(children.requests), usage_tree)

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
            actor = ChatActor(StoredChat(chat, ()), self._services, [*messages])
            joining = _joining(parent, chat, actor.family.picture)
            with anyio.CancelScope(shield=True):  # a caller that is cancelled now has a chat or has none
                await self._store.commit(PutChat(chat), *map(AddMessage, messages), *_writes(joining))
            self._announce_new(actor)
            _apply(joining)
        self._services.host.warm_model(chat.model)
        return actor.view

    async def create_with_message(
        self, new: NewChat, draft: Draft, check_parent: Callable[[ChatActor], None] | None = None
    ) -> Created:
        """Create a chat and send its first message, in one commit.

        `check_parent` is called with the lock of the parent held, and raises if it may have no child.

        Raises:
            NoDefaultModelError: there is no model to answer.
            ShuttingDownError: the daemon is stopping.
            and what `create` raises.
        """
        new = await self._check_new(new)
        await self._open_store()
        created: list[Created] = []
        async with self._lock_parent(new.parent_chat_id) as parent:
            if parent is not None and check_parent is not None:
                check_parent(parent)
            chat, messages = self._new_records(new, parent)
            actor = ChatActor(StoredChat(chat, ()), self._services, [*messages])
            joining = _joining(parent, chat, replace(actor.family.picture, status="running"))
            actor.create_with(PutChat(chat), *map(AddMessage, messages), *_writes(joining))
            if draft.client_message_id is not None:
                actor.create_with(NameCreation(self.owner, draft.client_message_id, chat.id))

            def on_accepted(accepted: Acceptance) -> None:
                self._announce_new(actor)
                _apply(joining)
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

    def _new_records(self, new: NewChat, parent: ChatActor | None) -> tuple[Chat, Sequence[Message]]:
        clock = self._services.clock
        model = new.model or self._services.catalogue.default_model
        above = None if parent is None else parent.view.chat
        return new.to_records(clock.new_id(), self.owner, clock.now(), model, above)

    def _announce_new(self, actor: ChatActor) -> None:
        self._registry.add(actor)
        self._services.host.chat_changed(actor.view, "created")

    @asynccontextmanager
    async def _lock_parent(
        self, parent_id: str | None, *, may_be_archived: bool = False
    ) -> AsyncGenerator[ChatActor | None]:
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
            yield parent

    # -------------------------------------------------------------------------- archive

    async def archive(self, chat_id: str) -> ChatView:
        """Archive a chat and all chats below it, in one commit. Queued messages stay in their queues.

        Raises:
            ConflictError: the chat is archived already.
            ChatBusyError: the chat, or a chat below it, has a turn under way.
        """
        await self._open_store()
        async with lock_family(self._registry, self._store.descendants, chat_id, self.owner) as family:
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
        async with lock_family(self._registry, self._store.descendants, chat_id, self.owner) as family:
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

    # ----------------------------------------------------------------- delete, stop, answer

    async def delete(self, chat_id: str) -> Sequence[str]:
        """Delete a chat with its children of kind "agent", in one commit; return the ids of all of them.

        Their turns are ended first. Other chats below it stay.

        Raises:
            ConflictError: a new turn began meanwhile.
        """
        await self._open_store()
        for id in (chat_id, *await self._tree.find_below(chat_id)):  # the one that starts others ends first
            try:
                async with self.open(id) as chat:
                    await chat.end_turn()
            except ChatNotFoundError:
                if id == chat_id:
                    raise
        async with lock_family(self._registry, self._tree.find_below, chat_id, self.owner) as family:
            for chat in family:
                chat.check_deletable()
            with anyio.CancelScope(shield=True):
                await self._store.commit(*[DeleteChat(chat.id) for chat in family])
                for chat in reversed(family):
                    await chat.finish_deletion()
            return [chat.id for chat in family]

    async def interrupt(self, chat_id: str, *, tree: bool, background: bool = False) -> ChatView:
        """Stop the turn under way. Does not wait for its end.

        `tree`: also those of its children that do not work in the background; `background`: of all children.
        """
        async with self.open(chat_id) as chat:
            await chat.interrupt(keeps_children=True)
            if tree or background:
                await self._tree.stop_children(chat_id, background=background)
            return chat.view

    @asynccontextmanager
    async def open_asking(self, chat_id: str, request_id: str) -> AsyncGenerator[ChatActor]:
        """Keep the chat in memory that asks a question: the chat itself, or a child of it that does.

        Raises:
            ChatNotFoundError: there is no such chat.
        """
        async with self.open(chat_id) as chat:
            asking = chat.family.children.asking(request_id)
            if asking is None:
                yield chat
                return
            async with self.open_asking(asking.chat_id, request_id) as child:
                yield child

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

    async def read_whole(self, chat_id: str, *, max_bytes: int, children: bool = False) -> WholeChat:
        """Return a chat with all that belongs to it, as it is on disk; with its children of kind "agent".

        Raises:
            ChatTooLargeError: it takes more than `max_bytes`.
        """
        async with self.open(chat_id) as chat:
            await chat.save_unsaved()
            whole = await self._store.whole_chat(chat_id, max_bytes=max_bytes)
        if whole is None:
            raise ChatNotFoundError(f"There is no chat {chat_id}.")
        if not children or not whole.chat.child_count:
            return whole
        found = [
            await self.read_whole(one.id, max_bytes=max_bytes)
            for one in await self._store.child_chats(chat_id)
        ]
        return replace(whole, children=tuple(found))

    async def import_chat(self, given: WholeChat, *, merge: bool) -> ChatView:
        """Create a copy of a chat and its children, or (`merge`) add what the chat with the same id lacks.

        Without a chat of that id, `merge` creates a copy, too. The copy keeps its parent if that exists here.
        A merge adds to children that exist, and creates none.

        Raises:
            ConflictError: the chat to merge into has something else under the same id.
            ChatBusyError: the chat to merge into has a turn under way.
        """
        if merge:
            try:
                return await self._merge_all(given)
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
            above = None if parent is None else parent.view.chat
            copy = await to_thread.run_sync(copy_with_new_ids, given, self.owner, above, new_id)
            return await self._add(copy, parent)

    async def _merge_all(self, given: WholeChat) -> ChatView:
        await self._merge(given)
        for child in given.children:
            with suppress(ChatNotFoundError):
                await self._merge(child)
        async with self.open(given.chat.id) as chat:
            return chat.view

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

    async def _add(self, whole: WholeChat, parent: ChatActor | None = None) -> ChatView:
        picture = child_of(whole.chat, whole.chat.status, whole.chat.usage, ())
        joining = _joining(parent, whole.chat, picture)
        chats = (whole, *whole.children)
        writes: list[Write] = _writes(joining)
        for one in chats:
            writes.append(PutChat(one.chat))
            writes += map(AddMessage, one.messages)
            writes += map(PutTurn, one.turns)
            writes += map(PutQueued, one.queue)
        with anyio.CancelScope(shield=True):  # a caller that is cancelled now has a chat or has none
            await self._store.commit(*writes)
        views = [await self._current_view(one.chat) for one in chats]
        for view in views:
            self._services.host.chat_changed(view, "created")
        _apply(joining)
        return views[0]


Joining = tuple[ChatActor, Changeset] | None
"""A parent that gets a child, and what changes in it. Its lock is held."""


def _joining(parent: ChatActor | None, chat: Chat, child: Child) -> Joining:
    if parent is None or not chat.is_delegated:
        return None
    return parent, parent.family.plan_child(child)


def _writes(joining: Joining) -> list[Write]:
    return [] if joining is None else joining[0].executor.all_writes(joining[1])


def _apply(joining: Joining) -> None:
    if joining is not None:
        joining[0].executor.apply(joining[1])
