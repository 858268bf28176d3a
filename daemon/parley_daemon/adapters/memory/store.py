"""The store port in memory, for `--in-memory` and for tests. It passes the same tests as the SQLite store.

A MemoryState may be used by one store after the other, as a file is used by one process after the other.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from parley_daemon.adapters.memory.search import MemorySearch
from parley_daemon.adapters.memory.state import MemoryState
from parley_daemon.adapters.querying.folders import folder_key, folder_keys, is_within
from parley_daemon.adapters.querying.list_cursor import (
    ListCursor,
    decode_list_cursor,
    encode_list_cursor,
    first_list_cursor,
)
from parley_daemon.core.agents.mcp import McpServerRecord
from parley_daemon.core.compaction import Summary
from parley_daemon.core.parts import count_characters
from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn
from parley_daemon.ports.store import (
    ChatPage,
    ChatQuery,
    ChatTooLargeError,
    JournalEntry,
    LostTurn,
    MessagePage,
    SearchPage,
    StoredChat,
    StoredConfiguration,
    StoredPolicy,
    StoreStatus,
    WholeChat,
)
from parley_daemon.ports.store_writes import (
    Write,
)

if TYPE_CHECKING:
    from parley_daemon.ports.mcp import McpManifest


class MemoryStore:
    """The store port, implemented with dictionaries."""

    def __init__(self, state: MemoryState | None = None) -> None:
        self._state = state or MemoryState()

    @property
    def status(self) -> StoreStatus:
        """The kind of the store."""
        return StoreStatus("memory")

    async def open(self) -> tuple[LostTurn, ...]:
        """Return the turns that were under way when the previous store ended."""
        lost: list[LostTurn] = []
        for turn in self._state.turns.values():
            if turn.outcome is None:
                entries = [one for one in self._state.journal if one.turn_id == turn.id]
                message_id = entries[-1].message_id if entries else None
                pieces = tuple([one.piece for one in entries if one.message_id == message_id])
                lost.append(LostTurn(turn, message_id, pieces))
        return tuple(lost)

    async def commit(self, *writes: Write) -> None:
        """Make all of these changes, or none."""
        draft = self._state.draft()
        for write in writes:
            draft.apply(write)
        self._state.take_over(draft)

    def journal(self, entry: JournalEntry) -> None:
        """Add a piece to the journal."""
        if entry.chat_id in self._state.chats:
            self._state.journal.append(entry)

    def void_journal(self, chat_id: str, message_id: int) -> None:
        """Delete the pieces of a message from the journal."""
        self._state.forget(chat_id, message_id)

    async def chat(self, chat_id: str) -> StoredChat | None:
        """Return the chat and its queue."""
        chat = self._state.chats.get(chat_id)
        if chat is None:
            return None
        return StoredChat(chat, tuple([one for one in self._state.queued.values() if one.chat_id == chat_id]))

    async def whole_chat(self, chat_id: str, *, max_bytes: int | None = None) -> WholeChat | None:
        """Return the chat with everything that belongs to it. Its size is that of the messages as JSON."""
        stored = await self.chat(chat_id)
        if stored is None:
            return None
        messages = [one for one in self._state.messages.values() if one.chat_id == chat_id]
        if max_bytes is not None and sum(len(msgspec.json.encode(one)) for one in messages) > max_bytes:
            raise ChatTooLargeError(max_bytes)
        turns = [one for one in self._state.turns.values() if one.chat_id == chat_id]
        return WholeChat(
            stored.chat,
            tuple(sorted(messages, key=lambda message: message.id)),
            tuple(sorted(turns, key=lambda turn: turn.id)),
            stored.queue,
        )

    async def descendants(self, chat_id: str) -> tuple[str, ...]:
        """Return the ids of all chats below this one."""
        chats = self._state.chats.values()
        found, ahead = {chat_id}, [chat_id]
        while ahead:
            parent = ahead.pop()
            children = {chat.id for chat in chats if chat.parent_chat_id == parent} - found
            found |= children
            ahead += children
        found |= {chat.id for chat in chats if chat.root_chat_id == chat_id}
        return tuple(sorted(found - {chat_id}))

    async def child_chats(self, chat_id: str) -> tuple[Chat, ...]:
        """Return the chats of kind "agent" directly below this one."""
        found = [one for one in self._state.chats.values() if one.parent_chat_id == chat_id]
        return tuple(sorted([one for one in found if one.kind == "agent"], key=lambda chat: chat.id))

    async def chats(self, query: ChatQuery) -> ChatPage:
        """Return one page of chats."""
        found = [chat for chat in self._state.chats.values() if _matches(chat, query)]
        found.sort(key=lambda chat: _sort_key(chat, query.order), reverse=query.order != "title")
        mine = [chat.updated_at for chat in self._state.chats.values() if chat.owner == query.owner]
        after = first_list_cursor(query, max(mine, default=""))
        if query.cursor is not None:
            after = decode_list_cursor(query.cursor, query)
        shown = {*after.shown.decode().split("\n")}
        rest = [chat for chat in found if chat.id not in shown and _is_due(chat, query, after)]
        page = rest[: query.limit]
        cursor = None
        if len(rest) > query.limit:
            key, id = next(
                (_sort_key(chat, query.order) for chat in reversed(page) if _is_behind(chat, query, after)),
                (after.key, after.id),
            )
            seen = "\n".join([*shown, *[chat.id for chat in page]]).encode()
            cursor = encode_list_cursor(replace(after, key=key, id=id, shown=seen))
        return ChatPage(tuple(page), cursor, len(found))

    async def chat_ids(self, owner: str) -> tuple[str, ...]:
        """Return the ids of all chats of this owner."""
        return tuple([chat.id for chat in self._state.chats.values() if chat.owner == owner])

    async def find_problem(self) -> str | None:
        """Return what is wrong with the store: nothing."""
        return None

    async def find_created(self, owner: str, creation_id: str) -> str | None:
        """Return the chat that a client created with a first message of this id."""
        return self._state.creations.get((owner, creation_id))

    async def count_chats(self) -> int:
        """Return how many chats are stored."""
        return len(self._state.chats)

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
        """Return messages of the branch that ends at `leaf_id`, oldest first."""
        branch: list[Message] = []
        at = leaf_id
        while at is not None and (message := self._state.messages.get((chat_id, at))) is not None:
            branch.append(self._with_siblings(message))
            at = message.parent_id
        wanted = [
            one
            for one in reversed(branch)
            if (after is None or one.id > after) and (before is None or one.id < before)
        ]
        ordered = wanted if after is not None else wanted[::-1]
        count = size = 0
        for one in ordered[:limit]:
            size += sum(map(count_characters, one.content))
            if count and max_bytes is not None and size > max_bytes:
                break
            count += 1
        chosen = sorted(ordered[:count], key=lambda one: one.id)
        return MessagePage(tuple(chosen), count < len(wanted))

    def _with_siblings(self, message: Message) -> Message:
        siblings = self._children(message.chat_id, message.parent_id)
        return replace(message, siblings=siblings if len(siblings) > 1 else ())

    def _children(self, chat_id: str, parent_id: int | None) -> tuple[int, ...]:
        return tuple(
            sorted(
                one.id
                for one in self._state.messages.values()
                if one.chat_id == chat_id and one.parent_id == parent_id
            )
        )

    async def children(self, chat_id: str, parent_id: int | None) -> tuple[int, ...]:
        """Return the ids of the messages that follow this one, oldest first."""
        return self._children(chat_id, parent_id)

    async def newest_leaf(self, chat_id: str, message_id: int) -> int | None:
        """Return the newest message below this one."""
        if (chat_id, message_id) not in self._state.messages:
            return None
        below = {message_id}
        for id in sorted(one.id for one in self._state.messages.values() if one.chat_id == chat_id):
            if self._state.messages[chat_id, id].parent_id in below:
                below.add(id)
        return max(below)

    async def summaries(self, chat_id: str) -> tuple[Summary, ...]:
        """Return the summaries of a chat's branches, oldest first."""
        found = [one for one in self._state.summaries.values() if one.message.chat_id == chat_id]
        return tuple(sorted(found, key=lambda one: one.message.id))

    async def message(self, chat_id: str, message_id: int) -> Message | None:
        """Return one message."""
        found = self._state.messages.get((chat_id, message_id))
        return None if found is None else self._with_siblings(found)

    async def find_client_message(
        self, chat_id: str, client_message_id: str
    ) -> Message | QueuedMessage | None:
        """Return the message with this client message id, stored or queued."""
        for one in (*self._state.messages.values(), *self._state.queued.values()):
            if one.chat_id == chat_id and one.client_message_id == client_message_id:
                return self._with_siblings(one) if isinstance(one, Message) else one
        return None

    async def turn(self, chat_id: str, turn_id: str) -> Turn | None:
        """Return one turn."""
        turn = self._state.turns.get(turn_id)
        return turn if turn is not None and turn.chat_id == chat_id else None

    async def turn_messages(self, chat_id: str, turn_id: str) -> tuple[Message, ...]:
        """Return the messages of one turn, oldest first."""
        found = [
            one for one in self._state.messages.values() if (one.chat_id, one.turn_id) == (chat_id, turn_id)
        ]
        return tuple([self._with_siblings(one) for one in sorted(found, key=lambda message: message.id)])

    async def search(
        self, owner: str, query: str, *, cursor: str | None = None, limit: int = 50
    ) -> SearchPage:
        """Return one page of hits."""
        search = MemorySearch(owner, self._state.chats, self._state.messages)
        return search.page(query, cursor, limit)

    async def configuration(self) -> StoredConfiguration:
        """Return the providers and models that were configured."""
        providers = [self._state.providers[name] for name in sorted(self._state.providers)]
        return StoredConfiguration(
            tuple(providers), tuple([self._state.models[key] for key in sorted(self._state.models)])
        )

    async def policy(self, owner: str) -> StoredPolicy:
        """Return the permission rules of an owner, and what the owner trusts."""
        rules = [rule for _, (whose, rule) in sorted(self._state.rules.items()) if whose == owner]
        trusted = [(root, hash) for whose, root, hash in self._state.trusted if whose == owner]
        return StoredPolicy(tuple(rules), frozenset(trusted))

    async def mcp_servers(self, owner: str) -> tuple[McpServerRecord, ...]:
        """Return the MCP servers of an owner."""
        found = [record for whose, record in self._state.mcp_servers.values() if whose == owner]
        return tuple(sorted(found, key=lambda one: one.name))

    async def mcp_manifests(self, keys: Sequence[str]) -> "Mapping[str, McpManifest]":
        """Return what is kept of what servers offer."""
        return {key: self._state.mcp_manifests[key] for key in keys if key in self._state.mcp_manifests}

    async def aclose(self) -> None:
        """Nothing is buffered."""


def _matches(chat: Chat, query: ChatQuery) -> bool:
    return (
        chat.owner == query.owner
        and query.archived in (None, chat.archived)
        and query.pinned in (None, chat.pinned)
        and query.kind in (None, chat.kind)
        and query.parent_chat_id in (None, chat.parent_chat_id)
        and (query.cwd is None or _is_in_folder(chat, query.cwd, below=query.below))
        and (not query.query or query.query.casefold() in (chat.title or "").casefold())
    )


def _is_in_folder(chat: Chat, cwd: str, *, below: bool) -> bool:
    folder, keys = folder_key(cwd), folder_keys(chat.context.repositories)
    return any(is_within(key, folder) for key in keys) if below else folder in keys


def _sort_key(chat: Chat, order: str) -> tuple[str, str]:
    if order == "title":
        return "1" if chat.title is None else f"0{chat.title.casefold()}", chat.id
    return chat.updated_at if order == "updated" else chat.created_at, chat.id


def _is_behind(chat: Chat, query: ChatQuery, after: ListCursor) -> bool:
    if not after.id:
        return True
    key, last = _sort_key(chat, query.order), (after.key, after.id)
    return key > last if query.order == "title" else key < last


def _is_due(chat: Chat, query: ChatQuery, after: ListCursor) -> bool:
    """Return whether the chat is after the cursor's position, or has moved to before it."""
    return _is_behind(chat, query, after) or chat.updated_at >= after.began >= chat.created_at
