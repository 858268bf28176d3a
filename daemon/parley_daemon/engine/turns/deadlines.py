"""The time limits of one model call: a deadline that moves on with every sign of life. Knows no model."""

import anyio

from parley_daemon.core.records import Failure, Timeouts

CLEANUP_SECONDS = 2.0
"""How long a call that was stopped may take to go away; past it the turn ends without it."""

_FINEST_CHECK = 0.25
# How long a provider that said why it finished may keep its stream open (for usage) in seconds.
_LINGER = 2.0


class Limits:
    """The limits as one scope to run the call in. `patience` is the scope of whoever waits for its end.

    That scope's deadline is kept behind the call's: a call that is cancelled and does not end is given up.
    """

    def __init__(self, timeouts: Timeouts, provider: str, patience: anyio.CancelScope) -> None:
        self._provider = provider
        self._patience = patience
        self._idle = _seconds(timeouts.idle_ms)
        self._first = _seconds(timeouts.first_part_ms)
        self._streaming = False
        self._done = False
        self._start = self._moved = anyio.current_time()
        self._end = self._start + _seconds(timeouts.total_ms)
        self._grain = min(_FINEST_CHECK, self._idle / 8)
        self.scope = anyio.CancelScope()
        # Silence before the first part is bounded by its own limit, which is the longer one: models load.
        self._move(self._start + self._first)

    def _move(self, deadline: float) -> None:
        self.scope.deadline = min(deadline, self._end)
        self._patience.deadline = self.scope.deadline + CLEANUP_SECONDS

    def alive(self, *, streaming: bool, done: bool) -> None:
        """Something came. Before the first part that moves nothing; after the last one little is left."""
        now = anyio.current_time()
        if done:
            if not self._done:  # once: keep-alives behind the end do not draw it out
                self._done = True
                self._move(now + _LINGER)
            return
        if not streaming or (self._streaming and now - self._moved < self._grain):
            return
        self._streaming = True
        self._moved = now
        self._move(now + self._idle)

    def passed(self) -> Failure:
        """Say which limit was passed; call it only when one was."""
        if anyio.current_time() >= self._end:
            total = f"{self._end - self._start:g}"
            limit = f"The answer took longer than the limit of {total} s for the whole call."
            return Failure("timeout", limit, provider=self._provider)
        if self._streaming:
            limit = f"{self._provider} sent nothing more for {self._idle:g} s."
            return Failure("stream_idle", limit, provider=self._provider, retryable=True)
        limit = f"{self._provider} did not begin to answer within {self._first:g} s."
        return Failure("timeout", limit, provider=self._provider, retryable=True)


def _seconds(milliseconds: int | None) -> float:
    return float("inf") if milliseconds is None else milliseconds / 1000
