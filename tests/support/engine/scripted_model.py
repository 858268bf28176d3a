"""A model and a catalogue that do what a test tells them, step by step.

Each call of the model waits to be told: `call = await model.asked()`, then `await call.say(Text("Hello"))`,
`await call.finish()`. With `model.answer` set, calls answer by themselves.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field

import anyio

from parley_daemon.core.parts import Piece, Text
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.provider_records import ProviderRecord
from parley_daemon.core.records import Failure, ModelSettings, Timeouts, Usage
from parley_daemon.ports.catalogue import (
    FileDefaults,
    ModelSetup,
    Overlay,
    PendingRefresh,
    ProviderCheck,
    ProviderInfo,
    ProviderSetup,
    ProviderUnavailableError,
    ResolvedModel,
    UnavailableReason,
    UnknownModelError,
)
from parley_daemon.ports.models import (
    Batch,
    Chunk,
    Finish,
    Model,
    ModelError,
    ModelRequest,
    StopReason,
    UsageReport,
)

MODEL = "test:model"
DEFAULT_TIMEOUTS = Timeouts(connect_ms=10_000, first_part_ms=60_000, idle_ms=60_000)
_Step = Batch | Exception | None


class ScriptedCall:
    """One call of the model. What is said waits for the engine to come back for more."""

    def __init__(self, request: ModelRequest) -> None:
        self.request = request
        self.closed = anyio.Event()
        self.cleanup = anyio.Event()
        self.cleanup.set()
        self._steps: deque[tuple[_Step, anyio.Event]] = deque()
        self._released = anyio.Event()

    @property
    def prompt(self) -> str:
        """The text of the question."""
        return "".join([part.text for part in self.request.messages[-1].parts if isinstance(part, Text)])

    def release(self, step: _Step) -> anyio.Event:
        """Let the model take a step; the event is set once the engine has dealt with it."""
        taken = anyio.Event()
        self._steps.append((step, taken))
        self._released.set()
        return taken

    async def say(self, *chunks: Chunk | str) -> None:
        """Let a batch out, and return once the engine has dealt with it. A string is text."""
        await self.release([Text(one) if isinstance(one, str) else one for one in chunks]).wait()

    async def finish(self, *last: Chunk | str, reason: StopReason = "stop") -> None:
        """End the answer in good order."""
        await self.say(*last, UsageReport(Usage(3, 5, 8)), Finish(reason))
        self.release(None)

    def fail(self, error: Exception | None = None) -> None:
        """Let the call fail."""
        failure = Failure("overloaded", "The test's model is overloaded.", provider="test", retryable=True)
        self.release(error or ModelError(failure))

    def end(self) -> None:
        """End the stream without a word of why."""
        self.release(None)

    def hang_in_cleanup(self) -> None:
        """From here on, closing the call takes until `cleanup` is set, whoever cancels it."""
        self.cleanup = anyio.Event()

    async def stream(self) -> AsyncGenerator[Batch, None]:
        """Do what was released."""
        try:
            while True:
                while not self._steps:
                    self._released = anyio.Event()
                    await self._released.wait()
                step, taken = self._steps.popleft()
                if isinstance(step, Exception):
                    raise step
                if step is None:
                    return
                yield step
                taken.set()
        finally:
            self.closed.set()
            with anyio.CancelScope(shield=True):
                await self.cleanup.wait()


class ScriptedModel:
    """A model whose calls are told what to do, or answer by themselves with the pieces of `answer`."""

    def __init__(self) -> None:
        self.answer: Sequence[Piece] | None = None
        self.calls: list[ScriptedCall] = []
        self.most_at_once = 0
        self.warmed = 0
        self.closed = False
        self._told = 0
        self._more = anyio.Event()

    @property
    def open_calls(self) -> list[ScriptedCall]:
        """The calls that are under way."""
        return [one for one in self.calls if not one.closed.is_set()]

    async def asked(self) -> ScriptedCall:
        """Wait for the next call that has not been returned here yet."""
        while len(self.calls) <= self._told:
            self._more = anyio.Event()
            await self._more.wait()
        self._told += 1
        return self.calls[self._told - 1]

    def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        """See the port."""
        if self.answer is not None:
            return _automatic(self.answer)
        call = ScriptedCall(request)
        self.calls.append(call)
        self.most_at_once = max(self.most_at_once, len(self.open_calls))
        self._more.set()
        return call.stream()

    async def warm(self) -> None:
        """See the port."""
        self.warmed += 1

    async def aclose(self) -> None:
        """See the port."""
        self.closed = True


async def _automatic(answer: Sequence[Piece]) -> AsyncGenerator[Batch, None]:
    yield answer
    yield (UsageReport(Usage(3, 5, 8)), Finish("stop"))


@dataclass
class ScriptedCatalogue:
    """A catalogue of scripted models; "test:model" is the default. `missing` are providers out of order.

    `local` are the models that local-only chats may ask. `limits`, `prices`, `times` and `own` are
    those of single models.
    """

    models: dict[str, Model] = field(default_factory=dict[str, Model])
    default_model: str | None = MODEL
    complaint: str | None = None
    missing: dict[str, UnavailableReason] = field(default_factory=dict[str, UnavailableReason])
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    context_limit: int | None = 4096
    pricing: Pricing | None = None
    local: set[str] = field(default_factory=set[str])
    local_only: bool = False
    fallback_models: tuple[str, ...] = ()
    limits: dict[str, int | None] = field(default_factory=dict[str, int | None])
    prices: dict[str, Pricing] = field(default_factory=dict[str, Pricing])
    times: dict[str, Timeouts] = field(default_factory=dict[str, Timeouts])
    settings: ModelSettings = field(default_factory=ModelSettings)
    own: dict[str, ModelSettings] = field(default_factory=dict[str, ModelSettings])
    file_defaults: FileDefaults = field(default_factory=FileDefaults)
    overlay: Overlay = field(default_factory=Overlay)
    closed: bool = False

    @property
    def substitute_model(self) -> str | None:
        """See the port."""
        return self.default_model

    def setups(self) -> tuple[ProviderSetup, ...]:
        """See the port."""
        return ()

    def model_setups(self) -> tuple[ModelSetup, ...]:
        """See the port."""
        return ()

    def is_preset(self, name: str) -> bool:
        """See the port."""
        return False

    def pending_refreshes(self) -> tuple[PendingRefresh, ...]:
        """See the port."""
        return ()

    async def refresh_models(self, provider: str) -> None:
        """See the port."""

    async def check(self, provider: str) -> ProviderCheck | None:
        """See the port."""
        return None

    def validate(self, record: ProviderRecord) -> None:
        """See the port."""

    async def apply_overlay(self, overlay: Overlay) -> None:
        """See the port."""
        self.overlay = overlay

    def providers(self) -> tuple[ProviderInfo, ...]:
        """See the port."""
        return ()

    def resolve(self, reference: str) -> ResolvedModel:
        """See the port."""
        provider, _, name = reference.partition(":")
        if provider in self.missing:
            raise ProviderUnavailableError(f"{provider} is out of order.", self.missing[provider])
        if reference not in self.models:
            raise UnknownModelError(f"There is no model {reference}.")
        model = self.models[reference]
        return ResolvedModel(
            reference,
            name,
            model,
            self.times.get(reference, self.timeouts),
            self.limits.get(reference, self.context_limit),
            self.prices.get(reference, self.pricing),
            local=reference in self.local,
            settings=self.own.get(reference, self.settings),
        )

    def full_name(self, reference: str) -> str:
        """See the port."""
        return reference

    def needs_lists(self, references: Iterable[str | None]) -> bool:
        """See the port."""
        return False

    async def aclose(self) -> None:
        """See the port."""
        self.closed = True
