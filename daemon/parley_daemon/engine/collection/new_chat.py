"""A chat as a client asks for it, with the history that it begins with."""

import msgspec

from parley_daemon.core.parts import Part
from parley_daemon.core.records import Chat, ChatKind, Context, Message, ModelSettings, Role, SpawnOrigin


class RestoredMessage(msgspec.Struct, frozen=True, gc=False):
    """A message of the history that a new chat begins with. Without `created_at` it gets the chat's."""

    role: Role
    content: tuple[Part, ...]
    model: str | None = None
    created_at: str | None = None


class NewChat(msgspec.Struct, frozen=True, gc=False):
    """A chat to create."""

    title: str | None = None
    kind: ChatKind = "chat"
    model: str | None = None
    system_prompt: str | None = None
    settings: ModelSettings | None = None
    context: Context | None = None
    metadata: dict[str, object] | None = None
    parent_chat_id: str | None = None
    spawned_by: SpawnOrigin | None = None
    messages: tuple[RestoredMessage, ...] = ()

    def to_records(
        self, chat_id: str, owner: str, now: str, model: str | None, parent: Chat | None
    ) -> tuple[Chat, list[Message]]:
        """Return the chat and its messages, numbered from 1. Nothing is stored yet."""
        messages = [
            Message(
                id=number,
                chat_id=chat_id,
                parent_id=number - 1 or None,
                turn_id=None,
                role=one.role,
                content=one.content,
                created_at=one.created_at or now,
                model=one.model,
            )
            for number, one in enumerate(self.messages, start=1)
        ]
        chat = Chat(
            id=chat_id,
            owner=owner,
            created_at=now,
            updated_at=now,
            kind=self.kind,
            title=self.title,
            title_is_automatic=self.title is None,
            model=model,
            system_prompt=self.system_prompt,
            settings=self.settings or ModelSettings(),
            context=self.context or Context(),
            parent_chat_id=self.parent_chat_id,
            root_chat_id=(parent.root_chat_id or parent.id) if parent else None,
            spawned_by=self.spawned_by,
            metadata=self.metadata or {},
            last_message_id=len(messages),
            leaf_id=len(messages) or None,
        )
        return chat, messages
