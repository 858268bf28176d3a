"""How the deadline of a model call moves, by a clock that the test sets."""

from collections.abc import Callable

import anyio
import pytest

from parley_daemon.core.records import Timeouts
from parley_daemon.engine.turns.deadlines import CLEANUP_SECONDS, CallDeadlines


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
        self.now = 1000.0
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
    monkeypatch.setattr("parley_daemon.engine.turns.deadlines.get_running_loop", lambda: loop)
    return loop


def deadlines_of(**milliseconds: int) -> tuple[CallDeadlines, anyio.CancelScope]:
    """Return deadlines of two minutes for the first part and one for silence, if not said otherwise."""
    timeouts = Timeouts(**{"first_part_ms": 120_000, "idle_ms": 60_000, **milliseconds})
    patience = anyio.CancelScope()
    return CallDeadlines(timeouts, "test", patience), patience


async def test_before_the_first_part_its_own_limit_applies(loop: Loop) -> None:
    deadlines, _ = deadlines_of()
    loop.now += 100
    deadlines.extend(is_streaming=False, is_done=False)
    assert deadlines.deadline == 1120
    assert deadlines.failure().kind == "timeout"


async def test_from_the_first_part_on_the_deadline_moves_with_every_sign_of_life(loop: Loop) -> None:
    deadlines, _ = deadlines_of()
    for now in (1100.0, 1130.0, 1180.0):
        loop.now = now
        deadlines.extend(is_streaming=True, is_done=False)
        assert deadlines.deadline == now + 60
    assert deadlines.failure().kind == "stream_idle"


async def test_signs_of_life_arm_no_timer_and_silence_is_noticed_on_time(loop: Loop) -> None:
    deadlines, patience = deadlines_of()
    with deadlines.enforce():
        assert loop.armed == [1120]
        deadlines.extend(is_streaming=True, is_done=False)
        assert loop.armed == [1060]  # the limit for silence is the shorter one
        for _ in range(30):
            loop.advance(1)
            deadlines.extend(is_streaming=True, is_done=False)
        assert (len(loop.timers), loop.armed) == (2, [1060])
        loop.advance(30)  # the timer fires early, and waits on
        assert loop.armed == [1090]
        assert not deadlines.scope.cancel_called
        assert patience.deadline == float("inf")
        loop.advance(30)
        assert deadlines.scope.cancel_called
        assert loop.armed == []


async def test_the_timer_is_cancelled_with_the_call(loop: Loop) -> None:
    deadlines, patience = deadlines_of()
    with pytest.raises(RuntimeError), deadlines.enforce():
        deadlines.extend(is_streaming=True, is_done=False)
        assert loop.armed == [1060]
        raise RuntimeError
    assert loop.armed == []
    deadlines.extend(is_streaming=True, is_done=True)
    loop.advance(1000)
    assert loop.armed == []
    assert not deadlines.scope.cancel_called
    assert patience.deadline == float("inf")


async def test_no_sign_of_life_moves_it_past_the_limit_of_the_whole(loop: Loop) -> None:
    deadlines, _ = deadlines_of(total_ms=70_000)
    assert deadlines.deadline == 1070
    loop.now += 50
    deadlines.extend(is_streaming=True, is_done=False)
    assert deadlines.deadline == 1070
    loop.now += 20
    failure = deadlines.failure()
    assert (failure.kind, failure.retryable) == ("timeout", False)
    assert "70 s" in failure.message


async def test_after_the_finish_little_is_left(loop: Loop) -> None:
    deadlines, _ = deadlines_of()
    with deadlines.enforce():
        deadlines.extend(is_streaming=True, is_done=True)
        assert loop.now < deadlines.deadline < loop.now + 5
        assert loop.armed == [deadlines.deadline]


async def test_patience_ends_a_little_after_the_deadline(loop: Loop) -> None:
    deadlines, patience = deadlines_of()
    with deadlines.enforce():
        deadlines.extend(is_streaming=True, is_done=False)
        loop.advance(60)
    assert patience.deadline == 1060 + CLEANUP_SECONDS


async def test_a_deadline_gives_no_more_patience_to_a_call_that_is_being_stopped(loop: Loop) -> None:
    deadlines, patience = deadlines_of()
    with deadlines.enforce():
        patience.deadline = 1121.0
        loop.advance(120)
    assert patience.deadline == 1121


async def test_without_limits_there_is_no_deadline(loop: Loop) -> None:
    deadlines = CallDeadlines(Timeouts(), "test", anyio.CancelScope())
    with deadlines.enforce():
        deadlines.extend(is_streaming=True, is_done=False)
        assert deadlines.deadline == float("inf")
        assert loop.timers == []


async def test_keep_alives_behind_the_end_of_an_answer_do_not_extend_it(loop: Loop) -> None:
    deadlines, _ = deadlines_of()
    deadlines.extend(is_streaming=True, is_done=True)
    end = deadlines.deadline
    loop.now += 1
    deadlines.extend(is_streaming=False, is_done=True)
    assert deadlines.deadline == end == 1002
