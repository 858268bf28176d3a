"""How the deadline of a model call moves, by a clock that the test sets."""

import anyio
import pytest

from parley_daemon.core.records import Timeouts
from parley_daemon.engine.turns.deadlines import CLEANUP_SECONDS, Limits


class Time:
    """What the limits take for the time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr("parley_daemon.engine.turns.deadlines.anyio.current_time", time)
    return time


def made(**milliseconds: int) -> tuple[Limits, anyio.CancelScope]:
    """Return limits of two minutes for the first part and one for silence, if not said otherwise."""
    timeouts = Timeouts(**{"first_part_ms": 120_000, "idle_ms": 60_000, **milliseconds})
    patience = anyio.CancelScope()
    return Limits(timeouts, "test", patience), patience


async def test_before_the_first_part_its_own_limit_stands(time: Time) -> None:
    limits, _ = made()
    time.now += 100
    limits.alive(streaming=False, done=False)
    assert limits.scope.deadline == 1120
    assert limits.passed().kind == "timeout"


async def test_from_the_first_part_on_the_deadline_moves_with_every_sign_of_life(time: Time) -> None:
    limits, _ = made()
    for now in (1100.0, 1130.0, 1180.0):
        time.now = now
        limits.alive(streaming=True, done=False)
        assert limits.scope.deadline == now + 60
    assert limits.passed().kind == "stream_idle"


async def test_signs_of_life_close_together_move_it_once(time: Time) -> None:
    limits, _ = made()
    limits.alive(streaming=True, done=False)
    time.now += 0.1
    limits.alive(streaming=True, done=False)
    assert limits.scope.deadline == 1060
    time.now += 0.2
    limits.alive(streaming=True, done=False)
    assert limits.scope.deadline == pytest.approx(1060.3)


async def test_no_sign_of_life_moves_it_past_the_limit_of_the_whole(time: Time) -> None:
    limits, _ = made(total_ms=70_000)
    assert limits.scope.deadline == 1070
    time.now += 50
    limits.alive(streaming=True, done=False)
    assert limits.scope.deadline == 1070
    time.now += 20
    failure = limits.passed()
    assert (failure.kind, failure.retryable) == ("timeout", False)
    assert "70 s" in failure.message


async def test_after_the_finish_little_is_left(time: Time) -> None:
    limits, _ = made()
    limits.alive(streaming=True, done=True)
    assert time.now < limits.scope.deadline < time.now + 5


async def test_patience_ends_a_little_after_each_deadline(time: Time) -> None:
    limits, patience = made()
    assert patience.deadline == limits.scope.deadline + CLEANUP_SECONDS
    limits.alive(streaming=True, done=False)
    assert patience.deadline == limits.scope.deadline + CLEANUP_SECONDS


async def test_without_limits_there_is_no_deadline() -> None:
    limits = Limits(Timeouts(), "test", anyio.CancelScope())
    limits.alive(streaming=True, done=False)
    assert limits.scope.deadline == float("inf")


async def test_keep_alives_behind_the_end_of_an_answer_do_not_draw_it_out(time: Time) -> None:
    limits, _ = made()
    limits.alive(streaming=True, done=True)
    end = limits.scope.deadline
    time.now += 1
    limits.alive(streaming=False, done=True)
    assert limits.scope.deadline == end == 1002
