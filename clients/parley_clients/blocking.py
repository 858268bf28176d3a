"""Blocking versions of asynchronous methods and streams, with the same signatures and docstrings.

Theory of operation. `sync.connect` runs an event loop with the asynchronous client in a thread of its own
(anyio's BlockingPortal). A blocking object has two attributes: `wrapped`, the asynchronous object, and
`runner`, which runs a coroutine in that thread and waits for its result in the calling one. So any number of
threads may use the same client: all state is touched by the event loop's thread only. If the waiting thread
is interrupted (Ctrl-C), the coroutine is cancelled, and with it the request in the daemon.

The functions here turn a method of a wrapped class into a method of the blocking class:

- `blocking_call`: waits for the result of a coroutine.
- `blocking_factory`: wraps the object that the method returns into its blocking class.
- `blocking_iterator`: yields the items of an async generator.

ParamSpec carries the parameters over, so that type checkers and `help` show the signature of the original.
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


class _AsyncStream(Protocol):
    async def batch(self, timeout: float | None = None) -> Any: ...
    async def __aenter__(self) -> Any: ...
    async def __aexit__(self, kind: None, value: None, trace: None, /) -> None: ...


P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S", bound=_AsyncStream)


class Runner:
    """Runs coroutines in the thread of the client's event loop."""

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal

    def run(self, call: Callable[[], Awaitable[R]]) -> R:
        """Run a coroutine, wait for it and return its result.

        Raises:
            ConnectionLostError: the client is closed.
        """
        try:
            future = self._portal.start_task_soon(call)
        except RuntimeError:
            raise ConnectionLostError("The client was closed.") from None
        try:
            return future.result()
        except BaseException:
            future.cancel()  # for Ctrl-C in this thread; does nothing if the coroutine itself failed
            raise

    def start(self, call: Callable[[], Awaitable[Any]]) -> None:
        """Run a coroutine without waiting for it. Does nothing if the client is closed."""
        try:
            self._portal.start_task_soon(call)
        except RuntimeError:
            pass


class _Blocking(Protocol):
    @property
    def runner(self) -> Runner: ...
    @property
    def wrapped(self) -> Any: ...


def blocking_call(
    method: Callable[Concatenate[Any, P], Awaitable[R]],
) -> Callable[Concatenate[_Blocking, P], R]:
    """Return the blocking version of a coroutine method."""

    @wraps(method)
    def call(self: _Blocking, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.runner.run(partial(method, self.wrapped, *args, **kwargs))

    return call


def blocking_factory(
    method: Callable[Concatenate[Any, P], Any], wrap: Callable[[Runner, Any], R]
) -> Callable[Concatenate[_Blocking, P], R]:
    """Return the blocking version of a method, or coroutine method, whose result `wrap` makes blocking."""

    @wraps(method)
    def call(self: _Blocking, *args: P.args, **kwargs: P.kwargs) -> R:
        async def create() -> Any:
            created = method(self.wrapped, *args, **kwargs)
            return await created if hasattr(created, "__await__") else created

        return wrap(self.runner, self.runner.run(create))

    return call


def blocking_iterator(
    method: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[_Blocking, P], Iterator[T]]:
    """Return the blocking version of an async generator method."""

    @wraps(method)
    def call(self: _Blocking, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = method(self.wrapped, *args, **kwargs)

        async def next_item() -> list[T]:
            async for item in items:
                return [item]
            return []

        while item := self.runner.run(next_item):
            yield from item

    return call


class BlockingStream(Generic[T, S]):
    """An asynchronous stream of T as an iterator; leaving the `with` block closes it."""

    def __init__(self, runner: Runner, wrapped: S) -> None:
        self.runner = runner
        self.wrapped = wrapped
        self._items: deque[T] = deque()

    def batch(self, timeout: float | None = None) -> list[T]:
        """Return all items that have arrived, at least one; [] once the stream has ended.

        Raises:
            ParleyError: as iterating does.
            TimeoutError: no item arrived within `timeout` seconds.
        """
        if self._items:
            items, self._items = list(self._items), deque()
            return items
        return self.runner.run(partial(self.wrapped.batch, timeout))

    def close(self) -> None:
        """Close the stream."""
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
