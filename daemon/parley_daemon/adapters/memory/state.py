"""The content of the store in memory, and how a write changes it."""

from copy import copy
from typing import TYPE_CHECKING, assert_never

import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.mcp import McpServerRecord
from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.compaction import Summary
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn
from parley_daemon.ports.store import (
    JournalEntry,
    StoreUnavailableError,
)
from parley_daemon.ports.store_writes import (
    AddMessage,
    AddSummary,
    DeleteChat,
    DropJournal,
    DropMcpServer,
    DropModel,
    DropProvider,
    DropQueued,
    DropRule,
    DropTrust,
    NameCreation,
    PutChat,
    PutMcpManifest,
    PutMcpServer,
    PutMessage,
    PutModel,
    PutProvider,
    PutQueued,
    PutRule,
    PutTrust,
    PutTurn,
    SetQueue,
    Write,
)

if TYPE_CHECKING:
    from parley_daemon.ports.mcp import McpManifest


class MemoryState(msgspec.Struct, gc=False):
    """The content of a MemoryStore. It may be used by another store afterwards."""

    chats: dict[str, Chat] = {}
    messages: dict[tuple[str, int], Message] = {}
    turns: dict[str, Turn] = {}
    queued: dict[str, QueuedMessage] = {}
    journal: list[JournalEntry] = []
    summaries: dict[tuple[str, int], Summary] = {}
    providers: dict[str, ProviderRecord] = {}
    models: dict[tuple[str, str], ModelRecord] = {}
    creations: dict[tuple[str, str], str] = {}
    rules: dict[str, tuple[str, Rule]] = {}
    trusted: frozenset[tuple[str, str, str]] = frozenset()
    mcp_servers: dict[str, tuple[str, McpServerRecord]] = {}
    mcp_manifests: "dict[str, McpManifest]" = {}

    def take_over(self, other: "MemoryState") -> None:
        """Take over the content of another state."""
        self.chats, self.messages, self.turns = other.chats, other.messages, other.turns
        self.queued, self.journal, self.summaries = other.queued, other.journal, other.summaries
        self.providers, self.models = other.providers, other.models
        self.creations = other.creations
        self.rules, self.trusted = other.rules, other.trusted
        self.mcp_servers, self.mcp_manifests = other.mcp_servers, other.mcp_manifests

    def draft(self) -> "MemoryState":
        """Return a copy to change. The records are shared, since they are immutable."""
        return MemoryState(
            copy(self.chats),
            copy(self.messages),
            copy(self.turns),
            copy(self.queued),
            copy(self.journal),
            copy(self.summaries),
            copy(self.providers),
            copy(self.models),
            copy(self.creations),
            copy(self.rules),
            self.trusted,
            copy(self.mcp_servers),
            copy(self.mcp_manifests),
        )

    def apply(self, write: Write) -> None:
        """Make one change, with the constraints of the database.

        Raises:
            StoreUnavailableError: the change breaks a constraint.
        """
        match write:
            case PutChat(chat):
                self.chats[chat.id] = chat
            case NameCreation(owner, creation_id, chat_id):
                self._require(chat_id)
                self.creations[owner, creation_id] = chat_id
            case DeleteChat(chat_id):
                self._delete(chat_id)
            case AddMessage(message):
                self._require(message.chat_id)
                key = message.chat_id, message.id
                if key in self.messages or self._has_client_id(message):
                    raise StoreUnavailableError("The store has a message with this id already.")
                self.messages[key] = replace(message, siblings=())
                self.forget(*key)
            case PutMessage(message):
                self._require(message.chat_id)
                self.messages[message.chat_id, message.id] = replace(message, siblings=())
            case AddSummary(summary):
                chat_id = summary.message.chat_id
                self._require(chat_id)
                self.summaries[chat_id, summary.after_id] = summary
            case PutTurn(turn):
                self._require(turn.chat_id)
                self.turns[turn.id] = turn
            case PutQueued(queued):
                self._require(queued.chat_id)
                self.queued[queued.id] = queued
            case DropQueued(queued_id):
                self.queued.pop(queued_id, None)
            case SetQueue(chat_id, queue):
                kept = {key: one for key, one in self.queued.items() if one.chat_id != chat_id}
                self.queued = {**kept, **{one.id: one for one in queue}}
            case DropJournal(chat_id, message_id):
                self.forget(chat_id, message_id)
            case PutProvider(record):
                self.providers[record.name] = record
            case DropProvider(name):
                self.providers.pop(name, None)
            case PutModel(record):
                self.models[record.provider, record.model] = record
            case DropModel(provider, model):
                self.models.pop((provider, model), None)
            case PutRule(owner, rule):
                if rule.scope.chat_id is not None:
                    self._require(rule.scope.chat_id)
                self.rules[rule.id] = owner, rule
            case DropRule(rule_id):
                self.rules.pop(rule_id, None)
            case PutTrust(owner, root, hash):
                self.trusted |= {(owner, root, hash)}
            case DropTrust(owner, root, hash):
                self.trusted -= {(owner, root, hash)}
            case PutMcpServer(owner, record):
                self.mcp_servers[record.id] = owner, record
            case DropMcpServer(server_id):
                self.mcp_servers.pop(server_id, None)
            case PutMcpManifest(key, _, manifest):
                self.mcp_manifests[key] = manifest
            case _:
                assert_never(write)

    def _require(self, chat_id: str) -> None:
        if chat_id not in self.chats:
            raise StoreUnavailableError(f"The store has no chat {chat_id}.")

    def _has_client_id(self, message: Message) -> bool:
        wanted = message.client_message_id
        return wanted is not None and any(
            one.client_message_id == wanted
            for one in self.messages.values()
            if one.chat_id == message.chat_id
        )

    def _delete(self, chat_id: str) -> None:
        self.chats.pop(chat_id, None)
        self.creations = {key: one for key, one in self.creations.items() if one != chat_id}
        self.rules = {key: one for key, one in self.rules.items() if one[1].scope.chat_id != chat_id}
        self.messages = {key: one for key, one in self.messages.items() if one.chat_id != chat_id}
        self.summaries = {key: one for key, one in self.summaries.items() if key[0] != chat_id}
        self.turns = {key: one for key, one in self.turns.items() if one.chat_id != chat_id}
        self.queued = {key: one for key, one in self.queued.items() if one.chat_id != chat_id}
        self.journal = [one for one in self.journal if one.chat_id != chat_id]

    def forget(self, chat_id: str, message_id: int) -> None:
        """Drop the journal of a message."""
        self.journal = [one for one in self.journal if (one.chat_id, one.message_id) != (chat_id, message_id)]
