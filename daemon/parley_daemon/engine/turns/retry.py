"""Whether and when a failed model call is tried again, and which models are not to be asked for a while.

Of a failure it knows whether it is retryable, of a model only its name.

One instance serves all chats: those that a provider sent away together do not come back together.
"""

import math
import random
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from parley_daemon.core.records import Failure

_CROWDED = ("rate_limit", "overloaded")
# Behind these any first wait is past any longest one; without an end to them, it would be past every number.
_DOUBLINGS = 64


class RetryPolicy(msgspec.Struct, frozen=True, gc=False):
    """How often and how long. Times are in seconds; `attempts` counts the first one.

    Where another model can answer, one is left for it after `fallback_attempts`, or at once when it would
    have to be waited for longer than `fallback_wait`.
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
    """The policy with what is known of each provider. `spread` returns a number from -1 to 1."""

    policy: RetryPolicy = RetryPolicy()
    spread: Callable[[], float] = lambda: random.uniform(-1, 1)
    _next: dict[str, float] = {}
    _pauses: dict[str, tuple[float, Failure]] = {}

    def delay(self, failure: Failure, attempt: int, now: float) -> float | None:
        """Return the seconds to wait after attempt number `attempt` failed, None when it was the last one.

        `now` is a monotonic time. The wait doubles from attempt to attempt; a provider that asks for a longer
        one gets it, within a bound. Where many were sent away, each comes back a little after the one before.
        """
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
        """Return whether another model is asked, if there is one, after attempt number `attempt` failed."""
        wait = (failure.retry_after_ms or 0) / 1000
        if failure.kind in _CROWDED and failure.provider is not None:
            wait = max(wait, self._next.get(failure.provider, 0.0) - now)
        policy = self.policy
        return wait > policy.fallback_wait or attempt >= min(policy.fallback_attempts, policy.attempts)

    def record_failure(self, model: str, failure: Failure, now: float) -> None:
        """Remember when a model is not to be asked before."""
        self._pauses = {name: pause for name, pause in self._pauses.items() if pause[0] > now}
        if failure.retryable and failure.retry_after_ms is not None:
            until = now + min(failure.retry_after_ms / 1000, self.policy.longest_asked)
            self._pauses[model] = (until, failure)

    def record_answer(self, model: str) -> None:
        """A model has answered: it may be asked again."""
        self._pauses.pop(model, None)

    def pause_reason(self, model: str, now: float) -> Failure | None:
        """Return why a model is better not asked now; None when it may be, or soon."""
        until, failure = self._pauses.get(model, (now, None))
        left = until - now
        if failure is None or left <= self.policy.fallback_wait:
            return None
        message = f"{model} asked to be left alone for {math.ceil(left)} s more."
        return replace(failure, message=message, retry_after_ms=round(left * 1000))
