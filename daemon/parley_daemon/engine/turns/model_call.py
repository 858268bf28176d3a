"""One model call of a turn, with all its attempts: retries, fallback models, shortened histories.

Theory of operation: `answer` asks the turn's first model. When an attempt fails, `FallbackChain` says
whether another model is asked at once; otherwise `Retries` says whether and when the same one is asked
again. When the request is too long for the model, the history is shortened by a summary and the model asked
again, a few times per turn. When the provider refuses a request because of a message, `Omissions` say whether
it is asked again without a part of the history, and which message is marked in the end (see
`core.refusals`). What a failed attempt has streamed is void: listeners are told, and the next attempt begins
at part 0 under the same message id. Once text has been shown, only few more attempts follow, because readers
see the answer begin again. Nothing is told before the turn is announced, since its commit may still be under
way. The limit of the turn (`TurnLimit`) ends all of this.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
from msgspec.structs import replace

from parley_daemon.core.compaction import count_tokens
from parley_daemon.core.events import PreviewReset, Retrying
from parley_daemon.core.parts import Assembler, Piece, Source, Text
from parley_daemon.core.prompts import prompt_entries
from parley_daemon.core.records import Failure, ModelSettings, Turn, Usage
from parley_daemon.engine.turns.answer_size import AnswerMeter, divide
from parley_daemon.engine.turns.deadlines import CallDeadlines, TurnLimit
from parley_daemon.engine.turns.fallback import FallbackChain
from parley_daemon.engine.turns.host import NextCall, TurnBrief, TurnHost, TurnServices
from parley_daemon.engine.turns.model_selection import first_model
from parley_daemon.engine.turns.omissions import Omissions
from parley_daemon.engine.turns.retry import as_rate_limit
from parley_daemon.engine.turns.structured_output import read_output
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.models import (
    Batch,
    EmptyAnswerError,
    Finish,
    ModelError,
    ModelRequest,
    PromptMessage,
    UsageReport,
)

COMPACTIONS = 3
"""How often the history may be summarized in one turn."""


@asynccontextmanager
async def open_stream(
    model: ResolvedModel, request: ModelRequest
) -> AsyncGenerator[AsyncGenerator[Batch, None]]:
    """Send a request; yield the batches of the answer. The stream is closed at the end of the block.

    Raises:
        ModelError: see Model.stream; also for a cancellation that comes from no scope of ours. Code that
            waits for a connection that is closed meanwhile may end with one, which would cancel the caller.
    """
    try:
        async with aclosing(model.model.stream(request)) as batches:
            yield batches
    except anyio.get_cancelled_exc_class() as error:
        await anyio.lowlevel.checkpoint_if_cancelled()
        provider = model.provider
        message = f"The connection to {provider} was closed in the middle of the answer."
        raise ModelError(Failure("network", message, provider=provider, retryable=True)) from error


class TurnProgress(msgspec.Struct):
    """What a turn has come to so far, over all its calls. `announced` is set when listeners know of the turn.

    `accepted_at` is a time of the event loop. `first_model` is resolved once, and `limit` with it: a
    configuration that changes meanwhile does not change whom the turn asks.
    """

    turn: Turn
    announced: anyio.Event
    accepted_at: float
    limit: TurnLimit
    first_model: ResolvedModel | None = None
    model: ResolvedModel | None = None
    attempts: int = 0
    compactions: int = 0
    first_part_at: float | None = None


class ModelCall:
    """One call of a turn. `patience` is the scope of whoever waits for the call's end.

    Attributes:
        message_id: the id of the answer.
        assembler: the parts of the answer so far.
        usage, stop_reason: what the provider reported, None until then.
        output: the JSON value of the answer, if it had to fit a schema.
        omissions: what requests leave out, and which messages were refused.
        is_abandoned: whether the turn goes on without the call, which does not end. Nothing of it counts.
        deadlines: of the attempt under way.
    """

    def __init__(
        self,
        brief: TurnBrief,
        call: NextCall,
        host: TurnHost,
        services: TurnServices,
        progress: TurnProgress,
        patience: anyio.CancelScope,
    ) -> None:
        self.message_id = call.message_id
        self.assembler = Assembler()
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.output: Any = None
        self.is_abandoned = False
        self.deadlines: CallDeadlines | None = None
        self.omissions = Omissions(brief, host)
        self._history = call.history
        self._brief = brief
        self._host = host
        self._services = services
        self._progress = progress
        self._patience = patience
        self._retries_told = 0
        self._meter = AnswerMeter(services.answer_limits)  # of the attempt under way
        self._last_attempt: int | None = None  # set once text has been shown
        self._empty_answers = 0

    async def answer(self) -> None:
        """Ask until there is an answer, and check it.

        Raises:
            ModelError: there is none, or it does not fit its schema.
            StoreUnavailableError: the chat cannot be changed.
        """
        try:
            await self._ask()
        except ModelError as error:
            is_chosen = self._progress.model is self._progress.first_model
            failure = self.omissions.note_failure(error.failure, self._history, is_chosen=is_chosen)
            raise ModelError(failure) from error
        blocked = self.omissions.blocked(self.stop_reason, self.assembler, self._progress.model)
        self.omissions.note_answer(self._history, blocked)
        with self._progress.limit.enforce():
            await self._read_output()

    def overdue_failure(self) -> Failure:
        """Return why the call was cancelled by a limit."""
        limit = self._progress.limit
        if self.deadlines is None or not limit.leaves(0):
            return limit.failure()
        return self.deadlines.failure()

    # -------------------------------------------------------------------------- attempts

    async def _ask(self) -> None:
        brief, progress, services = self._brief, self._progress, self._services
        if progress.first_model is None:
            progress.first_model = first_model(services.catalogue, brief.references, brief.settings)
            total_ms = self._settings(progress.first_model).timeouts.total_ms
            progress.limit = TurnLimit(progress.accepted_at, total_ms)
        model = progress.first_model
        self._use(model)
        chain = FallbackChain(services.catalogue, services.retries, brief.settings, model)
        substitute = chain.substitute(self._history, services.clock.monotonic())
        if substitute is not None:
            pause, model = substitute
            await self._fall_back(pause, model)
        attempt = 1
        while True:
            try:
                if attempt == 1 and model.context_limit and count_tokens(self._history) > model.context_limit:
                    await self._compact(model)
                await self._attempt(model)
                services.retries.record_answer(model.id)
                return
            except ModelError as error:
                next_model = await self._wait_for_next(chain, model, error, attempt)
            attempt = attempt + 1 if next_model is model else 1
            model = next_model

    def _count_empty_answer(self, failure: Failure) -> Failure:
        """Return the failure of an empty answer. Only the first one of a call is worth another attempt."""
        self._empty_answers += 1
        return replace(failure, retryable=failure.retryable and self._empty_answers == 1)

    def _use(self, model: ResolvedModel) -> None:
        self._progress.model = model
        self._progress.turn = replace(self._progress.turn, model=model.id)

    async def _attempt(self, model: ResolvedModel) -> None:
        """Ask a model once; where it finds the history too long, again with a shorter one."""
        limit = self._progress.limit
        while True:
            limit.check()
            self._patience.deadline = limit.patience_end
            request = self._request(model)
            self._progress.attempts += 1
            try:
                await self._stream(model, request)
                blocked = self.omissions.blocked(self.stop_reason, self.assembler, model)
                if blocked is None or not await self._may_omit(blocked, model):
                    return
                await self._fall_back(blocked, model)
            except ModelError as error:
                self._patience.deadline = limit.patience_end
                failure = error.failure
                if isinstance(error, EmptyAnswerError):
                    failure = self._count_empty_answer(failure)
                if await self._may_omit(failure, model):
                    await self._fall_back(failure, model)
                elif not self.omissions.needs_summary(failure, self._history):
                    classified = self.omissions.classify(failure, self._history)
                    raise ModelError(classified, of_provider=error.of_provider) from error
                elif self._is_last_attempt or not await self._compact(model):
                    raise ModelError(_add_advice(failure)) from error
            finally:
                self._patience.deadline = limit.patience_end

    async def _may_omit(self, failure: Failure, model: ResolvedModel) -> bool:
        """Omit what may be why an attempt failed. False: there is nothing, or no attempt is left."""
        if self._last_attempt is None and any(isinstance(part, Text) for part in self.assembler.parts()):
            more = self._services.retries.policy.attempts_after_text
            self._last_attempt = self._progress.attempts + more
        return not self._is_last_attempt and await self.omissions.extend(failure, self._history, model)

    @property
    def _is_last_attempt(self) -> bool:
        return self._last_attempt is not None and self._progress.attempts >= self._last_attempt

    async def _wait_for_next(
        self, chain: FallbackChain, model: ResolvedModel, error: ModelError, attempt: int
    ) -> ResolvedModel:
        """Return the model of the next attempt, when it is time for it.

        What the failed attempt has streamed stays visible until then.

        Raises:
            ModelError: there is no next attempt.
        """
        retries, now = self._services.retries, self._services.clock.monotonic()
        limit, failure = self._progress.limit, error.failure
        retries.record_failure(model.id, failure, now, of_provider=error.of_provider)
        if not limit.leaves(0) or self._is_last_attempt:
            raise ModelError(chain.final_failure(model, failure))
        other = chain.next_model(model, failure, attempt, self._history, now)
        if other is not None:
            await self._fall_back(failure, other)
            return other
        wait = retries.plan(model.id, failure, attempt, now)
        if wait is None:
            last = as_rate_limit(failure) if retries.asks_too_much(failure) else failure
            raise ModelError(chain.final_failure(model, last))
        try:
            if not limit.leaves(wait.seconds):
                raise ModelError(chain.final_failure(model, limit.failure(failure)))
            await self._publish_retry(failure, wait.seconds, model)
            await anyio.sleep(wait.seconds)
        finally:
            retries.leave(wait)
        await self._void(failure.kind)
        return model

    async def _fall_back(self, failure: Failure, model: ResolvedModel) -> None:
        await self._publish_retry(failure, 0.0, model)
        await self._void(failure.kind)
        self._use(model)

    async def _publish_retry(self, failure: Failure, wait: float, model: ResolvedModel) -> None:
        await self._progress.announced.wait()
        self._retries_told += 1
        at, turn_id = self._services.clock.now(wait), self._progress.turn.id
        event = Retrying(self._retries_told, round(wait * 1000), failure, at, model.id, turn_id)
        await self._host.report(self.message_id, (event,), void=False)

    async def _compact(self, model: ResolvedModel) -> bool:
        """Replace all before the last question by a summary. False: that is not possible."""
        if self._progress.compactions >= COMPACTIONS:
            return False
        self._progress.compactions += 1
        await self._progress.announced.wait()
        with self._progress.limit.enforce():
            shorter = await self._host.compact(model, self._history)
        if shorter is None:
            return False
        self._history = shorter
        await self._void("context_length")
        return True

    async def _void(self, reason: str) -> None:
        """Forget what was streamed: another attempt begins."""
        if len(self.assembler):
            self.assembler = Assembler()
            event = PreviewReset(self.message_id, reason, self._progress.turn.id)
            await self._host.report(self.message_id, (event,), void=True)
        self.usage = None
        self.stop_reason = None

    # ------------------------------------------------------------------------ one request

    def _settings(self, model: ResolvedModel) -> ModelSettings:
        """Return the settings of a request. The turn's and the chat's take precedence over the model's."""
        return self._brief.settings.with_defaults(model.settings).with_defaults(
            ModelSettings(timeouts=model.timeouts)
        )

    def _request(self, model: ResolvedModel) -> ModelRequest:
        entries = prompt_entries(self.omissions.apply(self._history, model.id), model.id)
        if not entries or entries[-1][0] == "assistant":  # a provider would continue that text
            raise ModelError(Failure("invalid_request", "The message holds no text and no file."))
        messages = tuple([PromptMessage(role, parts) for role, parts in entries])
        return ModelRequest(
            model.name,
            messages,
            self._brief.system_prompt,
            self._settings(model),
            limits=self._services.answer_limits,
        )

    async def _stream(self, model: ResolvedModel, request: ModelRequest) -> None:
        provider = model.provider
        self._meter = AnswerMeter(request.limits)
        self.deadlines = deadlines = CallDeadlines(
            request.settings.timeouts, provider, self._patience, self._progress.limit
        )
        with deadlines.enforce():
            async with open_stream(model, request) as batches:
                with deadlines.scope:
                    async for batch in batches:
                        has_part = False
                        if batch:
                            has_part = await self._take(batch)
                            if self._meter.exceeded is not None:
                                raise ModelError(self._meter.failure(provider))
                        deadlines.extend(has_part=has_part, is_done=self.stop_reason is not None)
        if self.stop_reason is not None:
            return
        if deadlines.scope.cancelled_caught:
            raise ModelError(deadlines.failure())
        message = f"{provider} closed the stream before the answer was complete."
        raise ModelError(Failure("bad_stream", message, provider=provider, retryable=True))

    async def _take(self, batch: Batch) -> bool:
        """Handle the chunks of one batch; return whether parts are among them. This is the hot path.

        What is not told does not count: nothing of an abandoned call is kept.
        """
        progress = self._progress
        if not progress.announced.is_set():
            await progress.announced.wait()
        if self.is_abandoned:
            return False
        pieces: list[tuple[int, Piece]] = []
        meter, has_part = self._meter, False
        for chunk in batch:
            if isinstance(chunk, UsageReport):
                self.usage = chunk.usage
            elif isinstance(chunk, Finish):
                self.stop_reason = chunk.reason
            else:
                if self.stop_reason is not None and not isinstance(chunk, Source):
                    self.stop_reason = None  # the answer goes on: it was not complete
                kept = meter.admit(chunk)
                if kept is not None and meter.is_long:
                    await self._publish_long(pieces, kept)
                    pieces, has_part = [], True
                elif kept is not None:
                    index = self.assembler.add(kept)
                    pieces.append((index, kept))
                    meter.count_part(index)
                if meter.exceeded is not None:
                    break
        if pieces:
            await self._publish(pieces)
            has_part = True
        return has_part

    async def _publish(self, pieces: list[tuple[int, Piece]]) -> None:
        progress = self._progress
        if progress.first_part_at is None:
            progress.first_part_at = self._services.clock.monotonic()
        await self._host.stream(progress.turn, self.message_id, pieces)

    async def _publish_long(self, before: list[tuple[int, Piece]], piece: Piece) -> None:
        """Publish what came before a long piece, then the piece bit by bit: others get their turn."""
        if before:
            await self._publish(before)
        for each in divide(piece):
            if self.is_abandoned:
                return
            await self._publish([(self.assembler.add(each), each)])
            await anyio.lowlevel.checkpoint()

    async def _read_output(self) -> None:
        """Read the answer's JSON value if it has to fit a schema.

        An answer that calls tools is not the last one of its turn, and is not read.
        """
        model = self._progress.model
        schema = None if model is None else self._settings(model).output_schema
        if schema is not None and model is not None and self.stop_reason != "tool_calls":
            parts = self.assembler.parts()
            self.output = await read_output(self._services.schemas, schema, parts, self.stop_reason, model)


def _add_advice(failure: Failure) -> Failure:
    """Say what a person can do about a request that is too long and cannot be shortened by a summary."""
    advice = "Shorten the message, choose a model with a larger context, or begin a new chat."
    return replace(failure, message=f"{failure.message} {advice}", retryable=False)
