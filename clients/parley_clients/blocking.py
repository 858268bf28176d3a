"""What turns asynchronous calls and streams into blocking ones, signatures and documentation included.

Knows a portal to the thread that runs them, and nothing of what is called.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from anyio.from_thread import BlockingPortal

from parley_clients.errors import ConnectionLostError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class _Stream(Protocol):
    async def batch(self, timeout: float | None = None) -> Any: ...
    async def __aenter__(self) -> Any: ...
    async def __aexit__(self, kind: None, value: None, trace: None, /) -> None: ...


P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S", bound=_Stream)


class Runner:
    """Runs coroutines in the client's thread, and waits for them here."""

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal

    def run(self, call: Callable[[], Awaitable[R]]) -> R:
        try:
            future = self._portal.start_task_soon(call)
        except RuntimeError:
            raise ConnectionLostError("The client was closed.") from None
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C here; does nothing when the call itself has failed
            raise

    def start(self, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            self._portal.start_task_soon(call)
        except RuntimeError:
            pass  # the client was closed, and with it whatever this was to end


class _Wrapper(Protocol):
    @property
    def runner(self) -> Runner: ...
    @property
    def wrapped(self) -> Any: ...


def blocking(
    method: Callable[Concatenate[Any, P], Awaitable[R]],
) -> Callable[Concatenate[_Wrapper, P], R]:
    @wraps(method)
    def call(self: _Wrapper, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.runner.run(partial(method, self.wrapped, *args, **kwargs))

    return call


def making(
    method: Callable[Concatenate[Any, P], Any], make: Callable[[Runner, Any], R]
) -> Callable[Concatenate[_Wrapper, P], R]:
    @wraps(method)
    def call(self: _Wrapper, *args: P.args, **kwargs: P.kwargs) -> R:
        async def made() -> Any:
            found = method(self.wrapped, *args, **kwargs)
            return await found if hasattr(found, "__await__") else found

        return make(self.runner, self.runner.run(made))

    return call


def iterating(
    method: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[_Wrapper, P], Iterator[T]]:
    @wraps(method)
    def call(self: _Wrapper, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = method(self.wrapped, *args, **kwargs)

        async def following() -> list[T]:
            async for item in items:
                return [item]
            return []

        while found := self.runner.run(following):
            yield from found

    return call


class Iterable(Generic[T, S]):
    """An asynchronous stream of T as an iterator; `with` ends it."""

    def __init__(self, runner: Runner, wrapped: S) -> None:
        self.runner = runner
        self.wrapped = wrapped
        self._items: deque[T] = deque()

    def batch(self, timeout: float | None = None) -> list[T]:
        """Return all that is there, at least one; [] at the end.

        Raises:
            ParleyError: as iterating does.
            TimeoutError: nothing came within `timeout` seconds.
        """
        if self._items:
            items, self._items = list(self._items), deque()
            return items
        return self.runner.run(partial(self.wrapped.batch, timeout))

    def close(self) -> None:
        """End it."""
        self.runner.run(partial(self.wrapped.__aexit__, None, None, None))

    def __iter__(self) -> "Self":
        return self

    def __next__(self) -> T:
        if not self._items:
            self._items.extend(self.batch())
        if not self._items:
            raise StopIteration
        return self._items.popleft()

    def __enter__(self) -> "Self":
        self.runner.run(self.wrapped.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        self.close()
