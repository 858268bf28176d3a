"""The way to the daemon, whatever happens to single connections: connects, reconnects, resumes what is live.

When a connection is lost every call under way fails at once; then the link tries again with growing pauses,
begins every live subscription anew, and lets new calls through. Knows the handshake and no other method.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup

from parley_clients.connection.connection import Connection
from parley_clients.connection.transport import Target, open_stream
from parley_clients.errors import ConnectionLostError, DaemonUnreachableError, ParleyError
from parley_clients.results import Json
from parley_protocol.version import VERSION

log = logging.getLogger("parley_clients")

CONNECT_SECONDS = 20.0
"""How long reaching a daemon may take, starting it included."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How to go on after a lost connection: pauses in seconds, doubled from `first` up to `most`, each
    shortened at random by up to half; after `tries` attempts in vain the client gives up for good."""

    first: float = 0.1
    most: float = 5.0
    tries: int = 20

    def pauses(self) -> Iterator[float]:
        """Return how long to wait before each attempt."""
        import random

        for attempt in range(self.tries):
            yield min(self.first * 2.0**attempt, self.most) * random.uniform(0.5, 1.0)


class Live(Protocol):
    """What is to go on over connections: a subscription."""

    def begin(self, connection: Connection) -> None:
        """Begin, or go on, over this connection. Does not wait."""
        ...

    def end(self, error: ParleyError) -> None:
        """There will be no other connection."""
        ...


class Link:
    """Connections to one daemon, one after the other. Its tasks run in the task group that it is given."""

    def __init__(self, target: Target, options: Json, reconnect: Reconnect | None, tasks: TaskGroup) -> None:
        self._target = target
        self._options = options
        self._reconnect = reconnect
        self._tasks = tasks
        self._current: Connection | None = None
        self._over: str | None = None
        self._changed = anyio.Event()
        self._lives: dict[Live, None] = {}
        self._numbers = count(1)
        self.handshake: Json = {}

    # ---------------------------------------------------------------------------- use

    async def call(self, method: str, params: Json, timeout: float | None = None) -> Any:
        """Send a request and return its result. Whoever is cancelled meanwhile cancels the request.

        Raises:
            ParleyError: the daemon answered with an error, or the connection was lost.
            TimeoutError: no answer came within `timeout` seconds; the request was cancelled.
        """
        with anyio.move_on_after(timeout):
            connection = await self.connection()
            pending = connection.start(method, params)
            try:
                return await pending.wait()
            finally:
                connection.cancel(pending)  # does nothing once it is answered
        raise TimeoutError(f"{method} was not answered within {timeout} s.")

    async def connection(self) -> Connection:
        """Return the connection; wait for it while the link reconnects.

        Raises:
            ConnectionLostError: there will be none.
        """
        while True:
            if self._over is not None:
                raise ConnectionLostError(self._over)
            if self._current is None:
                await self._changed.wait()
                continue
            connection = self._current
            await connection.room()
            if connection is self._current and not connection.lost.is_set():
                return connection
            if connection is self._current:
                await self._changed.wait()

    def token(self) -> str:
        """Return a token that was not used before."""
        return f"t{next(self._numbers)}"

    def add(self, live: Live) -> None:
        """Begin something live as soon as there is a connection, and again after each loss."""
        if self._over is not None:
            live.end(ConnectionLostError(self._over))
            return
        self._lives[live] = None
        if self._current is not None and not self._current.lost.is_set():
            live.begin(self._current)

    def remove(self, live: Live) -> None:
        """Forget something live."""
        self._lives.pop(live, None)

    # --------------------------------------------------------------------------- life

    async def open(self) -> None:
        """Connect for the first time.

        Raises:
            DaemonUnreachableError: nobody answers.
            AuthenticationError: the token is missing or wrong.
        """
        connection = await self._dial()
        self._set(connection)
        self._tasks.start_soon(self._keep, connection)

    async def aclose(self) -> None:
        """Let what was sent go out, then close."""
        connection, self._over = self._current, "The client was closed."
        if connection is not None:
            await connection.aflush()
        self._end()

    async def _dial(self, *, again: bool = False) -> Connection:
        try:
            with anyio.fail_after(CONNECT_SECONDS):
                opened = await open_stream(self._target, again=again)
                connection = Connection(opened)
                self._tasks.start_soon(connection.run)
                try:
                    params: Json = {"processId": os.getpid(), "capabilities": {}}
                    params["clientInfo"] = {"name": self._options["clientName"], "version": VERSION}
                    token = {} if opened.token is None else {"token": opened.token}
                    params["initializationOptions"] = {**self._options, **token}
                    self.handshake = await connection.start("initialize", params).wait()
                except BaseException:
                    connection.close()
                    raise
        except TimeoutError:
            message = f"The daemon did not answer within {CONNECT_SECONDS:g} s."
            raise DaemonUnreachableError(message) from None
        except ConnectionLostError as error:
            raise DaemonUnreachableError(error.message) from None
        connection.notify("initialized", {})
        return connection

    async def _keep(self, connection: Connection | None) -> None:
        """Replace connections as they are lost, until there are no more."""
        while connection is not None:
            await connection.lost.wait()
            if self._over is not None:
                return
            self._set(None)
            log.info("The connection to the daemon was lost: %s.", connection.reason)
            why = connection.lost_error().message
            connection = await self._dial_again(why)
            if connection is None:
                self._end()
            else:
                log.info("Connected to the daemon again.")
                self._set(connection)

    async def _dial_again(self, why: str) -> Connection | None:
        """Return the next connection; None: there will be none, and `_over` says why."""
        last = ""
        for pause in self._reconnect.pauses() if self._reconnect is not None else ():
            await anyio.sleep(pause)
            try:
                return await self._dial(again=True)
            except DaemonUnreachableError as error:
                last = error.message
            except ParleyError as error:
                last = error.message
                break  # it answers, and does not want us
        self._over = f"{why} {last}".rstrip()
        return None

    def _set(self, connection: Connection | None) -> None:
        self._current = connection
        if connection is not None:
            for live in list(self._lives):
                live.begin(connection)
        self._wake()

    def _end(self) -> None:
        assert self._over is not None
        self._current = None
        lives, self._lives = list(self._lives), {}
        for live in lives:
            live.end(ConnectionLostError(self._over))
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
