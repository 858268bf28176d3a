"""Who grants access to an MCP server: its metadata (RFC 9728), and its authorization server's (RFC 8414).

An MCP server names its metadata in the answer to a request without authorization. A server of the earlier
specification has none; then the authorization server is at the server's own address.
"""

import re
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from parley_daemon.adapters.oauth.requests import Answer, Json, Requests
from parley_daemon.ports.mcp_authorization import McpAuthorizationError

_PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
_PARAMETER = re.compile(r'(\w+)="([^"\\]*)"')


class Granter(msgspec.Struct, frozen=True, gc=False):
    """An authorization server. `sends_issuer`: it names itself when it sends the browser back (RFC 9207)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str | None
    resource: str
    scope: str | None
    sends_issuer: bool


async def find_granter(requests: Requests, url: str) -> Granter:
    """Return who grants access to an MCP server.

    Raises:
        McpAuthorizationError: nobody does, or not as it has to be.
    """
    requests.check(url, "The address of the MCP server")
    answer = await requests.post_json(url, "the MCP server", _PING)
    challenge = dict(_PARAMETER.findall(answer.challenge))
    found = await _find_resource(requests, url, challenge.get("resource_metadata"))
    issuer, resource = _origin(url), url
    scopes: Any = None
    if found is not None:
        resource = _text(found, "resource") or url
        if not _covers(resource, url):
            raise McpAuthorizationError("The MCP server names another address as the one to authorize.")
        servers = found.get("authorization_servers")
        if isinstance(servers, list) and servers and isinstance(servers[0], str):
            issuer = servers[0]
        scopes = found.get("scopes_supported")
    metadata = await _find_metadata(requests, issuer)
    scope = challenge.get("scope") or _join(scopes)
    return _read_granter(metadata, issuer, resource, scope, requests.check)


async def _find_resource(requests: Requests, url: str, named: str | None) -> Json | None:
    what = "the MCP server's metadata"
    if named is not None:
        if _origin(named) != _origin(url):
            raise McpAuthorizationError("The MCP server names metadata at another address.")
        return (await requests.get(named, what)).body
    path = urlsplit(url).path.rstrip("/")
    places = dict.fromkeys([path, ""])
    for place in places:
        answer = await requests.get(f"{_origin(url)}/.well-known/oauth-protected-resource{place}", what)
        if answer.status == 200 and answer.body:
            return answer.body
    return None


async def _find_metadata(requests: Requests, issuer: str) -> Json:
    requests.check(issuer, "The address of the authorization server")
    origin, path = _origin(issuer), urlsplit(issuer).path.rstrip("/")
    places = [
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    ]
    for place in dict.fromkeys(places):
        answer: Answer = await requests.get(place, "the authorization server")
        if answer.status == 200 and answer.body:
            return answer.body
    raise McpAuthorizationError(
        f"{urlsplit(issuer).hostname} does not say how to authorize. If the MCP server takes a token, give it"
        " in headers."
    )


def _read_granter(
    metadata: Json, issuer: str, resource: str, scope: str | None, check: Callable[[str, str], str]
) -> Granter:
    if (_text(metadata, "issuer") or "").rstrip("/") != issuer.rstrip("/"):
        raise McpAuthorizationError(
            "The authorization server calls itself otherwise than the MCP server does."
        )
    methods = metadata.get("code_challenge_methods_supported")
    if not isinstance(methods, list) or "S256" not in methods:
        raise McpAuthorizationError("The authorization server does not protect codes (PKCE with S256).")
    endpoints: list[str] = []
    for name in ("authorization_endpoint", "token_endpoint"):
        endpoint = _text(metadata, name)
        if endpoint is None:
            raise McpAuthorizationError(f"The authorization server has no {name}.")
        endpoints.append(check(endpoint, f"The {name} of the authorization server"))
    registration = _text(metadata, "registration_endpoint")
    sends_issuer = metadata.get("authorization_response_iss_parameter_supported") is True
    return Granter(
        _text(metadata, "issuer") or issuer,
        endpoints[0],
        endpoints[1],
        registration,
        resource,
        scope,
        sends_issuer,
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _covers(resource: str, url: str) -> bool:
    """Return whether a resource is the server, or a folder of URLs that has it."""
    if _origin(resource) != _origin(url):
        return False
    above, path = urlsplit(resource).path.rstrip("/"), urlsplit(url).path.rstrip("/")
    return path == above or path.startswith(f"{above}/")


def _text(body: Json, name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) and value else None


def _join(scopes: Any) -> str | None:
    if not isinstance(scopes, list):
        return None
    texts = [one for one in cast("list[object]", scopes) if isinstance(one, str)]
    return " ".join(texts) or None
