"""The client of a connection: its settings, and the requests that the daemon sends to it."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, cast

import anyio

from parley_daemon.server.streaming.outbox import Outbox
from parley_daemon.server.streaming.subscriptions import Subscriptions
from parley_daemon.server.wire import jsonrpc
from parley_daemon.server.wire.initialize import MAX_INTERVAL_MS
from parley_daemon.server.wire.jsonrpc import RequestId, Response

MAX_CONFIGURATION_REQUESTS = 8
"""`workspace/configuration` requests that may be open; the open ones also return later changes."""

_CONFIGURATION_SECONDS = 10.0

# LSP's MessageType by the level of the log line, and the least level for each of LSP's trace values.
_MESSAGE_TYPES = ((logging.ERROR, 1), (logging.WARNING, 2), (logging.INFO, 3))
_MESSAGE_TYPE_LOG = 4
_TRACE_LEVELS = {"messages": logging.WARNING, "verbose": logging.INFO}


class ClientRequests:
    """Requests of the daemon to its client.

    Their ids are integers, because some clients support no others.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._next_id = 0
        self._open: dict[RequestId, Callable[[Response], None]] = {}

    async def send(self, method: str, params: Any, *, seconds: float) -> Any:
        """Return the result, None if the client responds with an error or not in time."""
        response = await self.call(method, params, seconds=seconds)
        return response.result if response is not None and response.error is None else None

    async def call(self, method: str, params: Any, *, seconds: float) -> Response | None:
        """Return the response, None if none comes in time. The client is then told to give up."""
        self._next_id += 1
        id, responded, responses = self._next_id, anyio.Event(), list[Response]()

        def settle(response: Response) -> None:
            responses.append(response)
            responded.set()

        self._open[id] = settle
        self._outbox.put(jsonrpc.call_frame(id, method, params))
        try:
            with anyio.move_on_after(seconds):
                await responded.wait()
        finally:
            if self._open.pop(id, None) is not None:
                self._outbox.put(jsonrpc.call_frame(None, "$/cancelRequest", {"id": id}))
        return responses[0] if responses else None

    def receive(self, response: Response) -> None:
        """Handle a response of the client. It is ignored if no request waits for it."""
        settle = self._open.pop(response.id, None)
        if settle is not None:
            settle(response)

    def close(self) -> None:
        """Answer the open requests with an error: the client has left."""
        for id in list(self._open):
            self.receive(Response(id, None, {"message": "the client has left"}))


class ClientSettings:
    """What the client sent in `initialize`, and its settings since then.

    `origin` is its name, None if it gave none. `trace` is LSP's trace value: "off", "messages", "verbose".
    The interval between streamed parts goes to the subscriptions; streams that begin afterwards use it.
    """

    def __init__(
        self,
        requests: ClientRequests,
        streams: Subscriptions,
        start: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        self.origin: str | None = None
        self.trace = "off"
        self.initialize_params: dict[str, Any] = {}
        self._requests = requests
        self._streams = streams
        self._start = start
        self._open_pulls = 0

    def initialize(self, params: dict[str, Any]) -> None:
        """Store the params of `initialize`, which were checked before."""
        options = jsonrpc.as_object(params.get("initializationOptions"))
        name = options.get("clientName") or jsonrpc.as_object(params.get("clientInfo")).get("name")
        self.origin = name if isinstance(name, str) else None
        self._set_interval(options.get("minIntervalMs"))
        self.set_trace(params.get("trace"))
        self.initialize_params = params

    def set_trace(self, value: object) -> None:
        """Set LSP's trace value."""
        self.trace = value if isinstance(value, str) else "off"

    def log_type(self, level: int) -> int | None:
        """Return LSP's MessageType for a log line of this level, None if the client does not want it."""
        least = _TRACE_LEVELS.get(self.trace)
        if least is None or level < least:
            return None
        return next((kind for bound, kind in _MESSAGE_TYPES if level >= bound), _MESSAGE_TYPE_LOG)

    def pull(self) -> None:
        """Request the client's settings in the background, if it supports that."""
        workspace = jsonrpc.as_object(self.initialize_params.get("capabilities")).get("workspace")
        has_settings = jsonrpc.as_object(workspace).get("configuration") is True
        if has_settings and self._open_pulls < MAX_CONFIGURATION_REQUESTS:
            self._open_pulls += 1
            self._start(self._pull)

    async def _pull(self) -> None:
        wanted = {"items": [{"section": "parley"}]}
        found = await self._requests.send("workspace/configuration", wanted, seconds=_CONFIGURATION_SECONDS)
        self._open_pulls -= 1
        if isinstance(found, list) and found:
            self._set_interval(jsonrpc.as_object(cast("list[object]", found)[0]).get("minIntervalMs"))

    def _set_interval(self, milliseconds: object) -> None:
        if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool):
            self._streams.interval = max(0, min(milliseconds, MAX_INTERVAL_MS)) / 1000
