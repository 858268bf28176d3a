"""The port to durable storage: what the engine reads and writes.

A commit takes changes as values (`store_writes`) and makes all of them durable, or none. The streamed pieces
of a message in progress go to the journal, which is written in the background. When the message is stored,
its journal is deleted.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from parley_daemon.core.agents.mcp import McpServerRecord
from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.compaction import Summary
from parley_daemon.core.parts import Piece
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.core.records import Chat, ChatKind, Message, QueuedMessage, Turn
from parley_daemon.ports.store_writes import Write

if TYPE_CHECKING:
    from parley_daemon.ports.mcp import McpManifest


class StoreUnavailableError(Exception):
    """The store cannot be read or written (disk full, no permission, damaged). The call changed nothing."""


class StoreTooNewError(StoreUnavailableError):
    """The store was written by a newer version of the daemon. It was not changed."""


class ChatTooLargeError(Exception):
    """The chat is larger than the call allows. `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The chat takes more than the {limit // 2**20} MiB that one call may carry.")
        self.limit = limit


class StoredConfiguration(msgspec.Struct, frozen=True, gc=False):
    """What was configured over the protocol: providers sorted by name, models by provider and name."""

    providers: tuple[ProviderRecord, ...] = ()
    models: tuple[ModelRecord, ...] = ()


class StoredPolicy(msgspec.Struct, frozen=True, gc=False):
    """The permission rules of an owner, oldest first, and the files that the owner trusts: (root, hash)."""

    rules: tuple[Rule, ...] = ()
    trusted: frozenset[tuple[str, str]] = frozenset()


class JournalEntry(msgspec.Struct, frozen=True, gc=False):
    """A streamed piece of a message in progress. `index` is the number of its part, from 0."""

    chat_id: str
    turn_id: str
    message_id: int
    index: int
    piece: Piece


class StoredChat(msgspec.Struct, frozen=True, gc=False):
    """A chat with its queue. The first message runs first."""

    chat: Chat
    queue: tuple[QueuedMessage, ...]


class WholeChat(msgspec.Struct, frozen=True, gc=False):
    """A chat with its queue and the messages and turns of all branches, which are sorted by id.

    `siblings` of the messages is empty. `children` are the chats of kind "agent" directly below it, if they
    are part of a copy; the store does not read them.
    """

    chat: Chat
    messages: tuple[Message, ...] = ()
    turns: tuple[Turn, ...] = ()
    queue: tuple[QueuedMessage, ...] = ()
    children: tuple["WholeChat", ...] = ()


class LostTurn(msgspec.Struct, frozen=True, gc=False):
    """A turn that was under way when the daemon crashed, with the journal of its message in progress.

    `pieces` are in the order in which they were streamed. `message_id` is None when there are none.
    """

    turn: Turn
    message_id: int | None
    pieces: tuple[Piece, ...]


class MessagePage(msgspec.Struct, frozen=True, gc=False):
    """Messages of one branch, oldest first. `has_more`: the branch has more in the direction of paging."""

    messages: tuple[Message, ...]
    has_more: bool


class ChatQuery(msgspec.Struct, frozen=True, gc=False):
    """Which chats to list, at most `limit` of them. None: no such filter.

    `query` is a part of the title, in any case. `cwd` is the URI of a repository in the chat's context, in
    any spelling, with `below` also of a folder above it. `cursor` comes from the previous page.
    """

    owner: str
    archived: bool | None = None
    pinned: bool | None = None
    query: str | None = None
    kind: ChatKind | None = None
    parent_chat_id: str | None = None
    cwd: str | None = None
    below: bool = False
    cursor: str | None = None
    limit: int = 50
    order: Literal["updated", "created", "title"] = "updated"


class ChatPage(msgspec.Struct, frozen=True, gc=False):
    """One page of chats. `total` is the number of all matching chats."""

    chats: tuple[Chat, ...]
    next_cursor: str | None
    total: int


class InvalidCursorError(Exception):
    """The cursor is not from a page of this list or search. The message continues "The cursor"."""


class SearchUnavailableError(StoreUnavailableError):
    """The store works, but has no usable search index. The message says why."""


class SearchHit(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A message, or a title (`message_id` is None), that matches a search.

    `title` is the chat's. `snippet` is one line of plain text. A higher `score` is a better match; scores of
    different searches cannot be compared.
    """

    chat_id: str
    message_id: int | None
    title: str | None
    snippet: str
    score: float


class SearchPage(msgspec.Struct, frozen=True, gc=False):
    """One page of hits, the best first."""

    hits: tuple[SearchHit, ...]
    next_cursor: str | None


class StoreStatus(msgspec.Struct, frozen=True, gc=False):
    """The kind, path and size of the store. None: it is not on disk, or does not exist yet."""

    kind: Literal["sqlite", "memory"]
    path: str | None = None
    size_bytes: int | None = None


class Store(Protocol):
    """Durable chats. One process at a time uses a store.

    Raises:
        StoreUnavailableError: from every method that is a coroutine.
    """

    async def open(self) -> tuple[LostTurn, ...]:
        """Open or create the store, and migrate its schema. Return the turns that a crash cut off.

        Raises:
            StoreTooNewError: a newer version of the daemon wrote it.
        """
        ...

    async def commit(self, *writes: Write) -> None:
        """Make all changes durable in one transaction, then return.

        Commits take effect in the order of the calls.
        """
        ...

    def journal(self, entry: JournalEntry) -> None:
        """Add a piece to the journal. It is on disk within 100 ms, or earlier when the buffer is full."""
        ...

    def void_journal(self, chat_id: str, message_id: int) -> None:
        """Delete a message's journal so far, because another attempt begins."""
        ...

    async def chat(self, chat_id: str) -> StoredChat | None:
        """Return the chat and its queue; None: there is no such chat."""
        ...

    async def whole_chat(self, chat_id: str, *, max_bytes: int | None = None) -> WholeChat | None:
        """Return the chat with everything that belongs to it, as of one moment; None: there is no such chat.

        Raises:
            ChatTooLargeError: its messages take more than `max_bytes` in the store.
        """
        ...

    async def descendants(self, chat_id: str) -> tuple[str, ...]:
        """Return the ids of all chats below this one: by parent, or by root if a parent was deleted."""
        ...

    async def child_chats(self, chat_id: str) -> tuple[Chat, ...]:
        """Return the chats of kind "agent" directly below this one, oldest first, without unreadable ones."""
        ...

    async def chats(self, query: ChatQuery) -> ChatPage:
        """Return one page of chats. The cost depends on the page, not on the number of stored chats.

        Raises:
            InvalidCursorError: the cursor is not valid, or belongs to another order or other filters.
        """
        ...

    async def chat_ids(self, owner: str) -> tuple[str, ...]:
        """Return the ids of all chats of this owner."""
        ...

    async def find_created(self, owner: str, creation_id: str) -> str | None:
        """Return the id of the chat of this creation (see NameCreation); None: there is none."""
        ...

    async def count_chats(self) -> int:
        """Return how many chats are stored."""
        ...

    async def path(
        self,
        chat_id: str,
        leaf_id: int | None,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        max_bytes: int | None = None,
    ) -> MessagePage:
        """Return messages of the branch that ends at `leaf_id`, oldest first, with their siblings.

        `after` and `before` are message ids, exclusive. If more than `limit` messages remain, the oldest of
        them are returned when `after` is set, otherwise the newest. A page ends, too, before the message with
        which its messages take more than `max_bytes` as stored; it has at least one.
        """
        ...

    async def children(self, chat_id: str, parent_id: int | None) -> tuple[int, ...]:
        """Return the ids of the messages with this parent (None: without a parent), oldest first."""
        ...

    async def newest_leaf(self, chat_id: str, message_id: int) -> int | None:
        """Return the id of the newest message below this one, or its own. None: there is no such message."""
        ...

    async def summaries(self, chat_id: str) -> tuple[Summary, ...]:
        """Return the summaries of a chat's branches, oldest first."""
        ...

    async def message(self, chat_id: str, message_id: int) -> Message | None:
        """Return one message of any branch, with its siblings; None: there is no such message."""
        ...

    async def find_client_message(
        self, chat_id: str, client_message_id: str
    ) -> Message | QueuedMessage | None:
        """Return the message, stored or queued, that a client sent under this id. None: there is none."""
        ...

    async def turn(self, chat_id: str, turn_id: str) -> Turn | None:
        """Return one turn; None: there is no such turn."""
        ...

    async def turn_messages(self, chat_id: str, turn_id: str) -> tuple[Message, ...]:
        """Return the messages of one turn, oldest first."""
        ...

    async def search(
        self, owner: str, query: str, *, cursor: str | None = None, limit: int = 50
    ) -> SearchPage:
        """Return one page of the messages and titles that match, also of archived chats; the best first.

        `query` contains words, "phrases" and -excluded words. The last word may be the beginning of a word.
        Later pages continue the ranking of the first one, without what was deleted meanwhile.

        Raises:
            InvalidCursorError: the cursor is not valid, or belongs to another query.
            SearchUnavailableError: there is no usable index.
        """
        ...

    async def configuration(self) -> StoredConfiguration:
        """Return the providers and models that were configured. Records that cannot be read are left out."""
        ...

    async def policy(self, owner: str) -> StoredPolicy:
        """Return the permission rules of an owner, and what the owner trusts.

        Raises:
            StoreUnavailableError: a rule cannot be read. It may be one that denies something.
        """
        ...

    async def mcp_servers(self, owner: str) -> tuple[McpServerRecord, ...]:
        """Return the MCP servers of an owner, by name. Records that cannot be read are left out."""
        ...

    async def mcp_manifests(self, keys: Sequence[str]) -> "Mapping[str, McpManifest]":
        """Return what is kept of what servers offer, by key. What cannot be read is left out."""
        ...

    @property
    def status(self) -> StoreStatus:
        """The kind, path and size of the store."""
        ...

    async def find_problem(self) -> str | None:
        """Return what is wrong with the store as a sentence; None: it can be read and written.

        Tries to write, so that a full disk is noticed before the first message is refused.
        """
        ...

    async def aclose(self) -> None:
        """Write what is buffered, then close the store."""
        ...
