"""How the deadline of a model call moves, by a clock that the test sets."""

from collections.abc import Callable

import anyio
import pytest

from parley_daemon.core.records import Timeouts
from parley_daemon.engine.turns.calls.deadlines import CLEANUP_SECONDS, CallDeadlines, TurnLimit

START = 1000.0
MODELS_WAIT = 10  # the longest time that a model over HTTP waits for more of an answer that seems complete
GRACE = 0.1  # more than the time to read what waits in the socket


class Timer:
    """A timer of the loop below."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """The part of an event loop that deadlines use. Its time moves when the test says so."""

    def __init__(self) -> None:
        self.now = START
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(when, callback)
        self.timers.append(timer)
        return timer

    @property
    def armed(self) -> list[float]:
        """The times of the timers that wait."""
        return [timer.when for timer in self.timers if not timer.is_cancelled]

    def advance(self, seconds: float) -> None:
        """Let time pass, and fire what is due."""
        self.now += seconds
        while due := [one for one in self.timers if not one.is_cancelled and one.when <= self.now]:
            due[0].cancel()
            due[0].callback()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr("parley_daemon.engine.turns.calls.deadlines.get_running_loop", lambda: loop)
    return loop


def deadlines_of(**milliseconds: int) -> tuple[CallDeadlines, anyio.CancelScope]:
    """Return deadlines of two minutes for the first part and one for silence, if not said otherwise."""
    chosen = {"first_part_ms": 120_000, "idle_ms": 60_000, "alive_ms": 900_000, **milliseconds}
    timeouts = Timeouts(**chosen)
    patience = anyio.CancelScope()
    return CallDeadlines(timeouts, "test", patience, TurnLimit(START, timeouts.total_ms)), patience


async def test_before_the_first_part_its_own_limit_applies_and_moves_with_every_sign_of_life(
    loop: Loop,
) -> None:
    deadlines, _ = deadlines_of()
    assert deadlines.deadline == 1120
    for now in (1100.0, 1210.0, 1320.0):
        loop.now = now
        deadlines.extend(has_part=False, is_done=False)
        assert deadlines.deadline == now + 120
    failure = deadlines.failure()
    assert (failure.kind, failure.message) == ("timeout", "test did not begin to answer within 120 s.")


@pytest.mark.parametrize("has_begun", [False, True])
async def test_signs_of_life_without_parts_count_up_to_a_limit_of_their_own(
    loop: Loop, has_begun: bool
) -> None:
    deadlines, _ = deadlines_of()
    if has_begun:
        deadlines.extend(has_part=True, is_done=False)
    with deadlines.enforce():
        for _ in range(40):
            loop.advance(30)
            deadlines.extend(has_part=False, is_done=False)
        loop.advance(GRACE)
        assert deadlines.scope.cancel_called
    failure = deadlines.failure()
    assert (failure.kind, failure.retryable) == ("stream_idle" if has_begun else "timeout", True)
    assert "kept the connection alive" in failure.message
    assert "900 s" in failure.message


async def test_a_part_begins_the_time_for_signs_of_life_anew(loop: Loop) -> None:
    deadlines, _ = deadlines_of()
    deadlines.extend(has_part=True, is_done=False)
    loop.now += 890
    deadlines.extend(has_part=True, is_done=False)
    deadlines.extend(has_part=False, is_done=False)
    assert deadlines.deadline == loop.now + 60


async def test_the_limit_for_signs_of_life_shortens_no_silence(loop: Loop) -> None:
    deadlines, _ = deadlines_of(alive_ms=1)
    deadlines.extend(has_part=False, is_done=False)
    assert deadlines.deadline == START + 120


async def test_what_waits_in_the_socket_after_a_stop_is_read_before_silence_is_declared(
    loop: Loop,
) -> None:
    deadlines, patience = deadlines_of()
    with deadlines.enforce():
        loop.advance(3600)  # the process was stopped; its timer fires late
        assert not deadlines.scope.cancel_called
        loop.advance(1)  # there is much to do
        deadlines.extend(has_part=True, is_done=False)
        loop.advance(59)
        assert not deadlines.scope.cancel_called
        assert patience.deadline == float("inf")
        loop.advance(1)
        loop.advance(GRACE)
        assert deadlines.scope.cancel_called


async def test_a_stop_with_nothing_to_read_after_it_is_silence(loop: Loop) -> None:
    deadlines, _ = deadlines_of()
    with deadlines.enforce():
        loop.advance(3600)
        loop.advance(3)
        assert deadlines.scope.cancel_called


async def test_from_the_first_part_on_the_deadline_moves_with_every_sign_of_life(loop: Loop) -> None:
    deadlines, _ = deadlines_of()
    for now in (1100.0, 1130.0, 1180.0):
        loop.now = now
        deadlines.extend(has_part=True, is_done=False)
        assert deadlines.deadline == now + 60
    assert deadlines.failure().kind == "stream_idle"


async def test_signs_of_life_arm_no_timer_and_silence_is_noticed_on_time(loop: Loop) -> None:
    deadlines, patience = deadlines_of()
    with deadlines.enforce():
        assert loop.armed == [1120]
        deadlines.extend(has_part=True, is_done=False)
        assert loop.armed == [1060]  # the limit for silence is the shorter one
        for _ in range(30):
            loop.advance(1)
            deadlines.extend(has_part=True, is_done=False)
        assert (len(loop.timers), loop.armed) == (2, [1060])
        loop.advance(30)  # the timer fires early, and waits on
        assert loop.armed == [1090]
        assert not deadlines.scope.cancel_called
        assert patience.deadline == float("inf")
        loop.advance(30)
        loop.advance(GRACE)
        assert deadlines.scope.cancel_called
        assert loop.armed == []


async def test_the_timer_is_cancelled_with_the_call(loop: Loop) -> None:
    deadlines, patience = deadlines_of()
    with pytest.raises(RuntimeError), deadlines.enforce():
        deadlines.extend(has_part=True, is_done=False)
        assert loop.armed == [1060]
        raise RuntimeError
    assert loop.armed == []
    deadlines.extend(has_part=True, is_done=True)
    loop.advance(1000)
    assert loop.armed == []
    assert not deadlines.scope.cancel_called
    assert patience.deadline == float("inf")


async def test_no_sign_of_life_moves_it_past_the_limit_of_the_whole(loop: Loop) -> None:
    deadlines, _ = deadlines_of(total_ms=70_000)
    assert deadlines.deadline == 1070
    loop.now += 50
    deadlines.extend(has_part=True, is_done=False)
    assert deadlines.deadline == 1070
    loop.now += 20
    failure = deadlines.failure()
    assert (failure.kind, failure.retryable) == ("timeout", False)
    assert "70 s" in failure.message


async def test_after_the_finish_no_more_is_left_than_a_model_needs_to_find_out_that_it_was_none(
    loop: Loop,
) -> None:
    deadlines, _ = deadlines_of()
    with deadlines.enforce():
        deadlines.extend(has_part=True, is_done=True)
        assert loop.now + MODELS_WAIT < deadlines.deadline < loop.now + 60
        assert loop.armed == [deadlines.deadline]


async def test_patience_ends_a_little_after_the_deadline(loop: Loop) -> None:
    deadlines, patience = deadlines_of()
    with deadlines.enforce():
        deadlines.extend(has_part=True, is_done=False)
        loop.advance(60)
        loop.advance(GRACE)
    assert patience.deadline == loop.now + CLEANUP_SECONDS


async def test_a_deadline_gives_no_more_patience_to_a_call_that_is_being_stopped(loop: Loop) -> None:
    deadlines, patience = deadlines_of()
    with deadlines.enforce():
        patience.deadline = 1121.0
        loop.advance(120)
        loop.advance(GRACE)
        assert deadlines.scope.cancel_called
    assert patience.deadline == 1121


async def test_without_limits_there_is_no_deadline(loop: Loop) -> None:
    deadlines = CallDeadlines(Timeouts(), "test", anyio.CancelScope(), TurnLimit(START, None))
    with deadlines.enforce():
        deadlines.extend(has_part=True, is_done=False)
        assert deadlines.deadline == float("inf")
        assert loop.timers == []


async def test_keep_alives_behind_the_end_of_an_answer_do_not_extend_it(loop: Loop) -> None:
    deadlines, _ = deadlines_of()
    deadlines.extend(has_part=True, is_done=True)
    end = deadlines.deadline
    loop.now += 1
    deadlines.extend(has_part=False, is_done=True)
    assert deadlines.deadline == end < START + 60


async def test_parts_after_the_finish_show_that_it_was_none(loop: Loop) -> None:
    deadlines, _ = deadlines_of()
    for _ in range(3):  # a server that sends a finish with each part
        deadlines.extend(has_part=True, is_done=True)
        loop.now += 1
    assert deadlines.deadline == loop.now - 1 + 60


async def test_after_a_finish_that_was_taken_back_no_other_one_is_believed(loop: Loop) -> None:
    deadlines, _ = deadlines_of()
    deadlines.extend(has_part=True, is_done=True)
    loop.now += 1
    deadlines.extend(has_part=True, is_done=False)
    assert deadlines.deadline == loop.now + 60
    loop.now += 30
    deadlines.extend(has_part=False, is_done=True)
    assert deadlines.deadline == loop.now + 30
