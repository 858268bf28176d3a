"""One command's outcome before it is made durable: what to write and what to tell, in order.

Built from the core's effects; the actor commits the writes and then publishes the events. Knows no store.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from parley_daemon.core.commands import ConversationState, Reanswer, StopCause
from parley_daemon.core.compaction import Summary, compacted, introduced
from parley_daemon.core.events import (
    ChatChanged,
    ErrorRaised,
    Event,
    HistoryReset,
    MessageAdded,
    QueueUpdated,
    StatusChanged,
    TurnEnded,
    TurnStarted,
)
from parley_daemon.core.parts import plain_text
from parley_daemon.core.prompts import said_once
from parley_daemon.core.records import Chat, Message, QueuedMessage, Status, Turn, Usage
from parley_daemon.core.state_machine import resting
from parley_daemon.core.titles import first_title
from parley_daemon.engine.turns.host import NextCall, TurnBrief, TurnResult
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.ports.store import (
    AddMessage,
    AddSummary,
    DropJournal,
    DropQueued,
    PutChat,
    PutQueued,
    PutTurn,
    SetQueue,
    Write,
)

# Event numbers are reserved in the store in blocks of this size: after a crash the next block begins.
SEQ_BLOCK = 100_000


class Plan(msgspec.Struct):
    """What one command leads to. `chat` and `state` are the next ones; `at` is the time of it all.

    `twigs` are the messages that follow the active branch's last one on other branches: the next message is
    their sibling. `branch` is the new active branch when it changes. `withdrawn` are turns that will not be.
    """

    chat: Chat
    state: ConversationState
    at: str
    twigs: tuple[int, ...] = ()
    summaries: tuple[Summary, ...] = ()
    writes: list[Write] = []
    events: list[Event] = []
    messages: list[Message] = []
    withdrawn: list[str] = []
    branch: list[Message] | None = None
    brief: TurnBrief | None = None
    start: TurnRun | None = None
    stop_cause: StopCause | None = None
    _common: int = 0
    _titled: bool = False

    # ---------------------------------------------------------------------- the record

    def change(self, chat: Chat) -> None:
        """Put a changed record in the place of the old one, and tell it."""
        self.chat = replace(chat, updated_at=self.at)
        self.writes.append(PutChat(self.chat))
        self.events.append(ChatChanged(self.chat, self.state.status))

    # ----------------------------------------------------------------------- the queue

    def enqueue(self, queued: QueuedMessage) -> None:
        """Put a message at the end of the queue."""
        self.writes.append(PutQueued(queued))
        self._tell_queue()

    def dequeue(self, queued: QueuedMessage) -> None:
        """Take a message out of the queue; its turn will not be."""
        self.writes.append(DropQueued(queued.id))
        self.withdrawn.append(queued.turn_id)
        self._tell_queue()

    def requeue(self) -> None:
        """Write the whole queue in its new order."""
        self.writes.append(SetQueue(self.chat.id, self.state.queue))
        self._tell_queue()

    def _tell_queue(self) -> None:
        self.events = [event for event in self.events if not isinstance(event, QueueUpdated)]
        self.events.append(QueueUpdated(self.state.queue))

    # --------------------------------------------------------------------- the branches

    def to_branch(self, before: Sequence[Message], branch: list[Message], twigs: tuple[int, ...]) -> None:
        """Make another branch the active one, of which `twigs` follow the last message already."""
        common = 0
        for old, new in zip(before, branch, strict=False):
            if old.id != new.id:
                break
            common += 1
        self.twigs = twigs
        if common == len(before) == len(branch):
            return
        self.branch, self._common = branch, common
        self.chat = replace(self.chat, leaf_id=branch[-1].id if branch else None, updated_at=self.at)
        self.writes.append(PutChat(self.chat))

    def tell_branch(self) -> None:
        """Tell the new branch from where it leaves the old one."""
        if self.branch is None:
            return
        shared, new = self.branch[: self._common], self.branch[self._common :]
        self.events.append(HistoryReset(shared[-1].id if shared else None))
        # Their turns are over: these events are the branch's, not the turns'.
        self.events += [MessageAdded(message, None) for message in new]
        if not self.state.busy:  # else the turn that begins tells it
            self.events.append(ChatChanged(self.chat, self.state.status))

    def _add(self, message: Message) -> Message:
        """Let a message follow the active branch's last one."""
        if self.twigs:
            message = replace(message, siblings=(*self.twigs, message.id))
        self.twigs = ()
        last = max(self.chat.last_message_id, message.id)
        self.chat = replace(self.chat, leaf_id=message.id, last_message_id=last)
        self.writes.append(AddMessage(message))
        self.messages.append(message)
        return message

    # ------------------------------------------------------------------------ its turns

    def accept(
        self, queued: QueuedMessage, *, from_queue: bool, history: Sequence[Message], default: str | None
    ) -> None:
        """Make the message the next question of the history and open its turn."""
        self._title(queued)
        if from_queue:
            self.writes.append(DropQueued(queued.id))
        question = self._add(self._question(queued, queued.turn_id))
        self._open_turn(Reanswer(queued.turn_id, question, queued.model, queued.settings), history, default)
        follows_a_turn = any(isinstance(event, TurnEnded) for event in self.events)
        self.events = [event for event in self.events if not isinstance(event, QueueUpdated)]
        self.events.append(MessageAdded(question, question.turn_id))
        self._tell_chat()
        if from_queue or self.withdrawn:
            self._tell_queue()
        if not follows_a_turn:  # else the end of that turn has told the new status
            self.events.append(StatusChanged(self.state.status, question.turn_id))

    def answer_again(self, again: Reanswer, *, history: Sequence[Message], default: str | None) -> None:
        """Open a turn for a question of the history, which ends with it now."""
        self._open_turn(again, history, default)
        self._tell_chat()
        self.events.append(StatusChanged(self.state.status, again.turn_id))

    def _question(self, queued: QueuedMessage, turn_id: str) -> Message:
        return Message(
            id=self.chat.last_message_id + 1,
            chat_id=self.chat.id,
            parent_id=self.chat.leaf_id,
            turn_id=turn_id,
            role="user",
            content=queued.content,
            created_at=self.at,
            client_message_id=queued.client_message_id,
            origin=queued.origin,
        )

    def _title(self, queued: QueuedMessage) -> None:
        if self.chat.title is None and self.chat.title_is_automatic:
            title = first_title(plain_text(queued.content))
            self._titled = title is not None
            self.chat = replace(self.chat, title=title)

    def _tell_chat(self) -> None:
        if self._titled or self.branch is not None:
            self.events.append(ChatChanged(self.chat, self.state.status))

    def _open_turn(self, asked: Reanswer, history: Sequence[Message], default: str | None) -> None:
        chat, question = self.chat, asked.question
        references = tuple(dict.fromkeys([name for name in (asked.model, chat.model, default) if name]))
        model = references[0] if references else None
        turn = Turn(asked.turn_id, chat.id, question.id, self.at, model, asked.settings)
        # The answer's id is used up with the turn's acceptance: a crash must not give it to another message.
        message_id = chat.last_message_id + 1
        self.chat = replace(
            chat,
            status=Status.WAITING,
            last_error=None,
            updated_at=self.at,
            last_message_id=message_id,
        )
        self.brief = TurnBrief(
            turn=turn,
            message_id=message_id,
            references=references,
            system_prompt=chat.system_prompt,
            settings=asked.settings.over(chat.settings),
            history=self._to_send(history),
        )
        self.writes.append(PutTurn(turn))

    def step(self, result: TurnResult) -> None:
        """Make the answer of a call durable that is not the turn's last one."""
        self._answer(result)

    def join(self, queued: QueuedMessage) -> None:
        """Make a message that steers the turn one more question of it."""
        self.writes.append(DropQueued(queued.id))
        question = self._add(self._question(queued, self.state.turn_id or queued.turn_id))
        self.events.append(MessageAdded(question, question.turn_id))
        self._tell_queue()

    def next_call(self, history: Sequence[Message]) -> NextCall:
        """Return the next model call of the turn, with an id for its answer."""
        self.chat = replace(self.chat, last_message_id=self.chat.last_message_id + 1, updated_at=self.at)
        return NextCall(self.chat.last_message_id, self._to_send(history))

    def _to_send(self, history: Sequence[Message]) -> tuple[Message, ...]:
        branch = history if self.branch is None else self.branch
        return said_once(compacted((*branch, *self.messages), self.summaries))

    # --------------------------------------------------------------------- its summaries

    def summarise(self, after_id: int, text: str, usage: Usage | None, model: str) -> Message:
        """Let a summary stand for the branch up to a message in later requests; return its message."""
        message = Message(
            id=self.chat.last_message_id + 1,
            chat_id=self.chat.id,
            parent_id=after_id,
            turn_id=None,
            role="user",
            content=introduced(text),
            created_at=self.at,
            model=model,
            usage=usage,
        )
        used = self.chat.usage if usage is None else self.chat.usage.plus(usage)
        summary = Summary(after_id, message)
        self.writes.append(AddSummary(summary))
        self.summaries = (*[one for one in self.summaries if one.after_id != after_id], summary)
        self.change(replace(self.chat, usage=used, last_message_id=message.id))
        return message

    def stop_turn(self, cause: StopCause, *, already: bool) -> None:
        """Have the run stopped; `already`: it has been told before, for a weaker reason."""
        self.stop_cause = cause
        if not already:
            self.events.append(StatusChanged(self.state.status, self.state.turn_id))

    def start_turn(self, turn: Turn) -> None:
        """Tell that the turn runs."""
        self.events.append(TurnStarted(turn.id, turn.user_message_id, turn.model))
        self.events.append(StatusChanged(self.state.status, turn.id))

    def finish(self, result: TurnResult) -> None:
        """Make the answer durable, close the turn, free the chat."""
        turn_id = result.turn.id
        self._answer(result)
        status = resting(result.outcome, delegated=self.chat.delegated)
        self.chat = replace(self.chat, updated_at=self.at, status=status, last_error=result.error)
        self.writes.append(PutTurn(_ended(result, self.at)))
        if result.error is not None:
            self.events.append(ErrorRaised(result.error, turn_id))
        self.events.append(StatusChanged(self.state.status, turn_id))
        self.events.append(
            TurnEnded(
                turn_id,
                result.outcome,
                result.stop_reason,
                result.turn_usage,
                result.timings,
                result.error,
            )
        )

    def _answer(self, result: TurnResult) -> None:
        """Make what a model call said durable; what it used counts even when it said nothing."""
        turn_id, chat = result.turn.id, self.chat
        if result.usage is not None:
            self.chat = replace(chat, usage=chat.usage.plus(result.usage))
        if not result.parts:
            self.writes.append(DropJournal(chat.id, result.message_id))
            return
        answer = self._add(
            Message(
                id=result.message_id,
                chat_id=chat.id,
                parent_id=chat.leaf_id,
                turn_id=turn_id,
                role="assistant",
                content=result.parts,
                created_at=self.at,
                model=result.model,
                usage=result.usage,
                complete=result.whole,
            )
        )
        self.events.append(MessageAdded(answer, turn_id))

    def number(self, last_seq: int) -> None:
        """Fix the event numbers that the store has to know: exact at rest, a reserved block while busy."""
        if not self.writes:
            return
        seq = last_seq + len(self.events)
        reserved = max(self.chat.reserved_seq, seq + SEQ_BLOCK) if self.state.busy else seq
        self.chat = replace(self.chat, last_seq=seq, reserved_seq=reserved)
        self.writes = [*[one for one in self.writes if not isinstance(one, PutChat)], PutChat(self.chat)]


def _ended(result: TurnResult, at: str) -> Turn:
    return replace(
        result.turn,
        model=result.model or result.turn.model,
        ended_at=at,
        outcome=result.outcome,
        stop_reason=result.stop_reason,
        usage=result.turn_usage,
        error=result.error,
        output=result.output,
    )
