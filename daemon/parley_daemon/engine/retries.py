"""Whether and when a failed model call is tried again. Knows no model: a failure says if it is retryable.

One instance serves all chats: those that a provider sent away together do not come back together.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from parley_daemon.core.chats import Failure

_CROWDED = ("rate_limit", "overloaded")
# Behind these any first wait is past any longest one; without an end to them, it would be past every number.
_DOUBLINGS = 64


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long. Times are in seconds; `attempts` counts the first one."""

    attempts: int = 8
    first: float = 1.0
    longest: float = 60.0
    longest_asked: float = 300.0
    jitter: float = 0.2
    spacing: float = 0.2


@dataclass(slots=True)
class Retries:
    """The policy with what is known of each provider. `spread` returns a number from -1 to 1."""

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    spread: Callable[[], float] = lambda: random.uniform(-1, 1)
    _next: dict[str, float] = field(default_factory=dict[str, float])

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
