"""Requests to authorization servers: small JSON documents, without redirects, over TLS.

The addresses come from the MCP server, which is not trusted. They have to be https, except on loopback, so
that nobody on the way reads a code or a token, and the services of a network that speak plain HTTP are not
reached.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit

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


def check_url(url: str, what: str) -> str:
    """Return a URL that may be requested, or opened in a browser.

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
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise McpAuthorizationError(f"{what} is not https.")
    return url


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An answer. `body` is {} if it is no JSON object."""

    status: int
    body: Json
    challenge: str = ""


class Requests:
    """Sends requests on one session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

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
        check_url(url, f"The address of {what}")
        try:
            async with self._session.request(method, url, allow_redirects=False, **options) as answer:
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


@asynccontextmanager
async def requests() -> AsyncGenerator[Requests]:
    """Send requests while the block runs."""
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, trust_env=True) as session:
        yield Requests(session)
