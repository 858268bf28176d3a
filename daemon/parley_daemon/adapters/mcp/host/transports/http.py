"""The SDK's transport over streamable HTTP, with bodies of limited size.

Theory of operation. The SDK reads whole bodies, and ends a session when one request fails. So it gets an HTTP
client whose transport shortens long strings while they are read, ends bodies that are too long, refuses
compressed ones (a small one can become a huge one), and answers for servers that cannot be reached. What has
become of a request is noted in the Exchange of the task that sent it: a context variable, which the SDK
carries along to where it sends.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
from anyio import lowlevel
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from parley_daemon.adapters.mcp.host.transports.http_note import Exchange, exchange
from parley_daemon.adapters.mcp.host.transports.lines import MAX_LINE
from parley_daemon.adapters.mcp.host.transports.memory import note_size
from parley_daemon.adapters.mcp.host.transports.shortening import StringShortener
from parley_daemon.adapters.mcp.host.transports.surrogates import replace_halves
from parley_daemon.ports.mcp import McpTarget

_CONNECT_SECONDS = 20.0
_BAD_GATEWAY, _NOT_FOUND, _UNAUTHORIZED = 502, 404, 401
_SESSION = "mcp-session-id"


class LimitedTransport(httpx2.AsyncBaseTransport):
    """Wraps the transport of an HTTP client.

    `on_lost`: it is of no use any more, and why. `on_refused`: the server wants an authorization.
    """

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        on_lost: Callable[[str], None],
        on_refused: Callable[[], None],
    ) -> None:
        self._inner = inner
        self._on_lost = on_lost
        self._on_refused = on_refused

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        note = exchange.get() or Exchange()
        request.headers["accept-encoding"] = "identity"
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.ConnectError:
            return _stand_in(note, "it cannot be reached")
        except httpx2.ConnectTimeout:
            return _stand_in(note, "it does not accept the connection in time")
        except httpx2.TransportError as error:
            note.was_sent = True
            return _stand_in(note, f"the connection has failed ({type(error).__name__})")
        note.was_sent = True
        if response.status_code >= 400:
            note.status = response.status_code
            if response.status_code == _UNAUTHORIZED:
                self._on_refused()
            elif response.status_code == _NOT_FOUND and _SESSION in request.headers:
                self._on_lost("it has ended the session")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            return _stand_in(note, "its answer is compressed although that was not accepted")
        is_stream = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_LimitedBody(response, note, None if is_stream else MAX_LINE),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class _LimitedBody(httpx2.AsyncByteStream):
    """A body with its long strings shortened. It ends early at its limit, or where the connection fails."""

    def __init__(self, response: httpx2.Response, note: Exchange, limit: int | None) -> None:
        self._response = response
        self._note = note
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        shortener = StringShortener()
        size = 0
        try:
            async for chunk in self._response.aiter_raw():
                piece = replace_halves(shortener.feed(chunk))
                size += len(piece)
                if self._limit is not None and size > self._limit:
                    self._note.problem = f"its answer is longer than {self._limit:,} bytes"
                    return
                await lowlevel.checkpoint()  # a long body must not hold up others
                yield piece
        except httpx2.TransportError as error:
            self._note.problem = f"the connection has failed ({type(error).__name__})"
            return
        yield replace_halves(shortener.feed(b"\n"))
        note_size(size)

    async def aclose(self) -> None:
        await self._response.aclose()


def _stand_in(note: Exchange, problem: str) -> httpx2.Response:
    note.problem = problem
    return httpx2.Response(_BAD_GATEWAY)


@asynccontextmanager
async def open_http(
    target: McpTarget, on_lost: Callable[[str], None], on_refused: Callable[[], None]
) -> AsyncGenerator[TransportStreams]:
    """Yield the streams that the SDK takes. See LimitedTransport."""
    url = target.url or ""
    async with AsyncExitStack() as stack:
        client = httpx2.AsyncClient(
            headers=dict(target.headers),
            timeout=httpx2.Timeout(_CONNECT_SECONDS, read=None),  # the daemon limits how long calls take
            transport=LimitedTransport(_make_transport(url), on_lost, on_refused),
            trust_env=False,
        )
        await stack.enter_async_context(client)
        yield await stack.enter_async_context(
            streamable_http_client(url, http_client=client, max_sse_event_size=MAX_LINE)
        )


def _make_transport(url: str) -> httpx2.AsyncBaseTransport:
    """Return a transport through the proxy that the environment names for this address, if any."""
    parts = urlsplit(url)
    proxies = {} if proxy_bypass(parts.netloc.rpartition("@")[2]) else getproxies()
    return httpx2.AsyncHTTPTransport(proxy=proxies.get(parts.scheme) or proxies.get("all"))
