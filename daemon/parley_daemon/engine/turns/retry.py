"""Whether and when a failed model call is tried again, and which models should not be asked for a while.

Theory of operation. The wait doubles from attempt to attempt up to a longest one, with random jitter, so
that calls that failed together do not come back together. A provider that asks for a longer wait
(Retry-After) gets it, within a bound. One instance serves all chats: where a provider turned many calls
away (rate_limit, overloaded), each of them waits a little longer than the one before (`spacing`). A model
that asked for a wait is paused: other chats with fallback models skip it until the pause is nearly over.

All times are monotonic seconds that the caller passes in.
"""

import math
import random
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from parley_daemon.core.records import Failure

_CROWDED = ("rate_limit", "overloaded")
# After so many doublings any first wait exceeds any longest one. The bound keeps the power a finite number.
_DOUBLINGS = 64


class RetryPolicy(msgspec.Struct, frozen=True, gc=False):
    """How often a model is asked, and how long the waits are. Times are in seconds.

    Attributes:
        attempts: how often a model is asked, the first time included.
        first: the wait after the first attempt.
        longest: the longest wait by doubling.
        longest_asked: the longest wait that a provider may ask for.
        jitter: the share of a wait by which it varies at random.
        spacing: what each call that a provider turned away waits longer than the one before.
        fallback_attempts: attempts of a model before its fallback is asked.
        fallback_wait: a fallback is asked at once when the wait would be longer than this.
    """

    attempts: int = 8
    first: float = 1.0
    longest: float = 60.0
    longest_asked: float = 300.0
    jitter: float = 0.2
    spacing: float = 0.2
    fallback_attempts: int = 2
    fallback_wait: float = 5.0


class Retries(msgspec.Struct, gc=False):
    """The policy, and what is known of each provider. `spread` returns a random number from -1 to 1."""

    policy: RetryPolicy = RetryPolicy()
    spread: Callable[[], float] = lambda: random.uniform(-1, 1)
    _next: dict[str, float] = {}
    _pauses: dict[str, tuple[float, Failure]] = {}

    def delay(self, failure: Failure, attempt: int, now: float) -> float | None:
        """Return the seconds to wait after attempt `attempt` (from 1) failed, None if it was the last."""
        policy = self.policy
        if not failure.retryable or attempt >= policy.attempts:
            return None
        doubled = policy.first * 2.0 ** min(attempt - 1, _DOUBLINGS)
        wait = min(doubled, policy.longest) * (1 + policy.jitter * self.spread())
        if failure.retry_after_ms is not None:
            wait = max(wait, min(failure.retry_after_ms / 1000, policy.longest_asked))
        if failure.kind not in _CROWDED or failure.provider is None:
            return wait
        at = max(now + wait, self._next.get(failure.provider, 0.0))
        self._next[failure.provider] = at + policy.spacing
        return at - now

    def is_fallback_due(self, failure: Failure, attempt: int, now: float) -> bool:
        """Return whether a fallback model is asked, if there is one, after attempt `attempt` failed."""
        wait = (failure.retry_after_ms or 0) / 1000
        if failure.kind in _CROWDED and failure.provider is not None:
            wait = max(wait, self._next.get(failure.provider, 0.0) - now)
        policy = self.policy
        return wait > policy.fallback_wait or attempt >= min(policy.fallback_attempts, policy.attempts)

    def record_failure(self, model: str, failure: Failure, now: float) -> None:
        """Pause a model if its failure asks for a wait."""
        self._pauses = {name: pause for name, pause in self._pauses.items() if pause[0] > now}
        if failure.retryable and failure.retry_after_ms is not None:
            until = now + min(failure.retry_after_ms / 1000, self.policy.longest_asked)
            self._pauses[model] = (until, failure)

    def record_answer(self, model: str) -> None:
        """End the pause of a model: it has answered."""
        self._pauses.pop(model, None)

    def pause_reason(self, model: str, now: float) -> Failure | None:
        """Return why a model is paused; None when it is not, or for no longer than `fallback_wait`."""
        until, failure = self._pauses.get(model, (now, None))
        left = until - now
        if failure is None or left <= self.policy.fallback_wait:
            return None
        message = f"{model} asked for a pause, which lasts {math.ceil(left)} s more."
        return replace(failure, message=message, retry_after_ms=round(left * 1000))
