"""A chat's state in memory. The parts of its actor share it and are the only ones that change it."""

from collections.abc import Iterable

import anyio
from msgspec.structs import replace

from parley_daemon.core.agents.actions import ActionRequest
from parley_daemon.core.agents.steps import ToolStep
from parley_daemon.core.children import NO_CHILDREN, Children
from parley_daemon.core.commands import ConversationState
from parley_daemon.core.compaction import Summary
from parley_daemon.core.events import ActionResolved, ChatChanged, Event, MessagePart
from parley_daemon.core.parts import Piece
from parley_daemon.core.records import Chat, Message, ModelSettings, Role
from parley_daemon.core.refusals import Cause
from parley_daemon.engine.chats.acceptance import TurnWaiters
from parley_daemon.engine.chats.changeset import SEQ_BLOCK, Changeset
from parley_daemon.engine.chats.feed.event_feed import EventFeed
from parley_daemon.engine.chats.feed.snapshot import ChatView, Preview, Snapshot, page_of
from parley_daemon.engine.chats.host import ChatServices
from parley_daemon.engine.errors import (
    ChatArchivedError,
    ChatNotFoundError,
    NoSandboxError,
    ShuttingDownError,
)
from parley_daemon.engine.turns.calls.model_selection import check_model
from parley_daemon.engine.turns.prompt_cache import PromptCache
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.ports.store import JournalEntry, StoredChat
from parley_daemon.ports.store_writes import PutChat, Write

_RESOLVED_KEPT = 64


class LiveChat:
    """The state of one chat. It changes only while `lock` is held, and after the store has committed.

    Attributes:
        chat: the chat's record.
        state: where the chat's turns stand: status, turn under way, queue.
        history: the active branch, oldest first; None until `load_history` was called.
        leaf_children: ids of the messages that follow the branch's last message on other branches.
        summaries: the stored summaries of the chat's branches; known once the history is loaded.
        omitted: what models do not get of earlier messages, by their ids, as far as they have refused it.
        prompts: the messages of requests that were built already.
        step: where the turn under way stands while its tools run; None: a model is asked.
        children: its child chats of kind "agent".
        children_changed: set and replaced when they change.
        resolved: of a child, what became of its newest questions, by their ids.
        run: the run of the turn under way. While the daemon stops, a turn that waits for answers has none.
        unsaved: writes that could not be committed. The next commit of the chat includes them.
        is_deleted: whether the chat was deleted. Every call then raises ChatNotFoundError.
    """

    def __init__(
        self,
        stored: StoredChat,
        services: ChatServices,
        history: list[Message] | None = None,
        children: Children = NO_CHILDREN,
    ) -> None:
        self.id = stored.chat.id
        self.services = services
        self.lock = anyio.Lock()
        self.feed = EventFeed(stored.chat.last_seq)
        self.waiters = TurnWaiters()
        self.chat: Chat = stored.chat
        self.state = ConversationState(stored.chat.status, None, stored.queue)
        self.history = history
        self.leaf_children: tuple[int, ...] = ()
        self.summaries: tuple[Summary, ...] = ()
        self.omitted: dict[str, frozenset[Cause]] = {}
        self.prompts = PromptCache()
        self.step: ToolStep | None = None
        self.children = children
        self.children_changed = anyio.Event()
        self.resolved: dict[str, ActionResolved] = {}
        self.run: TurnRun | None = None
        self.unsaved: list[Write] = []
        self.is_deleted = False

    @property
    def view(self) -> ChatView:
        """The chat's record with its present status and event number."""
        chat, status, seq, open_requests = (
            self.chat,
            self.state.status,
            self.feed.last_seq,
            len(self.requests),
        )
        if not self.children.members:
            return ChatView(chat, status, seq, open_requests)
        open_requests += len(self.children.requests)
        return ChatView(chat, status, seq, open_requests, self.children.usage_tree(chat.usage))

    @property
    def requests(self) -> tuple[ActionRequest, ...]:
        """The open questions of its own turn, oldest first."""
        return () if self.step is None else self.step.requests

    @property
    def all_requests(self) -> tuple[ActionRequest, ...]:
        """Its open questions and those of its children."""
        return (*self.requests, *self.children.requests) if self.children.members else self.requests

    @property
    def wants_title(self) -> bool:
        """Whether titles are on, this one is still automatic, and the history has the answers of one turn."""
        if not (self.services.summary_policy.titles and self.chat.title_is_automatic):
            return False
        return len({one.turn_id for one in self.history or () if one.role == "assistant"}) == 1

    async def snapshot(
        self, *, after: int | None, before: int | None, limit: int | None, max_bytes: int | None = None
    ) -> Snapshot:
        """Return the chat as of this call, with a page of its active branch (parameters: see Store.path).

        What the snapshot says is fixed before the first await: events that are published while the store is
        read come after it.
        """
        seq, view, queue, preview = self.feed.last_seq, self.view, self.state.queue, self._preview()
        requests, children = self.all_requests, self.children
        if self.history is not None:
            page = page_of(self.history, after, before, limit)
        else:
            leaf = self.chat.leaf_id
            page = await self.services.store.path(
                self.id, leaf, after=after, before=before, limit=limit, max_bytes=max_bytes
            )
        return Snapshot(seq, view, page.messages, page.has_more, queue, preview, requests, children)

    def _preview(self) -> Preview | None:
        run = self.run
        if run is None or not len(run.assembler):
            return None
        return Preview(run.message_id, run.turn.id, run.role, run.assembler.pieces())

    async def stream(
        self, turn_id: str, message_id: int, role: Role, pieces: list[tuple[int, Piece]]
    ) -> None:
        """Publish and journal pieces of the message in progress. This is the hot path.

        Takes no lock: pieces change no state.
        """
        journal, publish = self.services.store.journal, self.feed.publish
        for index, piece in pieces:
            publish(MessagePart(turn_id, message_id, index, role, piece))
            journal(JournalEntry(self.id, turn_id, message_id, index, piece))
        if self.chat.reserved_seq - self.feed.last_seq < SEQ_BLOCK // 2:
            async with self.lock:
                reserved = replace(self.chat, reserved_seq=self.feed.last_seq + SEQ_BLOCK)
                await self.commit(PutChat(reserved))
                self.chat = reserved

    async def load_history(self) -> list[Message]:
        """Return the active branch; read it from the store on the first call."""
        if self.history is None:
            store = self.services.store
            page = await store.path(self.id, self.chat.leaf_id)
            self.leaf_children = await store.children(self.id, self.chat.leaf_id)
            self.summaries = await store.summaries(self.id)
            self.history = list(page.messages)
        return self.history

    async def commit(self, *writes: Write) -> None:
        """Commit the writes in one transaction.

        The commit is shielded: a caller that is cancelled must not leave the state in memory behind the disk.
        """
        with anyio.CancelScope(shield=True):
            await self.services.store.commit(*writes)

    async def commit_with_unsaved(self, *writes: Write) -> None:
        """Commit the writes together with those that could not be committed before."""
        await self.commit(*self.unsaved, *writes)
        self.unsaved.clear()

    def adopt(self, changeset: Changeset) -> None:
        """Take over a changeset that is committed."""
        self.chat, self.state = changeset.chat, changeset.state
        self.leaf_children, self.summaries = changeset.leaf_children, changeset.summaries
        self.step = changeset.step
        if changeset.children is not self.children:
            self.children = changeset.children
            self.children_changed.set()
            self.children_changed = anyio.Event()
        if changeset.branch is not None:
            self.history = [*changeset.branch, *changeset.messages]
        elif self.history is not None:
            self.history += changeset.messages

    def note_resolved(self, events: Iterable[Event]) -> None:
        """Remember what became of questions, for the parent. Of many, only the newest are kept."""
        for event in events:
            if isinstance(event, ActionResolved):
                self.resolved[event.request_id] = event
                if len(self.resolved) > _RESOLVED_KEPT:
                    del self.resolved[next(iter(self.resolved))]

    def mark_deleted(self) -> None:
        """The chat is deleted in the store: tell its listeners, and end all waits for its turns."""
        self.is_deleted = True
        self.unsaved.clear()
        self.state = ConversationState(self.state.status)
        self.step = None
        usage_tree = self.view.usage_tree
        self.feed.publish(ChatChanged(self.chat, self.state.status, deleted=True, usage_tree=usage_tree))
        self.waiters.cancel_all()

    def check_exists(self) -> None:
        """Raise ChatNotFoundError when the chat was deleted."""
        if self.is_deleted:
            raise ChatNotFoundError(f"There is no chat {self.id}.")

    def check_open(self) -> None:
        """Raise ChatNotFoundError when the chat was deleted, ChatArchivedError when it is archived."""
        self.check_exists()
        if self.chat.archived:
            raise ChatArchivedError("The chat is archived. Unarchive it to continue.")

    async def check_turn(self, model: str | None, settings: ModelSettings) -> str | None:
        """Return when a turn may begin with this model (None: the chat's) and these settings.

        The result is the model as "provider:model", None for None.

        Raises:
            NoDefaultModelError: neither the call nor the chat names a model, and there is no default model.
            NotLocalError: the model's provider is not local, and only local providers are allowed.
            UnknownModelError, ProviderUnavailableError: see Catalogue.resolve.
            NoSandboxError: the turn has tools, and the configuration demands a sandbox that there is not.
            ShuttingDownError: the daemon is stopping.
        """
        services = self.services
        await services.host.load_configuration(model, *(settings.fallback_models or ()))
        settings = settings.with_defaults(self.chat.settings)
        check_model(services.catalogue, model, self.chat.model, settings)
        if settings.agent.is_on:
            sandbox = await services.toolbox.sandbox()
            if sandbox.problem is not None:
                raise NoSandboxError(sandbox.problem)
        if services.host.is_stopping:
            raise ShuttingDownError("The daemon is stopping. Send the message again when it has restarted.")
        return None if model is None else services.catalogue.full_name(model)
