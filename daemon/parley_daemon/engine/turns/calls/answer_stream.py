"""The answer of a model call: what has come of it, and the stream that brings it.

Theory of operation: each attempt of the call is one `receive`. The pieces of a batch are added to the answer
and told in one step. What a failed attempt has streamed is void: listeners are told, and the next attempt
begins at part 0 under the same message id. Nothing is told before the turn is announced, since its commit may
still be under way.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import anyio
import anyio.lowlevel
import msgspec

from parley_daemon.core.events import PreviewReset
from parley_daemon.core.parts import Assembler, Piece, Source, Text
from parley_daemon.core.records import Failure, Turn, Usage
from parley_daemon.engine.agents.turn import AgentTurn
from parley_daemon.engine.turns.calls.answer_size import AnswerMeter, divide
from parley_daemon.engine.turns.calls.deadlines import CallDeadlines, TurnLimit
from parley_daemon.engine.turns.host import TurnHost, TurnServices
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.models import Batch, Finish, ModelError, ModelRequest, UsageReport


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
    configuration that changes meanwhile does not change whom the turn asks. `agent` is set if the model may
    call tools.
    """

    turn: Turn
    announced: anyio.Event
    accepted_at: float
    limit: TurnLimit
    agent: AgentTurn | None = None
    first_model: ResolvedModel | None = None
    model: ResolvedModel | None = None
    attempts: int = 0
    compactions: int = 0
    first_part_at: float | None = None


class AnswerStream:
    """The answer of one model call. `patience` is the scope of whoever waits for the call's end.

    Attributes:
        message_id: the id of the answer.
        assembler: the parts of the answer so far.
        usage, stop_reason: what the provider reported, None until then.
        is_abandoned: whether the turn goes on without the call, which does not end. Nothing of it counts.
    """

    def __init__(
        self,
        message_id: int,
        host: TurnHost,
        services: TurnServices,
        progress: TurnProgress,
        patience: anyio.CancelScope,
    ) -> None:
        self.message_id = message_id
        self.assembler = Assembler()
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.is_abandoned = False
        self._host = host
        self._services = services
        self._progress = progress
        self._patience = patience
        # Of the attempt under way.
        self._deadlines: CallDeadlines | None = None
        self._meter = AnswerMeter(services.answer_limits)

    @property
    def has_text(self) -> bool:
        """Whether text of the answer has been shown."""
        return any(isinstance(part, Text) for part in self.assembler.parts())

    def overdue_failure(self) -> Failure:
        """Return why the call was cancelled by a limit."""
        limit = self._progress.limit
        if self._deadlines is None or not limit.leaves(0):
            return limit.failure()
        return self._deadlines.failure()

    async def void(self, reason: str) -> None:
        """Forget what was streamed: another attempt begins."""
        if len(self.assembler):
            self.assembler = Assembler()
            event = PreviewReset(self.message_id, reason, self._progress.turn.id)
            await self._host.report(self.message_id, (event,), void=True)
        self.usage = None
        self.stop_reason = None

    async def receive(self, model: ResolvedModel, request: ModelRequest) -> None:
        """Send a request and take in its answer.

        Raises:
            ModelError: there is no complete answer.
        """
        provider = model.provider
        self._meter = AnswerMeter(request.limits)
        self._deadlines = deadlines = CallDeadlines(
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
