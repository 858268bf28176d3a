"""Requests to authorization servers: small JSON documents, without redirects, over TLS.

The addresses come from the MCP server, which is not trusted. They have to be https, so that nobody on the way
reads a code or a token, and the services of a network that speak plain HTTP are not reached. A server on
loopback may name addresses of this machine without TLS; any other one may name no address of this machine or
of a private network. Nothing of the user's is sent along, such as passwords of `~/.netrc`.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec

from parley_daemon.ports.mcp_authorization import McpAuthorizationError

MAX_BYTES = 256 * 1024
"""The largest document that is read."""

SECONDS = 15.0
"""How long one request may take."""

Json = dict[str, Any]


def is_loopback(host: str | None) -> bool:
    """Return whether a host of a URL is this machine by its form."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def check_url(url: str, what: str, server: str) -> str:
    """Return a URL that may be requested, or opened in a browser, for the MCP server with a URL.

    Raises:
        McpAuthorizationError: it may not. `what` begins the sentence.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise McpAuthorizationError(f"{what} is not a URL.") from None
    if not url.isprintable() or " " in url or not host or "@" in parts.netloc:
        raise McpAuthorizationError(f"{what} is not a URL.")
    local = urlsplit(server).hostname
    if is_loopback(local):
        is_allowed = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    else:
        is_allowed = parts.scheme == "https"
        if host != local and not _may_be_public(host):
            raise McpAuthorizationError(f"{what} is on this machine or in a private network.")
    if not is_allowed:
        raise McpAuthorizationError(f"{what} is not https.")
    return url


def _may_be_public(host: str) -> bool:
    """Return whether a host of a URL is public by its form, or a name that may be."""
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        end = host.rstrip(".").rpartition(".")[2]
        return not end.isdigit() and not end.startswith("0x")  # as 127.1 and 0x7f000001 do


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An answer. `body` is {} if it is no JSON object."""

    status: int
    body: Json
    challenge: str = ""


class Requests:
    """Sends requests on one session, about the MCP server with a URL."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    def check(self, url: str, what: str) -> str:
        """See `check_url`."""
        return check_url(url, what, self._server)

    async def get(self, url: str, what: str) -> Answer:
        """Get a document. See `_send`."""
        return await self._send("GET", url, what)

    async def post_json(self, url: str, what: str, body: Json) -> Answer:
        """Send a document. See `_send`."""
        headers = {"Accept": "application/json, text/event-stream"}
        return await self._send("POST", url, what, json=body, headers=headers)

    async def post_form(
        self, url: str, what: str, form: Mapping[str, str], login: tuple[str, str] | None = None
    ) -> Answer:
        """Send a form. See `_send`."""
        auth = None if login is None else aiohttp.BasicAuth(*login)
        return await self._send("POST", url, what, data=dict(form), auth=auth)

    async def _send(self, method: str, url: str, what: str, **options: Any) -> Answer:
        """Send a request; `what` names the address in errors.

        Raises:
            McpAuthorizationError: there is no answer. It is not final: a later attempt may succeed.
        """
        self.check(url, f"The address of {what}")
        options |= {"allow_redirects": False, "proxy": _find_proxy(url)}
        try:
            async with self._session.request(method, url, **options) as answer:
                content = bytearray()
                async for chunk in answer.content.iter_chunked(16_384):
                    content += chunk
                    if len(content) > MAX_BYTES:
                        raise McpAuthorizationError(f"The answer of {what} is too large.")
                challenge = answer.headers.get("WWW-Authenticate", "")
                return Answer(answer.status, _read_object(bytes(content)), challenge)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            host = urlsplit(url).hostname
            raise McpAuthorizationError(f"{host} ({what}) does not answer.", is_final=False) from None


def _read_object(content: bytes) -> Json:
    try:
        value: object = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return cast("Json", value) if isinstance(value, dict) else {}


def _find_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for this address, if any."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


@asynccontextmanager
async def requests(server: str) -> AsyncGenerator[Requests]:
    """Send requests about the MCP server with a URL while the block runs."""
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    jar = aiohttp.DummyCookieJar()
    # trust_env would also send passwords of ~/.netrc, which may be for every host.
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, trust_env=False) as session:
        yield Requests(session, server)
