"""The changes that a commit can make, as values. A commit takes any number of them (see Store.commit)."""

from typing import TYPE_CHECKING

import msgspec

from parley_daemon.core.agents.mcp import McpServerRecord
from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.compaction import Summary
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn

if TYPE_CHECKING:
    from parley_daemon.ports.mcp import McpManifest


class PutChat(msgspec.Struct, frozen=True, gc=False):
    """Insert a chat, or replace the one with the same id.

    Owner, kind, parent and creation time never change.
    """

    chat: Chat


class NameCreation(msgspec.Struct, frozen=True, gc=False):
    """Record the client's id of the first message that a chat was created with (see Store.find_created)."""

    owner: str
    creation_id: str
    chat_id: str


class DeleteChat(msgspec.Struct, frozen=True, gc=False):
    """Delete a chat with its messages, turns, queue, journal and summaries."""

    chat_id: str


class AddMessage(msgspec.Struct, frozen=True, gc=False):
    """Insert a message, and delete its journal."""

    message: Message


class PutMessage(msgspec.Struct, frozen=True, gc=False):
    """Replace a message by one with the same text: the mark that it was refused has changed."""

    message: Message


class AddSummary(msgspec.Struct, frozen=True, gc=False):
    """Insert a summary, or replace the one with the same `after_id`."""

    summary: Summary


class PutTurn(msgspec.Struct, frozen=True, gc=False):
    """Insert a turn, or replace the one with the same id."""

    turn: Turn


class PutQueued(msgspec.Struct, frozen=True, gc=False):
    """Insert a message at the end of its chat's queue."""

    queued: QueuedMessage


class DropQueued(msgspec.Struct, frozen=True, gc=False):
    """Delete a message that has left the queue."""

    queued_id: str


class SetQueue(msgspec.Struct, frozen=True, gc=False):
    """Replace the whole queue of a chat. The first message runs first."""

    chat_id: str
    queue: tuple[QueuedMessage, ...]


class DropJournal(msgspec.Struct, frozen=True, gc=False):
    """Delete the journal of a message that will not be stored."""

    chat_id: str
    message_id: int


class PutProvider(msgspec.Struct, frozen=True, gc=False):
    """Insert a provider, or replace the one with the same name."""

    record: ProviderRecord


class DropProvider(msgspec.Struct, frozen=True, gc=False):
    """Delete a provider. The configuration of its models stays."""

    name: str


class PutModel(msgspec.Struct, frozen=True, gc=False):
    """Insert or replace the configuration of a model."""

    record: ModelRecord


class DropModel(msgspec.Struct, frozen=True, gc=False):
    """Delete the configuration of a model."""

    provider: str
    model: str


class PutRule(msgspec.Struct, frozen=True, gc=False):
    """Insert a permission rule of an owner, or replace the one with the same id.

    A rule for one chat is deleted with that chat.
    """

    owner: str
    rule: Rule


class DropRule(msgspec.Struct, frozen=True, gc=False):
    """Delete a permission rule."""

    rule_id: str


class PutTrust(msgspec.Struct, frozen=True, gc=False):
    """Record that an owner trusts the file with this hash below a root, which is a URI."""

    owner: str
    root: str
    hash: str


class DropTrust(msgspec.Struct, frozen=True, gc=False):
    """Delete the record that an owner trusts a file."""

    owner: str
    root: str
    hash: str


class PutMcpServer(msgspec.Struct, frozen=True, gc=False):
    """Insert an MCP server of an owner, or replace the one with the same id."""

    owner: str
    record: McpServerRecord


class DropMcpServer(msgspec.Struct, frozen=True, gc=False):
    """Delete an MCP server."""

    server_id: str


class PutMcpManifest(msgspec.Struct, frozen=True, gc=False):
    """Keep what a server offers under a key that names its definition; old ones are deleted.

    `at` is RFC 3339.
    """

    key: str
    at: str
    manifest: "McpManifest"


McpWrite = PutMcpServer | DropMcpServer | PutMcpManifest

PolicyWrite = PutRule | DropRule | PutTrust | DropTrust

ConfigurationWrite = PutProvider | DropProvider | PutModel | DropModel

Write = (
    PutChat
    | NameCreation
    | DeleteChat
    | AddMessage
    | PutMessage
    | AddSummary
    | PutTurn
    | PutQueued
    | DropQueued
    | SetQueue
    | DropJournal
    | ConfigurationWrite
    | PolicyWrite
    | McpWrite
)
