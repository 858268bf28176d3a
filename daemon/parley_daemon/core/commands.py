"""The input and output of the state machine as records: state, commands, effects, decisions.

`state_machine` says which command is allowed when, and `transitions` what follows from it. A command brings
the ids and times that it needs.
"""

from enum import Enum
from typing import Literal

import msgspec

from parley_daemon.core.parts import Part
from parley_daemon.core.records import Message, ModelSettings, Outcome, QueuedMessage, Status

QUEUE_LIMIT = 20
"""Messages that a queue can hold."""

WhenBusy = Literal["queue", "steer", "interrupt", "reject"]


class StopCause(Enum):
    """Why a turn under way is stopped. The cause decides the outcome; no exception is interpreted."""

    INTERRUPT = "interrupt"
    SWITCH = "switch"
    DELETE = "delete"
    SHUTDOWN = "shutdown"


class RefusalReason(Enum):
    """Why a command was refused."""

    BUSY = "busy"
    QUEUE_FULL = "queue full"
    NOT_QUEUED = "not queued"
    NOT_ALLOWED_NOW = "not allowed now"


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The command is not allowed in this state. Nothing has changed."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConversationState(msgspec.Struct, frozen=True, gc=False):
    """The state of a chat's turns.

    Attributes:
        status: what the chat is doing.
        turn_id: the turn under way; None exactly when the chat is not busy.
        queue: the messages that wait. Those that steer the turn under way come first.
        is_held: whether the active branch is about to change. No turn begins while it is set.
        is_start_due: whether the first message of the queue would have begun while the chat was held.
    """

    status: Status = Status.WAITING
    turn_id: str | None = None
    queue: tuple[QueuedMessage, ...] = ()
    is_held: bool = False
    is_start_due: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether a turn is under way."""
        return self.turn_id is not None


# ------------------------------------------------------------------ commands


class Send(msgspec.Struct, frozen=True, gc=False):
    """Accept a user message. It already has the id of its turn and its id in the queue."""

    message: QueuedMessage
    when_busy: WhenBusy = "queue"


class Interrupt(msgspec.Struct, frozen=True, gc=False):
    """Stop the turn under way, if there is one."""

    cause: StopCause = StopCause.INTERRUPT


class Begin(msgspec.Struct, frozen=True, gc=False):
    """The turn under way has its slot and begins to run."""

    turn_id: str


class End(msgspec.Struct, frozen=True, gc=False):
    """The turn under way has ended. Its answer is about to be committed.

    `cause` says why it was stopped, None when it was not. After a shutdown the queue stays for the next
    start. `is_delegated`: see Chat.is_delegated.
    """

    turn_id: str
    outcome: Outcome
    cause: StopCause | None = None
    is_delegated: bool = False


class JoinSteering(msgspec.Struct, frozen=True, gc=False):
    """A model call of the turn under way is complete. The messages that steer the turn join it."""

    turn_id: str


class Pause(msgspec.Struct, frozen=True, gc=False):
    """Nothing of the turn under way runs any more: it waits for answers to its questions."""

    turn_id: str


class Resume(msgspec.Struct, frozen=True, gc=False):
    """A question was answered: the turn under way goes on."""

    turn_id: str


class RemoveQueued(msgspec.Struct, frozen=True, gc=False):
    """Remove a message from the queue."""

    queued_id: str


class EditQueued(msgspec.Struct, frozen=True, gc=False):
    """Replace the content of a queued message."""

    queued_id: str
    content: tuple[Part, ...]


class PromoteQueued(msgspec.Struct, frozen=True, gc=False):
    """Run a queued message next. A turn under way is interrupted."""

    queued_id: str


class HoldChat(msgspec.Struct, frozen=True, gc=False):
    """Stop the turn under way and begin no other, because the active branch is about to change."""


class ReleaseChat(msgspec.Struct, frozen=True, gc=False):
    """End a hold without changing the branch. A turn that would have begun meanwhile begins now."""


class OpenQuestion(msgspec.Struct, frozen=True, gc=False):
    """A user message of the history that a new turn, `turn_id`, answers. None: the chat's model."""

    turn_id: str
    message: Message
    model: str | None = None
    settings: ModelSettings = ModelSettings()


class Switch(msgspec.Struct, frozen=True, gc=False):
    """Make another branch of a held chat the active one, end the hold, and begin `turn`.

    Without `turn`, a turn that would have begun meanwhile begins. With `clears_queue`, all messages are
    removed from the queue.
    """

    turn: QueuedMessage | OpenQuestion | None = None
    clears_queue: bool = False


Command = (
    Send
    | Interrupt
    | Begin
    | End
    | JoinSteering
    | Pause
    | Resume
    | RemoveQueued
    | EditQueued
    | PromoteQueued
    | HoldChat
    | ReleaseChat
    | Switch
)


# ------------------------------------------------------------------- effects


class AcceptTurn(msgspec.Struct, frozen=True, gc=False):
    """Store the user message and its turn. The turn runs as soon as a slot is free."""

    message: QueuedMessage
    from_queue: bool


class Enqueue(msgspec.Struct, frozen=True, gc=False):
    """Store the message at the end of the queue."""

    message: QueuedMessage


class StopTurn(msgspec.Struct, frozen=True, gc=False):
    """Stop the run of this turn. An End command follows."""

    turn_id: str
    cause: StopCause


class ShowStatus(msgspec.Struct, frozen=True, gc=False):
    """Publish the status of the turn under way."""

    turn_id: str


class StartTurn(msgspec.Struct, frozen=True, gc=False):
    """The run of this turn begins."""

    turn_id: str


class FinishTurn(msgspec.Struct, frozen=True, gc=False):
    """Store the turn's answer and outcome, and publish that it has ended."""

    turn_id: str
    outcome: Outcome


class JoinTurn(msgspec.Struct, frozen=True, gc=False):
    """Store the message as a further question of the turn under way."""

    message: QueuedMessage


class AnswerQuestion(msgspec.Struct, frozen=True, gc=False):
    """Store a turn that answers a message of the history. It runs as soon as a slot is free."""

    question: OpenQuestion


class Dequeue(msgspec.Struct, frozen=True, gc=False):
    """Remove the message from the queue. Its turn will never run."""

    message: QueuedMessage


class Requeue(msgspec.Struct, frozen=True, gc=False):
    """Store the whole queue: its order or a content has changed, or a message was inserted before others."""


class SwitchBranch(msgspec.Struct, frozen=True, gc=False):
    """Make the other branch the active one, and publish that."""


Effect = (
    AcceptTurn
    | JoinTurn
    | AnswerQuestion
    | Enqueue
    | Dequeue
    | Requeue
    | SwitchBranch
    | StopTurn
    | ShowStatus
    | StartTurn
    | FinishTurn
)


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The next state, and the effects to carry out, in this order."""

    state: ConversationState
    effects: tuple[Effect, ...] = ()
