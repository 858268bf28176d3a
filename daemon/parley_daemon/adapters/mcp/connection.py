"""A connection to a server through the helper, with the limits of calls.

Theory of operation. The limits are kept here and not in the helper, so that a call ends in time whatever the
helper does. A call that is cancelled or over its limit is cancelled in the helper, which tells the server;
the caller waits for that a moment only. If the helper does not even answer then, it is checked.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import anyio
import msgspec

from parley_daemon.adapters.mcp import frames
from parley_daemon.adapters.mcp.helper import Exchange, Helper, HelperError
from parley_daemon.ports.mcp import (
    McpCallError,
    McpCallMonitor,
    McpConnectionEvents,
    McpContent,
    McpLimits,
    McpManifest,
    McpReply,
    McpResult,
)

CANCEL_SECONDS = 1.5
"""How long a cancelled request waits for the server to be told."""

CLOSE_SECONDS = 8.0

REQUEST_SECONDS = 30.0
"""Limit of everything but calls."""


class HelperConnection:
    """Implements McpConnection."""

    def __init__(
        self,
        helper: Helper,
        number: int,
        events: McpConnectionEvents,
        on_closed: Callable[[], None],
    ) -> None:
        self._helper = helper
        self._number = number
        self._pid: int | None = None
        self._is_open = False
        self._events = events
        self._on_closed = on_closed
        self._end: str | None = None
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """The server's process, None for HTTP."""
        return self._pid

    @property
    def end(self) -> str | None:
        """Why the connection cannot be used any more, the end of a sentence."""
        return self._end

    def begin(self, pid: int | None) -> None:
        """Pass on from now on what the helper tells."""
        self._pid = pid
        self._is_open = True

    def take(self, frame: frames.Changed | frames.Ended | frames.Noisy) -> None:
        """Pass on what the helper tells."""
        if isinstance(frame, frames.Ended):
            self._end = frame.reason
        if not self._is_open:
            return
        match frame:
            case frames.Changed():
                self._events.manifest_changed()
            case frames.Noisy():
                self._events.noise(frame.lines)
            case frames.Ended():
                self._release()
                self._events.ended(frame.reason, wants_auth=frame.wants_auth)

    async def manifest(self) -> McpManifest:
        """Ask the server for what it offers now.

        Raises:
            McpCallError: it does not answer, or not validly.
        """
        raw = await self._ask_for(lambda id: frames.Describe(id, self._number))
        return msgspec.json.decode(raw, type=McpManifest)

    async def call(
        self, tool: str, arguments: Mapping[str, Any], limits: McpLimits, monitor: McpCallMonitor
    ) -> McpResult:
        """Call a tool. Cancelling the wait tells the server to cancel.

        Raises:
            McpCallError: there is no result.
        """
        exchange = await self._begin(lambda id: frames.Call(id, self._number, tool, arguments))
        clock = _Clock(limits)
        try:
            while exchange.outcome is None:
                with clock.limit():
                    await exchange.wait()
                if exchange.outcome is None and (passed := clock.passed()) is not None:
                    await self._cancel(exchange)
                    raise McpCallError(passed, "timed_out")
                while exchange.questions and exchange.outcome is None:
                    await self._ask(exchange, monitor, clock)
                if exchange.progress is not None:
                    text, exchange.progress = exchange.progress, None
                    clock.note_progress()
                    await monitor.progress(text)
        except BaseException:
            if exchange.outcome is None:
                await self._cancel(exchange)
            raise
        finally:
            self._helper.end(exchange)
        return msgspec.json.decode(_read(exchange), type=McpResult)

    async def read_resource(self, uri: str) -> McpContent:
        """Return a resource, limited in size.

        Raises:
            McpCallError: the server has no such resource, or does not answer.
        """
        raw = await self._ask_for(lambda id: frames.Read(id, self._number, uri))
        return msgspec.json.decode(raw, type=list[dict[str, Any]])

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> Sequence[tuple[str, McpContent]]:
        """Return the messages of a prompt: role ("user" or "assistant") and content of each.

        Raises:
            McpCallError: the server has no such prompt, or does not answer.
        """
        raw = await self._ask_for(lambda id: frames.Prompt(id, self._number, name, arguments))
        return msgspec.json.decode(raw, type=list[tuple[str, list[dict[str, Any]]]])

    async def close(self) -> None:
        """Stop the server, its processes too. Returns when none is left."""
        if self._is_closed:
            return
        self._helper.forget(self._number)
        self._end = "it was stopped"
        with anyio.CancelScope(shield=True):
            try:
                with anyio.move_on_after(CLOSE_SECONDS) as scope:
                    exchange = await self._helper.begin(lambda id: frames.Close(id, self._number))
                    await _finish(exchange)
                    self._helper.end(exchange)
                if scope.cancelled_caught:
                    self._helper.suspect()
            except HelperError:
                pass  # the helper has stopped its servers
        self._release()

    def _release(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._on_closed()

    async def _ask_for(self, make: Callable[[int], frames.Request]) -> msgspec.Raw:
        exchange = await self._begin(make)
        try:
            with anyio.move_on_after(REQUEST_SECONDS):
                await _finish(exchange)
            if exchange.outcome is None:
                await self._cancel(exchange)
                message = f"The server has not answered within {REQUEST_SECONDS:g} s."
                raise McpCallError(message, "timed_out")
        except BaseException:
            if exchange.outcome is None:
                await self._cancel(exchange)
            raise
        finally:
            self._helper.end(exchange)
        return _read(exchange)

    async def _begin(self, make: Callable[[int], frames.Request]) -> Exchange:
        if self._end is not None:
            raise McpCallError(f"The server is gone: {self._end}.", "refused")
        try:
            return await self._helper.begin(make)
        except HelperError as error:
            raise McpCallError(str(error), "refused") from None

    async def _cancel(self, exchange: Exchange) -> None:
        """Cancel a request in the helper, and wait a moment for it."""
        with anyio.CancelScope(shield=True), suppress(HelperError):
            with anyio.move_on_after(CANCEL_SECONDS) as scope:
                await self._helper.tell(frames.Cancel(exchange.id))
                await _finish(exchange)
            if scope.cancelled_caught:
                self._helper.suspect()

    async def _ask(self, exchange: Exchange, monitor: McpCallMonitor, clock: "_Clock") -> None:
        """Put one question, unless the server does not wait for the answer any more."""
        asked = exchange.questions.popleft()
        reply = McpReply("cancel")

        async def watch() -> None:
            while exchange.outcome is None and asked.question not in exchange.withdrawn:
                await exchange.wait()
            tasks.cancel_scope.cancel()

        with clock.pause():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                reply = await monitor.ask(asked.what)
                tasks.cancel_scope.cancel()
        if exchange.outcome is None:
            try:
                await self._helper.tell(frames.Reply(asked.question, reply))
            except HelperError:
                return  # the outcome says so


class _Clock:
    """The limits of one call."""

    def __init__(self, limits: McpLimits) -> None:
        self._limits = limits
        self._end = time.monotonic() + limits.total
        self._idle_end = time.monotonic() + limits.idle

    def limit(self) -> anyio.CancelScope:
        """Return a scope that ends at the next limit."""
        return anyio.move_on_after(max(0.0, min(self._end, self._idle_end) - time.monotonic()))

    def passed(self) -> str | None:
        """Return which limit has passed, a sentence."""
        now = time.monotonic()
        if now >= self._end:
            return f"The call has taken longer than {self._limits.total:g} s. The server was told to stop."
        if now >= self._idle_end:
            return f"The server has reported no progress for {self._limits.idle:g} s, and was told to stop."
        return None

    def note_progress(self) -> None:
        """Begin the idle time again."""
        self._idle_end = time.monotonic() + self._limits.idle

    def pause(self) -> AbstractContextManager[None]:
        """Return a block whose time does not count."""
        return _Pause(self)

    def add(self, seconds: float) -> None:
        """Move the limits."""
        self._end += seconds
        self.note_progress()


class _Pause(AbstractContextManager[None]):
    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._clock.add(time.monotonic() - self._start)


async def _finish(exchange: Exchange) -> None:
    while exchange.outcome is None:
        await exchange.wait()


def _read(exchange: Exchange) -> msgspec.Raw:
    match exchange.outcome:
        case frames.Done(value=value):
            return value
        case frames.Failed(message=message, fate=fate):
            raise McpCallError(message, fate)
        case None:
            raise McpCallError("There is no answer.", "unknown")
