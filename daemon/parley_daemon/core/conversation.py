"""The state machine of a chat's turns: what may happen when, and what follows from it.

`decide` looks (status, command) up in TRANSITIONS, calls the one function that stands there, and returns the
next state with the effects that the driver has to carry out, in their order. A pair that the table lacks is
refused with a typed reason. Time and ids come in with the commands; nothing here waits, stores or sends.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal

from parley_daemon.core.chats import Outcome, QueuedMessage, Status

QUEUE_LIMIT = 20

WhenBusy = Literal["queue", "reject"]


class StopCause(Enum):
    """Why a running turn is stopped. It decides the outcome: never guessed from an exception."""

    INTERRUPT = "interrupt"
    DELETE = "delete"
    SHUTDOWN = "shutdown"


class RefusalReason(Enum):
    """Why a command was refused."""

    BUSY = "busy"
    QUEUE_FULL = "queue full"
    NOT_ALLOWED_NOW = "not allowed now"


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The command is not allowed in this state; nothing changed."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ConversationState:
    """Where a chat's turns stand. `turn_id` is the turn under way: set exactly while the chat is busy."""

    status: Status = Status.WAITING
    turn_id: str | None = None
    queue: tuple[QueuedMessage, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self.turn_id is not None


# ------------------------------------------------------------------ commands


@dataclass(frozen=True, slots=True)
class Send:
    """A person's next message, already given the id of its turn and of its place in the queue."""

    message: QueuedMessage
    when_busy: WhenBusy = "queue"


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop what is under way."""

    cause: StopCause = StopCause.INTERRUPT


@dataclass(frozen=True, slots=True)
class Begin:
    """The turn under way got a free slot."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class End:
    """The turn under way is over; its answer is about to be committed.

    `cause` is set when it was stopped: a shutdown leaves the queue for the next start.
    """

    turn_id: str
    outcome: Outcome
    cause: StopCause | None = None


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take a message of the queue back: its sender no longer waits for it."""

    queued_id: str


Command = Send | Interrupt | Begin | End | Withdraw


# ------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class AcceptTurn:
    """Write the user message and its turn; run the turn as soon as a slot is free."""

    message: QueuedMessage
    from_queue: bool


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Write the message to the end of the queue."""

    message: QueuedMessage


@dataclass(frozen=True, slots=True)
class StopTurn:
    """Stop the run of this turn; it answers with End."""

    turn_id: str
    cause: StopCause


@dataclass(frozen=True, slots=True)
class StartTurn:
    """The run of this turn begins."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class FinishTurn:
    """Write the turn's answer and outcome, then tell that it ended."""

    turn_id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Dequeue:
    """Remove the message from the queue; its turn never was."""

    message: QueuedMessage


Effect = AcceptTurn | Enqueue | Dequeue | StopTurn | StartTurn | FinishTurn


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, and what has to be done, in this order."""

    state: ConversationState
    effects: tuple[Effect, ...] = ()


# --------------------------------------------------------------- transitions


def _accept(state: ConversationState, send: Send) -> Decision:
    """Start a turn with this message; behind a backlog it takes its place and the head goes first.

    The queue may be full: as one message comes, another leaves.
    """
    if not state.queue:
        next_state = replace(state, status=Status.PENDING, turn_id=send.message.turn_id)
        return Decision(next_state, (AcceptTurn(send.message, from_queue=False),))
    if send.when_busy == "reject":
        raise Refused(RefusalReason.BUSY, "Other messages wait in the chat's queue and go first.")
    backlog = replace(state, queue=(*state.queue, send.message))
    return _promote_head(backlog, (Enqueue(send.message),))


def _enqueue(state: ConversationState, send: Send) -> Decision:
    if send.when_busy == "reject":
        raise Refused(RefusalReason.BUSY, "The chat is busy with another turn.")
    if len(state.queue) >= QUEUE_LIMIT:
        raise Refused(RefusalReason.QUEUE_FULL, f"The queue is full: {QUEUE_LIMIT} messages wait already.")
    return Decision(replace(state, queue=(*state.queue, send.message)), (Enqueue(send.message),))


def _begin(state: ConversationState, begin: Begin) -> Decision:
    _expect_turn(state, begin.turn_id)
    return Decision(replace(state, status=Status.RUNNING), (StartTurn(begin.turn_id),))


def _stop(state: ConversationState, interrupt: Interrupt) -> Decision:
    assert state.turn_id is not None
    stop = StopTurn(state.turn_id, interrupt.cause)
    return Decision(replace(state, status=Status.INTERRUPTING), (stop,))


def _stop_again(state: ConversationState, interrupt: Interrupt) -> Decision:
    """Interrupting twice is fine; a stronger cause (delete, shutdown) replaces a weaker one."""
    if interrupt.cause is StopCause.INTERRUPT:
        return Decision(state)
    assert state.turn_id is not None
    return Decision(state, (StopTurn(state.turn_id, interrupt.cause),))


def _nothing_to_stop(state: ConversationState, _: Interrupt) -> Decision:
    return Decision(state)


def _end(state: ConversationState, end: End) -> Decision:
    """Free the chat; after an answer or an interrupt the queue goes on, after a failure it stays."""
    _expect_turn(state, end.turn_id)
    finish = FinishTurn(end.turn_id, end.outcome)
    resting = Status.ERROR if end.outcome == "failed" else Status.WAITING
    free = replace(state, status=resting, turn_id=None)
    goes_on = end.outcome != "failed" and end.cause in (None, StopCause.INTERRUPT)
    if goes_on and free.queue:
        return _promote_head(free, (finish,))
    return Decision(free, (finish,))


def _promote_head(state: ConversationState, effects: tuple[Effect, ...]) -> Decision:
    head, *rest = state.queue
    next_state = ConversationState(Status.PENDING, head.turn_id, tuple(rest))
    return Decision(next_state, (*effects, AcceptTurn(head, from_queue=True)))


def _withdraw(state: ConversationState, withdraw: Withdraw) -> Decision:
    gone = next((queued for queued in state.queue if queued.id == withdraw.queued_id), None)
    if gone is None:
        raise Refused(RefusalReason.NOT_ALLOWED_NOW, "That message is no longer in the queue.")
    rest = tuple(queued for queued in state.queue if queued is not gone)
    return Decision(replace(state, queue=rest), (Dequeue(gone),))


def _expect_turn(state: ConversationState, turn_id: str) -> None:
    if state.turn_id != turn_id:
        raise Refused(RefusalReason.NOT_ALLOWED_NOW, "That turn is not the one under way.")


# Commands of a turn's own run come only while it is busy; everything absent is refused.
TRANSITIONS: dict[tuple[Status, type[Command]], Callable[[ConversationState, Any], Decision]] = {
    (Status.WAITING, Send): _accept,
    (Status.ERROR, Send): _accept,
    (Status.COMPLETED, Send): _accept,
    (Status.PENDING, Send): _enqueue,
    (Status.RUNNING, Send): _enqueue,
    (Status.PAUSED, Send): _enqueue,
    (Status.INTERRUPTING, Send): _enqueue,
    (Status.WAITING, Interrupt): _nothing_to_stop,
    (Status.ERROR, Interrupt): _nothing_to_stop,
    (Status.COMPLETED, Interrupt): _nothing_to_stop,
    (Status.PENDING, Interrupt): _stop,
    (Status.RUNNING, Interrupt): _stop,
    (Status.PAUSED, Interrupt): _stop,
    (Status.INTERRUPTING, Interrupt): _stop_again,
    (Status.PENDING, Begin): _begin,
    (Status.PENDING, End): _end,
    (Status.RUNNING, End): _end,
    (Status.PAUSED, End): _end,
    (Status.INTERRUPTING, End): _end,
    **{(status, Withdraw): _withdraw for status in Status},
}


def decide(state: ConversationState, command: Command) -> Decision:
    """Return what follows from the command.

    Raises:
        Refused: the table has no such pair, or the transition's own condition does not hold.
    """
    transition = TRANSITIONS.get((state.status, type(command)))
    if transition is None:
        what = type(command).__name__.lower()
        raise Refused(RefusalReason.NOT_ALLOWED_NOW, f"Cannot {what} while the chat is {state.status}.")
    return transition(state, command)
