"""The authorization of MCP servers: a code with PKCE, by a browser that comes back to loopback (OAuth 2.1).

The daemon registers itself as a public client with the authorization server for each attempt (RFC 7591),
since the port of the redirect is another each time. The token is asked for one resource, the MCP server
(RFC 8707).
"""

import base64
import hashlib
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode, urlsplit

from parley_daemon.adapters.oauth.discovery import Granter, find_granter
from parley_daemon.adapters.oauth.redirects import Redirect, listening
from parley_daemon.adapters.oauth.requests import Answer, Json, Requests, requests
from parley_daemon.ports.mcp_authorization import McpAuthorizationError, McpConsent, McpGrant

CLIENT_NAME = "parleyd"


class OAuthAuthorizer:
    """Implements McpAuthorizer."""

    @asynccontextmanager
    async def ask(self, resource: str) -> AsyncGenerator[McpConsent]:
        """See McpAuthorizer."""
        state = secrets.token_urlsafe(32)
        async with requests(resource) as http:
            granter = await find_granter(http, resource)
            async with listening(state) as redirect:
                client = await _register(http, granter, redirect.uri)
                yield _Consent(http, granter, redirect, client, state)

    async def renew(self, grant: McpGrant) -> McpGrant:
        """See McpAuthorizer."""
        if grant.refresh_token is None:
            raise McpAuthorizationError("The authorization has ended and cannot be renewed.")
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
        async with requests(grant.resource) as http:
            return await _get_token(http, grant, form)


class _Client:
    def __init__(self, id: str, secret: str | None) -> None:
        self.id = id
        self.secret = secret


class _Consent:
    """Implements McpConsent."""

    def __init__(
        self, http: Requests, granter: Granter, redirect: Redirect, client: _Client, state: str
    ) -> None:
        self._http = http
        self._granter = granter
        self._redirect = redirect
        self._client = client
        self._verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(self._verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": client.id,
            "redirect_uri": redirect.uri,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "resource": granter.resource,
        }
        if granter.scope:
            query["scope"] = granter.scope
        endpoint = granter.authorization_endpoint.split("#", 1)[0]
        self.url = f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def wait(self) -> McpGrant:
        """See McpConsent."""
        answer = await self._redirect.wait()
        issuer = answer.get("iss")
        if issuer != self._granter.issuer and (issuer is not None or self._granter.sends_issuer):
            raise McpAuthorizationError("The answer comes from another authorization server.")
        code = answer.get("code")
        if not code:
            raise McpAuthorizationError(f"The authorization was refused{_reason(answer)}.")
        blank = McpGrant(
            access_token="",
            refresh_token=None,
            expires_in=None,
            resource=self._granter.resource,
            token_endpoint=self._granter.token_endpoint,
            client_id=self._client.id,
            client_secret=self._client.secret,
            scope=self._granter.scope,
        )
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect.uri,
            "code_verifier": self._verifier,
        }
        return await _get_token(self._http, blank, form)


async def _register(http: Requests, granter: Granter, redirect_uri: str) -> _Client:
    if granter.registration_endpoint is None:
        raise McpAuthorizationError(
            "The authorization server does not let programs register themselves. If the MCP server takes a"
            " token, give it in headers."
        )
    wanted: Json = {
        "client_name": CLIENT_NAME,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    answer = await http.post_json(granter.registration_endpoint, "the registration", wanted)
    id, secret = answer.body.get("client_id"), answer.body.get("client_secret")
    if answer.status not in (200, 201) or not isinstance(id, str) or not id:
        raise McpAuthorizationError(
            f"The authorization server has refused to register{_reason(answer.body)}."
        )
    return _Client(id, secret if isinstance(secret, str) and secret else None)


async def _get_token(http: Requests, grant: McpGrant, form: Mapping[str, str]) -> McpGrant:
    form = {**form, "client_id": grant.client_id, "resource": grant.resource}
    if grant.client_secret is not None:
        form["client_secret"] = grant.client_secret
    answer = await http.post_form(grant.token_endpoint, "the authorization server", form)
    token, kind = _read_token(answer.body.get("access_token")), answer.body.get("token_type")
    if answer.status != 200 or token is None or str(kind).lower() != "bearer":
        raise McpAuthorizationError(
            f"The authorization server has given no token{_reason(answer.body)}.", is_final=_is_final(answer)
        )
    renewal, seconds = answer.body.get("refresh_token"), answer.body.get("expires_in")
    return McpGrant(
        access_token=token,
        refresh_token=renewal if isinstance(renewal, str) and renewal else grant.refresh_token,
        expires_in=_read_seconds(seconds),
        resource=grant.resource,
        token_endpoint=grant.token_endpoint,
        client_id=grant.client_id,
        client_secret=grant.client_secret,
        scope=grant.scope,
    )


def _read_token(value: object) -> str | None:
    """Return a token that can be put into a header."""
    is_token = isinstance(value, str) and value and all(33 <= ord(sign) <= 126 for sign in value)
    return value if is_token and isinstance(value, str) else None


def _read_seconds(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) and 0 <= value < 1e9 else None


def _is_final(answer: Answer) -> bool:
    return 400 <= answer.status < 500 and answer.status != 429


def _reason(answer: Mapping[str, object]) -> str:
    """Return the code of an error of OAuth; its description may have anything, and is left out."""
    code = answer.get("error")
    is_code = isinstance(code, str) and code.isascii() and code.replace("_", "").isalnum() and len(code) <= 64
    return f" ({code})" if is_code else ""
