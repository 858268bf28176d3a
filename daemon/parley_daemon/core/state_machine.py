"""The state machine of a chat's turns: which command is allowed when, and what follows from it.

Theory of operation
===================
A chat runs one turn at a time. Its state is a `ConversationState`: a status, the id of the turn under way,
and the queue of messages that wait. A chat is *resting* (waiting, error, completed) when no turn is under
way, *working* (pending, running, paused) or *interrupting* when one is; `turn_id` is set exactly then.

`decide` looks up (status, command) in TRANSITIONS and calls the function of that row. The function returns a
`Decision`: the next state, and the effects that the caller has to carry out, in this order. A pair without a
row, or a row whose own condition does not hold, raises `Refused` with a reason; the state is unchanged then.
To allow a command in another status, add a row.

The rules that the functions keep:

- Every accepted message either starts a turn (AcceptTurn), joins the running one (JoinTurn), stays in the
  queue (Enqueue, Requeue), or is reported as removed (Dequeue).
- The queue has at most QUEUE_LIMIT messages. Messages that steer the running turn stand before the others.
- When a turn ends, the head of the queue runs next, unless the turn failed or the daemon is stopping.
- A chat is *held* while its active branch changes. No turn begins then; `called` records that one would have.
- StopTurn asks the turn to stop. Its End follows later and frees the chat, however often it was stopped.

Nothing here waits, stores or sends. Times and ids come in with the commands.
"""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from parley_daemon.core.commands import (
    QUEUE_LIMIT,
    AcceptTurn,
    AnswerAgain,
    Begin,
    Command,
    ConversationState,
    Decision,
    Dequeue,
    Effect,
    End,
    Enqueue,
    FinishTurn,
    Hold,
    Interrupt,
    Join,
    JoinTurn,
    Promote,
    Reanswer,
    RefusalReason,
    Refused,
    Release,
    Requeue,
    Rewrite,
    Send,
    StartTurn,
    StopCause,
    StopTurn,
    Switch,
    SwitchBranch,
    Withdraw,
)
from parley_daemon.core.records import Outcome, QueuedMessage, Status


def _accept_message(state: ConversationState, send: Send) -> Decision:
    """Start a turn with this message; behind a backlog it takes its place and the head goes first.

    The queue may be full: as one message comes, another leaves.
    """
    if state.held:
        way = "reject" if send.when_busy == "reject" else "queue"
        return _queue_message(replace(state, called=True), replace(send, when_busy=way))
    if not state.queue:
        return _start(state, (AcceptTurn(send.message, from_queue=False),), send.message.turn_id)
    if send.when_busy == "reject":
        raise Refused(RefusalReason.BUSY, "Other messages wait in the chat's queue and go first.")
    backlog = replace(state, queue=(*state.queue, send.message))
    return _run_head(backlog, (Enqueue(send.message),))


def _queue_message(state: ConversationState, send: Send) -> Decision:
    if send.when_busy == "reject":
        raise Refused(RefusalReason.BUSY, "The chat is busy with another turn.")
    if len(state.queue) >= QUEUE_LIMIT:
        raise Refused(RefusalReason.QUEUE_FULL, f"The queue is full: {QUEUE_LIMIT} messages wait already.")
    stopping = state.status is Status.INTERRUPTING
    if send.when_busy == "steer" and not stopping:
        return _steer(state, send.message)
    queued = replace(state, queue=(*state.queue, send.message))
    if send.when_busy != "interrupt" or stopping:
        return Decision(queued, (Enqueue(send.message),))
    return _stop_turn(queued, StopCause.INTERRUPT, (Enqueue(send.message),))


def _steer(state: ConversationState, message: QueuedMessage) -> Decision:
    """Put the message before those that wait for turns of their own, behind those that steer already."""
    steering = tuple(one for one in state.queue if one.steers)
    waiting = state.queue[len(steering) :]
    queue = (*steering, replace(message, steers=True), *waiting)
    return Decision(replace(state, queue=queue), (Requeue(),))


def _join(state: ConversationState, join: Join) -> Decision:
    _expect_turn(state, join.turn_id)
    joining = tuple(one for one in state.queue if one.steers)
    rest = replace(state, queue=state.queue[len(joining) :])
    return Decision(rest, tuple(JoinTurn(one) for one in joining))


def _begin(state: ConversationState, begin: Begin) -> Decision:
    _expect_turn(state, begin.turn_id)
    return Decision(replace(state, status=Status.RUNNING), (StartTurn(begin.turn_id),))


def _stop_turn(state: ConversationState, cause: StopCause, before: tuple[Effect, ...] = ()) -> Decision:
    assert state.turn_id is not None
    stopping = replace(state, status=Status.INTERRUPTING)
    return Decision(stopping, (*before, StopTurn(state.turn_id, cause)))


def _stop(state: ConversationState, interrupt: Interrupt) -> Decision:
    return _stop_turn(state, interrupt.cause)


def _stop_again(state: ConversationState, interrupt: Interrupt) -> Decision:
    """Interrupting twice is fine; a stronger cause (delete, shutdown) replaces a weaker one."""
    if interrupt.cause is StopCause.INTERRUPT:
        return Decision(state)
    return _stop_turn(state, interrupt.cause)


def _ignore_interrupt(state: ConversationState, _: Interrupt) -> Decision:
    return Decision(state)


def _end(state: ConversationState, end: End) -> Decision:
    """Free the chat; after an answer or an interrupt the queue goes on, after a failure it stays."""
    _expect_turn(state, end.turn_id)
    finish = FinishTurn(end.turn_id, end.outcome)
    free = replace(state, status=status_after(end.outcome, delegated=end.delegated), turn_id=None)
    going_on = end.outcome != "failed" and end.cause in (None, StopCause.INTERRUPT, StopCause.SWITCH)
    return _run_head(free, (finish,)) if going_on else Decision(free, (finish,))


def status_after(outcome: Outcome, *, delegated: bool) -> Status:
    """Return what a chat is after a turn that came to this, when no other turn follows."""
    if outcome == "failed":
        return Status.ERROR
    return Status.COMPLETED if delegated and outcome == "completed" else Status.WAITING


def _start(state: ConversationState, effects: tuple[Effect, ...], turn_id: str) -> Decision:
    queue = _without_steering(state.queue)
    return Decision(ConversationState(Status.PENDING, turn_id, queue), effects)


def _without_steering(queue: Iterable[QueuedMessage]) -> tuple[QueuedMessage, ...]:
    """What was to steer a turn that is over, or about to be, waits for a turn of its own."""
    return tuple(replace(one, steers=False) if one.steers else one for one in queue)


def _run_head(state: ConversationState, effects: tuple[Effect, ...] = ()) -> Decision:
    """Begin the turn of the queue's head, if there is one; of a held chat once it is released."""
    if not state.queue:
        return Decision(state, effects)
    if state.held:
        return Decision(replace(state, called=True), effects)
    head, *rest = state.queue
    accept = AcceptTurn(head, from_queue=True)
    return _start(replace(state, queue=tuple(rest)), (*effects, accept), head.turn_id)


def _find_queued(state: ConversationState, queued_id: str) -> tuple[QueuedMessage, tuple[QueuedMessage, ...]]:
    """Return the message and the queue without it."""
    found = next((queued for queued in state.queue if queued.id == queued_id), None)
    if found is None:
        message = "That message is not in the queue: it has begun, or was removed."
        raise Refused(RefusalReason.NOT_QUEUED, message)
    return found, tuple(queued for queued in state.queue if queued is not found)


def _withdraw(state: ConversationState, withdraw: Withdraw) -> Decision:
    gone, rest = _find_queued(state, withdraw.queued_id)
    return Decision(replace(state, queue=rest), (Dequeue(gone),))


def _rewrite(state: ConversationState, rewrite: Rewrite) -> Decision:
    old, _ = _find_queued(state, rewrite.queued_id)
    new = replace(old, content=rewrite.content)
    queue = tuple(new if queued is old else queued for queued in state.queue)
    return Decision(replace(state, queue=queue), (Requeue(),))


def _move_to_front(state: ConversationState, promote: Promote) -> ConversationState:
    first, rest = _find_queued(state, promote.queued_id)
    return replace(state, queue=_without_steering((first, *rest)))


def _promote(state: ConversationState, promote: Promote) -> Decision:
    return _run_head(_move_to_front(state, promote), (Requeue(),))


def _promote_and_stop(state: ConversationState, promote: Promote) -> Decision:
    return _stop_turn(_move_to_front(state, promote), StopCause.INTERRUPT, (Requeue(),))


def _promote_while_stopping(state: ConversationState, promote: Promote) -> Decision:
    """The turn under way is being stopped already."""
    return Decision(_move_to_front(state, promote), (Requeue(),))


def _hold(state: ConversationState, _: Hold) -> Decision:
    return Decision(replace(state, held=True))


def _hold_and_stop(state: ConversationState, _: Hold) -> Decision:
    return _stop_turn(replace(state, held=True), StopCause.SWITCH)


def _release(state: ConversationState, _: Release) -> Decision:
    return _resume_queue(state)


def _resume_queue(state: ConversationState, effects: tuple[Effect, ...] = ()) -> Decision:
    """The chat is held no longer, and rests: the queue runs if it would have run meanwhile."""
    free = replace(state, held=False, called=False)
    return _run_head(free, effects) if state.called else Decision(free, effects)


def _release_busy(state: ConversationState, _: Release) -> Decision:
    return Decision(replace(state, held=False, called=False))


def _switch(state: ConversationState, switch: Switch) -> Decision:
    effects: tuple[Effect, ...] = (SwitchBranch(),)
    queue = state.queue
    if switch.clears_queue and queue:
        effects += tuple(Dequeue(one) for one in queue)
        queue = ()
    rest = replace(state, queue=queue)
    match switch.turn:
        case QueuedMessage() as message:
            return _start(rest, (*effects, AcceptTurn(message, from_queue=False)), message.turn_id)
        case Reanswer() as again:
            return _start(rest, (*effects, AnswerAgain(again)), again.turn_id)
        case None:
            return _resume_queue(rest, effects)


def _expect_turn(state: ConversationState, turn_id: str) -> None:
    if state.turn_id != turn_id:
        raise Refused(RefusalReason.NOT_ALLOWED_NOW, "That turn is not the one under way.")


_RESTING = (Status.WAITING, Status.ERROR, Status.COMPLETED)
_WORKING = (Status.PENDING, Status.RUNNING, Status.PAUSED)
_BUSY = (*_WORKING, Status.INTERRUPTING)

# Commands of a turn's own run come only while it is busy; everything absent is refused.
TRANSITIONS: dict[tuple[Status, type[Command]], Callable[[ConversationState, Any], Decision]] = {
    **{(status, Send): _accept_message for status in _RESTING},
    **{(status, Send): _queue_message for status in _BUSY},
    **{(status, Interrupt): _ignore_interrupt for status in _RESTING},
    **{(status, Interrupt): _stop for status in _WORKING},
    (Status.INTERRUPTING, Interrupt): _stop_again,
    (Status.PENDING, Begin): _begin,
    **{(status, End): _end for status in _BUSY},
    **{(status, Join): _join for status in _WORKING},
    **{(status, Withdraw): _withdraw for status in Status},
    **{(status, Rewrite): _rewrite for status in Status},
    **{(status, Promote): _promote for status in _RESTING},
    **{(status, Promote): _promote_and_stop for status in _WORKING},
    (Status.INTERRUPTING, Promote): _promote_while_stopping,
    **{(status, Hold): _hold for status in _RESTING},
    **{(status, Hold): _hold_and_stop for status in _BUSY},
    **{(status, Release): _release for status in _RESTING},
    **{(status, Release): _release_busy for status in _BUSY},
    **{(status, Switch): _switch for status in _RESTING},
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
