"""The time limits of a turn and of its model calls.

Theory of operation. `TurnLimit` is the limit of a whole turn, from its acceptance on: it ends whatever the
turn waits for.

A call has a deadline that moves with every sign of life, which is whatever the provider sends: a comment, a
ping, an empty or a progress chunk, or parts. Until the first part arrives, the limit for the first part
applies (models are loaded, long prompts are read); from then on the limit for silence. Signs of life without
parts count only up to a limit of their own, `alive_ms`, since the last part or the start. After the provider
has said why it finished, there is a rest for its usage report, or for more of the answer.

Batches come thousands of times a second, so `extend` only stores the new deadline. A single timer of the
event loop is armed; when it fires early, it re-arms itself for the deadline as it is then. When the
deadline has passed, the timer waits a moment longer: if this process was stopped, what the provider sent
meanwhile waits in the socket, and is read first. Then it cancels the call's scope and gives it
CLEANUP_SECONDS to end: then the scope of the waiting turn (`patience`) ends, and the turn goes on without the
call.
"""

from asyncio import TimerHandle, get_running_loop
from collections.abc import Generator
from contextlib import contextmanager
from math import inf

import anyio
from msgspec.structs import replace

from parley_daemon.core.records import Failure, Timeouts
from parley_daemon.ports.models import ModelError

CLEANUP_SECONDS = 2.0
"""How long a cancelled call may take to end. After that the turn ends without it."""

# How long a stream may stay open after its Finish, in seconds. The models over HTTP end it sooner, as soon as
# they know; this must leave them the time for text after a stop reason that was none.
_LINGER = 15.0
# How long what waits in the socket may take to be read after the deadline, in seconds. As much is added as
# the timer was late, up to the second figure: it is late when the process was stopped or is very busy.
_GRACE = 0.05
_LONGEST_GRACE = 2.0


class TurnLimit:
    """The limit of a whole turn. `end` is a time of the event loop; infinite: there is no limit.

    `total_ms` fails the turn, `max_ms` of an agent turn only ends it (`ends_well`). The shorter one counts.
    """

    def __init__(self, accepted_at: float, total_ms: int | None, max_ms: int | None = None) -> None:
        self._total = min(_seconds(total_ms), _seconds(max_ms))
        self.end = accepted_at + self._total
        self._is_of_agent = _seconds(max_ms) < _seconds(total_ms)

    @property
    def ends_well(self) -> bool:
        """Whether the limit was reached, and the turn is complete then."""
        return self._is_of_agent and not self.leaves(0)

    def extend(self, seconds: float) -> None:
        """Leave out a time in which the turn only waited for people."""
        self.end += seconds

    @property
    def patience_end(self) -> float:
        """When the turn ends without a call that does not end."""
        return self.end + CLEANUP_SECONDS

    def leaves(self, seconds: float) -> bool:
        """Return whether the turn may go on for so long."""
        return anyio.current_time() + seconds < self.end

    @property
    def ms_left(self) -> int | None:
        """How many milliseconds the turn may go on, 1 or more; None: there is no limit."""
        return None if self.end == inf else max(1, round((self.end - anyio.current_time()) * 1000))

    def check(self) -> None:
        """Check whether the limit is kept.

        Raises:
            ModelError: it was exceeded.
        """
        if not self.leaves(0):
            raise ModelError(self.failure())

    @contextmanager
    def enforce(self) -> Generator[None]:
        """End the block at the limit.

        Raises:
            ModelError: the limit was exceeded.
        """
        with anyio.CancelScope(deadline=self.end) as scope:
            yield
        if scope.cancelled_caught:
            raise ModelError(self.failure())

    def failure(self, last: Failure | None = None) -> Failure:
        """Return the failure of a turn that exceeds the limit. `last`: why its last attempt failed."""
        name = "maxMs" if self._is_of_agent else "totalMs"
        message = f"The turn took longer than its limit of {self._total:g} s ({name})."
        if last is None:
            return Failure("timeout", message)
        message = f"The turn's limit of {self._total:g} s ({name}) leaves no time for another attempt."
        return replace(
            last,
            kind="timeout",
            message=f"{message} {last.message}",
            retryable=False,
            retry_after_ms=None,
        )


class CallDeadlines:
    """The deadlines of one call. Run the call in `scope`, inside `enforce()`.

    `patience` is the scope of whoever waits for the call's end, `limit` that of the turn.
    """

    def __init__(
        self, timeouts: Timeouts, provider: str, patience: anyio.CancelScope, limit: TurnLimit
    ) -> None:
        self._provider = provider
        self._patience = patience
        self._limit = limit
        self._end = limit.end
        self._idle = _seconds(timeouts.idle_ms)
        self._first = _seconds(timeouts.first_part_ms)
        self._alive = _seconds(timeouts.alive_ms)
        self._is_streaming = False
        self._is_done = False
        self._is_misled = False
        self._has_grace = True
        self._loop = get_running_loop()
        self._now = self._loop.time  # bound once: looking the loop up costs more than asking it
        self._part_at = self._now()  # of the last part; at first the start
        self._sign_at = self._part_at
        # Silence before the first part has a limit of its own, which is the longer one: models are loaded.
        self.deadline = min(self._part_at + self._first, self._end)
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

    def extend(self, *, has_part: bool, is_done: bool) -> None:
        """Move the deadline: the provider sent something.

        At the finish (`is_done`) the deadline is set once: keep-alives after it change nothing. Parts after
        it show that it was none, and no later finish is believed.
        """
        if is_done and not self._is_misled:
            if not self._is_done:
                self._is_done = True
                self._shorten(self._now() + _LINGER)
                return
            if not has_part:
                return
            self._is_misled = True
        now = self._now()
        if not has_part:
            self._sign_at = now
            silence = self._idle if self._is_streaming else self._first
            self.deadline = min(now + silence, self._part_at + max(self._alive, silence), self._end)
            return
        self._part_at = self._sign_at = now
        if self._is_streaming:
            self.deadline = min(now + self._idle, self._end)
        else:
            self._is_streaming = True
            self._shorten(now + self._idle)

    def _shorten(self, deadline: float) -> None:
        """Set a deadline that may be earlier than the one that the timer is armed for."""
        self.deadline = min(deadline, self._end)
        if self._is_armed:
            self._arm()

    def _arm(self) -> None:
        self._disarm()
        self._has_grace = True
        if self.deadline < inf:
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
        if self._has_grace:
            self._has_grace = False
            late = now - self.deadline
            self._timer = self._loop.call_at(now + _GRACE + min(late, _LONGEST_GRACE), self._expire)
            return
        self._timer = None
        self.scope.cancel()
        self._patience.deadline = min(self._patience.deadline, now + CLEANUP_SECONDS)

    def failure(self) -> Failure:
        """Return which limit was exceeded. Call it only when one was."""
        if self._now() >= self._end:
            return replace(self._limit.failure(), provider=self._provider)
        silence = self._idle if self._is_streaming else self._first
        if self.deadline < self._sign_at + silence:
            what = "more of its answer" if self._is_streaming else "of its answer"
            alive = f"{max(self._alive, silence):g}"
            limit = f"{self._provider} kept the connection alive, but sent nothing {what} for {alive} s."
        elif self._is_streaming:
            limit = f"{self._provider} sent nothing more for {self._idle:g} s."
        else:
            limit = f"{self._provider} did not begin to answer within {self._first:g} s."
        kind = "stream_idle" if self._is_streaming else "timeout"
        return Failure(kind, limit, provider=self._provider, retryable=True)


def _seconds(milliseconds: int | None) -> float:
    return inf if milliseconds is None else milliseconds / 1000
