"""The threads that the code of packages runs in.

Theory of operation. A package is foreign code in the daemon's process. If it blocks, the daemon must not. So
the code of each package runs in a thread of its own with an event loop of its own: a function that forgets to
wait stops the tools of its package and nothing else. The threads are daemon threads: they do not keep the
process alive. A call that is cancelled gets a moment to clean up, and then its caller goes on without it.

What this cannot do: code that keeps the interpreter busy slows everything down, and code that ends the
process ends it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import anyio

from parley_daemon.ports.tools import ToolFailedError, ToolInputError

log = logging.getLogger(__name__)

MAX_CALLS = 32
"""Calls of one package that run at once. Those that were cancelled and do not end are among them."""

GRACE_SECONDS = 1.0
"""How long a cancelled call may clean up."""

Result = TypeVar("Result")


class PackageFaultError(Exception):
    """The code of a package has raised what it must not raise, or has not ended in time. The log has it."""


class _Fault:
    """In place of a result: what the code raised."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class PackageThread:
    """The thread of one package. It begins with the first call."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._slots = threading.BoundedSemaphore(MAX_CALLS)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def call(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run a coroutine function in the thread, and return its result. It is cancelled with the caller.

        Raises:
            ToolInputError, ToolFailedError: what the coroutine raised.
            PackageFaultError: it raised something else.
        """
        if not self._slots.acquire(blocking=False):
            raise ToolFailedError(
                f"{MAX_CALLS} calls of the tools of {self._package} are running and do not end. Use others."
            )
        is_given_up = False
        here, ended = asyncio.get_running_loop(), anyio.Event()

        async def run() -> Result | _Fault:
            try:
                return await work()
            except BaseException as error:  # the boundary to the package; some of them would end the thread
                if is_given_up:
                    raise
                return _Fault(error)
            finally:
                self._slots.release()
                _tell(here, ended.set)

        future = asyncio.run_coroutine_threadsafe(run(), self._running_loop())
        try:
            result = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            is_given_up = True
            with anyio.move_on_after(GRACE_SECONDS, shield=True):
                await ended.wait()
            raise
        match result:
            case _Fault(error=ToolInputError() | ToolFailedError() as said):
                raise said
            case _Fault(error=fault):
                raise PackageFaultError(f"{type(fault).__name__}: {fault}") from fault
            case _:
                return result

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            start_thread(self._loop.run_forever, f"tools of {self._package}")
        return self._loop


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(what)
    except RuntimeError:
        log.debug("a call of a package has ended after the daemon")


def start_thread(work: Callable[[], object], name: str) -> None:
    """Run a function in a thread that the end of the process does not wait for."""
    threading.Thread(target=work, name=name, daemon=True).start()


class BlockingCalls:
    """The calls of one function that blocks, each in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._slots = threading.BoundedSemaphore(MAX_CALLS)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return what a call of the function returns. A call that is cancelled goes on, and keeps its slot.

        Raises:
            ToolFailedError: there are too many calls that do not end.
        """
        if not self._slots.acquire(blocking=False):
            raise ToolFailedError(f"{MAX_CALLS} calls of {self._name} are running and do not end.")
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                log.debug("a function of a tool has raised", exc_info=True)
                future.set_exception(error)
            finally:
                self._slots.release()

        start_thread(run, f"tool {self._name}")
        return await asyncio.wrap_future(future)
