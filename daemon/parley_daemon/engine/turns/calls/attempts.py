"""The attempts of a model call: whether there may be another one, and the wait before it.

Theory of operation: `Retries` knows the policy and the providers; this is what one call adds. Once text of an
answer has been shown, only few more attempts follow, because readers see the answer begin again. A wait that
goes beyond the limit of the turn is not begun. Every further attempt is announced by a `retry` event, before
its wait.
"""

import anyio

from parley_daemon.core.events import Retrying
from parley_daemon.core.records import Failure
from parley_daemon.engine.turns.calls.answer_stream import AnswerStream, TurnProgress
from parley_daemon.engine.turns.calls.turn_log import log_retry
from parley_daemon.engine.turns.host import TurnHost, TurnServices
from parley_daemon.engine.turns.retry import as_rate_limit
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.models import ModelError


class Attempts:
    """The attempts of the call that gives `answer`."""

    def __init__(
        self, answer: AnswerStream, host: TurnHost, services: TurnServices, progress: TurnProgress
    ) -> None:
        self._answer = answer
        self._host = host
        self._services = services
        self._progress = progress
        self._announced = 0
        self._last: int | None = None  # the number of the last attempt, set once text has been shown

    def note_failure(self) -> None:
        """Note that the present attempt failed, before what it has streamed is void."""
        if self._last is None and self._answer.has_text:
            more = self._services.retries.policy.attempts_after_text
            self._last = self._progress.attempts + more

    @property
    def is_over(self) -> bool:
        """Whether no attempt may follow, of no model."""
        is_last = self._last is not None and self._progress.attempts >= self._last
        return is_last or not self._progress.limit.leaves(0)

    async def announce(self, failure: Failure, seconds: float, model: ResolvedModel) -> None:
        """Tell listeners that a model is asked in so many seconds, because of a failure."""
        await self._progress.announced.wait()
        self._announced += 1
        at, turn_id = self._services.clock.now(seconds), self._progress.turn.id
        log_retry(turn_id, self._announced, failure, seconds, model.id)
        event = Retrying(self._announced, round(seconds * 1000), failure, at, model.id, turn_id)
        await self._host.report(self._answer.message_id, (event,), void=False)

    async def back_off(self, model: ResolvedModel, failure: Failure, attempt: int) -> None:
        """Wait until a model may be asked again after attempt `attempt` (from 1) failed.

        Raises:
            ModelError: it may not; with the failure that ends the turn.
        """
        retries, limit = self._services.retries, self._progress.limit
        wait = retries.plan(model.id, failure, attempt, self._services.clock.monotonic())
        if wait is None:
            raise ModelError(as_rate_limit(failure) if retries.asks_too_much(failure) else failure)
        try:
            if not limit.leaves(wait.seconds):
                raise ModelError(limit.failure(failure))
            await self.announce(failure, wait.seconds, model)
            await anyio.sleep(wait.seconds)
        finally:
            retries.leave(wait)
