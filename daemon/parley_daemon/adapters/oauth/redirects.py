"""The address on loopback to which a browser comes back with the answer of a person.

It listens on a free port of 127.0.0.1 while somebody is asked. Any program of this machine, and any web page
that knows the port, could send it an answer: only the one with the `state` of this attempt counts, and others
do not end the wait.
"""

import hmac
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream

log = logging.getLogger(__name__)

MAX_REQUEST = 16 * 1024
"""Bytes of a request's head."""

CONNECTION_SECONDS = 10.0
AT_ONCE = 8
"""Connections that are served at the same time. More wait."""

PATH = "/callback"

_DONE = "The answer has arrived. You can close this window."
_REFUSED = "This answer does not belong to an authorization that parleyd waits for."


class Redirect:
    """Waits for the answer with a state. `uri` is where the browser has to be sent."""

    def __init__(self, listener: Listener[SocketStream], state: str) -> None:
        self._host = f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        self.uri = f"http://{self._host}{PATH}"
        self._listener = listener
        self._state = state
        self._came = anyio.Event()
        self._answer: Mapping[str, str] = {}

    async def wait(self) -> Mapping[str, str]:
        """Return the parameters of the answer."""
        async with anyio.create_task_group() as tasks:
            limit = anyio.CapacityLimiter(AT_ONCE)

            async def serve(stream: SocketStream) -> None:
                async with stream, limit:  # it is closed even if the wait ends before its turn comes
                    await self._serve(stream)

            tasks.start_soon(self._listener.serve, serve)
            await self._came.wait()
            tasks.cancel_scope.cancel()
        return self._answer

    async def _serve(self, stream: SocketStream) -> None:
        answer: Mapping[str, str] | None = None
        with anyio.move_on_after(CONNECTION_SECONDS):
            try:
                status, text, answer = self._take(await _read_head(stream))
                await stream.send(_page(status, text))
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                pass
        await stream.aclose()
        if answer is not None and not self._came.is_set():
            self._answer = answer
            self._came.set()

    def _take(self, head: bytes) -> tuple[str, str, Mapping[str, str] | None]:
        """Return status and text of the page for a request, and the answer if it is the right one."""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, target = first.removesuffix(" HTTP/1.1").removesuffix(" HTTP/1.0").partition(" ")
        hosts = [line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("host:")]
        path, _, query = target.partition("?")
        if method != "GET" or path != PATH or hosts != [self._host]:
            return "404 Not Found", _REFUSED, None
        pairs = parse_qsl(query, keep_blank_values=True)
        found = dict(pairs)
        state = found.get("state", "")
        if len(found) != len(pairs) or not hmac.compare_digest(state.encode(), self._state.encode()):
            log.warning("an answer to an authorization with a wrong state was refused")
            return "400 Bad Request", _REFUSED, None
        return "200 OK", _DONE, found


async def _read_head(stream: SocketStream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        if len(head) > MAX_REQUEST:
            raise anyio.EndOfStream
        head += await stream.receive(4096)
    return head.partition(b"\r\n\r\n")[0]


def _page(status: str, text: str) -> bytes:
    body = f"<!doctype html><meta charset=utf-8><title>parleyd</title><p>{text}</p>".encode()
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Content-Security-Policy: default-src 'none'",
        "Referrer-Policy: no-referrer",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def listening(state: str) -> AsyncGenerator[Redirect]:
    """Listen while the block runs.

    Raises:
        OSError: there is no free port.
    """
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener:
        yield Redirect(listener, state)
