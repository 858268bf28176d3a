"""What a chat's turns may be told to do, where they stand, and what then has to be done: plain records.

Time and ids come in with the commands. What follows from which command is `conversation`'s business.
"""

from enum import Enum
from typing import Literal

import msgspec

from parley_daemon.core.parts import Part
from parley_daemon.core.records import Message, ModelSettings, Outcome, QueuedMessage, Status

QUEUE_LIMIT = 20

WhenBusy = Literal["queue", "steer", "interrupt", "reject"]


class StopCause(Enum):
    """Why a running turn is stopped. It decides the outcome: never guessed from an exception."""

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
    """The command is not allowed in this state; nothing changed."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConversationState(msgspec.Struct, frozen=True, gc=False):
    """Where a chat's turns stand. `turn_id` is the turn under way: set exactly while the chat is busy.

    Messages that steer the turn under way stand before the others in the queue. While the chat is `held`,
    because its active branch is about to change, no turn begins: `called` says that the queue's head would
    have begun.
    """

    status: Status = Status.WAITING
    turn_id: str | None = None
    queue: tuple[QueuedMessage, ...] = ()
    held: bool = False
    called: bool = False

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self.turn_id is not None


# ------------------------------------------------------------------ commands


class Send(msgspec.Struct, frozen=True, gc=False):
    """A person's next message, already given the id of its turn and of its place in the queue."""

    message: QueuedMessage
    when_busy: WhenBusy = "queue"


class Interrupt(msgspec.Struct, frozen=True, gc=False):
    """Stop what is under way."""

    cause: StopCause = StopCause.INTERRUPT


class Begin(msgspec.Struct, frozen=True, gc=False):
    """The turn under way got a free slot."""

    turn_id: str


class End(msgspec.Struct, frozen=True, gc=False):
    """The turn under way is over; its answer is about to be committed.

    `cause` is set when it was stopped: a shutdown leaves the queue for the next start. `delegated`: the
    chat is a child that has delivered its report when the answer is complete.
    """

    turn_id: str
    outcome: Outcome
    cause: StopCause | None = None
    delegated: bool = False


class Join(msgspec.Struct, frozen=True, gc=False):
    """A model call of the turn under way is complete: messages that steer it join it now."""

    turn_id: str


class Withdraw(msgspec.Struct, frozen=True, gc=False):
    """Take a message out of the queue."""

    queued_id: str


class Rewrite(msgspec.Struct, frozen=True, gc=False):
    """Let a message of the queue say something else."""

    queued_id: str
    content: tuple[Part, ...]


class Promote(msgspec.Struct, frozen=True, gc=False):
    """Run a message of the queue next; a turn under way is interrupted for it."""

    queued_id: str


class Hold(msgspec.Struct, frozen=True, gc=False):
    """Stop what is under way and begin nothing: the active branch is about to change."""


class Release(msgspec.Struct, frozen=True, gc=False):
    """The branch does not change after all. What would have begun meanwhile begins now."""


class Reanswer(msgspec.Struct, frozen=True, gc=False):
    """A user message of the history, to be answered by a turn of this id."""

    turn_id: str
    question: Message
    model: str | None = None
    settings: ModelSettings = ModelSettings()


class Switch(msgspec.Struct, frozen=True, gc=False):
    """The active branch of a held chat becomes another one; then `turn` begins.

    Without one begins what would have begun meanwhile.
    """

    turn: QueuedMessage | Reanswer | None = None
    clears_queue: bool = False


Command = Send | Interrupt | Begin | End | Join | Withdraw | Rewrite | Promote | Hold | Release | Switch


# ------------------------------------------------------------------- effects


class AcceptTurn(msgspec.Struct, frozen=True, gc=False):
    """Write the user message and its turn; run the turn as soon as a slot is free."""

    message: QueuedMessage
    from_queue: bool


class Enqueue(msgspec.Struct, frozen=True, gc=False):
    """Write the message to the end of the queue."""

    message: QueuedMessage


class StopTurn(msgspec.Struct, frozen=True, gc=False):
    """Stop the run of this turn; it answers with End."""

    turn_id: str
    cause: StopCause


class StartTurn(msgspec.Struct, frozen=True, gc=False):
    """The run of this turn begins."""

    turn_id: str


class FinishTurn(msgspec.Struct, frozen=True, gc=False):
    """Write the turn's answer and outcome, then tell that it ended."""

    turn_id: str
    outcome: Outcome


class JoinTurn(msgspec.Struct, frozen=True, gc=False):
    """Write the message as one more question of the turn under way."""

    message: QueuedMessage


class AnswerAgain(msgspec.Struct, frozen=True, gc=False):
    """Open a turn that answers a message of the history; run it as soon as a slot is free."""

    again: Reanswer


class Dequeue(msgspec.Struct, frozen=True, gc=False):
    """Remove the message from the queue; its turn never was."""

    message: QueuedMessage


class Requeue(msgspec.Struct, frozen=True, gc=False):
    """Write the whole queue anew: its order or a content changed, or a message came in at another place."""


class SwitchBranch(msgspec.Struct, frozen=True, gc=False):
    """Make the other branch the active one, and tell it."""


Effect = (
    AcceptTurn
    | JoinTurn
    | AnswerAgain
    | Enqueue
    | Dequeue
    | Requeue
    | SwitchBranch
    | StopTurn
    | StartTurn
    | FinishTurn
)


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The next state, and what has to be done, in this order."""

    state: ConversationState
    effects: tuple[Effect, ...] = ()
