"""Pooled connections to one provider, on aiohttp.

Theory of operation. aiohttp takes longer to import than a start may wait, so it is loaded at the first call,
in a thread (`warm`). A connection is reused for 60 s. When a reused connection turns out to be closed by the
server, the call fails like any other whose connection breaks: the server may have read the request, and only
the retry policy of turns repeats a paid one. A response whose end mark has come is not closed at once: its
last bytes get 3 s to arrive (`release`), so that the connection can be reused; a response that is abandoned
is closed at once, which tells the server to stop.

Proxies of the environment are used (`proxies`), except for this machine; a netrc file is not. Redirects are
not followed: they would send the prompt and the key elsewhere. Logs nothing.
"""

import asyncio
import importlib
import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio.to_thread

from parley_daemon.adapters.providers.http.connection_errors import connection_error, reason_of
from parley_daemon.adapters.providers.http.endpoints import is_local
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.proxies import Proxy, UnusableProxyError, find_proxy
from parley_daemon.ports.models import ModelError

if TYPE_CHECKING:
    import aiohttp

_CONNECTIONS = 1000  # per provider; more calls at once than any daemon runs turns
_KEEP_ALIVE = 60.0
_LINGER = 3.0  # how long the bytes after an answer's end may take before the connection is given up
_LARGE_BODY = 2**20
_MAX_HEADER_BYTES = 256 * 1024  # of one header of a response; curl allows 300 KiB for all of them
_MAX_HEADERS = 1000
_MAX_REFUSAL_BYTES = 64 * 1024
_REFUSAL_TIMEOUT = 5.0
# Some servers name no encoding here, but the character set or the transfer encoding.
_PLAIN_ENCODINGS = frozenset({"", "identity", "none", "utf-8", "utf8", "chunked", "aws-chunked"})


class HttpPool:
    """Connections to the server of a URL. Belongs to the event loop that it is first used in."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None
        self._proxy: Proxy | UnusableProxyError | None = None
        self._lingering: dict[aiohttp.ClientResponse, asyncio.TimerHandle] = {}

    async def warm(self) -> None:
        """Load aiohttp without blocking the loop, and make the pool. Connects to nothing."""
        await anyio.to_thread.run_sync(_load)
        self._open()

    async def post(
        self, call: Call, body: bytes, headers: Mapping[str, str], connect_seconds: float
    ) -> "aiohttp.ClientResponse":
        """Post a body and return the response, its own body unread.

        Raises:
            ModelError: the server cannot be reached, or did not answer in HTTP.
        """
        return await self._send("POST", call, body, headers, connect_seconds)

    async def get(
        self, call: Call, headers: Mapping[str, str], connect_seconds: float
    ) -> "aiohttp.ClientResponse":
        """Get the call's URL; otherwise as `post`."""
        return await self._send("GET", call, b"", headers, connect_seconds)

    async def _send(
        self, method: str, call: Call, body: bytes, headers: Mapping[str, str], connect_seconds: float
    ) -> "aiohttp.ClientResponse":
        if self._session is None:
            await self.warm()
        import aiohttp  # imported late: it takes longer than a start may wait

        session, proxy = self._open(), self._proxy
        if isinstance(proxy, UnusableProxyError):
            raise call.error("network", str(proxy), "", retryable=False)
        if proxy is not None and call.url.startswith("http:"):  # https: only the proxy may see them (CONNECT)
            headers = {**headers, **proxy.headers}
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds, sock_connect=connect_seconds)
        try:
            return await session.request(
                method,
                call.url,
                data=(body or None) if len(body) < _LARGE_BODY else io.BytesIO(body),
                headers=headers,
                timeout=timeout,
                proxy=None if proxy is None else proxy.url,
                proxy_headers=None if proxy is None else proxy.headers,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise connection_error(call, error, connect_seconds, proxy) from error

    def check_encoding(self, call: Call, response: "aiohttp.ClientResponse") -> None:
        """Raise ModelError if the body is compressed. That was not requested, and a few bytes may become
        gigabytes.
        """
        encoding = _find_compression(response)
        if encoding is not None:
            raise call.compressed(encoding)

    async def read_error(self, call: Call, response: "aiohttp.ClientResponse") -> ModelError:
        """Return the error of a response with a status other than success."""
        body = await self.read_refusal(response)
        return call.error_from_status(response.status, response.headers, body)

    async def read_refusal(self, response: "aiohttp.ClientResponse") -> bytes:
        """Return the beginning of the body of an error, or the address that it redirects to.

        It is empty when it does not come soon, or is compressed: the status says enough.
        """
        import aiohttp

        body = bytearray()
        if _find_compression(response) is not None:
            return b""
        if 300 <= response.status < 400:
            body += response.headers.get("Location", "").encode("utf-8", "surrogateescape")
        try:
            with anyio.move_on_after(_REFUSAL_TIMEOUT):
                while len(body) < _MAX_REFUSAL_BYTES and (data := await response.content.readany()):
                    body += data
        except (aiohttp.ClientError, OSError):
            pass
        return bytes(body)

    async def read_body(self, call: Call, response: "aiohttp.ClientResponse", max_bytes: int) -> bytes:
        """Return the body of a response, cut after the read that goes past `max_bytes` bytes.

        Raises:
            ModelError: the connection broke before its end.
        """
        import aiohttp

        body = bytearray()
        try:
            while len(body) <= max_bytes and (data := await response.content.readany()):
                body += data
        except (aiohttp.ClientError, OSError) as error:
            message = f"The connection to {call.provider} broke in the middle of the answer."
            raise call.bad_stream(message, reason_of(error)) from error
        return bytes(body)

    def release(self, response: "aiohttp.ClientResponse") -> None:
        """Give back the connection of a complete answer, when the response's last bytes come soon."""
        if response.closed or self._session is None:
            response.close()
            return
        loop = asyncio.get_running_loop()
        self._lingering[response] = loop.call_later(_LINGER, self._close_response, response)
        response.content.on_eof(lambda: self._close_response(response))

    async def aclose(self) -> None:
        """Close every connection."""
        for response in list(self._lingering):
            self._close_response(response)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _close_response(self, response: "aiohttp.ClientResponse") -> None:
        timer = self._lingering.pop(response, None)
        if timer is not None:
            timer.cancel()
        response.close()  # of a response that has ended: nothing, its connection is in the pool by now

    def _open(self) -> "aiohttp.ClientSession":
        if self._session is None:
            import aiohttp

            self._proxy = _proxy_for(self._url)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, limit_per_host=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
                max_headers=_MAX_HEADERS,
            )
        return self._session


def _find_compression(response: "aiohttp.ClientResponse") -> str | None:
    """Return the content encoding of a response; None: it has none, or one that changes nothing."""
    encodings = ",".join(response.headers.getall("Content-Encoding", ())).lower().split(",")
    return next((name for each in encodings if (name := each.strip()) not in _PLAIN_ENCODINGS), None)


def _load() -> None:
    importlib.import_module("aiohttp")


def _proxy_for(url: str) -> Proxy | UnusableProxyError | None:
    try:
        return None if is_local(url) else find_proxy(url, os.environ)
    except UnusableProxyError as error:
        return error
