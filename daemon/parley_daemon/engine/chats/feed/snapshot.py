"""The state of a chat at one moment, and the protocols of those who are told what happens after it."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from parley_daemon.core.agents.actions import ActionRequest
from parley_daemon.core.children import NO_CHILDREN, Children
from parley_daemon.core.parts import Piece
from parley_daemon.core.records import Chat, Message, QueuedMessage, Role, Status, Usage
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.ports.store import MessagePage


class ChatView(msgspec.Struct, frozen=True, gc=False):
    """A chat's record with the state that is not stored.

    `status` is the present one, `last_seq` the newest event number. `open_requests` is the number of
    questions, with those of its children. `usage_tree` is its usage with that of its children; None: it has
    none.
    """

    chat: Chat
    status: Status
    last_seq: int
    open_requests: int = 0
    usage_tree: Usage | None = None


class Preview(msgspec.Struct, frozen=True, gc=False):
    """A message in progress: one piece for each part, with the index of the part."""

    message_id: int
    turn_id: str
    role: Role
    pieces: tuple[tuple[int, Piece], ...]


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A chat as it is after event number `seq`. `requests` are its questions and those of its children."""

    seq: int
    view: ChatView
    messages: tuple[Message, ...]
    has_more: bool
    queue: tuple[QueuedMessage, ...]
    preview: Preview | None
    requests: tuple[ActionRequest, ...] = ()
    children: Children = NO_CHILDREN


class Attachment(msgspec.Struct, frozen=True, gc=False):
    """What a new listener starts from: the events that it missed, or a snapshot.

    Events after number `seq` and `missed` go to the listener's sink.
    """

    seq: int
    missed: Sequence[Published]
    snapshot: Snapshot | None


class Sink(Protocol):
    """A listener of one chat. Called on the loop's thread; must not block and must not raise."""

    def publish(self, published: Published) -> None:
        """Take the next event."""
        ...


Change = Literal["created", "changed", "diff_status", "deleted"]
"""diff_status: the chat is as it was, but its folders have changed."""


class Watcher(Protocol):
    """A listener of all chats of an owner. It is told of changes of the chats, not of their events."""

    def chat_changed(self, view: ChatView, change: Change) -> None:
        """Take a change of a chat."""
        ...


def page_of(
    known: Sequence[Message], after: int | None, before: int | None, limit: int | None
) -> MessagePage:
    """Return what Store.path returns, for a branch in memory."""
    start = 0 if after is None else bisect_right(known, after, key=_id)
    end = len(known) if before is None else bisect_left(known, before, key=_id)
    chosen = known[start : max(start, end)]
    if limit is None or len(chosen) <= limit:
        return MessagePage(tuple(chosen), has_more=False)
    page = chosen[:limit] if after is not None else chosen[len(chosen) - limit :]
    return MessagePage(tuple(page), has_more=True)


def _id(message: Message) -> int:
    return message.id
