"""One running server, which all chats share: started when it is needed, stopped when it is not.

Theory of operation. A run has lives. `use` begins one if there is none, and waits until the server is
reached. One task owns a life from start to end: it connects, asks for what the server offers, and then waits
for a reason to end it: the server has ended, nobody has used it for a while, or somebody stops it. Changes of
what the server offers are asked for at most once in `refresh_seconds`, however often it announces them.

A life that fails is followed by a pause, twice as long each time, in which `use` fails at once (or waits, if
little of it is left). A life that lasted for `healthy_seconds` ends that count. A server that wants an
authorization is not tried again before somebody says so (`forgive`).

A call whose connection is lost is not repeated here: the caller learns of it by McpCallError.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import msgspec

from parley_daemon.engine.tasks import Work
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.mcp import (
    McpCallError,
    McpConnectError,
    McpConnection,
    McpConnectionEvents,
    McpManifest,
)

log = logging.getLogger(__name__)

RunState = Literal["stopped", "starting", "running", "failed", "needs_auth"]

Connect = Callable[[McpConnectionEvents], Awaitable[tuple[McpConnection, float | None]]]
"""Starts or reaches the server; returns the connection, and for how many seconds it may be used (None: for
good). Raises McpConnectError.
"""

EXPIRY_SECONDS = 30.0
"""How long before its authorization ends a life ends that nobody uses, so that the next one has a new one."""

CLOSE_SECONDS = 10.0
"""How long a connection may take to close when the daemon stops."""


class RunTimes(msgspec.Struct, frozen=True, gc=False):
    """Times in seconds. `idle`: without use, after which a server is stopped. `first`, `longest`: the pause
    after the first failure, and the longest one. `patience`: how much of a pause a use waits for. `healthy`:
    after how long a server counts as working. `refresh`: the shortest time between two questions for what it
    offers.
    """

    idle: float = 600.0
    first: float = 1.0
    longest: float = 60.0
    patience: float = 5.0
    healthy: float = 60.0
    refresh: float = 1.0


class ServerRun:
    """A server that can be started, whoever uses it.

    `on_manifest` is called with what the server offers, each time that this is another.

    Attributes:
        state: what has become of it.
        error: why the last life failed, as a sentence; None: it did not.
        manifest: what it offers, or offered in its last life.
        pid: its process, None if it has none.
        calls, starts, noise: how many calls, lives, and lines of noise there were.
        next_try_at: when it may be tried again, RFC 3339; None: at once.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        on_manifest: Callable[[McpManifest], Awaitable[None]],
        start: Callable[[Work], None],
        clock: Clock,
        times: RunTimes,
    ) -> None:
        self.state: RunState = "stopped"
        self.error: str | None = None
        self.manifest: McpManifest | None = None
        self.pid: int | None = None
        self.calls = 0
        self.starts = 0
        self.noise = 0
        self.next_try_at: str | None = None
        self._name = name
        self._connect = connect
        self._on_manifest = on_manifest
        self._start = start
        self._clock = clock
        self._times = times
        self._connection: McpConnection | None = None
        self._life: _Life | None = None
        self._changed = anyio.Event()
        self._failures = 0
        self._next_try = float("-inf")
        self._users = 0
        self._last_used = float("-inf")
        self._is_retired = False

    @property
    def is_unused(self) -> bool:
        """Whether there is nothing to stop, and nobody waits for it."""
        return self._life is None and not self._users

    @property
    def may_start(self) -> bool:
        """Whether a use would try to start it, or find it running."""
        if self._is_retired or self.state == "needs_auth":
            return False
        return self._life is not None or self._next_try <= self._clock.monotonic()

    @asynccontextmanager
    async def use(self, *, is_call: bool = True) -> AsyncGenerator[McpConnection]:
        """Keep the server running while the block runs. `is_call`: whether that counts as a call.

        Raises:
            McpConnectError: it cannot be started or reached.
        """
        self._users += 1
        try:
            connection = await self._ready()
            self.calls += is_call
            yield connection
        finally:
            self._users -= 1
            self._last_used = self._clock.monotonic()
            if self._life is not None:
                self._life.wake()

    async def _ready(self) -> McpConnection:
        awaited: _Life | None = None
        while True:
            if self._connection is not None:
                return self._connection
            if self._life is not None:
                if self.state == "starting":
                    awaited = self._life
                await self._changed.wait()
            elif awaited is not None or self.state == "needs_auth" or self._is_retired:
                raise self._failure("")
            else:
                left = self._next_try - self._clock.monotonic()
                if left > self._times.patience:
                    raise self._failure(f" It is tried again in {left:.0f} s.")
                if left > 0:
                    await anyio.sleep(left)
                elif self._life is None:
                    awaited = self._begin()

    def _failure(self, more: str) -> McpConnectError:
        if self._is_retired:
            return McpConnectError(f"The MCP server {self._name} was changed, removed or stopped.")
        text = self.error or f"The MCP server {self._name} was stopped."
        return McpConnectError(f"{text}{more}", needs_auth=self.state == "needs_auth")

    def forgive(self) -> None:
        """Let the next use connect anew at once, whatever has failed. Calls that run go on."""
        self._failures = 0
        self._next_try = float("-inf")
        self.next_try_at = None
        if self._life is not None:
            self._life.expires = self._clock.monotonic()
            self._life.wake()
        if self.state in ("failed", "needs_auth"):
            self.state, self.error = "stopped", None
            self._announce()

    async def restart(self) -> None:
        """Stop the server if it runs, and start it. Returns when it runs or has failed."""
        await self.stop()
        self.forgive()
        try:
            async with self.use(is_call=False):
                pass
        except McpConnectError as error:
            log.info("the MCP server %s was not restarted: %s", self._name, error)

    async def stop(self) -> None:
        """Stop the server if it runs. Calls under way fail. Returns when it has ended."""
        life = self._life
        if life is None:
            return
        life.stop()
        while self._life is life:
            await self._changed.wait()

    def retire(self) -> None:
        """Stop the server for good as soon as no call runs. Nothing can use it any more."""
        self._is_retired = True
        if self._life is not None:
            self._life.wake()

    # -------------------------------------------------------------------------- one life

    def _begin(self) -> "_Life":
        life = self._life = _Life(self)
        self.state, self.error, self.next_try_at = "starting", None, None
        self.starts += 1
        self._last_used = self._clock.monotonic()
        self._announce()
        self._start(life.run)
        return life

    async def live(self, life: "_Life") -> None:
        """Run one life from its start to its end. The task of the life calls it."""
        began = self._clock.monotonic()
        connection: McpConnection | None = None
        problem: McpConnectError | None = None
        try:
            with life.starting:
                connection, seconds = await self._connect(life)
                if seconds is not None:
                    life.expires = self._clock.monotonic() + seconds - EXPIRY_SECONDS
                await self._take(await connection.manifest())
                self._connection, self.pid, self.state = connection, connection.pid, "running"
                self._announce()
            if connection is not None and self._connection is connection:
                problem = await self._watch(life, connection)
        except McpConnectError as error:
            problem = error
        except McpCallError as error:
            problem = McpConnectError(f"The MCP server {self._name} does not say what it offers: {error}")
        finally:
            self._connection = None
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
                if connection is not None:
                    await connection.close()
            self._settle(problem, self._clock.monotonic() - began)

    async def _watch(self, life: "_Life", connection: McpConnection) -> McpConnectError | None:
        """Wait for a reason to end the life; return the problem, None if it ends well."""
        asked = self._clock.monotonic()
        while True:
            woken = life.sleep()
            now = self._clock.monotonic()
            if life.end_reason is not None:
                text = f"The MCP server {self._name} is gone: {life.end_reason}."
                return McpConnectError(text, needs_auth=life.wants_auth)
            if life.is_stopped or (self._is_retired and not self._users):
                return None
            wait = float("inf")
            if not self._users:
                wait = min(self._last_used + self._times.idle, life.expires) - now
                if wait <= 0:
                    return None
            if life.has_news:
                wait = min(wait, asked + self._times.refresh - now)
                if wait <= 0:
                    life.has_news = False
                    await self._refresh(connection)
                    asked = self._clock.monotonic()
                    continue
            with anyio.move_on_after(wait):
                await woken.wait()

    async def _refresh(self, connection: McpConnection) -> None:
        try:
            await self._take(await connection.manifest())
        except McpCallError as error:
            log.warning("the MCP server %s does not say what it offers now: %s", self._name, error)

    async def _take(self, manifest: McpManifest) -> None:
        if manifest != self.manifest:
            self.manifest = manifest
            await self._on_manifest(manifest)

    def _settle(self, problem: McpConnectError | None, lasted: float) -> None:
        self._life = self.pid = None
        if lasted >= self._times.healthy or problem is None:
            self._failures = 0
        if problem is None:
            self.state = "stopped"
        elif problem.needs_auth:
            self.state, self.error = "needs_auth", str(problem)
        else:
            pause = min(self._times.longest, self._times.first * 2.0**self._failures)
            self._failures = min(self._failures + 1, 30)
            self._next_try = self._clock.monotonic() + pause
            self.next_try_at = self._clock.now(pause)
            self.state, self.error = "failed", str(problem)
            log.warning("the MCP server %s has failed: %s", self._name, problem)
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class _Life:
    """One life of a server. Implements McpConnectionEvents.

    Attributes:
        starting: cancelled if the life is stopped before the server is reached.
        end_reason: why the server has ended, the end of a sentence; None: it has not.
        wants_auth: whether it has ended because a person has to authorize it.
        has_news: whether what it offers has changed.
        expires: after which moment it ends when nobody uses it.
    """

    def __init__(self, run: ServerRun) -> None:
        self.starting = anyio.CancelScope()
        self.end_reason: str | None = None
        self.wants_auth = False
        self.has_news = False
        self.expires = float("inf")
        self.is_stopped = False
        self._run = run
        self._woken = anyio.Event()

    async def run(self) -> None:
        """Live."""
        await self._run.live(self)

    def sleep(self) -> anyio.Event:
        """Return an event that the next reason to look again sets."""
        self._woken = anyio.Event()
        return self._woken

    def wake(self) -> None:
        """Make the life look again whether to go on."""
        self._woken.set()

    def stop(self) -> None:
        """End the life."""
        self.is_stopped = True
        self.starting.cancel()
        self.wake()

    def manifest_changed(self) -> None:
        """See McpConnectionEvents."""
        self.has_news = True
        self.wake()

    def ended(self, reason: str, *, wants_auth: bool = False) -> None:
        """See McpConnectionEvents."""
        self.end_reason, self.wants_auth = reason, wants_auth
        self.wake()

    def noise(self, lines: int) -> None:
        """See McpConnectionEvents."""
        self._run.noise += lines
