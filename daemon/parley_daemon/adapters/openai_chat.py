"""Models behind the OpenAI chat-completions dialect: api.openai.com and every server that imitates it."""

import re
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit, urlunsplit

import anyio

from parley_daemon.adapters.http_pool import HttpPool
from parley_daemon.adapters.openai_answer import AnswerReader
from parley_daemon.adapters.openai_request import Dialect, EmptyPromptError, build_body, options
from parley_daemon.adapters.provider_errors import Call
from parley_daemon.ports.model import Batch, Chunk, ModelRequest

if TYPE_CHECKING:
    import aiohttp

_DEFAULT_CONNECT_MS = 10_000
_VERSION = re.compile(r"v\d+[a-z0-9]*")


class OpenAIChatModel:
    """One provider of the dialect. Holds pooled connections: `aclose` it.

    `base_url` may be given with or without its `/v1`, or as the whole address of the endpoint; a key is
    optional. `headers` go with every request and are as secret as the key. `usage_grace` is how many seconds
    a server may keep an answer open that it has called finished. Raises ValueError when `base_url` is not a
    web address.
    """

    def __init__(
        self,
        provider: str,
        base_url: str,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        dialect: Dialect = "openai-compat",
        usage_grace: float = 5.0,
    ) -> None:
        self._provider = provider
        self._url = endpoint(base_url)
        self._api_key = api_key
        self._dialect: Dialect = dialect
        self._usage_grace = usage_grace
        self._pool = HttpPool(self._url)
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            # A compressing gateway collects what should be streamed.
            "Accept-Encoding": "identity",
            "User-Agent": "parleyd",
            **(headers or {}),
        }
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        userinfo = urlsplit(self._url).netloc.rpartition("@")[0]
        self._secrets = tuple(filter(None, [api_key, userinfo, *(headers or {}).values()]))

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        """Ask the model; see the port. Usage that comes behind the answer is waited for after the Finish."""
        call, headers, body = self._prepared(request)
        connect_ms = request.settings.timeouts.connect_ms or _DEFAULT_CONNECT_MS
        response = await self._pool.post(call, body, headers, connect_ms / 1000)
        answer = AnswerReader(call)
        rest: list[Chunk] = []  # what came together with the end mark
        deadline: float | None = None  # of the wait for usage
        try:
            if not 200 <= response.status < 300:
                raise await self._pool.refusal(call, response)
            while not answer.done and (data := await self._read(call, response, deadline)):
                batch = answer.feed(data)
                if answer.done:
                    rest = batch
                    break
                if answer.finished and answer.error is None:
                    batch += answer.finish()
                    deadline = deadline or anyio.current_time() + self._usage_grace
                yield batch
                if answer.error is not None:
                    raise answer.error
            yield rest + answer.end()
        finally:
            if answer.done:
                self._pool.release(response)
            else:
                response.close()

    async def warm(self) -> None:
        """Load the HTTP client without blocking the loop."""
        await self._pool.warm()

    async def aclose(self) -> None:
        """Close pooled connections."""
        await self._pool.aclose()

    def _prepared(self, request: ModelRequest) -> tuple[Call, dict[str, str], bytes]:
        extra = options(request.settings, self._dialect).get("extraHeaders")
        given: dict[str, str] = {}
        if isinstance(extra, Mapping):
            given = {name: str(value) for name, value in cast("Mapping[str, object]", extra).items()}
        secrets = (*self._secrets, *given.values())
        call = Call(self._provider, request.model, self._url, secrets, has_key=self._api_key is not None)
        if any(not name or re.search(r"[^\x20-\x7e]", name + value) for name, value in given.items()):
            raise call.invalid("The extra headers hold characters that no header can carry.")
        try:
            body = build_body(request, self._dialect)
        except EmptyPromptError as error:
            raise call.invalid("There is nothing to send: the message holds no text and no file.") from error
        return call, {**self._headers, **given}, body

    async def _read(self, call: Call, response: "aiohttp.ClientResponse", deadline: float | None) -> bytes:
        """Return what the next network read brought; nothing at the end or when the deadline has passed.

        There is a deadline once the answer is whole: then nothing that happens can spoil it.

        Raises:
            ModelError: the connection broke in mid-answer.
        """
        import aiohttp  # loaded by now

        try:
            if deadline is None:
                return await response.content.readany()
            if anyio.current_time() < deadline:
                with anyio.CancelScope(deadline=deadline):
                    return await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            if deadline is None:
                message = f"The connection to {call.provider} broke in the middle of the answer."
                raise call.broke(message, str(error)) from error
        return b""


def endpoint(base_url: str) -> str:
    """Return the address of the chat-completions endpoint under a base URL.

    `/v1` is put in unless the path names a version already (`/v1`, `/api/v3`, `/v1beta/openai`) or is the
    whole endpoint (`…/chat/completions`). A query is kept.

    Raises:
        ValueError: it is not an http or https URL.
    """
    parts = urlsplit(base_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("base_url must begin with http:// or https:// and name a host")
    _ = parts.port  # raises ValueError when it is no number
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        has_version = any(_VERSION.fullmatch(step) for step in path.split("/"))
        path += "/chat/completions" if has_version else "/v1/chat/completions"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
