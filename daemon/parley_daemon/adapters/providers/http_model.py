"""A model over HTTP: posts a dialect's request and streams the chunks of its answer.

It joins a `Dialect`, the pool of connections and a `ResponseReader`. One batch is yielded for each network
read. After the stop reason or the end mark, the response is read to its end, or for a few seconds: usage may
follow. Text may follow, too, and shows that the mark was none; from then on only the end of the response
counts. When a call is closed or cancelled before the end mark, its connection is closed, which tells the
server to stop.

A large event or document is parsed in a thread, so that the event loop serves others meanwhile.
"""

import logging
import re
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from msgspec.structs import replace

from parley_daemon.adapters.providers.http.connection_errors import reason_of
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.pool import HttpPool
from parley_daemon.adapters.providers.shared.dialect import Dialect, InvalidRequestError, PreparedRequest
from parley_daemon.adapters.providers.shared.own_fields import AddsFields, OwnFields
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader, max_event_bytes
from parley_daemon.core.parts import ToolCall, ToolCallPiece
from parley_daemon.ports.models import Batch, Chunk, Finish, ModelError, ModelRequest

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

_DEFAULT_CONNECT_MS = 10_000
_REFUSALS = (400, 422)  # statuses of a request with a field that the provider does not know
_NO_CONTENT = 204
_LARGE = 2**20  # bytes of one event or document above which it is parsed in a thread
_DOUBT = 2  # how many times longer to wait after a stop reason that came with the first text
_END_SECONDS = 2.0  # how long the end of a response may take after the end mark
_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream, application/json",
    # A compressing gateway collects what should be streamed.
    "Accept-Encoding": "identity",
    "User-Agent": "parleyd",
}


class HttpModel:
    """The Model of one provider. Holds pooled connections: `aclose` it.

    `url` is the provider's base URL. `headers` are sent with every request; they hold credentials and are
    secrets, as `secrets` are. `has_key` selects the words of authentication errors. `usage_grace` is how many
    seconds a server may keep a response open after the answer is complete.
    """

    def __init__(
        self,
        provider: str,
        dialect: Dialect,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        secrets: tuple[str, ...] = (),
        has_key: bool = False,
        usage_grace: float = 5.0,
    ) -> None:
        self._provider = provider
        self.dialect = dialect
        self._url = url
        self._usage_grace = usage_grace
        self._pool = HttpPool(url)
        self._headers = {**_HEADERS, **(headers or {})}
        self._has_key = has_key
        userinfo = urlsplit(url).netloc.rpartition("@")[0]
        self._own_fields = dialect.own_fields if isinstance(dialect, AddsFields) else None
        self._secrets = tuple(filter(None, [*secrets, userinfo, *(headers or {}).values()]))

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        """Call the model; see the port. After the Finish it waits a little for usage."""
        call, prepared = await self._prepare(request)
        response = await self._post(call, prepared, request)
        if response.status in _REFUSALS and self._own_fields is not None:
            call, response = await self._repair(call, prepared, request, response, self._own_fields)
        parser, framing = self.dialect.parser(call), self.dialect.framing()
        after_tools = request.messages[-1].role == "tool"  # the model may have nothing to add
        answer = ResponseReader(
            call, parser, framing, max_event_bytes(request.limits), may_be_empty=after_tools
        )
        deadline: float | None = None  # of the wait for the end of a response whose answer is complete
        was_complete, is_trusted = False, True  # not trusted: a stop reason was none
        renamed = prepared.renamed
        try:
            if not 200 <= response.status < 300:
                raise await self._pool.read_error(call, response)
            self._pool.check_encoding(call, response)
            if response.status == _NO_CONTENT or response.content_length == 0:
                raise answer.empty_answer_error()
            while data := await self._read(call, response, answer, deadline):
                if answer.pending > _LARGE:
                    batch = await anyio.to_thread.run_sync(answer.feed, data)
                else:
                    batch = answer.feed(data)
                if not answer.is_complete:
                    is_trusted = is_trusted and not was_complete
                    deadline = None
                elif answer.error is None:
                    was_complete = True
                    if answer.has_answer and not answer.is_doubtful:
                        batch += answer.finish()
                    if deadline is None:
                        deadline = self._end_of_wait(answer, is_trusted=is_trusted)
                yield _with_names(batch, renamed) if renamed else batch
                if answer.error is not None:
                    raise answer.error
            if answer.pending > _LARGE:
                last_chunks = await anyio.to_thread.run_sync(answer.end)
            else:
                last_chunks = answer.end()
            last_chunks = _with_names(last_chunks, renamed)
            if answer.error is not None:
                yield [chunk for chunk in last_chunks if not isinstance(chunk, Finish)]
                raise answer.error
            if last_chunks:
                yield last_chunks
        finally:
            if answer.is_done:
                self._pool.release(response)
            else:
                response.close()

    async def _post(
        self, call: Call, prepared: PreparedRequest, request: ModelRequest
    ) -> "aiohttp.ClientResponse":
        connect_ms = request.settings.timeouts.connect_ms or _DEFAULT_CONNECT_MS
        headers = {**self._headers, **prepared.headers}
        return await self._pool.post(call, prepared.body, headers, connect_ms / 1000)

    async def _repair(
        self,
        call: Call,
        prepared: PreparedRequest,
        request: ModelRequest,
        response: "aiohttp.ClientResponse",
        own_fields: OwnFields,
    ) -> tuple[Call, "aiohttp.ClientResponse"]:
        """Repeat a refused request without the fields that the error names and nobody has set.

        Each field is left out once. Return the call and the response of the last request.

        Raises:
            ModelError: the error names no such field.
        """
        model, omitted = request.model, frozenset[str]()
        try:
            while response.status in _REFUSALS:
                try:
                    body = await self._pool.read_refusal(response)
                finally:
                    response.close()
                error = call.error_from_status(response.status, response.headers, body)
                named = own_fields.find_named(body, model)
                if not named:
                    raise error
                own_fields.omit(named, model)
                omitted |= named
                refused_body = prepared.body
                call, prepared = await self._prepare(request)
                if prepared.body == refused_body:
                    raise error
                response = await self._post(call, prepared, request)
            if 200 <= response.status < 300:
                own_fields.confirm(omitted, model)
                log.info("%s refuses %s: left out from now on", self._provider, ", ".join(sorted(omitted)))
            return call, response
        finally:
            own_fields.restore(omitted, model)

    @property
    def refused_fields(self) -> tuple[str, ...]:
        """The fields that are left out of requests because the provider refused them."""
        return () if self._own_fields is None else self._own_fields.refused

    def _end_of_wait(self, answer: ResponseReader, *, is_trusted: bool) -> float | None:
        """Return until when to wait for the end of a response after a complete answer; None: it must come."""
        if answer.is_done:
            return anyio.current_time() + min(self._usage_grace, _END_SECONDS)
        if answer.has_answer and is_trusted:
            grace = self._usage_grace * (_DOUBT if answer.is_doubtful else 1)
            return anyio.current_time() + grace
        return None

    async def address(self, request: ModelRequest) -> str:
        """Return the URL of a request without credentials and query; the base URL for an invalid request."""
        try:
            call, _ = await self._prepare(request)
        except ModelError:
            call = Call(self._provider, request.model, self._url)
        return call.shown_url

    async def warm(self) -> None:
        """Load the HTTP client without blocking the loop."""
        await self._pool.warm()

    async def aclose(self) -> None:
        """Close pooled connections."""
        await self._pool.aclose()

    async def _prepare(self, request: ModelRequest) -> tuple[Call, PreparedRequest]:
        """Return the call and its request.

        Raises:
            ModelError: the request cannot be sent as it is.
        """
        call = Call(self._provider, request.model, self._url, self._secrets, has_key=self._has_key)
        try:
            prepared = await self.dialect.build_request(request)
        except InvalidRequestError as error:
            raise call.invalid_request(str(error)) from error
        extra_headers = prepared.headers
        if any(not name or re.search(r"[^\x20-\x7e]", name + value) for name, value in extra_headers.items()):
            raise call.invalid_request(
                "extraHeaders contains characters that are not allowed in HTTP headers."
            )
        secrets = (*self._secrets, *extra_headers.values())
        call = Call(self._provider, request.model, prepared.url, secrets, has_key=self._has_key)
        return call, prepared

    async def _read(
        self, call: Call, response: "aiohttp.ClientResponse", answer: ResponseReader, deadline: float | None
    ) -> bytes:
        """Return the next network read; b"" at the end, or when the deadline has passed.

        What has come by then is read first: the process may have been stopped meanwhile. A connection that
        breaks is an end, too, if the answer is whole by then.

        Raises:
            ModelError: the connection broke in mid-answer.
        """
        import aiohttp  # loaded by now

        try:
            if deadline is None:
                return await response.content.readany()
            with anyio.CancelScope(deadline=deadline):
                return await response.content.readany()
            return response.content.read_nowait()
        except (aiohttp.ClientError, OSError) as error:
            if not answer.is_whole:
                message = f"The connection to {call.provider} broke in the middle of the answer."
                raise call.bad_stream(message, reason_of(error)) from error
            return b""


def _with_names(batch: Batch, renamed: Mapping[str, str]) -> list[Chunk]:
    """Return chunks whose tool calls have the names that the request declared."""
    return [
        replace(chunk, tool_name=renamed[chunk.tool_name])
        if isinstance(chunk, ToolCall | ToolCallPiece) and chunk.tool_name in renamed
        else chunk
        for chunk in batch
    ]
