"""Gets JSON from a provider within limits of time and size, and keeps the last exchange for checks."""

import time
from codecs import BOM_UTF8
from collections.abc import Mapping
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import msgspec

from parley_daemon.adapters.providers.http.error_bodies import is_page
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.lenient_json import decode_lenient
from parley_daemon.adapters.providers.http.pool import HttpPool

MAX_BYTES = 8 * 2**20
_LARGE = 256 * 2**10  # bytes above which a body is decoded in a thread
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "parleyd"}
_NOT_FOUND_STATUSES = (404, 405, 501)


class NotFoundError(Exception):
    """The server has nothing at this URL (404, 405, 501), or nothing for this account."""


class Exchange(msgspec.Struct, gc=False):
    """One request and its response: the status, and the body as far as it was read."""

    url: str
    status: int | None = None
    body: bytes = b""
    seconds: float = 0.0


class JsonClient:
    """A client for GET requests to one server of a provider. Callable: it is a `Fetch`. `aclose` it.

    `secrets` and the headers of a request are removed from all messages. `seconds` is the time for all
    requests together. `last` is the last exchange.
    """

    def __init__(
        self, provider: str, base_url: str, secrets: tuple[str, ...], *, has_key: bool, seconds: float
    ) -> None:
        userinfo = urlsplit(base_url).netloc.rpartition("@")[0]
        self._provider = provider
        self._secrets = (*secrets, userinfo)
        self._has_key = has_key
        self._seconds = seconds
        self._deadline = anyio.current_time() + seconds
        self._pool: HttpPool | None = None
        self.last: Exchange | None = None

    async def __call__(self, url: str, headers: Mapping[str, str]) -> object:
        """Return the JSON at a URL.

        Raises:
            NotFoundError: the server has nothing there.
            ModelError: the request failed.
        """
        secrets = tuple(filter(None, [*self._secrets, *headers.values()]))
        call = Call(self._provider, "(models)", url, secrets, has_key=self._has_key)
        self.last = exchange = Exchange(call.shown_url)
        started_at = time.monotonic()
        try:
            with anyio.CancelScope(deadline=self._deadline):
                return await self._get(call, {**_HEADERS, **headers}, exchange)
        finally:
            exchange.seconds = time.monotonic() - started_at
        message = f"{self._provider} did not answer within {self._seconds:g} s."
        raise call.error("timeout", message, "", retryable=True)

    async def _get(self, call: Call, headers: Mapping[str, str], exchange: Exchange) -> object:
        pool = self._pool = self._pool or HttpPool(call.url)
        response = await pool.get(call, headers, self._seconds)
        exchange.status = status = response.status
        is_success = 200 <= status < 300
        try:
            if is_success:
                pool.check_encoding(call, response)
                exchange.body = body = await pool.read_body(call, response, MAX_BYTES)
            else:
                exchange.body = await pool.read_refusal(response)
                error = call.error_from_status(status, response.headers, exchange.body)
                raise NotFoundError(call.shown_url) if status in _NOT_FOUND_STATUSES else error
        finally:
            response.close()
        if len(body) > MAX_BYTES:
            message = f"{call.shown_url} answers with more than {MAX_BYTES // 2**20} MiB; check base_url."
            raise call.error("limit", message, "", retryable=False)
        body = body.removeprefix(BOM_UTF8)
        try:
            if len(body) > _LARGE:
                return await anyio.to_thread.run_sync(_decode, body)
            return _decode(body)
        except ValueError:
            content = "a web page" if is_page(body) else "text that is not JSON"
            message = f"{call.shown_url} answers with {content}; check base_url."
            quoted = body[:2000].decode("utf-8", "replace")
            raise call.error("bad_stream", message, quoted, retryable=False) from None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.aclose()


def _decode(body: bytes) -> object:
    """Decode JSON, leniently.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return decode_lenient(body, object)
