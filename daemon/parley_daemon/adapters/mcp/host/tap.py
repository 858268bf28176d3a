"""Stands between the SDK and a server: takes answers as they are, and limits what the server asks.

The SDK refuses a whole answer for one wrong element, and checks results by schemas of the server with
patterns that may never end. So the code that sends a request takes the raw answer by a context variable, and
the SDK gets one in its place that is valid.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskStatus
from mcp.shared.dispatcher import CallOptions, DispatchContext, OnNotify, OnNotifyIntercept, OnRequest
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext

_FILLING: Mapping[str, Mapping[str, Any]] = {
    "tools/call": {"content": []},
    "tools/list": {"tools": []},
    "resources/list": {"resources": []},
    "resources/templates/list": {"resourceTemplates": []},
    "resources/read": {"contents": []},
    "prompts/list": {"prompts": []},
    "prompts/get": {"messages": []},
}

MAX_REQUESTS, REQUESTS_PER_SECOND = 200, 2.0
"""Requests of a server at once, and in the long run. Each takes memory until its answer is written."""

Choose = Callable[[dict[str, Any]], Awaitable[Mapping[str, Any]]]


@dataclass
class Wanted:
    """A raw answer that is wanted. `choose` returns what the SDK gets of it; by default nothing."""

    method: str
    choose: Choose | None = None
    raw: dict[str, Any] = field(default_factory=dict[str, Any])


wanted: ContextVar[Wanted | None] = ContextVar("wanted", default=None)


class Tap:
    """Implements the SDK's Dispatcher around another one. `on_flood`: the server asks too much."""

    def __init__(self, inner: JSONRPCDispatcher[Any], on_flood: Callable[[], None]) -> None:
        self._inner = inner
        self._on_flood = on_flood
        self._allowed = float(MAX_REQUESTS)
        self._allowed_at = time.monotonic()

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Send a request; return its answer, or what stands for it."""
        raw = await self._inner.send_raw_request(method, params, opts)
        want = wanted.get()
        if want is None or want.method != method:
            return raw
        want.raw = raw
        chosen = _FILLING[method] if want.choose is None else await want.choose(raw)
        envelope = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        return {**chosen, **{name: value for name, value in envelope.items() if name in raw}}

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Send a notification."""
        await self._inner.notify(method, params, opts)

    async def run(
        self,
        on_request: OnRequest,
        on_notify: OnNotify,
        on_notify_intercept: OnNotifyIntercept | None = None,
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Receive until the connection ends."""

        async def answer(
            context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
        ) -> dict[str, Any]:
            self._count()
            return await on_request(context, method, params)

        await self._inner.run(answer, on_notify, on_notify_intercept, task_status=task_status)

    def _count(self) -> None:
        """Count a request of the server."""
        now = time.monotonic()
        self._allowed = min(MAX_REQUESTS, self._allowed + (now - self._allowed_at) * REQUESTS_PER_SECOND) - 1
        self._allowed_at = now
        if self._allowed < 0:
            self._on_flood()
