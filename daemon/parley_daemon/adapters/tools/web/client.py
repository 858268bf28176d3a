"""Fetches a page: resolves its host once, connects to an address that was tested, follows its own redirects.

aiohttp is loaded with the first page. It connects through a resolver that knows only the tested addresses,
without proxy, cookies, credentials and redirects of its own. A proxy would resolve the name again, and then
nothing would be known about where it leads; so proxies of the environment are not used.
"""

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import msgspec

from parley_daemon.adapters.tools.web.addresses import (
    Address,
    UnusableUrlError,
    WebUrl,
    may_connect,
    parse_url,
    resolve,
)
from parley_daemon.adapters.tools.web.body import Unpacker, UnreadableBodyError, is_text

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

MAX_REDIRECTS = 5

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "Accept": "text/html,text/plain,application/json,application/xml;q=0.9,*/*;q=0.5",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "parleyd",
}

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class FetchError(Exception):
    """A page could not be fetched. The message is a sentence for the model."""


class ForeignRedirectError(FetchError):
    """A page redirects to a URL that was not asked for."""


class Page(msgspec.Struct, frozen=True, gc=False):
    """A response. `data` is what was read of its body; `size` is its length as sent, if known."""

    url: WebUrl
    status: int
    reason: str
    media_type: str
    charset: str | None
    data: bytes
    is_cut: bool
    size: int | None


class WebClient:
    """Fetches pages from the addresses that `is_allowed` accepts. `resolve` returns the addresses of a host.

    `admit` is called with the host of each request before anything is sent; it may raise FetchError.
    """

    def __init__(
        self,
        admit: Callable[[str], None],
        *,
        is_allowed: Callable[[Address], bool] = may_connect,
        resolve: Resolve = resolve,
    ) -> None:
        self._admit = admit
        self._is_allowed = is_allowed
        self._resolve = resolve

    def refuse_address(self, url: WebUrl) -> None:
        """Refuse a URL whose host is written as an address that must not be reached. Looks nothing up.

        Raises:
            FetchError: it is one.
        """
        try:
            address = ip_address(url.host.strip("[]"))
        except ValueError:
            return
        if not self._is_allowed(address):
            raise FetchError(_describe_not_public(url))

    async def fetch(self, url: WebUrl) -> Page:
        """Return the page at a URL, after redirects within the site.

        Raises:
            FetchError: it cannot be fetched.
        """
        for _ in range(MAX_REDIRECTS + 1):
            found = await self._request(url)
            if isinstance(found, Page):
                return found
            url = _next(url, found)
        raise FetchError(f"The page redirects more than {MAX_REDIRECTS} times. The last one leads to {url}.")

    async def _request(self, url: WebUrl) -> Page | str:
        """Send one request; return the page, or where it redirects to."""
        import aiohttp  # few chats fetch pages

        self._admit(url.host)
        addresses = await self._test(url)
        connector = aiohttp.TCPConnector(
            resolver=_fixed_resolver(addresses), use_dns_cache=False, force_close=True, limit=1
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    headers=_HEADERS,
                    timeout=aiohttp.ClientTimeout(total=None),  # the tool limits the whole call
                ) as session,
                _get(session, url) as response,
            ):
                location = response.headers.get("Location")
                if response.status in _REDIRECTS and location:
                    return location
                return await _read(url, response)
        except aiohttp.ClientSSLError as error:
            raise FetchError(f"No secure connection to {url.site}: {_reason(error)}.") from None
        except aiohttp.ClientError as error:
            raise FetchError(f"{url.site} cannot be reached, or it broke off: {_reason(error)}.") from None

    async def _test(self, url: WebUrl) -> Sequence[Address]:
        """Return the addresses of a URL's host, all of them tested.

        Raises:
            FetchError: there is none, or one of them must not be reached.
        """
        try:
            addresses = await self._resolve(url.host, url.port)
        except (OSError, UnicodeError):
            raise FetchError(f"The host {url.host} is not known: it has no address.") from None
        if not addresses:
            raise FetchError(f"The host {url.host} is not known: it has no address.")
        if not all(self._is_allowed(address) for address in addresses):
            raise FetchError(_describe_not_public(url))
        return addresses


def _describe_not_public(url: WebUrl) -> str:
    return (
        f"{url.host} is not in the public internet: it leads to this machine or to a private network."
        " fetch_url does not go there."
    )


def _get(session: "ClientSession", url: WebUrl):
    from yarl import URL

    target = URL(str(url))
    if (target.host, target.port, target.scheme) != (url.host, url.port, url.scheme):
        raise FetchError(f"{url} is not a valid URL.")
    return session.get(target, allow_redirects=False)


def _fixed_resolver(addresses: Sequence[Address]):
    import socket

    from aiohttp.abc import AbstractResolver, ResolveResult

    class FixedResolver(AbstractResolver):
        """Knows the addresses that were tested, and no others."""

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            return [
                ResolveResult(
                    hostname=host,
                    host=str(address),
                    port=port,
                    family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
                for address in addresses
            ]

        async def close(self) -> None:
            pass

    return FixedResolver()


async def _read(url: WebUrl, response: "ClientResponse") -> Page:
    content_type = response.headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        unpacker = Unpacker(response.headers.get("Content-Encoding", ""))
        if not media_type or is_text(media_type, b""):
            async for piece in response.content.iter_any():
                if not unpacker.add(piece):
                    break
    except UnreadableBodyError as error:
        raise FetchError(str(error)) from None
    return Page(
        url,
        response.status,
        response.reason or "",
        media_type,
        response.charset,
        bytes(unpacker.data),
        unpacker.is_cut,
        response.content_length,
    )


def _next(url: WebUrl, location: str) -> WebUrl:
    """Return where a redirect leads, if that is the same site or the same host by https.

    Raises:
        FetchError: it leads to elsewhere, which a person or a rule has to allow by itself.
    """
    try:
        target = parse_url(urljoin(str(url), location))
    except (UnusableUrlError, ValueError):
        raise FetchError(
            f"{url} redirects to what is no URL that can be fetched: {location[:500]!r}."
        ) from None
    same_site = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    is_upgrade = (target.host, url.scheme, target.scheme) == (url.host, "http", "https")
    if same_site or (is_upgrade and (url.port, target.port) == (80, 443)):
        return target
    raise ForeignRedirectError(
        f"{url} redirects to {target}, which is another site. It was not followed. Call fetch_url with"
        " that URL if you want it."
    )


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error
    text = getattr(cause, "strerror", None) or getattr(cause, "verify_message", None) or type(cause).__name__
    return str(text)
