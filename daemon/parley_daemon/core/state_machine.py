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

from collections.abc import Callable
from typing import Any

from parley_daemon.core import transitions
from parley_daemon.core.commands import (
    Begin,
    Command,
    ConversationState,
    Decision,
    End,
    Hold,
    Interrupt,
    Join,
    Promote,
    RefusalReason,
    Refused,
    Release,
    Rewrite,
    Send,
    Switch,
    Withdraw,
)
from parley_daemon.core.records import Status

_RESTING = (Status.WAITING, Status.ERROR, Status.COMPLETED)
_WORKING = (Status.PENDING, Status.RUNNING, Status.PAUSED)
_BUSY = (*_WORKING, Status.INTERRUPTING)

# A pair without a row is refused: Begin, End and Join come from the run of a turn, only while it is busy.
TRANSITIONS: dict[tuple[Status, type[Command]], Callable[[ConversationState, Any], Decision]] = {
    **{(status, Send): transitions.accept_message for status in _RESTING},
    **{(status, Send): transitions.queue_message for status in _BUSY},
    **{(status, Interrupt): transitions.ignore_interrupt for status in _RESTING},
    **{(status, Interrupt): transitions.stop_turn for status in _WORKING},
    (Status.INTERRUPTING, Interrupt): transitions.stop_again,
    (Status.PENDING, Begin): transitions.begin_turn,
    **{(status, End): transitions.end_turn for status in _BUSY},
    **{(status, Join): transitions.join_turn for status in _WORKING},
    **{(status, Withdraw): transitions.remove_queued for status in Status},
    **{(status, Rewrite): transitions.edit_queued for status in Status},
    **{(status, Promote): transitions.run_promoted for status in _RESTING},
    **{(status, Promote): transitions.stop_for_promoted for status in _WORKING},
    (Status.INTERRUPTING, Promote): transitions.promote_while_stopping,
    **{(status, Hold): transitions.hold for status in _RESTING},
    **{(status, Hold): transitions.hold_and_stop for status in _BUSY},
    **{(status, Release): transitions.release for status in _RESTING},
    **{(status, Release): transitions.release_busy for status in _BUSY},
    **{(status, Switch): transitions.switch_branch for status in _RESTING},
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
