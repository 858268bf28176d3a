"""The models that a turn may fall back on, and after which failures.

Theory of operation. A model call has a first model, the one that was chosen, and fallback models. Which
failure leads to the next model:

- overloaded, rate_limit, timeout, stream_idle, network, bad_stream, if retryable: the next model is asked
  when the present one has had its attempts (`RetryPolicy.fallback_attempts`), or would have to be waited
  for too long.
- context_length, when no summary helps: the next model whose context is known to be larger.
- auth, missing_key, usage_limit, model_not_found, invalid_request, and network and bad_stream if not
  retryable: after a fallback model, the next one is asked. After the first model, the turn ends: the person
  who chose it should learn that it is set up wrongly.
- everything else: the turn ends.

Fallback models that are unknown, not allowed, too small for the chat, or paused (see `retry`) are skipped.
The last model that is left gets as many attempts as a model without fallbacks.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from parley_daemon.core.compaction import count_tokens
from parley_daemon.core.records import Failure, FailureKind, Message, ModelSettings
from parley_daemon.engine.errors import NotLocalError
from parley_daemon.engine.turns.calls.model_selection import find_model
from parley_daemon.engine.turns.retry import Retries
from parley_daemon.ports.catalogue import (
    Catalogue,
    ProviderUnavailableError,
    ResolvedModel,
    UnknownModelError,
)

OUTAGES: frozenset[FailureKind] = frozenset(
    {"overloaded", "rate_limit", "timeout", "stream_idle", "network", "bad_stream"}
)
"""Failures after which another model is asked if they are retryable."""

MISFITS: frozenset[FailureKind] = frozenset(
    {"auth", "missing_key", "usage_limit", "model_not_found", "invalid_request", "network", "bad_stream"}
)
"""Failures that show that a fallback model cannot be used: the next one is asked."""

_MAX_DETAIL_LENGTH = 500
_TOO_LONG = Failure("context_length", "The chat is too long.")


class FallbackChain:
    """The models of one model call: `first`, then the fallback models."""

    def __init__(
        self, catalogue: Catalogue, retries: Retries, settings: ModelSettings, first: ResolvedModel
    ) -> None:
        self.first = first
        self._catalogue = catalogue
        self._retries = retries
        self._settings = settings = settings.with_defaults(first.settings)
        fallbacks = settings.fallback_models
        self._members = dict.fromkeys(
            (
                first.id,
                *(catalogue.fallback_models if fallbacks is None else map(catalogue.full_name, fallbacks)),
            )
        )
        # Why models are not asked: for the rest of the call, or until their pause is over.
        self._excluded: dict[str, str] = {}
        self._paused: dict[str, str] = {}

    def substitute(self, history: Sequence[Message], now: float) -> tuple[Failure, ResolvedModel] | None:
        """Return why the first model should not be asked now, and the model to ask in its place.

        None: it can be asked, or there is no other model. `now` is a monotonic time.
        """
        pause = self._retries.pause_reason(self.first.id, now)
        other = None if pause is None else self._next(self.first, pause, history, now)
        return None if pause is None or other is None else (pause, other)

    def next_model(
        self, model: ResolvedModel, failure: Failure, attempt: int, history: Sequence[Message], now: float
    ) -> ResolvedModel | None:
        """Return the model to ask after attempt `attempt` (from 1) of `model` failed; None: no other."""
        if not self._may_fall_back(model, failure, attempt, now):
            return None
        other = self._next(model, failure, history, now)
        if other is not None:
            self._excluded[model.id] = failure.message
        return other

    def has_larger(self, model: ResolvedModel, history: Sequence[Message], now: float) -> bool:
        """Return whether a fallback model with a larger context can be asked."""
        return self._next(model, _TOO_LONG, history, now) is not None

    def final_failure(self, model: ResolvedModel, failure: Failure) -> Failure:
        """Return the failure that ends the turn: that of the last model, with the reasons of the others."""
        others = {**self._paused, **self._excluded}
        reasons = [f"{name}: {others[name]}" for name in self._members if name in others and name != model.id]
        if not reasons:
            return failure
        message = f"No model answered. The last one was {model.id}: {failure.message}"
        detail = " ".join([*([failure.detail] if failure.detail else []), *reasons])
        return replace(failure, message=message, detail=detail[:_MAX_DETAIL_LENGTH])

    def _may_fall_back(self, model: ResolvedModel, failure: Failure, attempt: int, now: float) -> bool:
        if failure.kind in OUTAGES and failure.retryable:
            return self._retries.is_fallback_due(model.id, failure, attempt, now)
        if failure.kind == "context_length":
            return True
        return failure.kind in MISFITS and model.id != self.first.id

    def _next(
        self, model: ResolvedModel, failure: Failure, history: Sequence[Message], now: float
    ) -> ResolvedModel | None:
        for name in self._members:
            if name == model.id or name in self._excluded:
                continue
            pause = self._retries.pause_reason(name, now)
            if pause is not None:
                self._paused[name] = pause.message
                continue
            other = self._usable(name, history)
            if other is None or (failure.kind == "context_length" and not _larger(other, model)):
                continue
            return other
        return None

    def _usable(self, name: str, history: Sequence[Message]) -> ResolvedModel | None:
        try:
            model = find_model(self._catalogue, name, self._settings)
        except (UnknownModelError, ProviderUnavailableError, NotLocalError) as error:
            self._excluded[name] = str(error)
            return None
        limit = model.context_limit
        if limit is not None and count_tokens(history) > limit:
            # Not summarized for it: the summary would stay in later requests, after the outage is over.
            self._excluded[name] = f"The chat is longer than its context of {limit} tokens."
            return None
        return model


def _larger(model: ResolvedModel, than: ResolvedModel) -> bool:
    return bool(model.context_limit and than.context_limit and model.context_limit > than.context_limit)
