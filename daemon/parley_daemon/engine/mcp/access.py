"""How one run reaches its server: with the token of its owner's authorization, if there is one.

Theory of operation. A token may be refused at the start of a connection or later: some servers let everybody
connect, and want a token for calls. Either way it is renewed once. A server that refuses the new one as well,
or for which there is none to renew, needs a person.
"""

from msgspec.structs import replace

from parley_daemon.engine.mcp.authorization import Authorizations, Authorized
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.mcp import (
    McpConnectError,
    McpConnection,
    McpConnectionEvents,
    McpConnector,
    McpTarget,
)

HELD_SECONDS = 60.0
"""How long a renewed token has to be accepted for another one to be asked for when it is refused."""


class ServerAccess:
    """Connects to one server for one owner."""

    def __init__(
        self,
        connector: McpConnector,
        authorizations: Authorizations | None,
        clock: Clock,
        owner: str,
        target: McpTarget,
    ) -> None:
        self._connector = connector
        self._authorizations = authorizations if takes_token(target) else None
        self._clock = clock
        self._owner = owner
        self._target = target
        self._refused: str | None = None  # a token, after the connection with it had begun
        self._renewed_at = float("-inf")

    async def connect(self, events: McpConnectionEvents) -> tuple[McpConnection, float | None]:
        """Start or reach the server; return the connection, and for how many seconds it may be used.

        Raises:
            McpConnectError: it did not work.
        """
        authorizations, url = self._authorizations, self._target.url or ""
        if authorizations is None:
            return await self._connector.connect(self._target, events), None
        granted = await authorizations.find(self._owner, url)
        if granted is None:
            return await self._connector.connect(self._target, events), None
        if granted.token == self._refused:
            granted = await self._renew(authorizations, granted)
            if granted is None:
                raise McpConnectError("The server wants an authorization again.", needs_auth=True)
            return await self._connect_with(granted, events)
        try:
            return await self._connect_with(granted, events)
        except McpConnectError as error:
            if not error.needs_auth:
                raise
            another = await self._renew(authorizations, granted)
            if another is None:
                raise
        return await self._connect_with(another, events)

    async def _renew(self, authorizations: Authorizations, granted: Authorized) -> Authorized | None:
        another = await authorizations.replace(self._owner, self._target.url or "", granted.token)
        self._renewed_at = self._clock.monotonic()
        return another

    async def _connect_with(
        self, granted: Authorized, events: McpConnectionEvents
    ) -> tuple[McpConnection, float | None]:
        headers = {**self._target.headers, "Authorization": f"Bearer {granted.token}"}
        watched = _Watched(self, granted.token, events)
        return await self._connector.connect(replace(self._target, headers=headers), watched), granted.seconds

    def refuse(self, token: str) -> bool:
        """Note that a token was refused; return whether a person has to be asked."""
        self._refused = token
        return self._clock.monotonic() < self._renewed_at + HELD_SECONDS


class _Watched:
    """Implements McpConnectionEvents for a connection with a token."""

    def __init__(self, access: ServerAccess, token: str, events: McpConnectionEvents) -> None:
        self._access = access
        self._token = token
        self._events = events
        self.manifest_changed = events.manifest_changed
        self.noise = events.noise

    def ended(self, reason: str, *, wants_auth: bool = False) -> None:
        """See McpConnectionEvents. A token that can be renewed needs no person."""
        self._events.ended(reason, wants_auth=wants_auth and self._access.refuse(self._token))


def takes_token(target: McpTarget) -> bool:
    """Return whether a server is reached by a URL, without an authorization of its definition."""
    return target.url is not None and not any(name.lower() == "authorization" for name in target.headers)
