"""The authorizations of servers that are reached by a URL: asked for, kept as secrets, renewed.

An authorization belongs to an owner and a URL. It is kept where the keys of providers are. `mcp/authenticate`
returns the page to open, and a task waits for the person; then the server may be used. A token that has
expired is renewed before it is used, and one that the server refuses is renewed once.
"""

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial

import anyio
import msgspec

from parley_daemon.engine.errors import ConflictError, NotAllowedError
from parley_daemon.engine.tasks import Work
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.mcp import McpConnectError
from parley_daemon.ports.mcp_authorization import McpAuthorizationError, McpAuthorizer, McpGrant
from parley_daemon.ports.secrets import Secrets, SecretsUnavailableError

log = logging.getLogger(__name__)

CONSENT_SECONDS = 600.0
"""How long a person may take."""

RENEW_SECONDS = 60.0
"""How long a token has to hold for a connection to begin with it."""

MAX_ASKED = 16
"""Persons who are asked at the same time."""


class Authorized(msgspec.Struct, frozen=True, gc=False):
    """A token. `seconds`: how long it holds, None: unknown. The repr does not contain it."""

    token: str
    seconds: float | None

    def __repr__(self) -> str:
        return "Authorized(…)"


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A person is asked. `url` is the page to open, `expires_at` the end of the wait, RFC 3339."""

    url: str
    expires_at: str


class _Kept(msgspec.Struct, frozen=True, gc=False):
    """A grant as it is stored. `expires_at` is RFC 3339, None: unknown."""

    grant: McpGrant
    expires_at: str | None

    def __repr__(self) -> str:
        return "_Kept(…)"


class Authorizations:
    """The authorizations of all owners. `start` runs work in the background.

    `load_authorizer` loads a HTTP client, which only some daemons need.
    """

    def __init__(
        self,
        load_authorizer: Callable[[], McpAuthorizer],
        secrets: Secrets,
        clock: Clock,
        start: Callable[[Work], None],
        consent_seconds: float = CONSENT_SECONDS,
    ) -> None:
        self._authorizer = cache(load_authorizer)
        self._secrets = secrets
        self._clock = clock
        self._start = start
        self._consent_seconds = consent_seconds
        self._kept: dict[str, _Kept | None] = {}  # None: there is none
        self._locks: dict[str, anyio.Lock] = {}
        self._asked: dict[str, anyio.CancelScope] = {}

    # ----------------------------------------------------------------------------- asking

    async def ask(self, owner: str, url: str, on_granted: Callable[[], None]) -> Asked:
        """Begin to ask a person; an earlier attempt for the same server ends. `on_granted` is called then.

        Raises:
            NotAllowedError: the server's authorization works otherwise; the message says why.
            ConflictError: too many persons are asked already.
        """
        key = _key(owner, url)
        if key not in self._asked and len(self._asked) >= MAX_ASKED:
            raise ConflictError(f"{MAX_ASKED} authorizations wait for a person already. Finish one of them.")
        if key in self._asked:
            self._asked.pop(key).cancel()
        attempt = _Attempt()
        self._asked[key] = attempt.scope
        self._start(partial(self._wait_for_consent, attempt, key, url, on_granted))
        try:
            await attempt.answered.wait()
        finally:
            if not attempt.answered.is_set():  # the caller has left
                attempt.scope.cancel()
        if attempt.asked is None:
            raise NotAllowedError(attempt.problem)
        return attempt.asked

    async def _wait_for_consent(
        self, attempt: "_Attempt", key: str, url: str, on_granted: Callable[[], None]
    ) -> None:
        try:
            with attempt.scope:
                grant: McpGrant | None = None
                async with self._authorizer().ask(url) as consent:
                    attempt.asked = Asked(consent.url, self._clock.now(self._consent_seconds))
                    attempt.answered.set()
                    with anyio.move_on_after(self._consent_seconds):
                        grant = await consent.wait()
                if grant is None:
                    log.warning("nobody has authorized an MCP server within %g s", self._consent_seconds)
                    return
                with anyio.CancelScope(shield=True):
                    await self._keep(key, grant)
                on_granted()
        except (McpAuthorizationError, SecretsUnavailableError) as error:
            attempt.problem = str(error)
            log.warning("an MCP server was not authorized: %s", error)
        except OSError as error:
            attempt.problem = f"The browser could not come back: {error.strerror}."
        finally:
            attempt.answered.set()
            if self._asked.get(key) is attempt.scope:
                del self._asked[key]

    # ------------------------------------------------------------------------------- using

    async def find(self, owner: str, url: str) -> Authorized | None:
        """Return a token for a server that holds for a while; None: there is no authorization.

        Raises:
            McpConnectError: there is one, and it cannot be read, or renewed now.
        """
        return await self._find(_key(owner, url), is_refused=None)

    async def replace(self, owner: str, url: str, refused: str) -> Authorized | None:
        """Return another token than one that the server has refused; None: a person has to be asked.

        Raises:
            McpConnectError: it cannot be renewed now.
        """
        return await self._find(_key(owner, url), is_refused=refused)

    async def forget(self, owner: str, url: str) -> None:
        """Delete an authorization."""
        key = _key(owner, url)
        async with self._locks.setdefault(key, anyio.Lock()):
            await self._drop(key)

    async def _find(self, key: str, *, is_refused: str | None) -> Authorized | None:
        async with self._locks.setdefault(key, anyio.Lock()):  # two chats do not renew at the same time
            kept = await self._read(key)
            if kept is None:
                return None
            if kept.grant.access_token == is_refused or self._is_over(kept):
                kept = await self._renew(key, kept)
            return None if kept is None else Authorized(kept.grant.access_token, self._seconds_left(kept))

    async def _renew(self, key: str, kept: _Kept) -> _Kept | None:
        try:
            grant = await self._authorizer().renew(kept.grant)
        except McpAuthorizationError as error:
            if not error.is_final:
                raise McpConnectError(f"The authorization cannot be renewed now: {error}") from None
            log.warning("the authorization of an MCP server has ended: %s", error)
            await self._drop(key)
            return None
        with anyio.CancelScope(shield=True):  # the token before may not be valid any more
            try:
                return await self._keep(key, grant)
            except SecretsUnavailableError as error:
                log.warning("an authorization is kept until the daemon stops: %s", error)
                return self._kept[key]

    def _is_over(self, kept: _Kept) -> bool:
        return kept.expires_at is not None and kept.expires_at <= self._clock.now(RENEW_SECONDS)

    def _seconds_left(self, kept: _Kept) -> float | None:
        if kept.expires_at is None:
            return None
        now = datetime.fromisoformat(self._clock.now())
        return (datetime.fromisoformat(kept.expires_at) - now).total_seconds()

    # ----------------------------------------------------------------------------- keeping

    async def _read(self, key: str) -> _Kept | None:
        if key not in self._kept:
            keys = await self._secrets.read([key])
            if key in keys.unreadable:
                raise McpConnectError(f"The authorization cannot be read. {keys.unreadable[key]}")
            text = keys.found.get(key)
            self._kept.setdefault(key, None if text is None else _decode(text))
        return self._kept[key]

    async def _keep(self, key: str, grant: McpGrant) -> _Kept:
        seconds = grant.expires_in
        kept = self._kept[key] = _Kept(grant, None if seconds is None else self._clock.now(seconds))
        await self._secrets.write(key, msgspec.json.encode(kept).decode())
        return kept

    async def _drop(self, key: str) -> None:
        self._kept[key] = None
        try:
            await self._secrets.write(key, None)
        except SecretsUnavailableError as error:
            log.warning("an authorization could not be deleted: %s", error)


class _Attempt:
    """One wait for a person. `asked` is None if it could not begin; then `problem` says why."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.answered = anyio.Event()
        self.asked: Asked | None = None
        self.problem = "The attempt was ended by a later one."


def _decode(text: str) -> _Kept | None:
    try:
        return msgspec.json.decode(text, type=_Kept)
    except msgspec.MsgspecError:
        log.warning("a stored authorization is damaged; it has to be granted again")
        return None


def _key(owner: str, url: str) -> str:
    return f"mcp-grant:{hashlib.sha256(msgspec.json.encode((owner, url))).hexdigest()}"
