"""Every pair of status and command: what follows, as data, or that it is refused."""

import itertools
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from parley_daemon.core.commands import (
    QUEUE_LIMIT,
    AcceptTurn,
    AnswerQuestion,
    Begin,
    Command,
    ConversationState,
    Decision,
    Dequeue,
    EditQueued,
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
    WhenBusy,
)
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Outcome, QueuedMessage, Status
from parley_daemon.core.state_machine import TRANSITIONS, decide
from tests.support.engine.records import a_message, a_queued

IDLE = (Status.WAITING, Status.ERROR, Status.COMPLETED)
WORKING = (Status.PENDING, Status.RUNNING, Status.PAUSED)
BUSY = (*WORKING, Status.INTERRUPTING)
COMMANDS: tuple[type[Command], ...] = get_args(Command)
NEW, HEAD, NEXT = a_queued("new"), a_queued("head"), a_queued("next")
FULL = tuple([a_queued(f"q{number}") for number in range(QUEUE_LIMIT)])


def at(status: Status, *queue: QueuedMessage) -> ConversationState:
    """Return a state; while it is busy, with the turn "now"."""
    return ConversationState(status, "now" if status in BUSY else None, queue)


def refusal(state: ConversationState, command: Command) -> RefusalReason:
    with pytest.raises(Refused) as caught:
        decide(state, command)
    return caught.value.reason


def test_the_table_has_exactly_the_rows_of_the_behaviour_page() -> None:
    anywhere = (Send, Interrupt, RemoveQueued, EditQueued, PromoteQueued, HoldChat, ReleaseChat)
    assert set(TRANSITIONS) == {
        *itertools.product(Status, anywhere),
        (Status.PENDING, Begin),
        *[(status, End) for status in BUSY],
        *[(status, JoinSteering) for status in WORKING],
        *[(status, Switch) for status in IDLE],
        (Status.RUNNING, Pause),
        (Status.PAUSED, Resume),
        (Status.RUNNING, Resume),
    }


ABSENT = sorted(set(itertools.product(Status, COMMANDS)) - set(TRANSITIONS), key=str)


@pytest.mark.parametrize(("status", "kind"), ABSENT)
def test_what_the_table_lacks_is_refused(status: Status, kind: type[Command]) -> None:
    samples: dict[type[Command], Command] = {
        Begin: Begin("now"),
        End: End("now", "completed"),
        JoinSteering: JoinSteering("now"),
        Switch: Switch(),
        Pause: Pause("now"),
        Resume: Resume("now"),
    }
    assert refusal(at(status, HEAD), samples[kind]) is RefusalReason.NOT_ALLOWED_NOW


# ------------------------------------------------------------------------ pause, resume


def test_a_turn_pauses_and_goes_on() -> None:
    paused = decide(at(Status.RUNNING, HEAD), Pause("now"))
    assert paused == Decision(at(Status.PAUSED, HEAD), (ShowStatus("now"),))
    assert decide(paused.state, Resume("now")) == Decision(at(Status.RUNNING, HEAD), (ShowStatus("now"),))


def test_an_answer_while_another_call_runs_changes_no_status() -> None:
    assert decide(at(Status.RUNNING), Resume("now")) == Decision(at(Status.RUNNING))


@pytest.mark.parametrize("command", [Pause("old"), Resume("old")])
def test_another_turn_than_the_one_under_way_does_not_pause(command: Command) -> None:
    assert refusal(at(Status.RUNNING), command) is RefusalReason.NOT_ALLOWED_NOW


# ------------------------------------------------------------------------------- send


@pytest.mark.parametrize("when_busy", ["queue", "reject"])
@pytest.mark.parametrize("status", IDLE)
def test_a_message_to_an_idle_chat_starts_a_turn(status: Status, when_busy: WhenBusy) -> None:
    assert decide(at(status), Send(NEW, when_busy)) == Decision(
        ConversationState(Status.PENDING, NEW.turn_id), (AcceptTurn(NEW, from_queue=False),)
    )


@pytest.mark.parametrize("status", IDLE)
def test_behind_a_backlog_a_message_takes_its_place_and_the_head_runs(status: Status) -> None:
    assert decide(at(status, HEAD, NEXT), Send(NEW)) == Decision(
        ConversationState(Status.PENDING, HEAD.turn_id, (NEXT, NEW)),
        (Enqueue(NEW), AcceptTurn(HEAD, from_queue=True)),
    )


@pytest.mark.parametrize("status", IDLE)
def test_a_full_queue_does_not_keep_an_idle_chat_from_going_on(status: Status) -> None:
    head, *rest = FULL
    assert decide(at(status, *FULL), Send(NEW)) == Decision(
        ConversationState(Status.PENDING, head.turn_id, (*rest, NEW)),
        (Enqueue(NEW), AcceptTurn(head, from_queue=True)),
    )


@pytest.mark.parametrize("status", IDLE)
def test_who_does_not_want_to_wait_is_refused_behind_a_backlog(status: Status) -> None:
    assert refusal(at(status, HEAD), Send(NEW, "reject")) is RefusalReason.BUSY


@pytest.mark.parametrize("status", BUSY)
def test_a_message_to_a_busy_chat_goes_to_the_end_of_the_queue(status: Status) -> None:
    state = at(status, HEAD)
    assert decide(state, Send(NEW)) == Decision(
        ConversationState(status, "now", (HEAD, NEW)), (Enqueue(NEW),)
    )


@pytest.mark.parametrize("status", BUSY)
def test_who_does_not_want_to_wait_is_refused_while_the_chat_is_busy(status: Status) -> None:
    assert refusal(at(status), Send(NEW, "reject")) is RefusalReason.BUSY


@pytest.mark.parametrize("status", BUSY)
def test_a_full_queue_takes_no_more_while_the_chat_is_busy(status: Status) -> None:
    assert refusal(at(status, *FULL), Send(NEW)) is RefusalReason.QUEUE_FULL
    assert decide(at(status, *FULL[1:]), Send(NEW)).state.queue == (*FULL[1:], NEW)


# -------------------------------------------------------------------------- interrupt


@pytest.mark.parametrize("cause", StopCause)
@pytest.mark.parametrize("status", IDLE)
def test_interrupting_an_idle_chat_changes_nothing(status: Status, cause: StopCause) -> None:
    state = at(status, HEAD)
    assert decide(state, Interrupt(cause)) == Decision(state)


@pytest.mark.parametrize("cause", StopCause)
@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.PAUSED])
def test_interrupting_a_turn_stops_it_for_that_cause(status: Status, cause: StopCause) -> None:
    assert decide(at(status, HEAD), Interrupt(cause)) == Decision(
        ConversationState(Status.INTERRUPTING, "now", (HEAD,)), (StopTurn("now", cause),)
    )


def test_interrupting_again_changes_nothing() -> None:
    state = at(Status.INTERRUPTING)
    assert decide(state, Interrupt()) == Decision(state)


@pytest.mark.parametrize("cause", [StopCause.DELETE, StopCause.SHUTDOWN])
def test_a_stronger_cause_replaces_a_plain_interrupt(cause: StopCause) -> None:
    state = at(Status.INTERRUPTING)
    assert decide(state, Interrupt(cause)) == Decision(state, (StopTurn("now", cause),))


# ------------------------------------------------------------------------ a turn's run


def test_a_pending_turn_begins() -> None:
    assert decide(at(Status.PENDING, HEAD), Begin("now")) == Decision(
        ConversationState(Status.RUNNING, "now", (HEAD,)), (StartTurn("now"),)
    )


ENDS: list[tuple[Outcome, StopCause | None, Status]] = [
    ("completed", None, Status.WAITING),
    ("interrupted", StopCause.INTERRUPT, Status.WAITING),
    ("interrupted", StopCause.DELETE, Status.WAITING),
    ("interrupted", StopCause.SHUTDOWN, Status.WAITING),
    ("failed", None, Status.ERROR),
]


@pytest.mark.parametrize(("outcome", "cause", "resting"), ENDS)
@pytest.mark.parametrize("status", BUSY)
def test_the_end_of_a_turn_frees_the_chat(
    status: Status, outcome: Outcome, cause: StopCause | None, resting: Status
) -> None:
    assert decide(at(status), End("now", outcome, cause)) == Decision(
        ConversationState(resting), (FinishTurn("now", outcome),)
    )


@pytest.mark.parametrize(("outcome", "cause", "resting"), ENDS)
@pytest.mark.parametrize("status", BUSY)
def test_a_delegated_chat_has_completed_with_its_answer(
    status: Status, outcome: Outcome, cause: StopCause | None, resting: Status
) -> None:
    ended = decide(at(status), End("now", outcome, cause, is_delegated=True)).state
    assert ended.status is (Status.COMPLETED if outcome == "completed" else resting)


GOES_ON: list[tuple[Outcome, StopCause | None]] = [
    ("completed", None),
    ("completed", StopCause.INTERRUPT),
    ("interrupted", StopCause.INTERRUPT),
]


@pytest.mark.parametrize(("outcome", "cause"), GOES_ON)
@pytest.mark.parametrize("status", BUSY)
def test_after_an_answer_or_an_interrupt_the_queue_goes_on(
    status: Status, outcome: Outcome, cause: StopCause | None
) -> None:
    assert decide(at(status, HEAD, NEXT), End("now", outcome, cause)) == Decision(
        ConversationState(Status.PENDING, HEAD.turn_id, (NEXT,)),
        (FinishTurn("now", outcome), AcceptTurn(HEAD, from_queue=True)),
    )


STAYS: list[tuple[Outcome, StopCause | None]] = [
    ("failed", None),
    ("failed", StopCause.INTERRUPT),
    ("interrupted", StopCause.DELETE),
    ("interrupted", StopCause.SHUTDOWN),
    ("completed", StopCause.SHUTDOWN),
]


@pytest.mark.parametrize(("outcome", "cause"), STAYS)
@pytest.mark.parametrize("status", BUSY)
def test_after_a_failure_a_deletion_or_a_shutdown_the_queue_stays(
    status: Status, outcome: Outcome, cause: StopCause | None
) -> None:
    resting = Status.ERROR if outcome == "failed" else Status.WAITING
    assert decide(at(status, HEAD, NEXT), End("now", outcome, cause)) == Decision(
        ConversationState(resting, None, (HEAD, NEXT)), (FinishTurn("now", outcome),)
    )


FOREIGN: list[Any] = [Begin("other"), End("other", "completed")]


@pytest.mark.parametrize("command", FOREIGN, ids=["begin", "end"])
def test_what_another_turn_says_is_refused(command: Command) -> None:
    assert refusal(at(Status.PENDING), command) is RefusalReason.NOT_ALLOWED_NOW


# --------------------------------------------------------------------------- withdraw


@pytest.mark.parametrize("status", Status)
def test_a_queued_message_can_be_taken_back_at_any_time(status: Status) -> None:
    state = at(status, HEAD, NEXT)
    assert decide(state, RemoveQueued("head")) == Decision(
        ConversationState(status, state.turn_id, (NEXT,)), (Dequeue(HEAD),)
    )


@pytest.mark.parametrize("status", Status)
def test_a_message_that_is_not_queued_cannot_be_taken_back(status: Status) -> None:
    assert refusal(at(status, HEAD), RemoveQueued("gone")) is RefusalReason.NOT_QUEUED


# ---------------------------------------------------------- steer, interrupt, the queue


@pytest.mark.parametrize("status", WORKING)
def test_an_interrupting_message_is_queued_first_and_the_turn_then_stopped(status: Status) -> None:
    assert decide(at(status, HEAD), Send(NEW, "interrupt")) == Decision(
        ConversationState(Status.INTERRUPTING, "now", (HEAD, NEW)),
        (Enqueue(NEW), StopTurn("now", StopCause.INTERRUPT)),
    )


@pytest.mark.parametrize("when_busy", ["steer", "interrupt"])
def test_while_a_turn_is_being_stopped_a_message_can_only_wait(when_busy: WhenBusy) -> None:
    assert decide(at(Status.INTERRUPTING, HEAD), Send(NEW, when_busy)) == Decision(
        ConversationState(Status.INTERRUPTING, "now", (HEAD, NEW)), (Enqueue(NEW),)
    )


@pytest.mark.parametrize("status", WORKING)
def test_a_steering_message_stands_before_those_that_wait_and_behind_those_that_steer(status: Status) -> None:
    first = replace(HEAD, steers=True)
    assert decide(at(status, first, NEXT), Send(NEW, "steer")) == Decision(
        ConversationState(status, "now", (first, replace(NEW, steers=True), NEXT)), (Requeue(),)
    )


@pytest.mark.parametrize("status", WORKING)
def test_what_steers_joins_the_turn_and_the_rest_waits_on(status: Status) -> None:
    first = replace(HEAD, steers=True)
    assert decide(at(status, first, NEXT), JoinSteering("now")) == Decision(
        ConversationState(status, "now", (NEXT,)), (JoinTurn(first),)
    )
    assert decide(at(status, NEXT), JoinSteering("now")) == Decision(at(status, NEXT))


def test_what_could_not_steer_its_turn_does_not_steer_the_next_one() -> None:
    steering = [replace(one, steers=True) for one in (HEAD, NEXT)]
    ended = decide(at(Status.RUNNING, *steering), End("now", "interrupted", StopCause.INTERRUPT))
    assert ended.state == ConversationState(Status.PENDING, HEAD.turn_id, (NEXT,))
    promoted = decide(at(Status.RUNNING, *steering), PromoteQueued("next"))
    assert promoted.state.queue == (NEXT, HEAD)


@pytest.mark.parametrize("status", Status)
def test_a_waiting_message_can_be_rewritten_in_its_place(status: Status) -> None:
    state, content = at(status, HEAD, NEXT), (Text("other"),)
    assert decide(state, EditQueued("head", content)) == Decision(
        replace(state, queue=(replace(HEAD, content=content), NEXT)), (Requeue(),)
    )
    assert refusal(state, EditQueued("gone", content)) is RefusalReason.NOT_QUEUED


@pytest.mark.parametrize("status", IDLE)
def test_a_promoted_message_of_an_idle_chat_runs(status: Status) -> None:
    assert decide(at(status, HEAD, NEXT), PromoteQueued("next")) == Decision(
        ConversationState(Status.PENDING, NEXT.turn_id, (HEAD,)),
        (Requeue(), AcceptTurn(NEXT, from_queue=True)),
    )


@pytest.mark.parametrize("status", BUSY)
def test_a_promoted_message_goes_to_the_front_and_the_turn_is_stopped(status: Status) -> None:
    stop = () if status is Status.INTERRUPTING else (StopTurn("now", StopCause.INTERRUPT),)
    assert decide(at(status, HEAD, NEXT), PromoteQueued("next")) == Decision(
        ConversationState(Status.INTERRUPTING, "now", (NEXT, HEAD)), (Requeue(), *stop)
    )
    assert refusal(at(status, HEAD), PromoteQueued("gone")) is RefusalReason.NOT_QUEUED


# ------------------------------------------------------------------------- the branch


@pytest.mark.parametrize("status", IDLE)
def test_a_held_chat_begins_nothing(status: Status) -> None:
    held = decide(at(status), HoldChat())
    assert held == Decision(replace(at(status), is_held=True))
    modes: tuple[WhenBusy, ...] = ("queue", "steer", "interrupt")
    for when_busy in modes:
        assert decide(held.state, Send(NEW, when_busy)) == Decision(
            replace(held.state, queue=(NEW,), is_start_due=True), (Enqueue(NEW),)
        )
    assert refusal(held.state, Send(NEW, "reject")) is RefusalReason.BUSY
    waiting = replace(held.state, queue=(HEAD, NEXT))
    assert decide(waiting, PromoteQueued("next")).state == replace(
        waiting, queue=(NEXT, HEAD), is_start_due=True
    )


@pytest.mark.parametrize("status", BUSY)
def test_holding_a_busy_chat_stops_its_turn_and_keeps_the_queue_from_going_on(status: Status) -> None:
    held = decide(at(status, HEAD), HoldChat())
    stopping = replace(at(Status.INTERRUPTING, HEAD), is_held=True)
    assert held == Decision(stopping, (StopTurn("now", StopCause.SWITCH),))
    ended = decide(held.state, End("now", "interrupted", StopCause.SWITCH))
    assert ended == Decision(
        replace(at(Status.WAITING, HEAD), is_held=True, is_start_due=True),
        (FinishTurn("now", "interrupted"),),
    )


@pytest.mark.parametrize("status", IDLE)
def test_a_released_chat_runs_its_queue_only_if_that_would_have_run_meanwhile(status: Status) -> None:
    held = replace(at(status, HEAD), is_held=True)
    assert decide(held, ReleaseChat()) == Decision(at(status, HEAD))
    assert decide(replace(held, is_start_due=True), ReleaseChat()) == Decision(
        ConversationState(Status.PENDING, HEAD.turn_id), (AcceptTurn(HEAD, from_queue=True),)
    )


def test_a_chat_that_is_released_while_its_turn_is_stopped_begins_nothing_yet() -> None:
    busy = replace(at(Status.INTERRUPTING, HEAD), is_held=True)
    assert decide(busy, ReleaseChat()) == Decision(at(Status.INTERRUPTING, HEAD))


@pytest.mark.parametrize("outcome", ["failed", "interrupted"])
def test_a_held_chat_whose_turn_failed_or_was_shut_down_leaves_its_queue_alone(outcome: Outcome) -> None:
    cause = None if outcome == "failed" else StopCause.SHUTDOWN
    held = replace(at(Status.RUNNING, HEAD), is_held=True)
    ended = decide(held, End("now", outcome, cause)).state
    assert decide(ended, ReleaseChat()).state == replace(ended, is_held=False)


@pytest.mark.parametrize("status", IDLE)
def test_a_switch_begins_the_turn_that_it_is_for(status: Status) -> None:
    held = replace(at(status, HEAD), is_held=True)
    assert decide(held, Switch(NEW, clears_queue=True)) == Decision(
        ConversationState(Status.PENDING, NEW.turn_id),
        (SwitchBranch(), Dequeue(HEAD), AcceptTurn(NEW, from_queue=False)),
    )
    again = OpenQuestion("again", a_message(1))
    assert decide(held, Switch(again)) == Decision(
        ConversationState(Status.PENDING, "again", (HEAD,)), (SwitchBranch(), AnswerQuestion(again))
    )


def test_a_switch_without_a_turn_runs_the_queue_only_if_that_would_have_run_meanwhile() -> None:
    held = replace(at(Status.WAITING, HEAD), is_held=True)
    assert decide(held, Switch()) == Decision(at(Status.WAITING, HEAD), (SwitchBranch(),))
    assert decide(replace(held, is_start_due=True), Switch()) == Decision(
        ConversationState(Status.PENDING, HEAD.turn_id),
        (SwitchBranch(), AcceptTurn(HEAD, from_queue=True)),
    )
