"""The state machine of a chat's turns: which command is allowed when, and what follows from it.

Theory of operation
===================
A chat runs one turn at a time. Its state is a `ConversationState`: a status, the id of the turn under way,
and the queue of messages that wait. A chat is *resting* (waiting, error, completed) when no turn is under
way. Otherwise it is *working* (pending, running, paused) or *interrupting*, and `turn_id` is set.

`decide` looks up (status, command) in TRANSITIONS and calls the function of that row. The function returns a
`Decision`: the next state, and the effects that the caller has to carry out, in this order. A pair without a
row, or a row whose own condition does not hold, raises `Refused` with a reason; the state is unchanged then.
To allow a command in another status, add a row.

The rules that the functions keep:

- Every accepted message either starts a turn (AcceptTurn), joins the running one (JoinTurn), stays in the
  queue (Enqueue, Requeue), or is reported as removed (Dequeue).
- The queue has at most QUEUE_LIMIT messages. Messages that steer the running turn stand before the others.
- When a turn ends, the head of the queue runs next, unless the turn failed or the daemon is stopping.
- A chat is *held* while its active branch changes. No turn begins then; `is_start_due` records that one would
  have begun.
- StopTurn asks the run of the turn to stop. Its End follows later and frees the chat. A turn may be stopped
  several times, but has one End.

Nothing here waits, stores or sends. Times and ids come in with the commands.
"""

from collections.abc import Callable
from typing import Any

from parley_daemon.core import transitions
from parley_daemon.core.commands import (
    Begin,
    Command,
    ConversationState,
    Decision,
    EditQueued,
    End,
    HoldChat,
    Interrupt,
    JoinSteering,
    Pause,
    PromoteQueued,
    RefusalReason,
    Refused,
    ReleaseChat,
    RemoveQueued,
    Resume,
    Send,
    Switch,
)
from parley_daemon.core.records import Status

_RESTING = (Status.WAITING, Status.ERROR, Status.COMPLETED)
_WORKING = (Status.PENDING, Status.RUNNING, Status.PAUSED)
_BUSY = (*_WORKING, Status.INTERRUPTING)

# A pair without a row is refused. Begin, End, JoinSteering and Pause come from the run of the turn under way.
TRANSITIONS: dict[tuple[Status, type[Command]], Callable[[ConversationState, Any], Decision]] = {
    **{(status, Send): transitions.accept_message for status in _RESTING},
    **{(status, Send): transitions.queue_message for status in _BUSY},
    **{(status, Interrupt): transitions.ignore_interrupt for status in _RESTING},
    **{(status, Interrupt): transitions.stop_turn for status in _WORKING},
    (Status.INTERRUPTING, Interrupt): transitions.stop_again,
    (Status.PENDING, Begin): transitions.begin_turn,
    **{(status, End): transitions.end_turn for status in _BUSY},
    **{(status, JoinSteering): transitions.join_turn for status in _WORKING},
    (Status.RUNNING, Pause): transitions.pause_turn,
    (Status.PAUSED, Resume): transitions.resume_turn,
    (Status.RUNNING, Resume): transitions.stay_running,
    **{(status, RemoveQueued): transitions.remove_queued for status in Status},
    **{(status, EditQueued): transitions.edit_queued for status in Status},
    **{(status, PromoteQueued): transitions.run_promoted for status in _RESTING},
    **{(status, PromoteQueued): transitions.stop_for_promoted for status in _WORKING},
    (Status.INTERRUPTING, PromoteQueued): transitions.promote_while_stopping,
    **{(status, HoldChat): transitions.hold_chat for status in _RESTING},
    **{(status, HoldChat): transitions.hold_and_stop for status in _BUSY},
    **{(status, ReleaseChat): transitions.release_chat for status in _RESTING},
    **{(status, ReleaseChat): transitions.release_busy for status in _BUSY},
    **{(status, Switch): transitions.switch_branch for status in _RESTING},
}


def decide(state: ConversationState, command: Command) -> Decision:
    """Return what follows from the command.

    Raises:
        Refused: the table has no such pair, or the transition's own condition does not hold.
    """
    transition = TRANSITIONS.get((state.status, type(command)))
    if transition is None:
        message = f"{type(command).__name__} is not possible while the chat is {state.status}."
        raise Refused(RefusalReason.NOT_ALLOWED_NOW, message)
    return transition(state, command)
