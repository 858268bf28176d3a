"""Whether and when a failed model call is tried again, and which models should not be asked for a while.

Theory of operation. The wait doubles from attempt to attempt up to a longest one, with random jitter, so
that calls that failed together do not come back together. A provider that asks for a longer wait
(Retry-After) gets it. A required wait above `longest_asked` ends the turn: nobody waits for it.

Whoever asked for a wait is paused: the model, or the whole provider if the provider says that its limit is
not one of the model. Other chats skip what is paused if they have fallback models, and a call that is turned
away meanwhile (rate_limit, overloaded) does not come back before the end of the pause. The next answer ends
it. A pause of one model says nothing about others.

One instance serves all chats: calls of a provider that come back after it turned them away (rate_limit,
overloaded) each take a place in time that is `spacing` away from all others. A call that stops waiting gives
its place back.

All times are monotonic seconds that the caller passes in.
"""

import math
import random
from bisect import bisect_left, insort
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
        attempts_after_text: how often models are asked at most once text of an answer has been shown.
        first: the wait after the first attempt.
        longest: the longest wait by doubling.
        longest_asked: the longest wait that a provider may ask for.
        jitter: the share of a wait by which it varies at random.
        spacing: the least time between two calls of a provider that turned them away.
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
    attempts_after_text: int = 2


class Wait(msgspec.Struct, frozen=True, gc=False):
    """A wait before the next attempt. `place`: the provider and the time of the attempt, if they count."""

    seconds: float
    place: tuple[str, float] | None = None


class Retries(msgspec.Struct, gc=False):
    """The policy, and what is known of each provider. `spread` returns a random number from -1 to 1.

    Models are named by their ids, "provider:model".
    """

    policy: RetryPolicy = RetryPolicy()
    spread: Callable[[], float] = lambda: random.uniform(-1, 1)
    # By provider: when calls come back that it turned away, in order.
    _places: dict[str, list[float]] = {}
    # By model or provider: the end of the pause, and who asked for it how.
    _pauses: dict[str, tuple[float, Failure]] = {}

    def plan(self, model: str, failure: Failure, attempt: int, now: float) -> Wait | None:
        """Return the wait after attempt `attempt` (from 1) of a model failed; None: it was the last.

        End the wait with `leave`.
        """
        policy = self.policy
        if not failure.retryable or attempt >= policy.attempts or self.asks_too_much(failure):
            return None
        doubled = policy.first * 2.0 ** min(attempt - 1, _DOUBLINGS)
        seconds = min(doubled, policy.longest) * (1 + policy.jitter * self.spread())
        seconds = max(seconds, _asked(failure))
        if failure.kind not in _CROWDED:
            return Wait(seconds)
        seconds = max(seconds, self._pause(model, now)[0] - now)
        provider = _provider(model)
        places = self._places.setdefault(provider, [])
        del places[: bisect_left(places, now)]
        at = self._free_place(provider, now + seconds)
        insort(places, at)
        return Wait(at - now, (provider, at))

    def leave(self, wait: Wait) -> None:
        """End a wait, early or not: its place is free."""
        if wait.place is not None:
            provider, at = wait.place
            places = self._places.get(provider, [])
            index = bisect_left(places, at)
            if index < len(places) and places[index] == at:
                del places[index]
            if not places:
                self._places.pop(provider, None)

    def asks_too_much(self, failure: Failure) -> bool:
        """Return whether a provider requires a longer wait than it may ask for."""
        return failure.retryable and _asked(failure) > self.policy.longest_asked

    def is_fallback_due(self, model: str, failure: Failure, attempt: int, now: float) -> bool:
        """Return whether a fallback model is asked, if there is one, after attempt `attempt` failed."""
        seconds = _asked(failure)
        if failure.kind in _CROWDED:
            seconds = max(seconds, self._pause(model, now)[0] - now)
            seconds = self._free_place(_provider(model), now + seconds) - now
        policy = self.policy
        is_long = seconds > min(policy.fallback_wait, policy.longest_asked)
        return is_long or attempt >= min(policy.fallback_attempts, policy.attempts)

    def record_failure(self, model: str, failure: Failure, now: float, *, of_provider: bool = False) -> None:
        """Pause a model if its failure asks for a wait; its whole provider if the limit is `of_provider`."""
        self._pauses = {name: pause for name, pause in self._pauses.items() if pause[0] > now}
        if failure.retryable and failure.retry_after_ms is not None:
            until = now + min(_asked(failure), self.policy.longest_asked)
            self._pauses[_provider(model) if of_provider else model] = (until, failure)

    def record_answer(self, model: str) -> None:
        """End the pause of a model and of its provider: it has answered."""
        if self._pauses:
            self._pauses.pop(model, None)
            self._pauses.pop(_provider(model), None)

    def pause_reason(self, model: str, now: float) -> Failure | None:
        """Return why a model is paused; None when it is not, or for no longer than `fallback_wait`."""
        until, failure, name = self._pause(model, now)
        left = until - now
        if failure is None or left <= self.policy.fallback_wait:
            return None
        message = f"{name} asked for a pause, which lasts {math.ceil(left)} s more."
        return replace(failure, message=message, retry_after_ms=round(left * 1000))

    def _pause(self, model: str, now: float) -> tuple[float, Failure | None, str]:
        """Return the end of a model's pause, who asked for it how, and the name of what is paused."""
        names = (model, _provider(model))
        pauses = [(*self._pauses[name], name) for name in names if name in self._pauses]
        return max(pauses, key=lambda pause: pause[0], default=(now, None, model))

    def _free_place(self, provider: str, at: float) -> float:
        """Return the first time from `at` on that is `spacing` away from all places of a provider."""
        places, spacing = self._places.get(provider, []), self.policy.spacing
        for other in places[bisect_left(places, at - spacing) :]:
            if other - at >= spacing:
                break
            at = max(at, other + spacing)
        return at


def as_rate_limit(failure: Failure) -> Failure:
    """Return the failure that ends a turn whose provider requires a wait that is too long."""
    if failure.kind == "rate_limit":
        return failure
    message = f"{failure.message} Try again in {math.ceil(_asked(failure))} s."
    return replace(failure, kind="rate_limit", message=message)


def _asked(failure: Failure) -> float:
    return (failure.retry_after_ms or 0) / 1000


def _provider(model: str) -> str:
    return model.partition(":")[0]
