"""The port to MCP servers, by a helper process that runs while servers are used."""

import os
from collections.abc import Callable, Coroutine, Mapping
from importlib import util
from typing import Any, Protocol

import anyio
import msgspec

from parley_daemon.adapters.mcp import frames
from parley_daemon.adapters.mcp.connection import HelperConnection
from parley_daemon.adapters.mcp.helper import Helper, HelperError
from parley_daemon.ports.mcp import McpConnectError, McpConnection, McpConnectionEvents, McpTarget

CONNECT_SECONDS = 30.0

IDLE_SECONDS = 30.0
"""How long the helper stays when no server is connected any more."""

MISSING = "MCP servers need the package mcp, which is not installed: pip install 'parleyd[mcp]'."


class Tasks(Protocol):
    """Runs tasks as long as the daemon does."""

    def start(self, work: Callable[[], Coroutine[Any, Any, None]], name: str | None = None) -> None:
        """Start a task. The work does not raise."""
        ...


class HelperConnector:
    """Implements McpConnector. It costs nothing until the first server is connected.

    Args:
        tasks: runs the helper. When they end, it ends, and all servers with it.
        environment: the daemon's.
        idle_seconds: how long the helper stays when no server is connected any more.
        connect_seconds: limit of `connect`.
    """

    def __init__(
        self,
        tasks: Tasks,
        environment: Mapping[str, str] = os.environ,
        idle_seconds: float = IDLE_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._tasks = tasks
        self._environment = environment
        self._idle_seconds = idle_seconds
        self._connect_seconds = connect_seconds
        self._helper: Helper | None = None
        self._used = 0
        self._uses = 0

    @property
    def problem(self) -> str | None:
        """Why no server can be reached at all; None: it can."""
        return MISSING if util.find_spec("mcp") is None else None

    @property
    def helper_pid(self) -> int | None:
        """The helper process, None if none runs."""
        return None if self._helper is None or self._helper.ended.is_set() else self._helper.pid

    async def connect(self, target: McpTarget, events: McpConnectionEvents) -> McpConnection:
        """Start or reach a server, within 30 s.

        Raises:
            McpConnectError: it did not work. Nothing of the server is left.
        """
        if self.problem is not None:
            raise McpConnectError(self.problem)
        _check(target)
        helper = self._use()
        try:
            with anyio.move_on_after(self._connect_seconds):
                return await self._open(helper, target, events)
            raise McpConnectError(f"The server has not answered within {self._connect_seconds:g} s.")
        except BaseException as error:
            self._release(helper)
            if isinstance(error, HelperError):
                raise McpConnectError(str(error)) from None
            raise

    async def _open(self, helper: Helper, target: McpTarget, events: McpConnectionEvents) -> HelperConnection:
        exchange = await helper.begin(lambda id: frames.Open(id, target))
        connection = HelperConnection(helper, exchange.id, events, lambda: self._release(helper))
        helper.listen(exchange.id, connection)
        try:
            while exchange.outcome is None:
                await exchange.wait()
            if isinstance(exchange.outcome, frames.Failed):
                raise McpConnectError(exchange.outcome.message, needs_auth=exchange.outcome.needs_auth)
            if connection.end is not None:
                raise McpConnectError(f"The server has ended again: {connection.end}.")
            connection.begin(msgspec.json.decode(exchange.outcome.value, type=int | None))
        except BaseException:
            with anyio.CancelScope(shield=True):
                if exchange.outcome is None:
                    await helper.give_up(exchange)
            helper.forget(exchange.id)
            raise
        finally:
            helper.end(exchange)
        return connection

    def _use(self) -> Helper:
        """Return the helper, started if need be, and count one more use of it."""
        if self._helper is None or not self._helper.is_usable:
            self._helper = Helper(self._environment)
            self._used = 0
            self._tasks.start(self._helper.run, "mcp helper")
        self._used += 1
        self._uses += 1
        return self._helper

    def _release(self, helper: Helper) -> None:
        if helper is not self._helper:
            return
        self._used -= 1
        if self._used == 0:
            self._tasks.start(self._stop_when_idle, "mcp helper idle")

    async def _stop_when_idle(self) -> None:
        helper, uses = self._helper, self._uses
        await anyio.sleep(self._idle_seconds)
        if helper is not None and helper is self._helper and self._uses == uses and self._used == 0:
            helper.stop()


def _check(target: McpTarget) -> None:
    if (target.command is None) == (target.url is None):
        raise McpConnectError("A server has either a command or a URL.")
    if target.url is not None and not target.url.lower().startswith(("http://", "https://")):
        raise McpConnectError("The URL of a server begins with http:// or https://.")
