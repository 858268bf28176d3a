"""The transitions of the state machine: what each command does in the statuses where it is allowed.

Each function takes the state and the command, and returns the next state with the effects. It raises Refused
when its own condition does not hold, such as a full queue. The table in `state_machine` calls it.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from parley_daemon.core.commands import (
    QUEUE_LIMIT,
    AcceptTurn,
    AnswerQuestion,
    Begin,
    ConversationState,
    Decision,
    Dequeue,
    EditQueued,
    Effect,
    End,
    Enqueue,
    FinishTurn,
    HoldChat,
    Interrupt,
    JoinSteering,
    JoinTurn,
    OpenQuestion,
    Pause,
    PromoteQueued,
    RefusalReason,
    Refused,
    ReleaseChat,
    RemoveQueued,
    Requeue,
    Resume,
    Send,
    ShowStatus,
    StartTurn,
    StopCause,
    StopTurn,
    Switch,
    SwitchBranch,
)
from parley_daemon.core.records import Outcome, QueuedMessage, Status


def accept_message(state: ConversationState, send: Send) -> Decision:
    """Start a turn with this message. If others are queued, add it to the queue and start the first one.

    The queue may be full: one message is added, and one leaves.
    """
    if state.is_held:
        way = "reject" if send.when_busy == "reject" else "queue"
        return queue_message(replace(state, is_start_due=True), replace(send, when_busy=way))
    if not state.queue:
        return _start_turn(state, (AcceptTurn(send.message, from_queue=False),), send.message.turn_id)
    if send.when_busy == "reject":
        raise Refused(RefusalReason.BUSY, "Other messages wait in the chat's queue and go first.")
    backlog = replace(state, queue=(*state.queue, send.message))
    return _run_head(backlog, (Enqueue(send.message),))


def queue_message(state: ConversationState, send: Send) -> Decision:
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
    return _request_stop(queued, StopCause.INTERRUPT, (Enqueue(send.message),))


def _steer(state: ConversationState, message: QueuedMessage) -> Decision:
    """Insert the message after those that steer, before those that wait for their own turns."""
    steering = tuple(one for one in state.queue if one.steers)
    waiting = state.queue[len(steering) :]
    queue = (*steering, replace(message, steers=True), *waiting)
    return Decision(replace(state, queue=queue), (Requeue(),))


def join_turn(state: ConversationState, join: JoinSteering) -> Decision:
    _expect_turn(state, join.turn_id)
    joining = tuple(one for one in state.queue if one.steers)
    rest = replace(state, queue=state.queue[len(joining) :])
    return Decision(rest, tuple(JoinTurn(one) for one in joining))


def begin_turn(state: ConversationState, begin: Begin) -> Decision:
    _expect_turn(state, begin.turn_id)
    return Decision(replace(state, status=Status.RUNNING), (StartTurn(begin.turn_id),))


def pause_turn(state: ConversationState, pause: Pause) -> Decision:
    _expect_turn(state, pause.turn_id)
    return Decision(replace(state, status=Status.PAUSED), (ShowStatus(pause.turn_id),))


def resume_turn(state: ConversationState, resume: Resume) -> Decision:
    _expect_turn(state, resume.turn_id)
    return Decision(replace(state, status=Status.RUNNING), (ShowStatus(resume.turn_id),))


def stay_running(state: ConversationState, resume: Resume) -> Decision:
    """Another call of the turn runs while the question was open: the chat was not paused."""
    _expect_turn(state, resume.turn_id)
    return Decision(state)


def _request_stop(state: ConversationState, cause: StopCause, before: tuple[Effect, ...] = ()) -> Decision:
    assert state.turn_id is not None
    stopping = replace(state, status=Status.INTERRUPTING)
    return Decision(stopping, (*before, StopTurn(state.turn_id, cause)))


def stop_turn(state: ConversationState, interrupt: Interrupt) -> Decision:
    return _request_stop(state, interrupt.cause)


def stop_again(state: ConversationState, interrupt: Interrupt) -> Decision:
    """A second interrupt changes nothing. A stronger cause (delete, shutdown) replaces a weaker one."""
    if interrupt.cause is StopCause.INTERRUPT:
        return Decision(state)
    return _request_stop(state, interrupt.cause)


def ignore_interrupt(state: ConversationState, _: Interrupt) -> Decision:
    return Decision(state)


def end_turn(state: ConversationState, end: End) -> Decision:
    """Free the chat. After an answer or an interrupt the queue continues, after a failure it stays."""
    _expect_turn(state, end.turn_id)
    finish = FinishTurn(end.turn_id, end.outcome)
    free = replace(state, status=status_after(end.outcome, is_delegated=end.is_delegated), turn_id=None)
    continues = end.outcome != "failed" and end.cause in (None, StopCause.INTERRUPT, StopCause.SWITCH)
    return _run_head(free, (finish,)) if continues else Decision(free, (finish,))


def status_after(outcome: Outcome, *, is_delegated: bool) -> Status:
    """Return the status of a chat after a turn with this outcome, if no other turn follows."""
    if outcome == "failed":
        return Status.ERROR
    return Status.COMPLETED if is_delegated and outcome == "completed" else Status.WAITING


def _start_turn(state: ConversationState, effects: tuple[Effect, ...], turn_id: str) -> Decision:
    queue = _without_steering(state.queue)
    return Decision(ConversationState(Status.PENDING, turn_id, queue), effects)


def _without_steering(queue: Iterable[QueuedMessage]) -> tuple[QueuedMessage, ...]:
    """Return the queue with all messages waiting for their own turns: the turn that they steer ends."""
    return tuple(replace(one, steers=False) if one.steers else one for one in queue)


def _run_head(state: ConversationState, effects: tuple[Effect, ...] = ()) -> Decision:
    """Start the turn of the first queued message, if any. In a held chat, note that it is due."""
    if not state.queue:
        return Decision(state, effects)
    if state.is_held:
        return Decision(replace(state, is_start_due=True), effects)
    head, *rest = state.queue
    accept = AcceptTurn(head, from_queue=True)
    return _start_turn(replace(state, queue=tuple(rest)), (*effects, accept), head.turn_id)


def _find_queued(state: ConversationState, queued_id: str) -> tuple[QueuedMessage, tuple[QueuedMessage, ...]]:
    """Return the message and the queue without it.

    Raises:
        Refused: it is not in the queue.
    """
    found = next((queued for queued in state.queue if queued.id == queued_id), None)
    if found is None:
        message = "That message is not in the queue: it has begun, or was removed."
        raise Refused(RefusalReason.NOT_QUEUED, message)
    return found, tuple(queued for queued in state.queue if queued is not found)


def remove_queued(state: ConversationState, command: RemoveQueued) -> Decision:
    gone, rest = _find_queued(state, command.queued_id)
    return Decision(replace(state, queue=rest), (Dequeue(gone),))


def edit_queued(state: ConversationState, command: EditQueued) -> Decision:
    old, _ = _find_queued(state, command.queued_id)
    new = replace(old, content=command.content)
    queue = tuple(new if queued is old else queued for queued in state.queue)
    return Decision(replace(state, queue=queue), (Requeue(),))


def _move_to_front(state: ConversationState, promote: PromoteQueued) -> ConversationState:
    first, rest = _find_queued(state, promote.queued_id)
    return replace(state, queue=_without_steering((first, *rest)))


def run_promoted(state: ConversationState, promote: PromoteQueued) -> Decision:
    return _run_head(_move_to_front(state, promote), (Requeue(),))


def stop_for_promoted(state: ConversationState, promote: PromoteQueued) -> Decision:
    return _request_stop(_move_to_front(state, promote), StopCause.INTERRUPT, (Requeue(),))


def promote_while_stopping(state: ConversationState, promote: PromoteQueued) -> Decision:
    """Move the message to the front. The turn under way is being stopped already."""
    return Decision(_move_to_front(state, promote), (Requeue(),))


def hold_chat(state: ConversationState, _: HoldChat) -> Decision:
    return Decision(replace(state, is_held=True))


def hold_and_stop(state: ConversationState, _: HoldChat) -> Decision:
    return _request_stop(replace(state, is_held=True), StopCause.SWITCH)


def release_chat(state: ConversationState, _: ReleaseChat) -> Decision:
    return _resume_queue(state)


def _resume_queue(state: ConversationState, effects: tuple[Effect, ...] = ()) -> Decision:
    """End the hold of a resting chat. The queue runs if it would have run meanwhile."""
    free = replace(state, is_held=False, is_start_due=False)
    return _run_head(free, effects) if state.is_start_due else Decision(free, effects)


def release_busy(state: ConversationState, _: ReleaseChat) -> Decision:
    return Decision(replace(state, is_held=False, is_start_due=False))


def switch_branch(state: ConversationState, switch: Switch) -> Decision:
    effects: tuple[Effect, ...] = (SwitchBranch(),)
    queue = state.queue
    if switch.clears_queue and queue:
        effects += tuple(Dequeue(one) for one in queue)
        queue = ()
    rest = replace(state, queue=queue)
    match switch.turn:
        case QueuedMessage() as message:
            return _start_turn(rest, (*effects, AcceptTurn(message, from_queue=False)), message.turn_id)
        case OpenQuestion() as open_question:
            return _start_turn(rest, (*effects, AnswerQuestion(open_question)), open_question.turn_id)
        case None:
            return _resume_queue(rest, effects)


def _expect_turn(state: ConversationState, turn_id: str) -> None:
    if state.turn_id != turn_id:
        raise Refused(RefusalReason.NOT_ALLOWED_NOW, "That turn is not the one under way.")
