"""The models that a turn may fall back on, and after which failures. Knows no request and no event."""

from collections.abc import Sequence

from msgspec.structs import replace

from parley_daemon.core.compaction import tokens
from parley_daemon.core.records import Failure, FailureKind, Message, ModelSettings
from parley_daemon.engine.errors import NotLocalError
from parley_daemon.engine.turns.model_selection import find_model
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
"""What another model is asked for, where it is worth trying again at all."""

MISFITS: frozenset[FailureKind] = frozenset(
    {"auth", "missing_key", "usage_limit", "model_not_found", "invalid_request", "network", "bad_stream"}
)
"""What shows that a fallback cannot be used: the next one is asked."""

_LONGEST_DETAIL = 500


class FallbackChain:
    """The models of one model call: `first`, then those to fall back on.

    - overloaded, rate_limit, timeout, stream_idle, network, bad_stream, where trying again helps: after the
      attempts that a model gets, the next one is asked.
    - context_length, where no summary helps: the next one of which it is known that it takes more.
    - auth, missing_key, usage_limit, model_not_found, invalid_request, and network and bad_stream where
      trying again does not help: of a fallback, the next one is asked; of the first model, the turn ends.
    - everything else: the turn ends.

    The first model is the one that was chosen: who chose it is told when it is set up wrongly. A fallback
    that is unknown, not allowed, too small for the chat or asked to be left alone is passed over. The last
    one that is left is asked as often as a model without fallbacks.
    """

    def __init__(
        self, catalogue: Catalogue, retries: Retries, settings: ModelSettings, first: ResolvedModel
    ) -> None:
        self.first = first
        self._catalogue = catalogue
        self._retries = retries
        self._settings = settings = settings.over(first.settings)
        fallbacks = settings.fallback_models
        self._members = dict.fromkeys(
            (first.id, *(catalogue.fallback_models if fallbacks is None else fallbacks))
        )
        # Why models were not asked, or are not asked any more; and those that may be asked later.
        self._excluded: dict[str, str] = {}
        self._paused: dict[str, str] = {}

    def substitute(self, history: Sequence[Message], now: float) -> tuple[Failure, ResolvedModel] | None:
        """Return why the first model is better not asked now, and who is in its place."""
        pause = self._retries.pause_reason(self.first.id, now)
        other = None if pause is None else self._next(self.first, pause, history, now)
        return None if pause is None or other is None else (pause, other)

    def next_model(
        self, model: ResolvedModel, failure: Failure, attempt: int, history: Sequence[Message], now: float
    ) -> ResolvedModel | None:
        """Return who is asked in place of a model whose attempt number `attempt` failed; None: nobody."""
        if not self._may_fall_back(model, failure, attempt, now):
            return None
        other = self._next(model, failure, history, now)
        if other is not None:
            self._excluded[model.id] = failure.message
        return other

    def final_failure(self, model: ResolvedModel, failure: Failure) -> Failure:
        """Return the failure that ends the turn: the last model's, with what became of the others."""
        others = {**self._paused, **self._excluded}
        told = [f"{name}: {others[name]}" for name in self._members if name in others and name != model.id]
        if not told:
            return failure
        message = f"No model answered, at last {model.id}: {failure.message}"
        detail = " ".join([*([failure.detail] if failure.detail else []), *told])
        return replace(failure, message=message, detail=detail[:_LONGEST_DETAIL])

    def _may_fall_back(self, model: ResolvedModel, failure: Failure, attempt: int, now: float) -> bool:
        if failure.kind in OUTAGES and failure.retryable:
            return self._retries.is_fallback_due(failure, attempt, now)
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
        if limit is not None and tokens(history) > limit:
            # A summary would be all that later requests hold, too, after an outage that is soon over.
            self._excluded[name] = f"This chat is longer than its {limit} tokens."
            return None
        return model


def _larger(model: ResolvedModel, than: ResolvedModel) -> bool:
    return bool(model.context_limit and than.context_limit and model.context_limit > than.context_limit)
