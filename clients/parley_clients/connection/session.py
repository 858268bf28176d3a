"""A session with one daemon: connects, reconnects, and resumes subscriptions on each new connection.

Theory of operation. A session has at most one connection at a time (`_current`). One task, `_maintain`, waits
for the loss of the current connection and replaces it:

    open() --> connected --lost--> reconnecting --success--> connected
                                        |
                                        +-- no attempts left, or refused --> closed (`_closed_reason`)

Requests. A request belongs to one connection and fails with it: the daemon may or may not have handled it,
and only the caller knows whether it is safe to repeat. New calls wait while the session reconnects.

Subscriptions. What must survive a lost connection (a live chat, a watch, the turn of an edit) is registered
as a Subscription. The session calls its `begin` with each new connection, before new calls may use it, and
its `end` once no further connection will come. How to resume without losing or doubling events is up to the
subscription: it knows the sequence number of its last event.

Reconnecting waits longer after each failed attempt (see Reconnect). The user's daemon is started again only
if it left its runtime file behind: then it crashed. A daemon that was stopped removes the file and stays
stopped.
"""

import logging
import os
from collections.abc import Callable, Coroutine, Iterator
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
"""How long connecting may take, including the start of a daemon."""

_MAX_DOUBLINGS = 100  # 2.0**1024 overflows, and there may be any number of attempts


@dataclass(frozen=True, slots=True)
class Reconnect:
    """When to reconnect after a lost connection.

    The delay before an attempt is `first_delay` seconds, doubled with each attempt up to `max_delay`, and
    shortened at random by up to half. After `max_attempts` failed attempts the client is closed.
    """

    first_delay: float = 0.1
    max_delay: float = 5.0
    max_attempts: int = 20

    def delays(self) -> Iterator[float]:
        """Return the delay before each attempt, in seconds."""
        import random

        for attempt in range(self.max_attempts):
            doubled = self.first_delay * 2.0 ** min(attempt, _MAX_DOUBLINGS)
            yield min(doubled, self.max_delay) * random.uniform(0.5, 1.0)


class Subscription(Protocol):
    """A stream of values that continues over several connections."""

    def begin(self, connection: Connection) -> None:
        """Subscribe over this connection, or resume after the last value. Does not wait."""
        ...

    def end(self, error: ParleyError) -> None:
        """Handle the end of the session: there will be no further connection."""
        ...


class Session:
    """Connections to one daemon, one after the other. Its tasks run in the task group that it is given."""

    def __init__(self, target: Target, options: Json, reconnect: Reconnect | None, tasks: TaskGroup) -> None:
        self._target = target
        self._options = options
        self._reconnect = reconnect
        self._tasks = tasks
        self._current: Connection | None = None
        self._closed_reason: str | None = None
        self._changed = anyio.Event()
        self._subscriptions: dict[Subscription, None] = {}
        self._token_numbers = count(1)
        self.initialize_result: Json = {}

    # ------------------------------------------------------------------------- use

    async def call(self, method: str, params: Json, timeout: float | None = None) -> Any:
        """Send a request and return its result. Cancelling this call cancels the request.

        Raises:
            ParleyError: the response is an error, or the connection was lost.
            TimeoutError: there was no response within `timeout` seconds; the request was cancelled.
        """
        with anyio.move_on_after(timeout):
            connection = await self.connection()
            pending = connection.send_request(method, params)
            try:
                return await pending.wait()
            finally:
                connection.cancel(pending)  # does nothing once there is a response
        raise TimeoutError(f"{method} was not answered within {timeout} s.")

    async def connection(self) -> Connection:
        """Return the current connection; wait for it while the session reconnects.

        Raises:
            ConnectionLostError: the session is closed.
        """
        while True:
            if self._closed_reason is not None:
                raise ConnectionLostError(self._closed_reason)
            if self._current is None:
                await self._changed.wait()
                continue
            connection = self._current
            await connection.wait_until_writable()
            if connection is self._current and not connection.lost.is_set():
                return connection
            if connection is self._current:
                await self._changed.wait()

    def start(self, function: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Run a coroutine function until the session is closed. It must raise nothing."""
        self._tasks.start_soon(function, *args)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._current is not None and not self._current.lost.is_set()

    def new_token(self) -> str:
        """Return a progress token that this session has not used yet."""
        return f"t{next(self._token_numbers)}"

    def add_subscription(self, subscription: Subscription) -> None:
        """Begin a subscription as soon as there is a connection, and again on each new connection."""
        if self._closed_reason is not None:
            subscription.end(ConnectionLostError(self._closed_reason))
            return
        self._subscriptions[subscription] = None
        if self._current is not None and not self._current.lost.is_set():
            subscription.begin(self._current)

    def remove_subscription(self, subscription: Subscription) -> None:
        """Do not resume this subscription any more."""
        self._subscriptions.pop(subscription, None)

    # -------------------------------------------------------------------- lifetime

    async def open(self) -> None:
        """Connect for the first time.

        Raises:
            DaemonUnreachableError: the daemon does not answer.
            AuthenticationError: the token is missing or wrong.
        """
        connection = await self._connect()
        self._set_current(connection)
        self._tasks.start_soon(self._maintain, connection)

    async def aclose(self) -> None:
        """Write what is queued, then close."""
        connection, self._closed_reason = self._current, "The client was closed."
        if connection is not None:
            await connection.aflush()
        self._end_subscriptions()

    async def _connect(self, *, reconnecting: bool = False) -> Connection:
        try:
            with anyio.fail_after(CONNECT_SECONDS):
                opened = await open_stream(self._target, reconnecting=reconnecting)
                connection = Connection(opened)
                self._tasks.start_soon(connection.run)
                try:
                    params: Json = {"processId": os.getpid(), "capabilities": {}}
                    params["clientInfo"] = {"name": self._options["clientName"], "version": VERSION}
                    token = {} if opened.token is None else {"token": opened.token}
                    params["initializationOptions"] = {**self._options, **token}
                    self.initialize_result = await connection.send_request("initialize", params).wait()
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

    async def _maintain(self, connection: Connection | None) -> None:
        """Replace each lost connection, until the session is closed."""
        while connection is not None:
            await connection.lost.wait()
            if self._closed_reason is not None:
                return
            self._set_current(None)
            log.info("The connection to the daemon was lost: %s.", connection.lost_reason)
            connection = await self._connect_again(connection.lost_error().message)
            if connection is None:
                self._end_subscriptions()
            else:
                log.info("Reconnected to the daemon.")
                self._set_current(connection)

    async def _connect_again(self, lost_message: str) -> Connection | None:
        """Return the next connection, or None if there is none and `_closed_reason` says why."""
        last_error = ""
        for delay in self._reconnect.delays() if self._reconnect is not None else ():
            await anyio.sleep(delay)
            try:
                return await self._connect(reconnecting=True)
            except DaemonUnreachableError as error:
                last_error = error.message
            except ParleyError as error:
                last_error = error.message
                break  # the daemon answers, and refuses this client
        self._closed_reason = f"{lost_message} {last_error}".rstrip()
        return None

    def _set_current(self, connection: Connection | None) -> None:
        self._current = connection
        if connection is not None:
            for subscription in list(self._subscriptions):
                subscription.begin(connection)
        self._notify_changed()

    def _end_subscriptions(self) -> None:
        assert self._closed_reason is not None
        self._current = None
        subscriptions, self._subscriptions = list(self._subscriptions), {}
        for subscription in subscriptions:
            subscription.end(ConnectionLostError(self._closed_reason))
        self._notify_changed()

    def _notify_changed(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
