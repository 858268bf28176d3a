"""Chats, messages and turns for tests, with everything that a test does not care about filled in."""

from typing import Any

import msgspec
from msgspec.structs import replace

from parley_daemon.core.parts import Text
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.core.records import Chat, Message, QueuedMessage, Turn

NOW = "2026-01-02T03:04:05.678Z"


def a_chat(id: str = "c1", **changes: Any) -> Chat:
    """Return a chat."""
    return replace(Chat(id=id, owner="local", created_at=NOW, updated_at=NOW), **changes)


def a_message(id: int, text: str = "hello", chat_id: str = "c1", **changes: Any) -> Message:
    """Return a user message; its parent is the one before it."""
    parent = id - 1 or None
    return replace(Message(id, chat_id, parent, "t1", "user", (Text(text),), NOW), **changes)


def a_turn(id: str = "t1", chat_id: str = "c1", **changes: Any) -> Turn:
    """Return a turn under way."""
    return replace(Turn(id, chat_id, 1, NOW), **changes)


def a_queued(id: str, chat_id: str = "c1", **changes: Any) -> QueuedMessage:
    """Return a queued message."""
    return replace(QueuedMessage(id, chat_id, f"turn of {id}", (Text(id),), NOW), **changes)


def a_provider(name: str = "local", **changes: Any) -> ProviderRecord:
    """Return a provider of somebody's own server."""
    record = ProviderRecord(name, "openai-compat", NOW, NOW, base_url="http://127.0.0.1:8080")
    return replace(record, **changes)


def a_model(model: str = "llama", provider: str = "local", **changes: Any) -> ModelRecord:
    """Return a model's configuration."""
    return replace(ModelRecord(provider, model, NOW, NOW), **changes)


def as_wire_values(value: object) -> Any:
    """Return what a client decodes from the JSON of a value."""
    return msgspec.json.decode(msgspec.json.encode(value))
