"""One command's outcome before it is made durable: what to write and what to tell, in order.

Built from the core's effects; the actor commits the writes and then publishes the events. Knows no store.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from parley_daemon.core.chats import Chat, Message, QueuedMessage, Status, Turn
from parley_daemon.core.conversation import ConversationState, StopCause
from parley_daemon.core.events import (
    ChatChanged,
    ErrorRaised,
    Event,
    MessageAdded,
    QueueUpdated,
    StatusChanged,
    TurnEnded,
    TurnStarted,
)
from parley_daemon.core.parts import plain_text
from parley_daemon.core.titles import first_title
from parley_daemon.engine.turn import TurnBrief, TurnResult, TurnRun
from parley_daemon.ports.store import AddMessage, DropJournal, DropQueued, PutChat, PutQueued, PutTurn, Write

# Event numbers are reserved in the store in blocks of this size: after a crash the next block begins.
SEQ_BLOCK = 100_000


@dataclass(slots=True)
class Plan:
    """What one command leads to. `chat` and `state` are the next ones; `at` is the time of it all."""

    chat: Chat
    state: ConversationState
    at: str
    writes: list[Write] = field(default_factory=list[Write])
    events: list[Event] = field(default_factory=list[Event])
    messages: list[Message] = field(default_factory=list[Message])
    brief: TurnBrief | None = None
    start: TurnRun | None = None
    stop_cause: StopCause | None = None

    def enqueue(self, queued: QueuedMessage) -> None:
        """Put a message into the queue."""
        self.writes.append(PutQueued(queued))
        self.events.append(QueueUpdated(self.state.queue))

    def dequeue(self, queued: QueuedMessage) -> None:
        """Take a message out of the queue."""
        self.writes.append(DropQueued(queued.id))
        self.events.append(QueueUpdated(self.state.queue))

    def accept(
        self, queued: QueuedMessage, *, from_queue: bool, history: Sequence[Message], default: str | None
    ) -> None:
        """Make the message the next question of the history and open its turn."""
        chat, turn_id = self.chat, queued.turn_id
        references = tuple(dict.fromkeys([name for name in (queued.model, chat.model, default) if name]))
        question = Message(
            id=chat.last_message_id + 1,
            chat_id=chat.id,
            parent_id=chat.leaf_id,
            turn_id=turn_id,
            role="user",
            content=queued.content,
            created_at=self.at,
            client_message_id=queued.client_message_id,
            origin=queued.origin,
        )
        model = references[0] if references else None
        turn = Turn(turn_id, chat.id, question.id, self.at, model, queued.settings)
        title = chat.title
        if title is None and chat.title_is_automatic:
            title = first_title(plain_text(question.content))
        self.chat = replace(
            chat,
            title=title,
            status=Status.WAITING,
            last_error=None,
            updated_at=self.at,
            leaf_id=question.id,
            # The answer's id is used up with the question's: a crash must not give it to another message.
            last_message_id=question.id + 1,
        )
        self.brief = TurnBrief(
            turn=turn,
            message_id=question.id + 1,
            references=references,
            system_prompt=chat.system_prompt,
            settings=queued.settings.over(chat.settings),
            history=(*history, *self.messages, question),
        )
        if from_queue:
            self.writes.append(DropQueued(queued.id))
        self.writes += [AddMessage(question), PutTurn(turn)]
        self.messages.append(question)
        self._tell_acceptance(question, title != chat.title, from_queue)

    def _tell_acceptance(self, question: Message, titled: bool, from_queue: bool) -> None:
        follows_a_turn = any(isinstance(event, TurnEnded) for event in self.events)
        self.events = [event for event in self.events if not isinstance(event, QueueUpdated)]
        self.events.append(MessageAdded(question, question.turn_id))
        if titled:
            self.events.append(ChatChanged(self.chat, self.state.status))
        if from_queue:
            self.events.append(QueueUpdated(self.state.queue))
        if not follows_a_turn:  # else the end of that turn has told the new status
            self.events.append(StatusChanged(self.state.status, question.turn_id))

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
        turn_id, chat = result.turn.id, self.chat
        changes = replace(chat, updated_at=self.at, status=_resting(result), last_error=result.error)
        if result.usage is not None:
            changes = replace(changes, usage=chat.usage.plus(result.usage))
        if result.parts:
            answer = Message(
                id=result.message_id,
                chat_id=chat.id,
                parent_id=chat.leaf_id,
                turn_id=turn_id,
                role="assistant",
                content=result.parts,
                created_at=self.at,
                model=result.model,
                usage=result.usage,
                complete=result.outcome == "completed",
            )
            changes = replace(changes, leaf_id=answer.id)
            self.writes.append(AddMessage(answer))
            self.messages.append(answer)
            self.events.append(MessageAdded(answer, turn_id))
        else:
            self.writes.append(DropJournal(chat.id, result.message_id))
        self.chat = changes
        self.writes.append(PutTurn(_ended(result, self.at)))
        if result.error is not None:
            self.events.append(ErrorRaised(result.error, turn_id))
        self.events.append(StatusChanged(self.state.status, turn_id))
        self.events.append(
            TurnEnded(turn_id, result.outcome, result.stop_reason, result.usage, result.timings, result.error)
        )

    def number(self, last_seq: int) -> None:
        """Fix the event numbers that the store has to know: exact at rest, a reserved block while busy."""
        if not self.writes:
            return
        seq = last_seq + len(self.events)
        reserved = max(self.chat.reserved_seq, seq + SEQ_BLOCK) if self.state.busy else seq
        self.chat = replace(self.chat, last_seq=seq, reserved_seq=reserved)
        self.writes.append(PutChat(self.chat))


def _resting(result: TurnResult) -> Status:
    return Status.ERROR if result.outcome == "failed" else Status.WAITING


def _ended(result: TurnResult, at: str) -> Turn:
    return replace(
        result.turn,
        model=result.model or result.turn.model,
        ended_at=at,
        outcome=result.outcome,
        stop_reason=result.stop_reason,
        usage=result.usage,
        error=result.error,
    )
