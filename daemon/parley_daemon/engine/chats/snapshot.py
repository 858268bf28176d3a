"""What a chat looks like at one moment, and who wants to hear what comes after it."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from parley_daemon.core.parts import Piece
from parley_daemon.core.records import Chat, Message, QueuedMessage, Role, Status
from parley_daemon.engine.chats.event_log import Published
from parley_daemon.ports.store import MessagePage


class ChatView(msgspec.Struct, frozen=True, gc=False):
    """A chat's record with what only a live chat knows: what it is doing now, and its newest event."""

    chat: Chat
    status: Status
    last_seq: int


class Preview(msgspec.Struct, frozen=True, gc=False):
    """A message in progress: one piece a part, each with its index."""

    message_id: int
    turn_id: str
    role: Role
    pieces: tuple[tuple[int, Piece], ...]


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A chat at event number `seq`: everything that the events up to it have led to."""

    seq: int
    view: ChatView
    messages: tuple[Message, ...]
    has_more: bool
    queue: tuple[QueuedMessage, ...]
    preview: Preview | None


class Attachment(msgspec.Struct, frozen=True, gc=False):
    """What a subscriber starts from: the events it missed, or a snapshot. Its sink hears what comes after."""

    seq: int
    missed: Sequence[Published]
    snapshot: Snapshot | None


class Sink(Protocol):
    """Somebody who hears a chat's events. Called on the loop's thread; must not block and must not raise."""

    def publish(self, published: Published) -> None:
        """Take the next event."""
        ...


Change = Literal["created", "changed", "deleted"]


class Watcher(Protocol):
    """Somebody who hears of every chat of an owner, without parts."""

    def chat_changed(self, view: ChatView, change: Change) -> None:
        """Take what happened to a chat."""
        ...


def page_of(
    known: Sequence[Message], after: int | None, before: int | None, limit: int | None
) -> MessagePage:
    """Return what Store.path returns, from a branch that is in memory."""
    start = 0 if after is None else bisect_right(known, after, key=_id)
    end = len(known) if before is None else bisect_left(known, before, key=_id)
    chosen = known[start : max(start, end)]
    if limit is None or len(chosen) <= limit:
        return MessagePage(tuple(chosen), has_more=False)
    page = chosen[:limit] if after is not None else chosen[len(chosen) - limit :]
    return MessagePage(tuple(page), has_more=True)


def _id(message: Message) -> int:
    return message.id
