"""Whatever commands come in whatever order, a chat keeps its promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parley_daemon.core.commands import (
    QUEUE_LIMIT,
    AcceptTurn,
    AnswerQuestion,
    Begin,
    Command,
    ConversationState,
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
from parley_daemon.core.records import Outcome, Status
from parley_daemon.core.state_machine import decide
from tests.support.engine.records import a_message, a_queued
from tests.support.examples import examples


def ids(state: ConversationState) -> list[str]:
    """Return the ids of what waits."""
    return [message.id for message in state.queue]


OUTCOMES: list[Outcome] = ["completed", "interrupted", "failed"]
WAYS: list[WhenBusy] = ["queue", "steer", "interrupt", "reject"]


class AnyCommands(RuleBasedStateMachine):
    """A driver that carries out effects, and the books that it keeps about every message."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ConversationState()
        self.sent = 0
        self.accepted: set[str] = set()  # ids of messages that were taken
        self.told_gone: set[str] = set()  # those taken out of the queue
        self.ran: list[str] = []  # those that became questions, in order
        self.turns: list[str] = []  # in the order of their acceptance
        self.edits = 0
        self.started: set[str] = set()
        self.finished: set[str] = set()
        self.running: str | None = None
        self.may_rest = False  # whether messages may wait although no turn is under way

    def give(self, command: Command) -> RefusalReason | None:
        """Carry a command out; return why it was refused, if it was."""
        before = self.state
        try:
            decision = decide(before, command)
        except Refused as refused:
            assert self.state is before
            return refused.reason
        self.state = decision.state
        for effect in decision.effects:
            match effect:
                case AcceptTurn(message, from_queue):
                    assert self.running is None, "two turns at once"
                    assert not self.state.is_held
                    assert (message.id in ids(before)) == from_queue or isinstance(command, Send)
                    assert message.id not in self.ran, "a message ran twice"
                    self._begins(message.turn_id)
                    self.ran.append(message.id)
                case AnswerQuestion(again):
                    assert self.running is None, "two turns at once"
                    self._begins(again.turn_id)
                case JoinTurn(message):
                    assert self.running is not None
                    assert message.id in ids(before)
                    assert message.id not in self.ran, "a message ran twice"
                    self.ran.append(message.id)
                case Enqueue(message):
                    assert message.id not in ids(before)
                case Dequeue(message):
                    assert message.id in ids(before)
                    self.told_gone.add(message.id)
                case Requeue():
                    assert isinstance(command, Send | EditQueued | PromoteQueued)
                case SwitchBranch():
                    assert before.is_held
                case StartTurn(turn_id):
                    assert turn_id == self.running
                    assert turn_id not in self.started
                    self.started.add(turn_id)
                case ShowStatus(turn_id):
                    assert turn_id == self.running
                    assert before.status is not decision.state.status
                case StopTurn(turn_id):
                    assert turn_id == self.running
                case FinishTurn(turn_id):
                    assert turn_id == self.running
                    self.finished.add(turn_id)
                    self.running = None
        return None

    def _begins(self, turn_id: str) -> None:
        assert turn_id not in self.turns
        self.running = turn_id
        self.turns.append(turn_id)

    @rule(pauses=st.booleans())
    def pause_or_resume(self, pauses: bool) -> None:
        command = Pause(self.running or "none") if pauses else Resume(self.running or "none")
        allowed = (Status.RUNNING,) if pauses else (Status.RUNNING, Status.PAUSED)
        expected = None if self.state.status in allowed else RefusalReason.NOT_ALLOWED_NOW
        assert self.give(command) is expected

    @rule(when_busy=st.sampled_from(WAYS))
    def send(self, when_busy: WhenBusy) -> None:
        self.sent += 1
        busy, waiting = self.state.is_busy or self.state.is_held, len(self.state.queue)
        message = a_queued(f"m{self.sent}")
        refused = self.give(Send(message, when_busy))
        if (busy or waiting) and when_busy == "reject":
            assert refused is RefusalReason.BUSY
        elif busy and waiting == QUEUE_LIMIT:
            assert refused is RefusalReason.QUEUE_FULL
        else:
            assert refused is None
            self.accepted.add(message.id)
            self.may_rest = False

    @rule(cause=st.sampled_from(StopCause))
    def interrupt(self, cause: StopCause) -> None:
        assert self.give(Interrupt(cause)) is None

    @precondition(lambda self: self.state.is_busy)
    @rule()
    def begin(self) -> None:
        assert self.running is not None
        pending = self.state.status is Status.PENDING
        assert (self.give(Begin(self.running)) is None) == pending

    @precondition(lambda self: self.state.is_busy)
    @rule(outcome=st.sampled_from(OUTCOMES), cause=st.none() | st.sampled_from(StopCause))
    def end(self, outcome: Outcome, cause: StopCause | None) -> None:
        assert self.running is not None
        assert self.give(End(self.running, outcome, cause)) is None
        self.may_rest = outcome == "failed" or cause in (StopCause.DELETE, StopCause.SHUTDOWN)

    @rule(index=st.integers(0, QUEUE_LIMIT))
    def withdraw(self, index: int) -> None:
        queue = self.state.queue
        known = index < len(queue)
        refused = self.give(RemoveQueued(queue[index].id if known else "unknown"))
        assert refused is (None if known else RefusalReason.NOT_QUEUED)

    @rule(index=st.integers(0, QUEUE_LIMIT))
    def promote(self, index: int) -> None:
        queue = self.state.queue
        known = index < len(queue)
        refused = self.give(PromoteQueued(queue[index].id if known else "unknown"))
        assert refused is (None if known else RefusalReason.NOT_QUEUED)
        self.may_rest = self.may_rest and not known
        if known and not self.state.is_held:
            runs = self.state.turn_id == queue[index].turn_id
            assert runs or self.state.queue[0].id == queue[index].id

    @precondition(lambda self: self.state.queue)
    @rule(data=st.data())
    def rewrite(self, data: st.DataObject) -> None:
        queue = self.state.queue
        index = data.draw(st.integers(0, len(queue) - 1))
        assert self.give(EditQueued(queue[index].id, (Text("rewritten"),))) is None
        assert ids(self.state) == [one.id for one in queue]

    @precondition(lambda self: self.state.is_busy)
    @rule()
    def join(self) -> None:
        assert self.running is not None
        stopping = self.state.status is Status.INTERRUPTING
        refused = self.give(JoinSteering(self.running))
        assert refused is (RefusalReason.NOT_ALLOWED_NOW if stopping else None)
        assert stopping or not any(one.steers for one in self.state.queue)

    @precondition(lambda self: not self.state.is_held)
    @rule()
    def hold(self) -> None:
        assert self.give(HoldChat()) is None
        assert self.state.is_held

    @precondition(lambda self: self.state.is_held)
    @rule()
    def release(self) -> None:
        assert self.give(ReleaseChat()) is None
        assert not self.state.is_held

    @precondition(lambda self: self.state.is_held and not self.state.is_busy)
    @rule(how=st.sampled_from(["edit", "retry", "rewind"]))
    def switch(self, how: str) -> None:
        self.edits += 1
        name = f"e{self.edits}"
        turns = {"edit": a_queued(name), "retry": OpenQuestion(name, a_message(1)), "rewind": None}
        if how == "edit":
            self.accepted.add(name)
        assert self.give(Switch(turns[how], clears_queue=how == "edit")) is None
        assert not self.state.is_held
        assert self.state.is_busy or how == "rewind"
        self.may_rest = self.may_rest and how == "rewind"

    @rule(outcome=st.sampled_from(OUTCOMES), past=st.booleans())
    def a_turn_that_is_not_under_way_speaks(self, outcome: Outcome, past: bool) -> None:
        turn_id = next(iter(self.finished), "unknown") if past else "unknown"
        assert self.give(End(turn_id, outcome)) is RefusalReason.NOT_ALLOWED_NOW
        assert self.give(Begin(turn_id)) is RefusalReason.NOT_ALLOWED_NOW

    @invariant()
    def busy_means_a_turn_is_under_way(self) -> None:
        resting = self.state.status in (Status.WAITING, Status.ERROR, Status.COMPLETED)
        assert self.state.is_busy == (not resting) == (self.running is not None)
        assert self.state.turn_id == self.running

    @invariant()
    def what_waits_runs_unless_it_may_rest(self) -> None:
        assert self.state.is_busy or self.state.is_held or not self.state.queue or self.may_rest

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.state.queue) <= QUEUE_LIMIT

    @invariant()
    def every_accepted_message_runs_once_waits_or_was_told_to_be_gone(self) -> None:
        waiting = ids(self.state)
        assert len(set(waiting)) == len(waiting)
        assert sorted([*self.ran, *waiting, *self.told_gone]) == sorted(self.accepted)

    @invariant()
    def what_steers_stands_first(self) -> None:
        steering = [message.steers for message in self.state.queue]
        assert steering == sorted(steering, reverse=True)


TestAnyCommands = AnyCommands.TestCase
TestAnyCommands.settings = settings(max_examples=examples(20), stateful_step_count=50, deadline=None)
