"""What the engine asks of durable storage. Knows no SQL.

Changes are values: a commit takes any number of them and makes all of them durable, or none. Pieces of a
message in progress go to the journal, which is written behind within a bound and replaced by the message.
"""

from typing import Literal, Protocol

import msgspec

from parley_daemon.core.compaction import Summary
from parley_daemon.core.parts import Piece
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.core.records import Chat, ChatKind, Message, QueuedMessage, Turn


class StoreUnavailableError(Exception):
    """The store cannot be read or written (no space, no permission, damaged). The call did nothing."""


class StoreTooNewError(StoreUnavailableError):
    """The store was written by a newer version; it was left untouched."""


class ChatTooLargeError(Exception):
    """The chat takes more bytes than the call may make of it; `limit` is how many those are."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The chat takes more than the {limit // 2**20} MiB that one call may carry.")
        self.limit = limit


class PutChat(msgspec.Struct, frozen=True, gc=False):
    """Insert this chat, or replace the one with its id; its owner, kind, parent and creation never change."""

    chat: Chat


class DeleteChat(msgspec.Struct, frozen=True, gc=False):
    """Remove a chat and all that belongs to it."""

    chat_id: str


class AddMessage(msgspec.Struct, frozen=True, gc=False):
    """Insert a message and drop the journal of its id."""

    message: Message


class AddSummary(msgspec.Struct, frozen=True, gc=False):
    """Insert a summary, or replace the one that stands for the same messages."""

    summary: Summary


class PutTurn(msgspec.Struct, frozen=True, gc=False):
    """Insert this turn, or replace the one with its id."""

    turn: Turn


class PutQueued(msgspec.Struct, frozen=True, gc=False):
    """Insert a queued message behind the others of its chat."""

    queued: QueuedMessage


class DropQueued(msgspec.Struct, frozen=True, gc=False):
    """Remove a queued message that left the queue."""

    queued_id: str


class SetQueue(msgspec.Struct, frozen=True, gc=False):
    """Replace the whole queue of a chat, first in line first."""

    chat_id: str
    queue: tuple[QueuedMessage, ...]


class DropJournal(msgspec.Struct, frozen=True, gc=False):
    """Forget the journal of a message that will not become durable."""

    chat_id: str
    message_id: int


class PutProvider(msgspec.Struct, frozen=True, gc=False):
    """Insert this provider, or replace the one of its name."""

    record: ProviderRecord


class DropProvider(msgspec.Struct, frozen=True, gc=False):
    """Forget the provider of this name. Its models stay."""

    name: str


class PutModel(msgspec.Struct, frozen=True, gc=False):
    """Insert this model's configuration, or replace it."""

    record: ModelRecord


class DropModel(msgspec.Struct, frozen=True, gc=False):
    """Forget a model's configuration."""

    provider: str
    model: str


ConfigurationWrite = PutProvider | DropProvider | PutModel | DropModel

Write = (
    PutChat
    | DeleteChat
    | AddMessage
    | AddSummary
    | PutTurn
    | PutQueued
    | DropQueued
    | SetQueue
    | DropJournal
    | ConfigurationWrite
)


class StoredConfiguration(msgspec.Struct, frozen=True, gc=False):
    """What was configured over the protocol: providers by name, models by provider and name."""

    providers: tuple[ProviderRecord, ...] = ()
    models: tuple[ModelRecord, ...] = ()


class JournalEntry(msgspec.Struct, frozen=True, gc=False):
    """A streamed piece of a message in progress, number `index` among its parts."""

    chat_id: str
    turn_id: str
    message_id: int
    index: int
    piece: Piece


class StoredChat(msgspec.Struct, frozen=True, gc=False):
    """A chat with its queue, oldest first."""

    chat: Chat
    queue: tuple[QueuedMessage, ...]


class WholeChat(msgspec.Struct, frozen=True, gc=False):
    """A chat with all that belongs to it: messages of every branch by id, turns by id, the queue in order.

    The messages make the tree by their parents; `siblings` are not filled in.
    """

    chat: Chat
    messages: tuple[Message, ...] = ()
    turns: tuple[Turn, ...] = ()
    queue: tuple[QueuedMessage, ...] = ()


class LostTurn(msgspec.Struct, frozen=True, gc=False):
    """A turn that was under way when the daemon died, with the journal of its message in progress.

    `pieces` are in the order in which they were streamed; `message_id` is None when nothing had come.
    """

    turn: Turn
    message_id: int | None
    pieces: tuple[Piece, ...]


class MessagePage(msgspec.Struct, frozen=True, gc=False):
    """Messages of one branch, oldest first; `has_more`: more lie in the direction of paging."""

    messages: tuple[Message, ...]
    has_more: bool


class ChatQuery(msgspec.Struct, frozen=True, gc=False):
    """Which chats to list. None: no such filter. `cursor` comes from the page before; `cwd` is a URI."""

    owner: str
    archived: bool | None = None
    pinned: bool | None = None
    query: str | None = None
    kind: ChatKind | None = None
    parent_chat_id: str | None = None
    cwd: str | None = None
    cursor: str | None = None
    limit: int = 50
    order: Literal["updated", "created", "title"] = "updated"


class ChatPage(msgspec.Struct, frozen=True, gc=False):
    """One page of chats; `total` counts all that match."""

    chats: tuple[Chat, ...]
    next_cursor: str | None
    total: int


class InvalidCursorError(Exception):
    """The cursor did not come from a page of this listing."""


class SearchUnavailableError(StoreUnavailableError):
    """The store works, but cannot be searched; the message says why."""


class SearchHit(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A message that was found; without `message_id`, a title. `snippet` is plain text, in one line.

    `title` is the chat's. A higher `score` fits better, within one search.
    """

    chat_id: str
    message_id: int | None
    title: str | None
    snippet: str
    score: float


class SearchPage(msgspec.Struct, frozen=True, gc=False):
    """One page of hits, best first."""

    hits: tuple[SearchHit, ...]
    next_cursor: str | None


class StoreStatus(msgspec.Struct, frozen=True, gc=False):
    """What the store is and where; None: it has no place on disk, or is not there yet."""

    kind: Literal["sqlite", "memory"]
    path: str | None = None
    size_bytes: int | None = None


class Store(Protocol):
    """Durable chats. One process owns it. Every method may raise StoreUnavailableError."""

    async def open(self) -> tuple[LostTurn, ...]:
        """Open or create the store, bring its schema up to date, and return the turns that were lost.

        Raises:
            StoreTooNewError: a newer version wrote it.
        """
        ...

    async def commit(self, *writes: Write) -> None:
        """Make all of these durable in one transaction; return once they are. Commits keep their order."""
        ...

    def journal(self, entry: JournalEntry) -> None:
        """Take a piece for the journal: on disk within 100 ms, or sooner when the buffer is full."""
        ...

    def void_journal(self, chat_id: str, message_id: int) -> None:
        """Forget what was journaled of a message so far: what comes from now on is another attempt."""
        ...

    async def chat(self, chat_id: str) -> StoredChat | None:
        """Return the chat and its queue."""
        ...

    async def whole_chat(self, chat_id: str, *, most_bytes: int | None = None) -> WholeChat | None:
        """Return the chat with all that belongs to it, as of one moment.

        Raises:
            ChatTooLargeError: its messages take more than `most_bytes` in the store.
        """
        ...

    async def descendants(self, chat_id: str) -> tuple[str, ...]:
        """Return the ids of the chat's children, of theirs and so on, and of all that have it as root."""
        ...

    async def chats(self, query: ChatQuery) -> ChatPage:
        """Return one page of chats; costs the page, not the store.

        Raises:
            InvalidCursorError: the cursor is not one of ours.
        """
        ...

    async def chat_ids(self, owner: str) -> tuple[str, ...]:
        """Return the ids of all chats of this owner."""
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
    ) -> MessagePage:
        """Return messages of the branch that ends at `leaf_id`, oldest first.

        `after` and `before` are message ids, exclusive. With `after`, the `limit` oldest of what is left;
        else the `limit` newest. Each message names its siblings.
        """
        ...

    async def children(self, chat_id: str, parent_id: int | None) -> tuple[int, ...]:
        """Return the ids of the messages that follow this one (None: that begin the chat), oldest first."""
        ...

    async def newest_leaf(self, chat_id: str, message_id: int) -> int | None:
        """Return the newest message below this one, itself if there is none, None if there is no such one."""
        ...

    async def summaries(self, chat_id: str) -> tuple[Summary, ...]:
        """Return the summaries of a chat's branches, oldest first."""
        ...

    async def message(self, chat_id: str, message_id: int) -> Message | None:
        """Return one message, whichever branch it is on."""
        ...

    async def find_client_message(
        self, chat_id: str, client_message_id: str
    ) -> Message | QueuedMessage | None:
        """Return what became of the message that a client sent under its own id: durable, or still queued."""
        ...

    async def turn(self, chat_id: str, turn_id: str) -> Turn | None:
        """Return one turn."""
        ...

    async def turn_messages(self, chat_id: str, turn_id: str) -> tuple[Message, ...]:
        """Return the messages of one turn, oldest first."""
        ...

    async def search(
        self, owner: str, query: str, *, cursor: str | None = None, limit: int = 50
    ) -> SearchPage:
        """Return one page of the messages and titles that hold what was asked for, archived chats included.

        `query` is what a person types: words, "phrases", -excluded words; the last word may be unfinished.
        Later pages go on in the ranking of the first one, less what was deleted meanwhile.

        Raises:
            InvalidCursorError: the cursor is not one of ours, or of another query.
            SearchUnavailableError: there is no index to search.
        """
        ...

    async def configuration(self) -> StoredConfiguration:
        """Return the providers and models that were configured; what cannot be read is left out."""
        ...

    @property
    def status(self) -> StoreStatus:
        """What and where the store is."""
        ...

    async def aclose(self) -> None:
        """Write what is buffered and close."""
        ...
