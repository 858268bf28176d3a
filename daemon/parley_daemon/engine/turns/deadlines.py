"""The time limits of one model call.

Theory of operation: a call has a deadline that moves with every sign of life. Until the first part arrives,
the limit for the first part applies; from then on the limit for silence, counted from the last batch; after
the provider has said why it finished, a short rest for its usage report. The limit for the whole call
bounds them all.

Batches come thousands of times a second, so `extend` only stores the new deadline. A single timer of the
event loop is armed; when it fires early, it re-arms itself for the deadline as it is then. When the
deadline has passed, the timer cancels the call's scope and gives it CLEANUP_SECONDS to end: then the scope
of the waiting turn (`patience`) ends, and the turn goes on without the call.
"""

from asyncio import TimerHandle, get_running_loop
from collections.abc import Generator
from contextlib import contextmanager

import anyio

from parley_daemon.core.records import Failure, Timeouts

CLEANUP_SECONDS = 2.0
"""How long a cancelled call may take to end. After that the turn ends without it."""

# How long a provider that said why it finished may keep its stream open (for usage), in seconds.
_LINGER = 2.0


class CallDeadlines:
    """The deadlines of one call. Run the call in `scope`, inside `enforce()`.

    `patience` is the scope of whoever waits for the call's end.
    """

    def __init__(self, timeouts: Timeouts, provider: str, patience: anyio.CancelScope) -> None:
        self._provider = provider
        self._patience = patience
        self._idle = _seconds(timeouts.idle_ms)
        self._first = _seconds(timeouts.first_part_ms)
        self._is_streaming = False
        self._is_done = False
        self._loop = get_running_loop()
        self._now = self._loop.time  # bound once: looking the loop up costs more than asking it
        self._start = self._now()
        self._end = self._start + _seconds(timeouts.total_ms)
        # Silence before the first part has a limit of its own, which is the longer one: models are loaded.
        self.deadline = min(self._start + self._first, self._end)
        self.scope = anyio.CancelScope()
        self._timer: TimerHandle | None = None
        self._is_armed = False

    @contextmanager
    def enforce(self) -> Generator[None]:
        """Keep the timer armed while the block runs, also while the call's stream is being closed."""
        self._is_armed = True
        self._arm()
        try:
            yield
        finally:
            self._is_armed = False
            self._disarm()

    def extend(self, *, is_streaming: bool, is_done: bool) -> None:
        """Move the deadline: the provider sent something.

        Until the first part (`is_streaming`) that changes nothing. At the finish (`is_done`) the deadline is
        set once: keep-alives after it change nothing.
        """
        if is_done:
            if not self._is_done:
                self._is_done = True
                self._shorten(self._now() + _LINGER)
        elif self._is_streaming:
            self.deadline = min(self._now() + self._idle, self._end)
        elif is_streaming:
            self._is_streaming = True
            self._shorten(self._now() + self._idle)

    def _shorten(self, deadline: float) -> None:
        """Set a deadline that may be earlier than the one that the timer is armed for."""
        self.deadline = min(deadline, self._end)
        if self._is_armed:
            self._arm()

    def _arm(self) -> None:
        self._disarm()
        if self.deadline < float("inf"):
            self._timer = self._loop.call_at(self.deadline, self._expire)

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expire(self) -> None:
        now = self._now()
        if now < self.deadline:
            self._arm()
            return
        self._timer = None
        self.scope.cancel()
        self._patience.deadline = min(self._patience.deadline, now + CLEANUP_SECONDS)

    def failure(self) -> Failure:
        """Return which limit was exceeded. Call it only when one was."""
        if self._now() >= self._end:
            total = f"{self._end - self._start:g}"
            limit = f"The answer took longer than the limit of {total} s for the whole call."
            return Failure("timeout", limit, provider=self._provider)
        if self._is_streaming:
            limit = f"{self._provider} sent nothing more for {self._idle:g} s."
            return Failure("stream_idle", limit, provider=self._provider, retryable=True)
        limit = f"{self._provider} did not begin to answer within {self._first:g} s."
        return Failure("timeout", limit, provider=self._provider, retryable=True)


def _seconds(milliseconds: int | None) -> float:
    return float("inf") if milliseconds is None else milliseconds / 1000
