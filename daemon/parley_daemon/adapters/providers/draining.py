"""A model that can be replaced while calls use it.

Theory of operation. A catalogue gives this model to turns, and replaces it when the configuration changes.
It counts the calls in progress. `retire` marks it as replaced: it closes its connections as soon as no call
is in progress. A turn that resolved it before may call it again even then; it opens new connections and
closes them after that call. The count costs nothing per batch: a stream hands on the coroutines of the inner
stream, and only its `aclose` does more.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any

import anyio

from parley_daemon.ports.models import Batch, Model, ModelRequest


class DrainingModel:
    """Wraps a model and counts its calls in progress. Once retired, it is closed after the last of them."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._calls = 0
        self._retired = False

    def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        """Call the model; see the port."""
        self._calls += 1
        return _CountedStream(self.model.stream(request), self._end_call)

    async def warm(self) -> None:
        """Load what the first call needs."""
        self._calls += 1
        try:
            await self.model.warm()
        finally:
            await self._end_call()

    async def retire(self) -> None:
        """Close it as soon as no call is in progress: another model has replaced it."""
        self._retired = True
        await self._settle()

    async def aclose(self) -> None:
        """Close it now."""
        await self.model.aclose()

    async def _end_call(self) -> None:
        self._calls -= 1
        await self._settle()

    async def _settle(self) -> None:
        if self._retired and not self._calls:
            with anyio.CancelScope(shield=True):
                await self.model.aclose()


class _CountedStream(AsyncGenerator[Batch, None]):
    """A stream that reports when it is closed. It returns the coroutines of the inner stream unchanged."""

    __slots__ = ("_end_call", "_open", "_stream")

    def __init__(self, stream: AsyncGenerator[Batch, None], ended: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._end_call = ended
        self._open = True

    def __anext__(self) -> Coroutine[Any, Any, Batch]:
        return self._stream.__anext__()

    def asend(self, value: None) -> Coroutine[Any, Any, Batch]:
        """See AsyncGenerator."""
        return self._stream.asend(value)

    def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> Coroutine[Any, Any, Batch]:
        """See AsyncGenerator."""
        error = typ if isinstance(typ, BaseException) else typ()
        return self._stream.athrow(error)

    async def aclose(self) -> None:
        """End the call."""
        try:
            await self._stream.aclose()
        finally:
            if self._open:
                self._open = False
                await self._end_call()
