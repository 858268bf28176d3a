"""What one command changes, before it is durable: the writes for the store and the events for the listeners.

A changeset is built, then committed, then adopted by the live chat, then published; see `executor` for the
order. It is a plain value: building one has no effect on the chat.
"""

from collections.abc import Container, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from parley_daemon.core.agents.steps import ToolStep
from parley_daemon.core.children import NO_CHILDREN, Child, Children
from parley_daemon.core.commands import ConversationState, StopCause
from parley_daemon.core.compaction import Summary
from parley_daemon.core.events import (
    ActionRequired,
    ActionResolved,
    ChatChanged,
    ChildChanged,
    Event,
    HistoryReset,
    MessageAdded,
    QueueUpdated,
)
from parley_daemon.core.records import Chat, Failure, Message, QueuedMessage, Turn
from parley_daemon.core.refusals import Cause
from parley_daemon.engine.chats.feed.snapshot import Change
from parley_daemon.engine.turns.host import TurnBrief
from parley_daemon.engine.turns.prompt_cache import PromptCache
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.ports.store_writes import (
    AddMessage,
    DropQueued,
    PutChat,
    PutMessage,
    PutQueued,
    PutTurn,
    SetQueue,
    Write,
)

SEQ_BLOCK = 100_000
"""Event numbers are reserved in the store in blocks of this size.

Events are not stored, and storing every number would cost a commit per event. So a busy chat stores how far
its numbers may run; after a crash it continues beyond the reserved block. A number is never used twice.
"""


class Changeset(msgspec.Struct):
    """What one command changes.

    Attributes:
        chat: the chat's record as it will be.
        state: where the chat's turns will stand.
        at: the time of the change (RFC 3339).
        leaf_children: ids of the messages that follow the branch's last message on other branches; the next
            message of the branch becomes their sibling.
        summaries: the chat's summaries as they will be.
        omitted, prompts: see LiveChat.
        writes: what the store has to commit.
        events: what listeners are told afterwards, in order.
        messages: the messages that are added to the active branch.
        cancelled_turns: ids of turns that will never run, because their messages left the queue.
        branch: the new active branch, when it becomes another one.
        brief: what the run of a new turn needs, when one begins.
        run: the run of the new turn.
        stop_cause: why the turn under way is stopped, when it is.
        step: where the turn under way will stand (see LiveChat.step).
        children: the child chats as they will be.
        change: what watchers of all chats are told.
        keeps_children: whether a stop of the turn under way leaves its children alone.
    """

    chat: Chat
    state: ConversationState
    at: str
    leaf_children: tuple[int, ...] = ()
    summaries: tuple[Summary, ...] = ()
    omitted: dict[str, frozenset[Cause]] = {}
    prompts: PromptCache = msgspec.field(default_factory=PromptCache)
    writes: list[Write] = []
    events: list[Event] = []
    messages: list[Message] = []
    cancelled_turns: list[str] = []
    branch: list[Message] | None = None
    brief: TurnBrief | None = None
    run: TurnRun | None = None
    stop_cause: StopCause | None = None
    step: ToolStep | None = None
    children: Children = NO_CHILDREN
    keeps_children: bool = False
    change: Change = "changed"
    _shared_length: int = 0

    # ----------------------------------------------------------------------- the record

    def update_chat(self, chat: Chat) -> None:
        """Replace the chat's record, and publish it."""
        self.chat = replace(chat, updated_at=self.at)
        self.writes.append(PutChat(self.chat))
        self.publish_chat()

    def publish_chat(self) -> None:
        """Add an event with the chat's record."""
        open_requests = 0 if self.step is None else len(self.step.requests)
        usage_tree = None
        if self.children.members:
            open_requests += len(self.children.requests)
            usage_tree = self.children.usage_tree(self.chat.usage)
        self.events.append(
            ChatChanged(self.chat, self.state.status, open_requests=open_requests, usage_tree=usage_tree)
        )

    # ------------------------------------------------------------------------ the queue

    def add_to_queue(self, queued: QueuedMessage) -> None:
        """Add a message to the end of the queue."""
        self.writes.append(PutQueued(queued))
        self.publish_queue()

    def remove_from_queue(self, queued: QueuedMessage) -> None:
        """Remove a message from the queue; its turn will never run."""
        self.writes.append(DropQueued(queued.id))
        self.cancelled_turns.append(queued.turn_id)
        self.publish_queue()

    def rewrite_queue(self) -> None:
        """Write the whole queue: its order or a content has changed."""
        self.writes.append(SetQueue(self.chat.id, self.state.queue))
        self.publish_queue()

    def publish_queue(self) -> None:
        """Add an event with the queue, in place of an earlier one."""
        self.drop_queue_event()
        self.events.append(QueueUpdated(self.state.queue))

    def drop_queue_event(self) -> None:
        """Remove the event with the queue, if there is one."""
        self.events = [event for event in self.events if not isinstance(event, QueueUpdated)]

    # -------------------------------------------------------------- the active branch

    def switch_branch(
        self, before: Sequence[Message], branch: list[Message], leaf_children: tuple[int, ...]
    ) -> None:
        """Make `branch` the active branch in place of `before`; both begin at the root."""
        shared = 0
        for old, new in zip(before, branch, strict=False):
            if old.id != new.id or old.refused != new.refused:
                break
            shared += 1
        self.leaf_children = leaf_children
        if shared == len(before) == len(branch):
            return
        self.branch, self._shared_length = branch, shared
        self.chat = replace(self.chat, leaf_id=branch[-1].id if branch else None, updated_at=self.at)
        self.writes.append(PutChat(self.chat))

    def publish_branch(self) -> None:
        """Add events with the messages in which the new branch differs from the old one."""
        if self.branch is None:
            return
        shared, new = self.branch[: self._shared_length], self.branch[self._shared_length :]
        self.events.append(HistoryReset(shared[-1].id if shared else None))
        # The turns of these messages ended long ago, so the events belong to no turn.
        self.events += [MessageAdded(message, None) for message in new]
        if not self.state.is_busy:  # otherwise the turn that begins publishes the chat
            self.publish_chat()

    def mark_refused(self, history: Sequence[Message], refused: Container[int], failure: Failure) -> None:
        """Mark messages of the active branch as refused.

        Listeners get the branch again from the first of them on: a message is published once on its branch.
        """
        branch = [replace(one, refused=failure) if one.id in refused else one for one in history]
        first = next((at for at, one in enumerate(branch) if one.id in refused), None)
        if first is None:
            return
        self.branch = branch
        self.writes += [PutMessage(one) for one in branch if one.id in refused]
        self.events.append(HistoryReset(branch[first - 1].id if first else None))
        self.events += [MessageAdded(message, None) for message in (*branch[first:], *self.messages)]
        self.publish_chat()

    def add_message(self, message: Message) -> Message:
        """Add a message to the end of the active branch; return it with its siblings."""
        if self.leaf_children:
            message = replace(message, siblings=(*self.leaf_children, message.id))
        self.leaf_children = ()
        last = max(self.chat.last_message_id, message.id)
        self.chat = replace(self.chat, leaf_id=message.id, last_message_id=last)
        self.writes.append(AddMessage(message))
        self.messages.append(message)
        return message

    # ---------------------------------------------------------------- the turn's tool calls

    def put_step(self, turn: Turn, step: ToolStep | None) -> None:
        """Store where the turn under way stands."""
        self.step = step
        self.writes.append(PutTurn(replace(turn, step=step)))

    def resolve_requests(self, turn_id: str) -> None:
        """Resolve all open questions: the turn ends. Their calls do not run."""
        step = self.step
        if step is not None and step.requests:
            self.events += [ActionResolved(one.id, "interrupted", None, turn_id) for one in step.requests]
            self.step = replace(step, requests=())

    # -------------------------------------------------------------------- the child chats

    def put_child(self, child: Child, resolved: Mapping[str, ActionResolved]) -> None:
        """Take over what a child is now; publish what is new of it: its questions, itself, the sums.

        `resolved` says what became of questions that are not open any more, by their ids.
        """
        former = self.children.find(child.chat_id)
        if child != former:
            self.children = self.children.put(child)
            self._publish_child(child, former, resolved)

    def drop_child(self, chat_id: str) -> None:
        """Take over that a child was deleted."""
        former = self.children.find(chat_id)
        if former is not None:
            self.children = self.children.drop(chat_id)
            self._publish_child(replace(former, requests=()), former, {}, deleted=True)

    def _publish_child(
        self,
        child: Child,
        former: Child | None,
        resolved: Mapping[str, ActionResolved],
        *,
        deleted: bool = False,
    ) -> None:
        turn_id, known = self.state.turn_id, () if former is None else former.requests
        for request in known:
            if request not in child.requests:
                how = resolved.get(request.id) or ActionResolved(request.id, "interrupted", None)
                self.events.append(replace(how, turn_id=turn_id))
        for request in child.requests:
            if request not in known:
                self.events.append(ActionRequired(request, turn_id))
        if deleted or former is None or replace(child, requests=known) != former:
            self.events.append(
                ChildChanged(
                    child.chat_id,
                    child.tool_call_id,
                    child.status,
                    child.usage,
                    child.title,
                    deleted,
                    turn_id,
                )
            )
        has_other_sums = former is None or deleted or (former.usage != child.usage)
        if has_other_sums or len(known) != len(child.requests):
            self.publish_chat()

    # ---------------------------------------------------------------------- numbering

    def number_events(self, last_seq: int) -> None:
        """Put the event numbers into the chat's record, which becomes the last write.

        They are exact for a chat at rest; a busy chat gets a reserved block (see SEQ_BLOCK).
        """
        if not self.writes:
            return
        seq = last_seq + len(self.events)
        reserved = max(self.chat.reserved_seq, seq + SEQ_BLOCK) if self.state.is_busy else seq
        self.chat = replace(self.chat, last_seq=seq, reserved_seq=reserved)
        self.writes = [*[one for one in self.writes if not isinstance(one, PutChat)], PutChat(self.chat)]
