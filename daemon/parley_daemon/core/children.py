"""What a chat knows of its child chats: those of kind "agent" directly below it.

Theory of operation. A child is a chat of its own, with its own actor and its own place in the store. Its
parent keeps a picture of it: what it is doing, what it has used so far, and which of its questions are open.
The picture is never stored. It is built from the children when the parent is loaded, and changed when one of
them has changed, so it cannot contradict them for longer than a moment.

A child's usage in the picture includes that of its own children, and its questions include theirs. So a sum
over direct children is a sum over the whole tree, and a question arrives at the root.
"""

from collections.abc import Container
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.actions import ActionRequest
from parley_daemon.core.records import Chat, Status, Usage, add_usage

ChildStatus = Literal["waiting", "running", "paused", "completed", "failed", "interrupted"]
"""What a child is doing. "waiting": nothing, and it has nothing to report."""


class Child(msgspec.Struct, frozen=True, gc=False):
    """A child as its parent sees it.

    Attributes:
        status: what it is doing, or how its last turn ended.
        usage: its own, and that of its children.
        tool_call_id: the call that has started it; None: a client has created it.
        background: whether it goes on when the parent's turn is interrupted.
        requests: its open questions, and those of its children.
    """

    chat_id: str
    status: ChildStatus
    usage: Usage
    tool_call_id: str | None = None
    title: str | None = None
    background: bool = False
    requests: tuple[ActionRequest, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether a turn of it is under way."""
        return self.status in ("running", "paused")


class Children(msgspec.Struct, frozen=True, gc=False):
    """The children of a chat, oldest first."""

    members: tuple[Child, ...] = ()

    def find(self, chat_id: str) -> Child | None:
        """Return the child with this id; None: there is none."""
        return next((one for one in self.members if one.chat_id == chat_id), None)

    def put(self, child: Child) -> "Children":
        """Return the children with this one, in the place of the one with the same id if there is one."""
        if self.find(child.chat_id) is None:
            return Children((*self.members, child))
        return Children(tuple([child if one.chat_id == child.chat_id else one for one in self.members]))

    def drop(self, chat_id: str) -> "Children":
        """Return the children without this one."""
        return Children(tuple([one for one in self.members if one.chat_id != chat_id]))

    @property
    def requests(self) -> tuple[ActionRequest, ...]:
        """The open questions of all of them."""
        return tuple([request for one in self.members for request in one.requests])

    @property
    def active(self) -> tuple[Child, ...]:
        """Those that have a turn under way."""
        return tuple([one for one in self.members if one.is_active])

    def asking(self, request_id: str) -> Child | None:
        """Return the child that has an open question with this id; None: none has."""
        for one in self.members:
            if any(request.id == request_id for request in one.requests):
                return one
        return None

    def usage_tree(self, own: Usage) -> Usage:
        """Return the usage of a chat with that of its children. The context limit stays the chat's own."""
        if not self.members:
            return own
        total = add_usage([own, *[one.usage for one in self.members]]) or own
        return replace(total, context_limit=own.context_limit)

    def is_blocked(self, waited: Container[str]) -> bool:
        """Return whether those that are waited for only wait for answers themselves."""
        statuses = {one.status for one in self.members if one.chat_id in waited}
        return "paused" in statuses and "running" not in statuses


NO_CHILDREN: Final = Children()

_ENDS: Final[dict[Status, ChildStatus]] = {
    Status.PAUSED: "paused",
    Status.COMPLETED: "completed",
    Status.ERROR: "failed",
}


def child_status(chat: Chat, status: Status) -> ChildStatus:
    """Return what a child with this present status does, in the words of its parent."""
    if status is Status.WAITING:
        return "waiting" if chat.spawned_by is None else "interrupted"
    return _ENDS.get(status, "running")


def child_of(chat: Chat, status: Status, usage: Usage, requests: tuple[ActionRequest, ...]) -> Child:
    """Return the picture of a child. `usage` and `requests` are with those of its own children."""
    spawned = chat.spawned_by
    return Child(
        chat_id=chat.id,
        status=child_status(chat, status),
        usage=usage,
        tool_call_id=None if spawned is None else spawned.tool_call_id,
        title=chat.title,
        background=spawned is not None and spawned.background,
        requests=requests,
    )
