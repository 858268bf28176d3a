"""The port to the authorization of servers that are reached by a URL (OAuth 2.1, as MCP specifies it)."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec


class McpGrant(msgspec.Struct, frozen=True, gc=False):
    """What a person has granted, and what it takes to renew it. The repr has nothing of it.

    Attributes:
        access_token: goes into the header `Authorization` of requests to `resource`.
        refresh_token: None: it cannot be renewed.
        expires_in: seconds for which the access token holds, from its issue; None: unknown.
        resource: the URL of the server.
        token_endpoint: where it is renewed.
        client_id, client_secret: the registration of the daemon there.
    """

    access_token: str
    refresh_token: str | None
    expires_in: float | None
    resource: str
    token_endpoint: str
    client_id: str
    client_secret: str | None = None
    scope: str | None = None

    def __repr__(self) -> str:
        return "McpGrant(…)"


class McpAuthorizationError(Exception):
    """There is no authorization. The message is a sentence for people, without secrets.

    `is_final`: the grant is not valid any more, so that a person has to grant it again.
    """

    def __init__(self, message: str, *, is_final: bool = True) -> None:
        super().__init__(message)
        self.is_final = is_final


class McpConsent(Protocol):
    """A person who is asked for an authorization, in a browser."""

    @property
    def url(self) -> str:
        """The page to open."""
        ...

    async def wait(self) -> McpGrant:
        """Wait for the answer, however long it takes.

        Raises:
            McpAuthorizationError: the person or the server has refused.
        """
        ...


class McpAuthorizer(Protocol):
    """Gets and renews authorizations."""

    def ask(self, resource: str) -> AbstractAsyncContextManager[McpConsent]:
        """Find out who grants access to a server, and wait for a browser while the block runs.

        Raises:
            McpAuthorizationError: it cannot be found out, or the daemon cannot be registered there.
            OSError: no port is free for the browser to come back to.
        """
        ...

    async def renew(self, grant: McpGrant) -> McpGrant:
        """Return a new grant in place of one that expires.

        Raises:
            McpAuthorizationError: it cannot be renewed.
        """
        ...
