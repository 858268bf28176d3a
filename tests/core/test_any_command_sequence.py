"""Whatever commands come in whatever order, a chat keeps its promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parley_daemon.core.chats import Outcome, QueuedMessage, Status
from parley_daemon.core.conversation import (
    QUEUE_LIMIT,
    AcceptTurn,
    Begin,
    Command,
    ConversationState,
    Dequeue,
    End,
    Enqueue,
    FinishTurn,
    Interrupt,
    RefusalReason,
    Refused,
    Send,
    StartTurn,
    StopCause,
    StopTurn,
    WhenBusy,
    Withdraw,
    decide,
)
from tests.support.records import a_queued

OUTCOMES: list[Outcome] = ["completed", "interrupted", "failed"]
WAYS: list[WhenBusy] = ["queue", "reject"]


class AnyCommands(RuleBasedStateMachine):
    """A driver that carries out effects, and the books that it keeps about every message."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ConversationState()
        self.sent = 0
        self.accepted: list[QueuedMessage] = []  # by `Send`, in order, those taken back left out
        self.turns: list[str] = []  # in the order of their acceptance
        self.started: set[str] = set()
        self.finished: set[str] = set()
        self.running: str | None = None

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
                    assert (message in before.queue) == from_queue
                    assert message.turn_id not in self.turns, "a message ran twice"
                    self.running = message.turn_id
                    self.turns.append(message.turn_id)
                case Enqueue(message):
                    assert message not in before.queue
                case Dequeue(message):
                    assert message in before.queue
                    self.accepted.remove(message)
                case StartTurn(turn_id):
                    assert turn_id == self.running
                    assert turn_id not in self.started
                    self.started.add(turn_id)
                case StopTurn(turn_id):
                    assert turn_id == self.running
                case FinishTurn(turn_id):
                    assert turn_id == self.running
                    self.finished.add(turn_id)
                    self.running = None
        return None

    @rule(when_busy=st.sampled_from(WAYS))
    def send(self, when_busy: WhenBusy) -> None:
        self.sent += 1
        busy, waiting = self.state.busy, len(self.state.queue)
        message = a_queued(f"m{self.sent}")
        refused = self.give(Send(message, when_busy))
        if (busy or waiting) and when_busy == "reject":
            assert refused is RefusalReason.BUSY
        elif busy and waiting == QUEUE_LIMIT:
            assert refused is RefusalReason.QUEUE_FULL
        else:
            assert refused is None
            self.accepted.append(message)

    @rule(cause=st.sampled_from(StopCause))
    def interrupt(self, cause: StopCause) -> None:
        assert self.give(Interrupt(cause)) is None

    @precondition(lambda self: self.state.busy)
    @rule()
    def begin(self) -> None:
        assert self.running is not None
        pending = self.state.status is Status.PENDING
        assert (self.give(Begin(self.running)) is None) == pending

    @precondition(lambda self: self.state.busy)
    @rule(outcome=st.sampled_from(OUTCOMES), cause=st.none() | st.sampled_from(StopCause))
    def end(self, outcome: Outcome, cause: StopCause | None) -> None:
        assert self.running is not None
        assert self.give(End(self.running, outcome, cause)) is None

    @rule(index=st.integers(0, QUEUE_LIMIT))
    def withdraw(self, index: int) -> None:
        queue = self.state.queue
        known = index < len(queue)
        refused = self.give(Withdraw(queue[index].id if known else "unknown"))
        assert refused is (None if known else RefusalReason.NOT_ALLOWED_NOW)

    @rule(outcome=st.sampled_from(OUTCOMES), past=st.booleans())
    def a_turn_that_is_not_under_way_speaks(self, outcome: Outcome, past: bool) -> None:
        turn_id = next(iter(self.finished), "unknown") if past else "unknown"
        assert self.give(End(turn_id, outcome)) is RefusalReason.NOT_ALLOWED_NOW
        assert self.give(Begin(turn_id)) is RefusalReason.NOT_ALLOWED_NOW

    @invariant()
    def busy_means_a_turn_is_under_way(self) -> None:
        resting = self.state.status in (Status.WAITING, Status.ERROR, Status.COMPLETED)
        assert self.state.busy == (not resting) == (self.running is not None)
        assert self.state.turn_id == self.running

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.state.queue) <= QUEUE_LIMIT

    @invariant()
    def every_accepted_message_runs_once_and_in_order(self) -> None:
        waiting = [message.turn_id for message in self.state.queue]
        assert [*self.turns, *waiting] == [message.turn_id for message in self.accepted]


TestAnyCommands = AnyCommands.TestCase
TestAnyCommands.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
