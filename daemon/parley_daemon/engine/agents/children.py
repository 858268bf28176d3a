"""What the tools of a chat can do with child chats: start, watch, wait for, ask, and stop them.

Theory of operation. A child is a chat of kind "agent" below the chat whose tool call has started it (see
`core/children`). The chat and the call are checked under the parent's lock: a turn that was stopped starts no
child, and limits hold for calls at the same moment. A call is marked as started before its tool runs, so no
crash lets it start a second child.

A call that waits for children takes part in no work: its turn gives its slot back, and if all that it waits
for are children that wait for answers themselves, the turn is paused.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from parley_daemon.core.children import Child, ChildStatus
from parley_daemon.core.parts import Part
from parley_daemon.core.records import AgentSettings, Failure, Usage
from parley_daemon.core.subagents import DEFAULT_LIMITS, Limits
from parley_daemon.ports.tools import CallContext, CallMonitor


class ChildTask(msgspec.Struct, frozen=True, gc=False):
    """What a new child is to do.

    Attributes:
        content: its first message.
        title: of the chat.
        model: a reference; None: the model of the parent's turn.
        role: what it is, beside what all children are told (see `subagents.briefing`).
        agent: what it may do, of which only that counts that its parent may do, too. None of a field: as the
            parent.
        background: whether it goes on when the parent's turn is interrupted.
        allowed: how many children the parent may have.
        limits: `max_ms` and `max_cost_usd` of its first turn: what is left of the parent's turn.
    """

    content: tuple[Part, ...]
    title: str
    model: str | None = None
    role: str | None = None
    agent: AgentSettings = AgentSettings()
    background: bool = False
    allowed: Limits = DEFAULT_LIMITS
    limits: AgentSettings = AgentSettings()


class ChildReport(msgspec.Struct, frozen=True, gc=False):
    """What has come of a child so far.

    Attributes:
        status: what it is doing, or how its last turn ended.
        text: the text of its newest answer in its last turn, as a whole; also if it is incomplete, or
            under way. "": there is none.
        error: why its last turn failed, or was lost; None: it did not.
        usage: its own, and that of its children.
        questions: how many of its questions wait for an answer.
        background: see ChildTask.
        stop_reason: that of its last turn, if that has ended.
        elapsed_ms: how long its last turn took, or takes so far.
    """

    id: str
    title: str | None
    status: ChildStatus
    text: str
    error: Failure | None
    usage: Usage
    questions: int = 0
    background: bool = False
    stop_reason: str | None = None
    elapsed_ms: int = 0


class ChildChats(Protocol):
    """The children of all chats. `parent_id` is the chat whose call runs (CallContext.chat_id).

    Raises:
        ChatNotFoundError: from the methods with ids: this is no child of the parent.
        StoreUnavailableError: the store cannot be read or written.
    """

    async def spawn(self, context: CallContext, task: ChildTask) -> str:
        """Start a child; return its id. It is durable, and its first turn is accepted.

        Raises:
            LimitReachedError: see `Limits.find_problem_of_spawn`, whose words it has.
            ToolNotFoundError: a glob of the task's tools means none of those that a child can have.
            ConflictError: the parent is a child itself, or its turn was stopped.
            UnknownModelError, ProviderUnavailableError, NotLocalError: the model cannot be used.
            ChatArchivedError: the parent is archived.
            ShuttingDownError: the daemon is stopping.
        """
        ...

    async def list(self, parent_id: str) -> Sequence[Child]:
        """Return the children as the parent sees them, oldest first. Reads nothing but what is in memory."""
        ...

    async def report(self, parent_id: str, ids: Sequence[str]) -> Sequence[ChildReport]:
        """Return what has come of these children so far, in their order."""
        ...

    async def wait(
        self, context: CallContext, ids: Sequence[str], seconds: float, monitor: CallMonitor, *, any: bool
    ) -> Sequence[ChildReport]:
        """Wait until none of these children is active, or (`any`) one is not; return what has come of all.

        After `seconds` it returns in any case. The time in which the turn is paused does not count.
        """
        ...

    async def message(
        self,
        parent_id: str,
        id: str,
        content: tuple[Part, ...],
        *,
        interrupt: bool,
        limits: AgentSettings | None = None,
    ) -> str:
        """Send a message to a child; return what happened: "started", "steered", "queued", "interrupting".

        A child that is active gets it after its present model call or, with `interrupt`, stops for it.
        `limits` are those of the turn that it begins, as in ChildTask.

        Raises:
            QueueFullError, ChatArchivedError, ShuttingDownError: it is not accepted.
        """
        ...

    async def stop(self, parent_id: str, id: str) -> ChildReport:
        """Interrupt the turn of a child, and those that wait in its queue; return what has come of it."""
        ...
